package savefile

import (
	"encoding/binary"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// MaxRank is the largest number of axes in torch.
const MaxRank = 64

// maxSizes is how many different sizes and strides the tensors of a pickle may have.
const maxSizes = 1 << 18

// memorySizes is the memory in bytes that axes or a Size take besides their numbers and the text that tells them from others.
const memorySizes = 112

// axes are the size and strides of tensors. Tensors with the same ones share them.
type axes struct{ shape, strides []int64 }

// Size is a torch.Size outside of the tensors. Equal ones are the same.
type Size struct{ numbers []int64 }

// Memory implements pickle.Compact.
func (*Size) Memory() int64 { return memoryPointer }

// tupleOf returns the tuple that a value is, as torch.Size is one.
func tupleOf(v any) (*pickle.Tuple, bool) {
	if s, ok := v.(*Size); ok {
		return s.tuple(), true
	}
	t, ok := v.(*pickle.Tuple)
	return t, ok
}

func (s *Size) tuple() *pickle.Tuple {
	t := &pickle.Tuple{}
	for _, n := range s.numbers {
		t.Items = append(t.Items, n)
	}
	return t
}

// makeSize makes a torch.Size of a tuple or list: a *Size, or a tuple if it has more axes than tensors have.
func (l *loader) makeSize(args []any) (any, error) {
	var items []any
	if len(args) == 1 {
		switch sizes := args[0].(type) {
		case *Size:
			return sizes, nil
		case *pickle.Tuple:
			items = sizes.Items
		case *pickle.List:
			items = sizes.Items
		default:
			return nil, tensor.Bad("tensor's size is made of %s", pickle.Show(sizes))
		}
	}
	var numbers [MaxRank]int64
	var key [binary.MaxVarintLen64 * MaxRank]byte
	list, text, err := appendNumbers(numbers[:0], key[:0], items[:min(len(items), MaxRank)])
	if err != nil || len(args) > 1 {
		return nil, notNumbers()
	}
	if len(items) > MaxRank {
		return &pickle.Tuple{Items: items}, nil
	}
	known := l.sizes[string(text)]
	if known == nil {
		if len(l.sizes) == maxSizes {
			return nil, tooManySizes()
		}
		known = &Size{slices.Clone(list)}
		l.sizes[string(text)] = known
		l.kept += memorySizes + 8*int64(len(list)) + int64(len(text))
	}
	return known, nil
}

// axes returns the axes that two tuples describe.
func (l *loader) axes(shape, strides *pickle.Tuple) (*axes, error) {
	var numbers [2 * MaxRank]int64
	var key [2*binary.MaxVarintLen64*MaxRank + 1]byte
	list, text := numbers[:0], append(key[:0], byte(len(shape.Items)))
	for _, t := range []*pickle.Tuple{shape, strides} {
		if len(t.Items) > MaxRank {
			return nil, tensor.Bad("tensor of %d axes; torch has at most %d", len(t.Items), MaxRank)
		}
		var err error
		if list, text, err = appendNumbers(list, text, t.Items); err != nil {
			return nil, err
		}
	}
	known := l.known[string(text)]
	if known == nil {
		if len(l.known) == maxSizes {
			return nil, tooManySizes()
		}
		both, rank := slices.Clone(list), len(shape.Items)
		known = &axes{both[:rank:rank], both[rank:]}
		l.known[string(text)] = known
		l.kept += memorySizes + 8*int64(len(list)) + int64(len(text))
	}
	return known, nil
}

// appendNumbers appends the numbers of a tuple to a list, and to a text that tells them from others.
func appendNumbers(list []int64, text []byte, items []any) ([]int64, []byte, error) {
	for _, item := range items {
		n, ok := item.(int64)
		if !ok {
			return nil, nil, notNumbers()
		}
		list, text = append(list, n), binary.AppendVarint(text, n)
	}
	return list, text, nil
}

func notNumbers() error {
	return tensor.Bad("tensor's size or stride has a value that is not an integer")
}

func tooManySizes() error {
	return tensor.Bad("tensors have more than %d different sizes and strides", maxSizes).Because(tensor.TooLarge)
}

// Integers returns the items of a tuple or list, which the caller does not change, and whether they are all integers.
func Integers(v any) ([]int64, bool) {
	var items []any
	switch v := v.(type) {
	case *Size:
		return v.numbers, true
	case *pickle.Tuple:
		items = v.Items
	case *pickle.List:
		items = v.Items
	default:
		return nil, false
	}
	list := make([]int64, len(items))
	for i, item := range items {
		n, ok := item.(int64)
		if !ok {
			return nil, false
		}
		list[i] = n
	}
	return list, true
}
