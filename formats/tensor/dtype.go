package tensor

// DType is the type of one element of a tensor.
type DType uint8

// The element types of all formats. Elements are little-endian once read.
const (
	Invalid DType = iota
	F64
	F32
	F16
	BF16
	C128
	C64
	C32
	I64
	I32
	I16
	I8
	I4 // one byte per element, as zarr stores it
	I2 // one byte per element, as zarr stores it
	U64
	U32
	U16
	U8
	Bool
	F8E4M3 // the "fn" form: no infinities
	F8E5M2
	F8E4M3FNUZ
	F8E5M2FNUZ
	F8E4M3B11FNUZ
	F8E3M4
	F8E8M0
	F6E2M3 // 6 bits per element, packed
	F6E3M2 // 6 bits per element, packed
	F4x2   // two 4-bit floats in a byte, which is one element, as in torch
	F4     // 4 bits per element, packed, as in safetensors if the last axis is odd
	F4Byte // one byte per element, as zarr stores it

	dtypeCount
)

// dtypes describes the element types: their name in torch and in numpy with ml_dtypes (which agree on
// the types that both have), their width, the unit whose bytes a change of byte order swaps, and their
// name in a safetensors header ("" if that format does not have the type).
var dtypes = [dtypeCount]struct {
	name        string
	bits        int
	swap        int // bytes
	safetensors string
}{
	Invalid:       {"invalid", 0, 1, ""},
	F64:           {"float64", 64, 8, "F64"},
	F32:           {"float32", 32, 4, "F32"},
	F16:           {"float16", 16, 2, "F16"},
	BF16:          {"bfloat16", 16, 2, "BF16"},
	C128:          {"complex128", 128, 8, ""},
	C64:           {"complex64", 64, 4, "C64"},
	C32:           {"complex32", 32, 2, ""},
	I64:           {"int64", 64, 8, "I64"},
	I32:           {"int32", 32, 4, "I32"},
	I16:           {"int16", 16, 2, "I16"},
	I8:            {"int8", 8, 1, "I8"},
	I4:            {"int4", 8, 1, ""},
	I2:            {"int2", 8, 1, ""},
	U64:           {"uint64", 64, 8, "U64"},
	U32:           {"uint32", 32, 4, "U32"},
	U16:           {"uint16", 16, 2, "U16"},
	U8:            {"uint8", 8, 1, "U8"},
	Bool:          {"bool", 8, 1, "BOOL"},
	F8E4M3:        {"float8_e4m3fn", 8, 1, "F8_E4M3"},
	F8E5M2:        {"float8_e5m2", 8, 1, "F8_E5M2"},
	F8E4M3FNUZ:    {"float8_e4m3fnuz", 8, 1, "F8_E4M3FNUZ"},
	F8E5M2FNUZ:    {"float8_e5m2fnuz", 8, 1, "F8_E5M2FNUZ"},
	F8E4M3B11FNUZ: {"float8_e4m3b11fnuz", 8, 1, ""},
	F8E3M4:        {"float8_e3m4", 8, 1, ""},
	F8E8M0:        {"float8_e8m0fnu", 8, 1, "F8_E8M0"},
	F6E2M3:        {"float6_e2m3fn", 6, 1, "F6_E2M3"},
	F6E3M2:        {"float6_e3m2fn", 6, 1, "F6_E3M2"},
	F4x2:          {"float4_e2m1fn_x2", 8, 1, ""}, // F4 in safetensors, which counts the halves
	F4:            {"float4_e2m1fn_packed", 4, 1, "F4"},
	F4Byte:        {"float4_e2m1fn", 8, 1, ""},
}

// String returns torch's name of the type, such as "bfloat16".
func (d DType) String() string {
	if d >= dtypeCount {
		return dtypes[Invalid].name
	}
	return dtypes[d].name
}

// Bits returns the width of one element in bits. Only the packed types are not whole bytes wide.
func (d DType) Bits() int {
	if d >= dtypeCount {
		return 0
	}
	return dtypes[d].bits
}

// Size returns the width of one element in bytes, 0 for the packed types.
func (d DType) Size() int64 {
	if d.Bits()%8 != 0 {
		return 0
	}
	return int64(d.Bits() / 8)
}

// SwapUnit returns the size in bytes of the unit that a change of byte order reverses: a component of
// a complex number, otherwise the element.
func (d DType) SwapUnit() int {
	if d >= dtypeCount {
		return 1
	}
	return dtypes[d].swap
}

// Safetensors returns the type's name in a safetensors header, or "" if it has none.
func (d DType) Safetensors() string {
	if d >= dtypeCount {
		return ""
	}
	return dtypes[d].safetensors
}

// DTypeByName returns the type with that name in torch or in numpy with ml_dtypes, or Invalid.
func DTypeByName(name string) DType {
	for d := F64; d < dtypeCount; d++ {
		if dtypes[d].name == name {
			return d
		}
	}
	return Invalid
}

// DTypeBySafetensors returns the type with exactly that name in a safetensors header, or Invalid.
func DTypeBySafetensors(name string) DType {
	for d := F64; d < dtypeCount; d++ {
		if dtypes[d].safetensors == name && name != "" {
			return d
		}
	}
	return Invalid
}
