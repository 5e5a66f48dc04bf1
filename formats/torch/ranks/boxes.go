package ranks

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
)

// maxBoxes is how many different boxes the parts of a checkpoint may have.
const maxBoxes = 1 << 18

// boxes are the different boxes of the parts. There are as many parts as tensors times ranks, and most tensors are cut like others.
type boxes struct {
	list  []assemble.Box
	known map[string]int32
}

// index returns the index of a box in the list, to which it adds the box if it is new.
func (b *boxes) index(box assemble.Box) (int32, error) {
	key := appendList(appendList(nil, box.Offsets), box.Sizes)
	if i, ok := b.known[string(key)]; ok {
		return i, nil
	}
	if len(b.list) == maxBoxes {
		return 0, tensor.Bad("parts of tensors have more than %d different places in them", maxBoxes).Because(tensor.TooLarge)
	}
	i := int32(len(b.list))
	b.list = append(b.list, assemble.Box{Offsets: slices.Clone(box.Offsets), Sizes: slices.Clone(box.Sizes)})
	b.known[string(key)] = i
	return i, nil
}
