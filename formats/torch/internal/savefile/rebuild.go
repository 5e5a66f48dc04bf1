package savefile

import (
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
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
	class   storageClass        // in this id
	first   int64               // bytes before the range
	length  int64               // bytes of the range
	problem *tensor.FormatError // why its tensors cannot be read, or nil
}

// Ref is a tensor as a pickle describes it: a view of a storage, or the reason why it cannot be read.
type Ref struct {
	storage       *storageRef
	dtype         tensor.DType
	offset        int64
	shape, stride *pickle.Tuple
	problem       *tensor.FormatError // if it is not nil, the rest is not set
}

// SetState implements pickle.Stateful. Of torch before 0.4, parameters have the state (requires_grad, volatile, hooks). Any other
// state is the storage, the offset, … of a view that replaces the tensor's.
func (*Ref) SetState(state any) (int64, error) {
	if t, ok := state.(*pickle.Tuple); ok && len(t.Items) == 3 {
		if _, ok := t.Items[0].(bool); ok {
			return 0, nil
		}
	}
	return 0, tensor.Bad("tensor's state is not that of a parameter of torch before 0.4")
}

// Unreadable is the reason of errors about sound tensors that cannot be read: sparse and quantized ones,
// for example.
const Unreadable tensor.Reason = "unreadable tensor"

func unsupportedRef(what string) *Ref {
	return &Ref{problem: tensor.Bad("is %s, which griffin does not read", what).Because(Unreadable)}
}

// rebuilder makes a function that returns tensors one that a pickle can call.
func rebuilder(f func(args []any) (*Ref, error)) *pickle.Func {
	return &pickle.Func{Call: func(args []any) (any, error) { return f(args) }}
}

// rebuildTensor stands for torch._utils._rebuild_tensor_v2(storage, offset, size, stride,
// requires_grad, backward_hooks, metadata=None). The elements are of the storage's type.
func rebuildTensor(args []any) (*Ref, error) {
	if len(args) < 6 || len(args) > 7 {
		return nil, tensor.Bad("tensor is rebuilt from %d values", len(args))
	}
	ref, ok := args[0].(*storageRef)
	if ok && ref.class.untyped {
		return nil, tensor.Bad("tensor's storage has no element type")
	}
	t := &Ref{storage: ref}
	if ok {
		t.dtype = ref.class.dtype
	}
	if len(args) == 7 {
		return t.fill(args, args[6])
	}
	return t.fill(args, nil)
}

// rebuildOldTensor stands for torch._utils._rebuild_tensor(storage, offset, size, stride), of before torch 0.4.
func rebuildOldTensor(args []any) (*Ref, error) {
	if len(args) != 4 {
		return nil, tensor.Bad("tensor is rebuilt from %d values", len(args))
	}
	return rebuildTensor(append(args[:4:4], nil, nil))
}

// rebuildTensorOfType stands for torch._utils._rebuild_tensor_v3, which has the element type after
// the hooks and then the metadata. It is used for the types that have no class of storages.
func rebuildTensorOfType(args []any) (*Ref, error) {
	if len(args) < 7 || len(args) > 8 {
		return nil, tensor.Bad("tensor is rebuilt from %d values", len(args))
	}
	ref, _ := args[0].(*storageRef)
	dtype, ok := args[6].(tensor.DType)
	if name, unknown := args[6].(*pickle.Global); unknown {
		return unsupportedRef("a tensor of the type " + tensor.Clip(name.String())), nil
	}
	if !ok {
		return nil, tensor.Bad("tensor has no element type")
	}
	t := &Ref{storage: ref, dtype: dtype}
	if len(args) == 8 {
		return t.fill(args, args[7])
	}
	return t.fill(args, nil)
}

// fill sets the view from storage, offset, size and stride. With metadata torch marks tensors whose
// elements are still to be conjugated or negated; those are refused.
func (t *Ref) fill(args []any, metadata any) (*Ref, error) {
	if t.storage == nil {
		return nil, tensor.Bad("tensor is rebuilt from a value that is not a storage")
	}
	if t.storage.problem != nil {
		return &Ref{problem: t.storage.problem}, nil
	}
	offset, ok := args[1].(int64)
	shape, shapeOK := args[2].(*pickle.Tuple)
	stride, strideOK := args[3].(*pickle.Tuple)
	if !ok || !shapeOK || !strideOK {
		return nil, tensor.Bad("tensor's offset, size and stride are not an integer and two tuples")
	}
	if metadata != nil {
		d, ok := metadata.(*pickle.Dict)
		if !ok {
			return nil, tensor.Bad("tensor's metadata is not a dict")
		}
		if len(d.Entries) > 0 {
			name, _ := d.Entries[0].Key.(string)
			return &Ref{problem: tensor.Bad("tensor is stored with the flag %q, so its elements are not those in the file", tensor.Clip(name)).
				Because(Unreadable).Advise("in Python, save tensor.resolve_conj().resolve_neg() instead")}, nil
		}
	}
	t.offset, t.shape, t.stride = offset, shape, stride
	return t, nil
}

// numbers converts tuples of integers to slices. A tuple that many tensors share is converted once, so
// that memory stays proportional to the pickle.
type numbers map[*pickle.Tuple][]int64

// MaxRank is the largest number of axes in torch.
const MaxRank = 64

func (n numbers) slice(t *pickle.Tuple) ([]int64, error) {
	if s, ok := n[t]; ok {
		return s, nil
	}
	if len(t.Items) > MaxRank {
		return nil, tensor.Bad("tensor of %d axes; torch has at most %d", len(t.Items), MaxRank)
	}
	s, ok := Integers(t)
	if !ok {
		return nil, tensor.Bad("tensor's size or stride has a value that is not an integer")
	}
	n[t] = s
	return s, nil
}

// Integers returns the items of a tuple or list, and whether they are all integers.
func Integers(v any) ([]int64, bool) {
	var items []any
	switch v := v.(type) {
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

// view returns the view of the storage.
func (t *Ref) view(n numbers) (tensor.View, error) {
	shape, err := n.slice(t.shape)
	if err != nil {
		return tensor.View{}, err
	}
	strides, err := n.slice(t.stride)
	return tensor.View{Shape: shape, Strides: strides, Offset: t.offset}, err
}

// parameterOf stands for _rebuild_parameter(tensor, requires_grad, hooks) and similar functions of n arguments, whose result has
// the elements of the tensor.
func parameterOf(n int) func(args []any) (any, error) {
	return func(args []any) (any, error) {
		if len(args) != n {
			return nil, tensor.Bad("parameter is rebuilt from %d values", len(args))
		}
		return firstArgument(args)
	}
}

// firstArgument stands for classes that are made from a tensor and other arguments, which are not read.
func firstArgument(args []any) (any, error) {
	if len(args) > 0 {
		switch args[0].(type) {
		case *Ref, *Wrapped:
			return args[0], nil
		}
	}
	return nil, tensor.Bad("parameter is made from a value that is not a tensor")
}

// Wrapped is a tensor of a subclass that wraps other tensors, such as a DTensor.
type Wrapped struct {
	Class any   // the class: a *pickle.Global
	Args  []any // of torch._utils._rebuild_wrapper_subclass: class, dtype, size, …
	State any   // with the tensors that it wraps
}

// Name returns the full name of the class.
func (w *Wrapped) Name() string {
	if g, ok := w.Class.(*pickle.Global); ok {
		return tensor.Clip(g.String())
	}
	return "an unknown class"
}

// IsSharded reports whether the tensor is one rank's part of a tensor: a DTensor or a ShardedTensor.
func (w *Wrapped) IsSharded() bool {
	g, ok := w.Class.(*pickle.Global)
	return ok && strings.HasPrefix(g.Module, "torch.distributed.") && (g.Name == "DTensor" || g.Name == "ShardedTensor")
}

// fromType stands for torch._tensor._rebuild_from_type_v2(function, type, arguments, state): a tensor
// with attributes, or of a class derived from torch.Tensor.
var fromType = &pickle.Func{}

func init() { fromType.Call = rebuildFromType } // which refers to it

func rebuildFromType(args []any) (any, error) {
	if len(args) != 4 {
		return nil, tensor.Bad("tensor is rebuilt from %d values", len(args))
	}
	inner, ok := args[2].(*pickle.Tuple)
	if !ok {
		return nil, tensor.Bad("tensor is rebuilt by a function that does not return tensors")
	}
	switch f := args[0].(type) {
	case *pickle.Global:
		if f.Name == "_rebuild_wrapper_subclass" {
			return &Wrapped{Class: args[1], Args: inner.Items, State: args[3]}, nil
		}
		return unsupportedRef("a tensor that " + tensor.Clip(f.String()) + " makes"), nil
	case *pickle.Func:
		if f != fromType { // so that calls do not nest
			made, err := f.Call(inner.Items)
			if t, ok := made.(*Ref); ok || err != nil {
				return t, err
			}
		}
	}
	return nil, tensor.Bad("tensor is rebuilt by a function that does not return tensors")
}
