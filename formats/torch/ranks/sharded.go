package ranks

import (
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// addShardedTensor adds one rank's shards of a ShardedTensor
// (torch/distributed/_shard/sharded_tensor/api.py of torch 2.15), whose state is (local shards, metadata,
// process group, sharding spec, remote references).
func (r *reader) addShardedTensor(f *savefile.File, name string, w *savefile.Wrapped, at int) error {
	state, ok := w.State.(*pickle.Tuple)
	if !ok || len(state.Items) < 3 {
		return tensor.Bad("ShardedTensor with a state that is none")
	}
	local, ok := state.Items[0].(*pickle.List)
	metadata, metadataOK := state.Items[1].(*pickle.Object)
	if !ok || !metadataOK {
		return tensor.Bad("ShardedTensor without shards and metadata")
	}
	shape, ok := savefile.Integers(metadata.Attribute("size"))
	if !ok {
		return tensor.Bad("ShardedTensor without a size")
	}
	if group, ok := state.Items[2].(*pickle.Object); ok {
		if world, ok := group.Attribute("global_world_size").(int64); ok && world <= maxMesh {
			r.world = max(r.world, world)
		}
	}
	for _, item := range local.Items {
		shard, ok := item.(*pickle.Object)
		if !ok {
			return tensor.Bad("ShardedTensor has a shard that is none")
		}
		ref, ok := shard.Attribute("tensor").(*savefile.Ref)
		place, placeOK := shard.Attribute("metadata").(*pickle.Object)
		if !ok || !placeOK {
			return tensor.Bad("ShardedTensor has a shard without a tensor and its place")
		}
		t, err := f.Tensor(ref)
		if err != nil {
			return err
		}
		offsets, ok := savefile.Integers(place.Attribute("shard_offsets"))
		sizes, sizesOK := savefile.Integers(place.Attribute("shard_sizes"))
		if !ok || !sizesOK || len(offsets) != len(shape) || len(sizes) != len(shape) {
			return tensor.Bad("ShardedTensor of %d axes has a shard that is not of as many", len(shape))
		}
		if _, _, err := tensor.SizeOf(t.DType, shape); err != nil {
			return err
		}
		if err := r.addPart(name, t.DType, shape, t, assemble.Box{Offsets: offsets, Sizes: sizes}, at); err != nil {
			return err
		}
	}
	return nil
}
