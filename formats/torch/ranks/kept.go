package ranks

import (
	"encoding/binary"
	"weak"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// keeper makes what is kept of the parts in one file while its pickle is read: a file can have 200,000, and the objects in a
// pickle take 5 KB for each. Tensors of one size that are cut alike share their specification.
type keeper struct {
	specs  map[string]*specification
	meshes map[weak.Pointer[pickle.Object]]*deviceMesh // those in the memo are the same object
	lists  map[string][]int64
}

func newKeeper() *keeper {
	return &keeper{map[string]*specification{}, map[weak.Pointer[pickle.Object]]*deviceMesh{}, map[string][]int64{}}
}

// Memory in bytes that the kinds of what is kept take, without their lists and with their places in the maps.
const (
	memoryPart    = 64
	memorySpec    = 224
	memoryMesh    = 384
	memoryProblem = 512
)

// keep implements savefile.Keep.
func (k *keeper) keep(class *pickle.Global, args []any, state any) pickle.Compact {
	if class.Name == "DTensor" {
		return k.dtensor(args, state)
	}
	return k.sharded(state)
}

// dtensor is one rank's part of a DTensor.
type dtensor struct {
	local  *savefile.Ref
	spec   *specification
	memory int64
}

// Memory implements pickle.Compact.
func (d *dtensor) Memory() int64 { return d.memory }

// specification is the size of a DTensor and how it is cut.
type specification struct {
	shape      []int64
	mesh       *deviceMesh
	placements []placement
	wrong      error // of the placements
	problem    error // of all: nothing else is set
}

// dtensor keeps a DTensor (torch/distributed/tensor/_api.py of torch 2.15):
// _rebuild_wrapper_subclass(DTensor, dtype, size, strides, storage_offset, layout, device, requires_grad)
// with the state {_local_tensor, _spec}.
func (k *keeper) dtensor(args []any, state any) *dtensor {
	if len(args) < 3 {
		return &dtensor{memory: memoryProblem, spec: &specification{problem: tensor.Bad("DTensor is rebuilt from %d values", len(args))}}
	}
	shape, ok := savefile.Integers(args[2])
	ref, refOK := pickle.Attribute(state, "_local_tensor").(*savefile.Ref)
	object, specOK := pickle.Attribute(state, "_spec").(*pickle.Object)
	if !ok || !refOK || !specOK {
		return &dtensor{memory: memoryProblem, spec: &specification{problem: tensor.Bad("DTensor without a size, a local tensor and a specification")}}
	}
	d := &dtensor{local: ref, memory: memoryPart + ref.Memory()}
	s := specification{shape: shape}
	s.mesh = k.mesh(object.Attribute("mesh"), &d.memory)
	if s.placements, s.wrong = placementsOf(object, len(shape)); s.wrong != nil {
		d.spec = &s
		d.memory += memorySpec + memoryProblem + 8*int64(len(shape))
		return d
	}
	key := appendList(binary.AppendVarint(nil, int64(s.mesh.id)), shape)
	for _, p := range s.placements {
		key = binary.AppendVarint(binary.AppendVarint(key, int64(p.axis)), p.times)
	}
	if d.spec = k.specs[string(key)]; d.spec == nil {
		d.spec = &s
		k.specs[string(key)] = d.spec
		d.memory += memorySpec + int64(len(key)) + 8*int64(len(shape)) + 16*int64(len(s.placements))
	}
	return d
}

// mesh keeps a DeviceMesh, and adds to memory what it takes if it was not known.
func (k *keeper) mesh(value any, memory *int64) *deviceMesh {
	object, _ := value.(*pickle.Object)
	pointer := weak.Make(object)
	m := k.meshes[pointer]
	if m == nil {
		m = newDeviceMesh(object)
		m.id = len(k.meshes)
		k.meshes[pointer] = m
		*memory += memoryMesh + 8*int64(len(m.shape)+len(m.coordinate))
		if m.ranks != nil {
			*memory += m.ranks.Memory()
		}
	}
	return m
}

// shardedTensor is what one rank has of a ShardedTensor.
type shardedTensor struct {
	shape   []int64
	world   int64
	shards  []shard
	problem error // nothing else is set
	memory  int64
}

// shard is a part of a ShardedTensor.
type shard struct {
	local *savefile.Ref
	box   assemble.Box
}

// Memory implements pickle.Compact.
func (s *shardedTensor) Memory() int64 { return s.memory }

// sharded keeps a ShardedTensor
// (torch/distributed/_shard/sharded_tensor/api.py of torch 2.15), whose state is (local shards, metadata,
// process group, sharding spec, remote references).
func (k *keeper) sharded(state any) *shardedTensor {
	s := &shardedTensor{memory: memoryPart}
	if err := k.fillSharded(s, state); err != nil {
		return &shardedTensor{memory: memoryPart + memoryProblem, problem: err}
	}
	return s
}

func (k *keeper) fillSharded(s *shardedTensor, value any) error {
	state, ok := value.(*pickle.Tuple)
	if !ok || len(state.Items) < 3 {
		return tensor.Bad("ShardedTensor with a state that is none")
	}
	local, ok := state.Items[0].(*pickle.List)
	metadata, metadataOK := state.Items[1].(*pickle.Object)
	if !ok || !metadataOK {
		return tensor.Bad("ShardedTensor without shards and metadata")
	}
	if s.shape, ok = k.list(metadata.Attribute("size"), &s.memory); !ok {
		return tensor.Bad("ShardedTensor without a size")
	}
	if group, ok := state.Items[2].(*pickle.Object); ok {
		if world, ok := group.Attribute("global_world_size").(int64); ok && world <= maxMesh {
			s.world = world
		}
	}
	s.shards = make([]shard, len(local.Items))
	s.memory += int64(len(local.Items)) * memoryPart
	for i, item := range local.Items {
		object, ok := item.(*pickle.Object)
		if !ok {
			return tensor.Bad("ShardedTensor has a shard that is none")
		}
		ref, ok := object.Attribute("tensor").(*savefile.Ref)
		place, placeOK := object.Attribute("metadata").(*pickle.Object)
		if !ok || !placeOK {
			return tensor.Bad("ShardedTensor has a shard without a tensor and its place")
		}
		offsets, ok := k.list(place.Attribute("shard_offsets"), &s.memory)
		sizes, sizesOK := k.list(place.Attribute("shard_sizes"), &s.memory)
		if !ok || !sizesOK || len(offsets) != len(s.shape) || len(sizes) != len(s.shape) {
			return tensor.Bad("ShardedTensor of %d axes has a shard that is not of as many", len(s.shape))
		}
		s.shards[i] = shard{ref, assemble.Box{Offsets: offsets, Sizes: sizes}}
		s.memory += ref.Memory()
	}
	return nil
}

// list returns the integers of a tuple or list, which equal ones share, and adds to memory what they take if they were not known.
func (k *keeper) list(value any, memory *int64) ([]int64, bool) {
	list, ok := savefile.Integers(value)
	if !ok {
		return nil, false
	}
	key := string(appendList(nil, list))
	if known, ok := k.lists[key]; ok {
		return known, true
	}
	k.lists[key] = list
	*memory += 2*memoryPart + int64(len(key)) + 8*int64(len(list))
	return list, true
}

// appendList appends the number of integers and each of them to a key.
func appendList(key []byte, list []int64) []byte {
	key = binary.AppendVarint(key, int64(len(list)))
	for _, n := range list {
		key = binary.AppendVarint(key, n)
	}
	return key
}
