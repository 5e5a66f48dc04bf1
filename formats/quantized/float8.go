package quantized

import (
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// methodFloat8 begins the methods of fp8; the type of the codes follows.
const methodFloat8 = "fp8 "

// openFloat8 opens a matrix in fp8: code times the scale of its tensor, row or block.
func (f *finder) openFloat8(t *tensor.Tensor) (*Weight, error) {
	scales := f.scaleOf(t)
	if !slices.Contains([]tensor.DType{tensor.F64, tensor.F32, tensor.F16, tensor.BF16, tensor.F8E8M0}, scales.DType) {
		return nil, tensor.Bad("scales of %s, which griffin does not read", scales.DType).Of(scales.Name).Because(ReasonScheme)
	}
	g, err := f.float8Grid(t, scales)
	if err != nil {
		return nil, err
	}
	levels := float8Levels[t.DType]
	top := float64(0)
	for _, x := range levels {
		if x-x == 0 { // finite
			top = max(top, float64(x))
		}
	}
	method := methodFloat8 + strings.TrimSuffix(strings.TrimPrefix(t.DType.String(), "float8_"), "fn")
	r := &rule{codes: t, bits: 8, levels: levels, grid: g, scales: plain{scales}, best: symmetric(top)}
	return newWeight(t.Name, tensor.F32, t.Shape, Scheme{Method: method, Bits: 8, Blocks: g.words()}, r, scales), nil
}

// float8Grid returns the blocks that the shape of the scales shows. The size of blocks that do not divide the matrix is in
// config.json.
func (f *finder) float8Grid(t, scales *tensor.Tensor) (grid, error) {
	rows, cols := matrix(t.Shape)
	n := scales.Elements()
	switch {
	case rows < 1 || cols < 1:
		return grid{}, tensor.Bad("a matrix without elements, with scales").Because(ReasonDamaged)
	case n == 1:
		return perTensor(rows, cols), nil
	case len(t.Shape) >= 2 && n == rows && (len(scales.Shape) == 1 || scales.Shape[len(scales.Shape)-1] == 1):
		return perRow(rows, cols), nil
	case len(scales.Shape) == 2 && len(t.Shape) == 2:
		g := grid{rows, cols, f.claim.block[0], f.claim.block[1]}
		if g.blockRows < 1 || g.blockCols < 1 {
			down, across := max(scales.Shape[0], 1), max(scales.Shape[1], 1)
			g.blockRows, g.blockCols = rows/down, cols/across
		}
		if g.blockRows > 0 && g.blockCols > 0 && g.down() == scales.Shape[0] && g.across() == scales.Shape[1] {
			return g, nil
		}
	}
	return grid{}, misfit(scales, "one scale for the tensor, for each row, or for each block of a matrix %s", tensor.ShapeString(t.Shape))
}

// float8Levels are the numbers of the codes of each type of 8 bits. All matrices share them.
var float8Levels = func() map[tensor.DType][]float32 {
	all := map[tensor.DType][]float32{}
	for _, d := range []tensor.DType{tensor.F8E4M3, tensor.F8E5M2, tensor.F8E4M3FNUZ, tensor.F8E5M2FNUZ} {
		codes, wide := make([]byte, 256), make([]float64, 256)
		for i := range codes {
			codes[i] = byte(i)
		}
		tensor.ValuesOf(d).Decode(wide, codes)
		all[d] = make([]float32, 256)
		for i, x := range wide {
			all[d][i] = float32(x)
		}
	}
	return all
}()
