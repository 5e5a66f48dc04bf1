package torch

import (
	"slices"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// storageInfo is the description of a storage in a pickle.
type storageInfo struct {
	key   string // decimal digits
	class storageClass
	bytes int64
}

// storageRef is the value of a persistent id: a storage, or a range of one (a legacy view).
type storageRef struct {
	*storageInfo
	class  storageClass // in this id
	first  int64        // bytes before the range
	length int64        // bytes of the range
}

// tensorRef is the result of a rebuild function of torch: a view of a storage.
type tensorRef struct {
	storage       *storageRef
	dtype         tensor.DType
	offset        int64
	shape, stride *types.Tuple
	problem       *tensor.FormatError // why the tensor cannot be read; the other fields are then not set
}

// PySetState ignores the attributes of a tensor.
func (*tensorRef) PySetState(any) error { return nil }

func unreadable(format string, args ...any) *tensorRef {
	return &tensorRef{problem: tensor.Bad(format, args...)}
}

// rebuildTensor stands for torch._utils._rebuild_tensor_v2(storage, offset, size, stride,
// requires_grad, backward_hooks, metadata=None). The elements are of the storage's type.
func rebuildTensor(args []any) any {
	if len(args) < 4 || len(args) > 7 {
		return unreadable("tensor is rebuilt from %d values", len(args))
	}
	ref, ok := args[0].(*storageRef)
	if ok && ref.class.untyped {
		return unreadable("tensor's storage has no element type")
	}
	t := &tensorRef{storage: ref}
	if ok {
		t.dtype = ref.class.dtype
	}
	if len(args) == 7 {
		return t.fill(args, args[6])
	}
	return t.fill(args, nil)
}

// rebuildTensorOfType stands for torch._utils._rebuild_tensor_v3, which has the element type after
// the hooks and then the metadata. It is used for the types that have no class of storages.
func rebuildTensorOfType(args []any) any {
	if len(args) < 7 || len(args) > 8 {
		return unreadable("tensor is rebuilt from %d values", len(args))
	}
	ref, _ := args[0].(*storageRef)
	dtype, ok := args[6].(tensor.DType)
	if !ok {
		return unreadable("tensor has no element type")
	}
	t := &tensorRef{storage: ref, dtype: dtype}
	if len(args) == 8 {
		return t.fill(args, args[7])
	}
	return t.fill(args, nil)
}

// fill sets the view from storage, offset, size and stride. With metadata torch marks tensors whose
// elements are still to be conjugated or negated; those are refused.
func (t *tensorRef) fill(args []any, metadata any) any {
	if t.storage == nil {
		return unreadable("tensor is rebuilt from a value that is not a storage")
	}
	offset, ok := args[1].(int)
	shape, shapeOK := args[2].(*types.Tuple)
	stride, strideOK := args[3].(*types.Tuple)
	if !ok || !shapeOK || !strideOK {
		return unreadable("tensor's offset, size and stride are not an integer and two tuples")
	}
	if metadata != nil {
		d, ok := metadata.(*types.Dict)
		if !ok {
			return unreadable("tensor's metadata is not a dict")
		}
		if d.Len() > 0 {
			name, _ := (*d)[0].Key.(string)
			t.problem = tensor.Bad("tensor is stored with the flag %q, so its elements are not those in the file", name).
				Advise("in Python, save tensor.resolve_conj().resolve_neg() instead")
			return t
		}
	}
	t.offset, t.shape, t.stride = int64(offset), shape, stride
	return t
}

// numbers converts tuples of integers to slices. A tuple that many tensors share is converted once, so
// that memory stays proportional to the pickle.
type numbers map[*types.Tuple][]int64

// maxRank is the largest number of axes in torch.
const maxRank = 64

func (n numbers) slice(t *types.Tuple) ([]int64, error) {
	if s, ok := n[t]; ok {
		return s, nil
	}
	if t.Len() > maxRank {
		return nil, tensor.Bad("tensor of %d axes; torch has at most %d", t.Len(), maxRank)
	}
	s := make([]int64, t.Len())
	for i, item := range *t {
		v, ok := item.(int)
		if !ok {
			return nil, tensor.Bad("tensor's size or stride has a value that is not an integer")
		}
		s[i] = int64(v)
	}
	n[t] = s
	return s, nil
}

// view returns the view of the storage.
func (t *tensorRef) view(n numbers) (tensor.View, error) {
	shape, err := n.slice(t.shape)
	if err != nil {
		return tensor.View{}, err
	}
	strides, err := n.slice(t.stride)
	return tensor.View{Shape: shape, Strides: strides, Offset: t.offset}, err
}

// firstArgument stands for _rebuild_parameter(tensor, requires_grad, hooks) and similar functions, whose
// result has the elements of the tensor.
func firstArgument(args []any) any {
	if len(args) > 0 {
		if t, ok := args[0].(*tensorRef); ok {
			return t
		}
	}
	return unreadable("parameter is made from a value that is not a tensor")
}

// rebuildFromType stands for torch._tensor._rebuild_from_type_v2(function, type, arguments,
// state): a tensor with attributes, or of a class derived from torch.Tensor.
func rebuildFromType(args []any) any {
	if len(args) != 4 {
		return unreadable("tensor is rebuilt from %d values", len(args))
	}
	f, ok := args[0].(*global)
	inner, tupleOK := args[2].(*types.Tuple)
	if !ok || !tupleOK || !slices.Contains(rebuilders, f.name) {
		return unreadable("tensor is rebuilt by a function that does not return tensors")
	}
	return f.call(*inner)
}

// rebuilders are the functions that rebuildFromType may call. It is not one of them, so calls do not
// nest.
var rebuilders = []string{
	"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_parameter_with_state",
}
