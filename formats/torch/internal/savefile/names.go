package savefile

import (
	"maps"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// names are the classes, functions and constants that stand for something here. Of all others only the
// name is known: see package pickle.
var names = func() map[pickle.Global]any {
	all := map[pickle.Global]any{
		{Module: "torch._utils", Name: "_rebuild_tensor"}:               rebuilder(rebuildOldTensor),
		{Module: "torch._utils", Name: "_rebuild_tensor_v2"}:            rebuilder(rebuildTensor),
		{Module: "torch._utils", Name: "_rebuild_tensor_v3"}:            rebuilder(rebuildTensorOfType),
		{Module: "torch._utils", Name: "_rebuild_parameter"}:            &pickle.Func{Call: parameterOf(3)},
		{Module: "torch._utils", Name: "_rebuild_parameter_with_state"}: &pickle.Func{Call: parameterOf(4)},
		{Module: "torch.nn.parameter", Name: "Parameter"}:               &pickle.Func{Call: firstArgument},
		{Module: "torch.nn.parameter", Name: "Buffer"}:                  &pickle.Func{Call: firstArgument},

		{Module: "collections", Name: "OrderedDict"}: classDict("OrderedDict", 0),
		{Module: "collections", Name: "defaultdict"}: classDict("defaultdict", 1),
		{Module: "builtins", Name: "set"}:            setOf(false),
		{Module: "builtins", Name: "frozenset"}:      setOf(true),

		{Module: "torch.storage", Name: "UntypedStorage"}: storageClass{dtype: tensor.U8, untyped: true},
	}
	addFromType(all, nil)
	for name, dtype := range StorageTypes {
		for _, module := range []string{"torch", "torch.cuda"} { // where the tensor was does not matter
			all[pickle.Global{Module: module, Name: name}] = storageClass{dtype: dtype}
		}
	}
	for name, dtype := range quantizedStorages {
		all[pickle.Global{Module: "torch", Name: name}] = storageClass{dtype: dtype, quantized: true}
	}
	for _, d := range DTypes {
		all[pickle.Global{Module: "torch", Name: d.String()}] = d
	}
	for name, what := range unsupported {
		all[pickle.Global{Module: "torch._utils", Name: name}] = rebuilder(func([]any) (*Ref, error) { return unsupportedRef(what), nil })
	}
	for name, kind := range others {
		all[name] = &pickle.Func{Call: func([]any) (any, error) { return other{kind}, nil }}
	}
	return all
}()

// namesWith returns the names for a reader that keeps of wrapped tensors what keep returns.
func namesWith(keep Keep) map[pickle.Global]any {
	if keep == nil {
		return names
	}
	all := maps.Clone(names)
	addFromType(all, keep)
	return all
}

// addFromType adds the functions that make tensors of subclasses.
func addFromType(all map[pickle.Global]any, keep Keep) {
	fromType := newFromType(keep)
	for _, name := range []pickle.Global{{Module: "torch._tensor", Name: "_rebuild_from_type_v2"}, {Module: "torch._tensor", Name: "_rebuild_from_type"},
		{Module: "torch.tensor", Name: "_rebuild_from_type"}} { // torch 1.7, 1.8
		all[name] = fromType
	}
}

// StorageTypes are the classes of storages with the type of their elements.
var StorageTypes = map[string]tensor.DType{
	"FloatStorage": tensor.F32, "DoubleStorage": tensor.F64, "HalfStorage": tensor.F16,
	"BFloat16Storage": tensor.BF16, "LongStorage": tensor.I64, "IntStorage": tensor.I32,
	"ShortStorage": tensor.I16, "CharStorage": tensor.I8, "ByteStorage": tensor.U8,
	"BoolStorage": tensor.Bool, "ComplexFloatStorage": tensor.C64, "ComplexDoubleStorage": tensor.C128,
}

// quantizedStorages are the classes of storages of quantized tensors with a type as wide as theirs.
var quantizedStorages = map[string]tensor.DType{
	"QInt8Storage": tensor.I8, "QUInt8Storage": tensor.U8, "QInt32Storage": tensor.I32,
	"QUInt4x2Storage": tensor.U8, "QUInt2x4Storage": tensor.U8,
}

// DTypes are the element types that a pickle may name: those of torch that are whole bytes wide.
var DTypes = []tensor.DType{
	tensor.F64, tensor.F32, tensor.F16, tensor.BF16, tensor.C128, tensor.C64, tensor.C32,
	tensor.I64, tensor.I32, tensor.I16, tensor.I8, tensor.U64, tensor.U32, tensor.U16, tensor.U8, tensor.Bool,
	tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E8M0, tensor.F4x2,
}

// unsupported says what the functions of torch._utils make whose tensors cannot be read.
var unsupported = map[string]string{
	"_rebuild_sparse_tensor":                 "a sparse tensor",
	"_rebuild_sparse_csr_tensor":             "a sparse tensor",
	"_rebuild_nested_tensor":                 "a nested tensor",
	"_rebuild_qtensor":                       "a quantized tensor",
	"_rebuild_meta_tensor_no_storage":        "a tensor on the meta device, which has no elements",
	"_rebuild_device_tensor_from_numpy":      "a tensor of a device that torch keeps outside its storages",
	"_rebuild_device_tensor_from_cpu_tensor": "a tensor of a device that torch keeps outside its storages",
}

// others are calls that make something of a known kind that holds no tensor.
var others = map[pickle.Global]string{
	{Module: "torch", Name: "device"}:                        "devices",
	{Module: "torch.serialization", Name: "_get_layout"}:     "layouts",
	{Module: "collections", Name: "Counter"}:                 "counters",
	{Module: "_codecs", Name: "encode"}:                      "byte strings",
	{Module: "builtins", Name: "bytearray"}:                  "byte strings",
	{Module: "builtins", Name: "complex"}:                    "numbers",
	{Module: "numpy", Name: "dtype"}:                         "numpy types",
	{Module: "numpy.core.multiarray", Name: "scalar"}:        "numbers", // the best loss so far
	{Module: "numpy._core.multiarray", Name: "scalar"}:       "numbers",
	{Module: "numpy.core.multiarray", Name: "_reconstruct"}:  numpyArrays,
	{Module: "numpy._core.multiarray", Name: "_reconstruct"}: numpyArrays,
	{Module: "numpy.core.numeric", Name: "_frombuffer"}:      numpyArrays,
	{Module: "numpy._core.numeric", Name: "_frombuffer"}:     numpyArrays,

	// Of the optimizer's states of DeepSpeed, which say where each parameter is.
	{Module: "deepspeed.utils.tensor_fragment", Name: "fragment_address"}: "places of parameters",
}

// storageClass is a class of storages: its elements, or bytes if it is untyped.
type storageClass struct {
	dtype     tensor.DType
	untyped   bool
	quantized bool
}

// other is a value that holds no tensor. kind is in the plural.
type other struct{ kind string }

// Memory implements pickle.Compact.
func (*other) Memory() int64 { return memoryPointer }

// SetState implements pickle.Stateful.
func (other) SetState(any) (int64, error) { return 0, nil }

// numpyArrays is the kind of other values that may be of interest.
const numpyArrays = "numpy arrays"

// classDict stands for a class of dicts that takes what the dict is made from as the argument of that index.
func classDict(name string, from int) *pickle.Func {
	class := &pickle.Global{Module: "collections", Name: name}
	return &pickle.Func{Call: func(args []any) (any, error) {
		d := &pickle.Dict{Class: class}
		if len(args) > from {
			d.From = args[from]
		}
		return d, nil
	}}
}

// setOf stands for set or frozenset.
func setOf(frozen bool) *pickle.Func {
	return &pickle.Func{Call: func(args []any) (any, error) {
		s := &pickle.Set{Frozen: frozen}
		if len(args) > 0 {
			s.From = args[0]
		}
		return s, nil
	}}
}
