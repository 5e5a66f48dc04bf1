package zarr

import (
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// bare are the types that have no code in numpy. Both versions use their name. Those of 2 and 4 bits take a byte
// per element.
var bare = []tensor.DType{
	tensor.BF16, tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ, tensor.F8E4M3B11FNUZ, tensor.F8E3M4,
	tensor.F4Byte, tensor.I4, tensor.I2,
}

// coded are the other types, with the letter of their numpy code, which the size follows.
var coded = map[tensor.DType]string{
	tensor.Bool: "b",
	tensor.I8:   "i", tensor.I16: "i", tensor.I32: "i", tensor.I64: "i",
	tensor.U8: "u", tensor.U16: "u", tensor.U32: "u", tensor.U64: "u",
	tensor.F16: "f", tensor.F32: "f", tensor.F64: "f",
	tensor.C64: "c", tensor.C128: "c",
}

// typesV2 and typesV3 map names to types. Names of version 2 are without byte order.
var typesV2, typesV3 = func() (v2, v3 map[string]tensor.DType) {
	v2, v3 = map[string]tensor.DType{}, map[string]tensor.DType{}
	for _, d := range bare {
		v2[d.String()], v3[d.String()] = d, d
	}
	for d, letter := range coded {
		v2[letter+strconv.FormatInt(d.Size(), 10)], v3[d.String()] = d, d
	}
	return v2, v3
}()

// dtypeV2 parses a type of version 2: a byte order and a numpy code, such as "<f4", or a name.
func dtypeV2(name string) (d tensor.DType, bigEndian bool, err error) {
	code := strings.TrimLeft(name, "<>|")
	d, ok := typesV2[code]
	_, hasCode := coded[d]
	order := name[:len(name)-len(code)]
	switch {
	case !ok, hasCode != (len(order) == 1), order == "|" && d.Size() > 1:
		return tensor.Invalid, false, bad("unknown dtype %q", name)
	}
	return d, order == ">", nil
}
