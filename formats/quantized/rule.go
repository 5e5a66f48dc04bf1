package quantized

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// rule says what the codes of a matrix stand for. An element is levels[code]·scale + bias, with the scale and the bias of its
// block.
type rule struct {
	codes  *tensor.Tensor // that holds the codes
	bits   int            // of a code
	high   bool           // the first code of a byte is in its high half, not its low bits
	levels []float32      // by code; NaN for codes that stand for no number

	grid   grid
	scales vector
	biases vector // nil for none

	factor float32 // multiplies after the scale; 0 for none
	round  bool    // the product is rounded to the dtype of the result before the bias is added

	// best returns the scale and the bias with which the scheme's own writer stores a block of values between low and high.
	best func(low, high float64) (scale, bias float64)
}

// grid divides a matrix into the blocks that share a scale. They are numbered row by row.
type grid struct {
	rows, cols           int64 // of the matrix
	blockRows, blockCols int64 // of a block; those at the ends may be smaller
}

// across returns the number of blocks side by side.
func (g grid) across() int64 { return (g.cols + g.blockCols - 1) / g.blockCols }

// down returns the number of blocks from top to bottom.
func (g grid) down() int64 { return (g.rows + g.blockRows - 1) / g.blockRows }

// block returns the number of the block of an element.
func (g grid) block(row, col int64) int64 { return row/g.blockRows*g.across() + col/g.blockCols }

// flat returns the grid of n elements in blocks of consecutive ones.
func flat(n, size int64) grid { return grid{1, n, 1, size} }

// perTensor returns the grid of a matrix with one scale.
func perTensor(rows, cols int64) grid { return grid{rows, cols, max(rows, 1), max(cols, 1)} }

// perRow returns the grid of a matrix with a scale for each row.
func perRow(rows, cols int64) grid { return grid{rows, cols, 1, max(cols, 1)} }

// words returns Scheme.Blocks.
func (g grid) words() string {
	switch {
	case g.blockRows >= g.rows && g.blockCols >= g.cols && g.rows != 1:
		return "per tensor"
	case g.blockRows == 1 && g.blockCols >= g.cols && g.rows != 1:
		return "per row"
	case g.blockRows == 1:
		return fmt.Sprintf("blocks of %d", g.blockCols)
	}
	return fmt.Sprintf("blocks of %d x %d", g.blockRows, g.blockCols)
}

// matrix returns the rows and columns of a shape; all axes but the last are rows.
func matrix(shape []int64) (rows, cols int64) {
	rows, cols = 1, 1
	for i, n := range shape {
		if i == len(shape)-1 {
			cols = n
		} else {
			rows *= n
		}
	}
	return rows, cols
}

// newWeight returns the weight of a rule. dtype is that of the dequantised tensor.
func newWeight(name string, dtype tensor.DType, shape []int64, s Scheme, r *rule, parts ...*tensor.Tensor) *Weight {
	w := &Weight{Scheme: s, Stored: append([]*tensor.Tensor{r.codes}, parts...), rule: r}
	w.Tensor = &tensor.Tensor{Name: name, DType: dtype, Shape: slices.Clone(shape)}
	w.Tensor.Data = &dequantized{w}
	return w
}

// codeBytes returns the size of n codes.
func (r *rule) codeBytes(n int64) int64 { return (n*int64(r.bits) + 7) / 8 }

// unpack returns the levels of consecutive codes, the first of which begins at a whole byte.
func (r *rule) unpack(dst []float32, src []byte) {
	switch {
	case r.bits == 8:
		for i := range dst {
			dst[i] = r.levels[src[i]]
		}
	case r.bits == 4 && r.high:
		for i := range dst {
			dst[i] = r.levels[src[i/2]>>(4-4*(i%2))&15]
		}
	default:
		mask := uint(1)<<r.bits - 1
		for i := range dst {
			bit := i * r.bits
			code := uint(src[bit/8]) >> (bit % 8)
			if bit%8+r.bits > 8 {
				code |= uint(src[bit/8+1]) << (8 - bit%8)
			}
			dst[i] = r.levels[code&mask]
		}
	}
}

// value returns the element of a level.
func (r *rule) value(level, scale, bias float32, to tensor.DType) float32 {
	x := float32(level * scale) // a conversion keeps the compiler from fusing operations
	if r.factor != 0 {
		x = float32(x * r.factor)
	}
	if r.biases == nil {
		return x
	}
	if r.round {
		x = narrow(x, to)
	}
	return x + bias
}

// narrow rounds to a dtype.
func narrow(x float32, to tensor.DType) float32 {
	switch to {
	case tensor.BF16:
		u := math.Float32bits(x)
		if u&0x7fffffff > 0x7f800000 {
			return x
		}
		return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
	case tensor.F16:
		var wide, code [4]byte
		var back [1]float64
		binary.LittleEndian.PutUint32(wide[:], math.Float32bits(x))
		toF16(code[:2], wide[:])
		fromF16(back[:], code[:2])
		return float32(back[0])
	}
	return x
}

var (
	toF16, _ = tensor.NewCast(tensor.F32, tensor.F16)
	fromF16  = tensor.ValuesOf(tensor.F16).Decode
)
