package savefile

import (
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// storageRef is the value of a persistent id: a storage, or a range of one (a legacy view).
type storageRef struct {
	*member
	loader  *loader
	class   storageClass        // in this id
	within  *span               // nil for the whole storage
	problem *tensor.FormatError // why its tensors cannot be read, or nil
}

// span is a range of a storage in bytes.
type span struct{ first, length int64 }

// Ref is a tensor as a pickle describes it: a view of a storage, or the reason why it cannot be read.
type Ref struct {
	storage *member
	within  *span // of the storage, nil for all of it
	*axes
	offset  int64
	dtype   tensor.DType
	problem *tensor.FormatError // if it is not nil, the rest is not set
}

// Memory in bytes that a Ref takes, that a problem adds, that a storage takes which is not a member of an archive, and that any storage takes.
const (
	memoryRef     = 64
	memoryProblem = 512
	memoryStorage = 160
	memoryPointer = 16
)

// Memory implements pickle.Compact.
func (t *Ref) Memory() int64 {
	if t.problem != nil {
		return memoryRef + memoryProblem
	}
	return memoryRef
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
	var dtype tensor.DType
	if ok {
		dtype = ref.class.dtype
	}
	if len(args) == 7 {
		return ref.tensor(dtype, args, args[6])
	}
	return ref.tensor(dtype, args, nil)
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
	if len(args) == 8 {
		return ref.tensor(dtype, args, args[7])
	}
	return ref.tensor(dtype, args, nil)
}

// tensor returns the view of the storage that offset, size and stride describe. With metadata torch marks tensors whose
// elements are still to be conjugated or negated; those are refused.
func (r *storageRef) tensor(dtype tensor.DType, args []any, metadata any) (*Ref, error) {
	if r == nil {
		return nil, tensor.Bad("tensor is rebuilt from a value that is not a storage")
	}
	if r.problem != nil {
		return &Ref{problem: r.problem}, nil
	}
	offset, ok := args[1].(int64)
	shape, shapeOK := tupleOf(args[2])
	stride, strideOK := tupleOf(args[3])
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
	both, err := r.loader.axes(shape, stride)
	return &Ref{storage: r.member, within: r.within, axes: both, offset: offset, dtype: dtype}, err
}

// view returns the view of the storage.
func (t *Ref) view() tensor.View {
	return tensor.View{Shape: t.shape, Strides: t.strides, Offset: t.offset}
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
	Class *pickle.Global // nil if it is not known
	Kept  pickle.Compact // what Keep returned, nil without one
}

// Keep returns what a reader keeps of a tensor of a subclass that wraps others: of its class, the arguments of
// torch._utils._rebuild_wrapper_subclass (class, dtype, size, …), and its state with the tensors that it wraps.
type Keep func(class *pickle.Global, args []any, state any) pickle.Compact

// Memory implements pickle.Compact.
func (w *Wrapped) Memory() int64 {
	if w.Kept == nil {
		return memoryPointer + memoryRef
	}
	return memoryPointer + memoryRef + w.Kept.Memory()
}

// Name returns the full name of the class.
func (w *Wrapped) Name() string {
	if w.Class == nil {
		return "an unknown class"
	}
	return tensor.Clip(w.Class.String())
}

// IsSharded reports whether the tensor is one rank's part of a tensor: a DTensor or a ShardedTensor.
func (w *Wrapped) IsSharded() bool {
	return w.Class != nil && strings.HasPrefix(w.Class.Module, "torch.distributed.") && (w.Class.Name == "DTensor" || w.Class.Name == "ShardedTensor")
}

// newFromType stands for torch._tensor._rebuild_from_type_v2(function, type, arguments, state): a tensor
// with attributes, or of a class derived from torch.Tensor.
func newFromType(keep Keep) *pickle.Func {
	fromType := &pickle.Func{}
	fromType.Call = func(args []any) (any, error) { return rebuildFromType(fromType, keep, args) }
	return fromType
}

func rebuildFromType(fromType *pickle.Func, keep Keep, args []any) (any, error) {
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
			w := &Wrapped{}
			w.Class, _ = args[1].(*pickle.Global)
			if keep != nil && w.IsSharded() {
				w.Kept = keep(w.Class, inner.Items, args[3])
			}
			return w, nil
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
