package quantized

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The methods of bitsandbytes.
const (
	methodInt8 = "bitsandbytes int8"
	methodNF4  = "bitsandbytes nf4"
	methodFP4  = "bitsandbytes fp4"
)

// nf4 are the values of the codes of nf4, quantiles of the normal distribution (functional.py of bitsandbytes, get_4bit_type).
var nf4 = []float32{
	-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
}

// fp4 are the values of the codes of fp4: a sign and three bits, divided by the largest.
var fp4 = func() []float32 {
	var out []float32
	for _, sign := range []float32{1, -1} {
		for _, x := range []float32{0, 0.0625, 8, 12, 4, 6, 2, 3} {
			out = append(out, sign*x/12)
		}
	}
	out[8] = 0
	return out
}()

// int8Levels are the values of the codes of LLM.int8().
var int8Levels = func() []float32 {
	levels := make([]float32, 256)
	for code := range levels {
		levels[code] = float32(int8(code))
	}
	return levels
}()

// quantState returns the tensor that describes a matrix in 4 bits, or nil.
func (f *finder) quantState(t *tensor.Tensor) *tensor.Tensor {
	for _, kind := range []string{"nf4", "fp4"} {
		if s := f.stored.Tensor(t.Name + endQuantState + kind); s != nil {
			return s
		}
	}
	return nil
}

// openInt8 opens a matrix of LLM.int8(): code·SCB/127, with the largest absolute value SCB of each row.
func (f *finder) openInt8(t *tensor.Tensor) (*Weight, error) {
	scales := f.beside(t, endSCB)
	rows, cols := matrix(t.Shape)
	if len(t.Shape) != 2 || scales.DType != tensor.F32 || scales.Elements() != rows {
		return nil, misfit(scales, "one float32 for each of the %d rows of %s", rows, tensor.ShapeString(t.Shape))
	}
	parts := []*tensor.Tensor{scales}
	if order := f.beside(t, endFormat); order != nil {
		format, err := smallTensor(order, 16)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(format, func(b byte) bool { return b != 0 }) {
			return nil, tensor.Bad("weight_format %d: only rows (0) are read", format[0]).Because(ReasonScheme)
		}
		parts = append(parts, order)
	}
	const perUnit = 7.874015718698502e-3 // 1/127, as bitsandbytes has it
	r := &rule{codes: t, bits: 8, levels: int8Levels, grid: perRow(rows, cols), scales: plain{scales}, factor: perUnit, best: symmetric(1)}
	return newWeight(t.Name, tensor.F32, t.Shape, Scheme{Method: methodInt8, Bits: 8, Blocks: r.grid.words()}, r, parts...), nil
}

// open4bit opens a matrix in nf4 or fp4: value of the code times the largest absolute value of its block of consecutive
// elements. Two codes are in a byte, the first in the high half.
func (f *finder) open4bit(t *tensor.Tensor) (*Weight, error) {
	stateTensor := f.quantState(t)
	state, err := readQuantState(stateTensor)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Tensor: stateTensor.Name})
	}
	if !strings.HasSuffix(stateTensor.Name, state.kind) {
		return nil, tensor.Bad("states the type %s", tensor.QuoteName(state.kind)).Of(stateTensor.Name).Because(ReasonDamaged)
	}
	n, err := tensor.Product(state.shape)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Tensor: stateTensor.Name})
	}
	if want := n/2 + n%2; t.Bytes() != want || n == 0 {
		return nil, tensor.Bad("%d bytes of codes, and shape %s takes %d", t.Bytes(), tensor.ShapeString(state.shape), want).Because(ReasonDamaged)
	}
	s := Scheme{Method: methodNF4, Bits: 4, Double: state.nestedBlock > 0}
	levels := nf4
	if state.kind == "fp4" {
		s.Method, levels = methodFP4, fp4
	}
	r := &rule{codes: t, bits: 4, high: true, levels: levels, grid: flat(n, state.block), best: symmetric(1)}
	s.Blocks = r.grid.words()
	parts := []*tensor.Tensor{stateTensor}
	if err := f.checkTable(t, levels, &parts); err != nil {
		return nil, err
	}
	if r.scales, err = f.absmax(t, state, r.grid.across(), &parts); err != nil {
		return nil, err
	}
	return newWeight(t.Name, state.dtype, state.shape, s, r, parts...), nil
}

// checkTable checks that the stored values of the codes are those of the type, which bitsandbytes uses whatever is stored.
func (f *finder) checkTable(t *tensor.Tensor, levels []float32, parts *[]*tensor.Tensor) error {
	table := f.stored.Tensor(t.Name + ".quant_map")
	if table == nil {
		return missingPart(t.Name + ".quant_map")
	}
	values, err := smallFloats(table, 16)
	if err != nil {
		return err
	}
	for i, x := range values {
		if math.Abs(float64(x-levels[i])) > 1e-6 {
			return tensor.Bad("the value of code %d is %g, and not %g", i, x, levels[i]).Of(table.Name).Because(ReasonDamaged)
		}
	}
	*parts = append(*parts, table)
	return nil
}

// absmax returns the scales of the blocks, which may be quantised themselves.
func (f *finder) absmax(t *tensor.Tensor, state *quantState, blocks int64, parts *[]*tensor.Tensor) (vector, error) {
	absmax := f.stored.Tensor(t.Name + endAbsmax)
	if absmax == nil {
		return nil, missingPart(t.Name + endAbsmax)
	}
	*parts = append(*parts, absmax)
	if state.nestedBlock == 0 {
		if absmax.DType != tensor.F32 || absmax.Elements() != blocks {
			return nil, misfit(absmax, "one float32 for each of %d blocks of %d", blocks, state.block)
		}
		return plain{absmax}, nil
	}
	if absmax.DType != tensor.U8 || absmax.Elements() != blocks {
		return nil, misfit(absmax, "one uint8 for each of %d blocks of %d", blocks, state.block)
	}
	tableTensor, nested := f.stored.Tensor(t.Name+".nested_quant_map"), f.stored.Tensor(t.Name+".nested_absmax")
	switch {
	case tableTensor == nil:
		return nil, missingPart(t.Name + ".nested_quant_map")
	case nested == nil:
		return nil, missingPart(t.Name + ".nested_absmax")
	}
	table, err := smallFloats(tableTensor, 256)
	if err != nil {
		return nil, err
	}
	if want := (blocks + state.nestedBlock - 1) / state.nestedBlock; nested.DType != tensor.F32 || nested.Elements() != want {
		return nil, misfit(nested, "one float32 for each of %d blocks of %d scales", want, state.nestedBlock)
	}
	if slices.Equal(table, f.table) { // most matrices have the same
		table = f.table
	}
	f.table = table
	*parts = append(*parts, tableTensor, nested)
	return &double{codes: absmax, table: table, absmax: plain{nested}, block: state.nestedBlock, offset: state.offset}, nil
}

// quantState is what bitsandbytes states about a matrix in 4 bits.
type quantState struct {
	kind        string
	block       int64
	dtype       tensor.DType
	shape       []int64
	nestedBlock int64 // 0 if the scales are not quantised
	offset      float32
}

// readQuantState reads the JSON text that a tensor of bytes holds.
func readQuantState(t *tensor.Tensor) (*quantState, error) {
	const maxSize, maxDepth = 4096, 4
	text, err := smallTensor(t, maxSize)
	if err != nil {
		return nil, err
	}
	value, err := strictjson.Parse(text, maxDepth)
	if err != nil {
		return nil, err
	}
	object, ok := value.(*strictjson.Object)
	if !ok {
		return nil, tensor.Bad("is not a JSON object").Because(ReasonDamaged)
	}
	s := &quantState{}
	kind, _ := object.Get("quant_type")
	s.kind, _ = kind.(string)
	if s.block, err = blockSize(object, "blocksize"); err != nil {
		return nil, err
	}
	dtype, _ := object.Get("dtype")
	name, _ := dtype.(string)
	if s.dtype = tensor.DTypeByName(name); !slices.Contains([]tensor.DType{tensor.F32, tensor.F16, tensor.BF16}, s.dtype) {
		return nil, tensor.Bad("field \"dtype\" is %s, not a floating-point dtype", strictjson.Describe(dtype)).Because(ReasonDamaged)
	}
	shape, _ := object.Get("shape")
	list, _ := shape.([]any)
	for _, v := range list {
		n, ok := strictjson.Int(v)
		if !ok || n < 1 {
			list = nil
			break
		}
		s.shape = append(s.shape, n)
	}
	if len(list) == 0 {
		return nil, tensor.Bad("field \"shape\" is not a list of sizes").Because(ReasonDamaged)
	}
	if _, nested := object.Get("nested_blocksize"); !nested {
		return s, nil
	}
	if s.nestedBlock, err = blockSize(object, "nested_blocksize"); err != nil {
		return nil, err
	}
	offset, _ := object.Get("nested_offset")
	number, _ := offset.(json.Number)
	x, err := number.Float64()
	if err != nil {
		return nil, tensor.Bad("field \"nested_offset\" is %s, not a number", strictjson.Describe(offset)).Because(ReasonDamaged)
	}
	s.offset = float32(x)
	return s, nil
}

// blockSize returns a field that is a size of blocks. Those of bitsandbytes are 32 to 4096.
func blockSize(object *strictjson.Object, field string) (int64, error) {
	v, _ := object.Get(field)
	n, ok := strictjson.Int(v)
	if !ok || n < 8 || n > 1<<20 || n&(n-1) != 0 {
		return 0, tensor.Bad("field %q is %s, not a power of two from 8 to 1048576", field, strictjson.Describe(v)).Because(ReasonDamaged)
	}
	return n, nil
}

// symmetric returns the scale with which the largest absolute value of a block has the level top.
func symmetric(top float64) func(low, high float64) (scale, bias float64) {
	return func(low, high float64) (scale, bias float64) { return max(-low, high) / top, 0 }
}

// misfit returns the error about a part that does not fit the codes.
func misfit(t *tensor.Tensor, want string, args ...any) error {
	return tensor.Bad("%s %s, but there has to be "+want, append([]any{t.DType, tensor.ShapeString(t.Shape)}, args...)...).Of(t.Name).Because(ReasonDamaged)
}

// missingPart returns the error about a part that is not there.
func missingPart(name string) error {
	return tensor.Bad("a quantised matrix without %s", tensor.QuoteName(name)).Because(ReasonDamaged)
}

// smallTensor reads the bytes of a tensor of at most limit bytes.
func smallTensor(t *tensor.Tensor, limit int64) ([]byte, error) {
	if t.Bytes() > limit {
		return nil, tensor.Bad("%d bytes, more than a description has", t.Bytes()).Of(t.Name).Because(ReasonDamaged)
	}
	out := make([]byte, t.Bytes())
	r, err := t.Data.Stream(0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return out, tensor.Annotate(tensor.ReadFull(r, out), tensor.Location{Tensor: t.Name})
}

// smallFloats reads a table of n float32.
func smallFloats(t *tensor.Tensor, n int64) ([]float32, error) {
	if t.DType != tensor.F32 || t.Elements() != n {
		return nil, misfit(t, "a table of %d float32", n)
	}
	out := make([]float32, n)
	r := plain{t}.open()
	defer r.close()
	return out, r.read(out, 0)
}
