package explain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// array is a tensor in memory. Its dtype has all of the values.
type array struct {
	dtype  tensor.DType
	shape  []int64
	values []float64
}

func (x array) clone() array { x.values = slices.Clone(x.values); return x }

// stored is Data that can only be read from front to back.
type stored struct{ content []byte }

func (s stored) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.content[off:])), nil
}

func (x array) tensor(name string) *tensor.Tensor {
	return &tensor.Tensor{Name: name, DType: x.dtype, Shape: x.shape, Data: stored{x.encode()}}
}

func (x array) encode() []byte {
	var out []byte
	for _, v := range x.values {
		switch x.dtype {
		case tensor.F64:
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
		case tensor.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		case tensor.BF16:
			out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(float32(v))>>16))
		case tensor.I32:
			out = binary.LittleEndian.AppendUint32(out, uint32(int32(v)))
		default:
			out = appendCode(out, x.dtype, v)
		}
	}
	return out
}

// appendCode appends the code of a value of a dtype of 8 or 16 bits.
func appendCode(out []byte, d tensor.DType, v float64) []byte {
	table, ok := codeTables[d]
	if !ok {
		table = map[uint64]int{}
		one := make([]float64, 1)
		for code := 1<<d.Bits() - 1; code >= 0; code-- {
			tensor.ValuesOf(d).Decode(one, []byte{byte(code), byte(code >> 8)})
			table[math.Float64bits(one[0])] = code
		}
		codeTables[d] = table
	}
	code, ok := table[math.Float64bits(v)]
	if !ok {
		panic(fmt.Sprintf("%v is not a value of %s", v, d))
	}
	if d.Size() == 1 {
		return append(out, byte(code))
	}
	return append(out, byte(code), byte(code>>8))
}

var codeTables = map[tensor.DType]map[uint64]int{}

// random returns an array of normally distributed values.
func random(rng *rand.Rand, d tensor.DType, shape []int64) array {
	x := array{dtype: d, shape: shape, values: make([]float64, tensor.RowMajor(shape...).Elements())}
	for i := range x.values {
		x.values[i] = rng.NormFloat64()
		if d == tensor.I32 {
			x.values[i] = float64(rng.Int32())
		}
	}
	return x.rounded(d)
}

// rounded rounds all values to a dtype, with package tensor's Cast if there is one.
func (x array) rounded(d tensor.DType) array {
	x = x.clone()
	x.dtype = d
	f := numberFormats[d]
	for i, v := range x.values {
		switch d {
		case tensor.F64, tensor.I32:
		case tensor.F32:
			x.values[i] = float64(float32(v))
		case tensor.F16, tensor.BF16:
			var wide, narrow [8]byte
			binary.LittleEndian.PutUint64(wide[:], math.Float64bits(v))
			cast, err := tensor.NewCast(tensor.F64, d)
			if err != nil {
				panic(err)
			}
			cast(narrow[:2], wide[:])
			tensor.ValuesOf(d).Decode(x.values[i:i+1], narrow[:2])
		default:
			x.values[i] = f.round(v)
		}
	}
	return x
}

// at returns an array of a shape, whose element of an index is x's element of the index from(index).
func (x array) at(shape []int64, from func(index []int64) []int64) array {
	out := array{dtype: x.dtype, shape: shape, values: make([]float64, len(x.values))}
	strides := tensor.RowMajor(x.shape...).Strides
	for i := range out.values {
		element := int64(0)
		for k, j := range from(tensor.Unravel(int64(i), shape)) {
			element += j * strides[k]
		}
		out.values[i] = x.values[element]
	}
	return out
}

func (x array) reshaped(shape ...int64) array { x.shape = shape; return x }

// pruned sets the elements to zero that keep does not keep, by their number in row-major order.
func (x array) pruned(keep func(i int) bool) array {
	y := x.clone()
	for i := range y.values {
		if !keep(i) {
			y.values[i] = 0
		}
	}
	return y
}

// rows returns the rows from one on and before another.
func (x array) rows(from, to int64) array {
	size := len(x.values) / int(x.shape[0])
	x.values = slices.Clone(x.values[int(from)*size : int(to)*size])
	x.shape = slices.Concat([]int64{to - from}, x.shape[1:])
	return x
}

// appended returns the rows of x and those of y.
func (x array) appended(y array) array {
	x.values = slices.Concat(x.values, y.values)
	x.shape = slices.Concat([]int64{x.shape[0] + y.shape[0]}, x.shape[1:])
	return x
}

func (x array) permuted(axes ...int) array {
	shape := make([]int64, len(axes))
	for k, a := range axes {
		shape[k] = x.shape[a]
	}
	return x.at(shape, func(index []int64) []int64 {
		from := make([]int64, len(axes))
		for k, a := range axes {
			from[a] = index[k]
		}
		return from
	})
}

// along returns the array whose index i of an axis is index from(i) of x.
func (x array) along(axis int, from func(i, n int64) int64) array {
	return x.at(x.shape, func(index []int64) []int64 {
		index[axis] = from(index[axis], x.shape[axis])
		return index
	})
}

// each applies f to every value and rounds the result to x's dtype.
func (x array) each(f func(v float64) float64) array {
	x = x.clone()
	for i, v := range x.values {
		x.values[i] = f(v)
	}
	return x.rounded(x.dtype)
}

// touched changes n elements.
func (x array) touched(rng *rand.Rand, n int) array {
	x = x.clone()
	for _, i := range rng.Perm(len(x.values))[:n] {
		if x.dtype == tensor.I32 {
			x.values[i]++
		} else {
			x.values[i] = -2*x.values[i] + 8
		}
	}
	return x.rounded(x.dtype)
}

// checkpointPair is the tensors of a checkpoint before and after, by name.
type checkpointPair struct {
	names []string
	a, b  map[string]array
}

func (c *checkpointPair) add(name string, a, b array) {
	if c.a == nil {
		c.a, c.b = map[string]array{}, map[string]array{}
	}
	c.names = append(c.names, name)
	c.a[name], c.b[name] = a, b
}

// explanations returns the explanation of every tensor that differs, as one line.
func (c *checkpointPair) explanations(t *testing.T) map[string]string {
	t.Helper()
	var all []*Pair
	for _, name := range c.names {
		a, b := c.a[name], c.b[name]
		all = append(all, &Pair{Name: name, A: a.tensor(name), B: b.tensor(name),
			Equal: a.dtype == b.dtype && slices.Equal(a.shape, b.shape) && bytes.Equal(a.encode(), b.encode())})
	}
	x := New(all)
	out := map[string]string{}
	for _, p := range all {
		if p.Equal {
			continue
		}
		e, err := x.Explain(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		out[p.Name] = oneLine(e)
	}
	return out
}

// oneLine prints an explanation: kinds, other tensors, and details in parentheses.
func oneLine(e *Explanation) string {
	if e == nil {
		return string(Other)
	}
	s := string(e.Kind)
	if e.With != "" {
		s += " " + e.With
	}
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	if e.Then != nil {
		s += ", then " + oneLine(e.Then)
	}
	return s
}

// kindsOf leaves out the details.
func kindsOf(e string) string {
	var out []byte
	depth := 0
	for _, c := range []byte(e) {
		switch {
		case c == '(':
			depth++
			out = bytes.TrimRight(out, " ")
		case c == ')':
			depth--
		case depth == 0:
			out = append(out, c)
		}
	}
	return string(out)
}
