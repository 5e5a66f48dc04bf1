package quantized

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const methodMLX = "MLX affine"

// openMLX opens a matrix of MLX: code·scale + bias for each group of consecutive elements of a row. The codes are packed into
// words of 32 bits, from the lowest bit up.
func (f *finder) openMLX(t *tensor.Tensor) (*Weight, error) {
	module := strings.TrimSuffix(t.Name, endWeight)
	c, err := f.claim.mlx(module)
	if err != nil {
		return nil, err
	}
	scales, biases := f.beside(t, endScales), f.beside(t, endBiases)
	if c.mode != "affine" {
		return nil, tensor.Bad("mode %s of MLX, which griffin does not read", tensor.QuoteName(c.mode)).Because(ReasonScheme)
	}
	if biases == nil {
		return nil, missingPart(module + endBiases)
	}
	if len(t.Shape) == 0 {
		return nil, tensor.Bad("a scalar with scales").Because(ReasonDamaged)
	}
	rows, groups := matrix(scales.Shape)
	cols, words := groups*c.group, t.Shape[len(t.Shape)-1]
	switch {
	case groups < 1 || groups > math.MaxInt64/c.group || len(scales.Shape) != len(t.Shape) || !slices.Equal(scales.Shape[:len(scales.Shape)-1], t.Shape[:len(t.Shape)-1]):
		return nil, misfit(scales, "a scale for each group of %d elements of the rows of %s", c.group, tensor.ShapeString(t.Shape))
	case words > math.MaxInt64/32 || cols > math.MaxInt64/int64(c.bits) || words*32 != cols*int64(c.bits):
		return nil, tensor.Bad("rows of %d words, and %d groups of %d elements of %d bits take %d", words, groups, c.group, c.bits, cols*int64(c.bits)/32).Because(ReasonMismatch)
	case !slices.Equal(scales.Shape, biases.Shape) || biases.DType != scales.DType:
		return nil, misfit(biases, "%s %s as the scales", scales.DType, tensor.ShapeString(scales.Shape))
	case !slices.Contains([]tensor.DType{tensor.F32, tensor.F16, tensor.BF16}, scales.DType):
		return nil, misfit(scales, "scales in float32, float16 or bfloat16")
	}
	levels := counts[:1<<c.bits]
	shape := append(slices.Clone(t.Shape[:len(t.Shape)-1]), cols)
	if _, _, err := tensor.SizeOf(scales.DType, shape); err != nil {
		return nil, err
	}
	r := &rule{codes: t, bits: c.bits, levels: levels, grid: grid{rows, cols, 1, c.group}, scales: plain{scales}, biases: plain{biases},
		round: true, best: affine(float64(len(levels) - 1))}
	return newWeight(t.Name, scales.DType, shape, Scheme{Method: methodMLX, Bits: c.bits, Blocks: fmt.Sprintf("groups of %d", c.group)}, r, scales, biases), nil
}

// counts are the values of the codes of MLX.
var counts = func() []float32 {
	levels := make([]float32, 1<<8)
	for code := range levels {
		levels[code] = float32(code)
	}
	return levels
}()

// affine returns the scale and the bias that mx.quantize gives a group (affine_quantize of MLX): 0 and the end of the range
// that is farther from it are levels.
func affine(top float64) func(low, high float64) (scale, bias float64) {
	return func(low, high float64) (scale, bias float64) {
		const least = 1e-7
		scale = max((high-low)/top, least)
		edge := high
		if math.Abs(low) > math.Abs(high) {
			edge = low
		} else {
			scale = -scale
		}
		steps := math.RoundToEven(edge / scale)
		if steps == 0 {
			return scale, 0
		}
		return edge / steps, edge
	}
}
