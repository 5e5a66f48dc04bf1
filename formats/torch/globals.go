package torch

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// globalName is the name of a class or function in a pickle.
type globalName struct{ module, name string }

// global is a class or function that a pickle may refer to, with the function of this package that
// stands for it. Nothing is imported, and nothing in the pickle runs.
type global struct {
	globalName
	call  func(args []any) any // returns the result of a call, nil if it cannot be called
	makes kind                 // kind of the result
	value any                  // value of a global that is not called
}

func (g global) String() string { return g.module + "." + g.name }

// Call implements types.Callable. It does not fail: a tensor with wrong arguments keeps the error, which
// is reported with the tensor's name.
func (g *global) Call(args ...any) (any, error) { return g.call(args), nil }

// globals are the only classes and functions that a pickle may refer to, in any order.
var globals = concat(storageClasses(), dtypeGlobals(), []global{
	{globalName{"torch._utils", "_rebuild_tensor"}, rebuildTensor, object, nil}, // before torch 0.4
	{globalName{"torch._utils", "_rebuild_tensor_v2"}, rebuildTensor, object, nil},
	{globalName{"torch._utils", "_rebuild_tensor_v3"}, rebuildTensorOfType, object, nil},
	{globalName{"torch._utils", "_rebuild_parameter"}, firstArgument, object, nil},
	{globalName{"torch._utils", "_rebuild_parameter_with_state"}, firstArgument, object, nil},
	{globalName{"torch.nn.parameter", "Parameter"}, firstArgument, object, nil},
	{globalName{"torch.nn.parameter", "Buffer"}, firstArgument, object, nil},
	{globalName{"torch._tensor", "_rebuild_from_type_v2"}, rebuildFromType, object, nil},
	{globalName{"torch._tensor", "_rebuild_from_type"}, rebuildFromType, object, nil},
	{globalName{"torch.tensor", "_rebuild_from_type"}, rebuildFromType, object, nil}, // torch 1.7, 1.8
	{globalName{"torch", "Tensor"}, nil, plain, nil},
	{globalName{"torch", "Size"}, makeSize, tuple, nil},
	{globalName{"torch", "device"}, makeOther("devices"), object, nil},
	{globalName{"torch.serialization", "_get_layout"}, makeOther("layouts"), object, nil},

	{globalName{"collections", "OrderedDict"}, makeOrderedDict, dictObject, nil},
	{globalName{"collections", "defaultdict"}, makeDefaultDict, dictObject, nil},
	{globalName{"collections", "Counter"}, makeOther("counters"), object, nil},
	{globalName{"builtins", "set"}, makeSet, set, nil},
	{globalName{"__builtin__", "set"}, makeSet, set, nil},
	{globalName{"builtins", "dict"}, nil, plain, nil}, // argument of defaultdict
	{globalName{"__builtin__", "dict"}, nil, plain, nil},
	{globalName{"builtins", "list"}, nil, plain, nil},
	{globalName{"__builtin__", "list"}, nil, plain, nil},
	{globalName{"builtins", "complex"}, makeOther("numbers"), object, nil},
	{globalName{"__builtin__", "complex"}, makeOther("numbers"), object, nil},
	{globalName{"_codecs", "encode"}, makeOther("byte strings"), object, nil},

	// Training scripts save numpy scalars, such as the best loss, and the state of numpy's generators.
	{globalName{"numpy", "dtype"}, makeOther("numpy types"), object, nil},
	{globalName{"numpy", "ndarray"}, nil, plain, nil},
	{globalName{"numpy.core.multiarray", "scalar"}, makeOther("numbers"), object, nil},
	{globalName{"numpy._core.multiarray", "scalar"}, makeOther("numbers"), object, nil},
	{globalName{"numpy.core.multiarray", "_reconstruct"}, makeOther(numpyArrays), object, nil},
	{globalName{"numpy._core.multiarray", "_reconstruct"}, makeOther(numpyArrays), object, nil},
})

// storageTypes are the element types of the storage classes.
var storageTypes = map[string]tensor.DType{
	"FloatStorage": tensor.F32, "DoubleStorage": tensor.F64, "HalfStorage": tensor.F16,
	"BFloat16Storage": tensor.BF16, "LongStorage": tensor.I64, "IntStorage": tensor.I32,
	"ShortStorage": tensor.I16, "CharStorage": tensor.I8, "ByteStorage": tensor.U8,
	"BoolStorage": tensor.Bool, "ComplexFloatStorage": tensor.C64, "ComplexDoubleStorage": tensor.C128,
}

// dtypeNames are the types that a pickle may name: those of torch that are whole bytes wide.
var dtypeNames = []tensor.DType{
	tensor.F64, tensor.F32, tensor.F16, tensor.BF16, tensor.C128, tensor.C64, tensor.C32,
	tensor.I64, tensor.I32, tensor.I16, tensor.I8, tensor.U64, tensor.U32, tensor.U16, tensor.U8, tensor.Bool,
	tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E8M0, tensor.F4x2,
}

// storageClass is a class of storages. The elements of an untyped one are bytes.
type storageClass struct {
	dtype   tensor.DType
	untyped bool
}

func storageClasses() []global {
	rows := []global{{globalName{"torch.storage", "UntypedStorage"}, nil, plain, storageClass{tensor.U8, true}}}
	for name, dtype := range storageTypes {
		for _, module := range []string{"torch", "torch.cuda"} { // the device does not matter
			rows = append(rows, global{globalName{module, name}, nil, plain, storageClass{dtype, false}})
		}
	}
	return rows
}

func dtypeGlobals() []global {
	var rows []global
	for _, d := range dtypeNames {
		rows = append(rows, global{globalName{"torch", d.String()}, nil, plain, d})
	}
	return rows
}

func concat(tables ...[]global) []global {
	var all []global
	for _, t := range tables {
		all = append(all, t...)
	}
	return all
}

// globalRows maps the name of a global to its row in globals; setRow is the row of EMPTY_SET.
var (
	globalRows = func() map[globalName]uint8 {
		rows := make(map[globalName]uint8, len(globals))
		for i, g := range globals {
			rows[g.globalName] = uint8(i)
		}
		return rows
	}()
	setRow = globalRows[globalName{"builtins", "set"}]
)

// unsupported describes well-known globals that are refused, for error messages.
var unsupported = map[globalName]string{
	{"torch._utils", "_rebuild_sparse_tensor"}:            "a sparse tensor",
	{"torch._utils", "_rebuild_nested_tensor"}:            "a nested tensor",
	{"torch._utils", "_rebuild_qtensor"}:                  "a quantized tensor",
	{"torch", "QInt8Storage"}:                             "a quantized tensor",
	{"torch", "QUInt8Storage"}:                            "a quantized tensor",
	{"torch", "QInt32Storage"}:                            "a quantized tensor",
	{"torch", "QUInt4x2Storage"}:                          "a quantized tensor",
	{"torch", "QUInt2x4Storage"}:                          "a quantized tensor",
	{"torch._utils", "_rebuild_meta_tensor_no_storage"}:   "a tensor on the meta device, which has no elements",
	{"torch._utils", "_rebuild_wrapper_subclass"}:         "a tensor of a subclass that wraps others",
	{"torch.distributed.tensor", "DTensor"}:               "one part of a tensor that is spread over several devices",
	{"torch._utils", "_rebuild_device_tensor_from_numpy"}: "a tensor of a device that torch keeps outside its storages",
}

// adviceToResave is the hint for files that hold other values than tensors in dicts and lists.
const adviceToResave = "griffin does not run code in checkpoints; if you trust the file, load it in Python and save only the tensors: torch.save(model.state_dict(), path)"

// refused returns the error for a global that is not in the table.
func refused(module, name []byte) *tensor.FormatError {
	full := string(module) + "." + string(name)
	if what := unsupported[globalName{string(module), string(name)}]; what != "" {
		return tensor.Bad("pickle refers to %q: %s, which griffin does not read", full, what)
	}
	return tensor.Bad("pickle refers to %q, which is not part of a checkpoint of tensors", tensor.Clip(full)).Advise(adviceToResave)
}

// findClass returns a global to gopickle. The name is the number of its row, which the scanner wrote.
func findClass(module, name string) (any, error) {
	var row int
	if n, err := fmt.Sscan(name, &row); module != "" || n != 1 || err != nil || row < 0 || row >= len(globals) {
		return nil, tensor.Bad("pickle refers to %q", module+"."+name)
	}
	if g := &globals[row]; g.call != nil {
		return g, nil
	}
	return globals[row].value, nil
}
