package ranks

import (
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// addShardedTensor adds one rank's shards of a ShardedTensor.
func (r *reader) addShardedTensor(f *savefile.File, name string, s *shardedTensor, at int) error {
	if s.problem != nil {
		return s.problem
	}
	r.world = max(r.world, s.world)
	for _, part := range s.shards {
		t, err := f.Tensor(part.local)
		if err != nil {
			return err
		}
		if _, _, err := tensor.SizeOf(t.DType, s.shape); err != nil {
			return err
		}
		if err := r.addPart(name, t.DType, s.shape, t, part.box, at); err != nil {
			return err
		}
	}
	return nil
}
