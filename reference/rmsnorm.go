package reference

// mlxEpsilon is ε of the norms of blocks in mlx-lm, whatever the configuration says.
const mlxEpsilon = 1e-5

// rmsNorm scales each row of x to a mean square of 1 and multiplies it by a learned factor for each
// channel (section 2.1):
//
//	y = x / sqrt(mean(x²) + ε) · (1 + scale)
//
// ε is 1e-6, or that of a Variant.
//
// In BFloat16 the squares are rounded, summed in float32, and their mean is rounded, as in the program
// that JAX compiles. On CPUs, XLA passes large arrays to a library that does not round the squares;
// Arithmetic.Fused does the same.
func (e *engine[T]) rmsNorm(x []T, block int, name string) ([]T, error) {
	width := e.config.Width
	scale, err := e.vector(block, name, width)
	if err != nil {
		return nil, err
	}
	for i := range scale {
		scale[i] = e.step(scale[i] + 1)
	}
	y := e.take(len(x))
	epsilon := e.constant(e.config.variant().NormEpsilon)
	if e.semantics == MLX && block != Outer {
		epsilon = e.constant(mlxEpsilon)
	}
	e.ranges(len(x)/width, width, func(from, to int) {
		for r := from; r < to; r++ {
			row, out := x[r*width:][:width], y[r*width:][:width]
			for i := range row {
				out[i] = e.step(row[i] * row[i])
			}
			norm := e.rsqrt(e.step(e.step(e.sum(out)/T(width)) + epsilon))
			for i := range row {
				out[i] = e.round(e.step(row[i]*norm) * scale[i])
			}
		}
	})
	return y, nil
}
