package kernel

import "github.com/griffin-ckpt/griffin/formats/tensor"

// instructions is an instruction set with the routines that are written for it. All give the same bits.
type instructions struct {
	name string
	rows int // height of the largest tile, at most maxTileRows

	// A tile adds to panels of rows of c (ldc apart) k terms of a times b:
	// c[r][j] += Σ over t of a[t*lda+r]·b[t][j]. The second panel of b begins BlockTerms terms after
	// the first. The sums go on from c, or, if fresh, begin at zero and are added to c.
	// Meanwhile the cache lines of next are fetched.
	tile32 func(rows, panels int, c []float32, ldc int, a []float32, lda int, b []float32, k int, fresh bool, next *lines)
	tile64 func(rows, panels int, c []float64, ldc int, a []float64, lda int, b []float64, k int, fresh bool, next *lines)

	// A pack packs as many of the k terms of a full panel as it can and returns their number. src
	// begins with the first weight; rows (outputs or terms) are stride bytes apart.
	pack32 func(dst []float32, dtype tensor.DType, inOut bool, src []byte, stride, k int) int
	pack64 func(dst []float64, dtype tensor.DType, inOut bool, src []byte, stride, k int) int

	// A direct multiplies a few rows of x, packed, by the weights of outs outputs: directOutputs, or for
	// [in, out] a multiple of that. Meanwhile the cache lines of next are fetched, as many as the weights
	// have. It returns how many of the k terms it took: none if there is no routine for so many rows.
	direct func(rows int, y []float32, ldy int, x []float32, dtype tensor.DType, inOut bool, src []byte, stride, k, outs int, next stream) int

	exp, tanh func(dst, src []float32) // of equal length
}

// directOutputs is how many outputs are computed together without packing.
const directOutputs = 32

// maxTileRows is the height of the highest tile of any instruction set.
const maxTileRows = 8

// available are the instruction sets that this processor has, the best one last.
var available = []*instructions{{
	name: "generic", rows: maxTileRows, tile32: generic32, tile64: generic64,
	pack32: func([]float32, tensor.DType, bool, []byte, int, int) int { return 0 },
	pack64: func([]float64, tensor.DType, bool, []byte, int, int) int { return 0 },
	direct: func(_ int, _ []float32, _ int, _ []float32, _ tensor.DType, _ bool, _ []byte, _, _, _ int, _ stream) int {
		return 0
	},
	exp: genericExp, tanh: genericTanh,
}}

// use is the instruction set in use.
var use = available[0]

// Implementation names the instruction set in use.
func Implementation() string { return use.name }

// tile is the tile of the instruction set in use.
func tile[T Float](rows, panels int, c []T, ldc int, a []T, lda int, b []T, k int, fresh bool, next *lines) {
	width := PanelWidth[T]()
	// The assembly checks nothing.
	_, _, _ = c[(rows-1)*ldc+panels*width-1], a[(k-1)*lda+rows-1], b[((panels-1)*BlockTerms+k)*width-1]
	switch c := any(c).(type) {
	case []float32:
		use.tile32(rows, panels, c, ldc, any(a).([]float32), lda, any(b).([]float32), k, fresh, next)
	case []float64:
		use.tile64(rows, panels, c, ldc, any(a).([]float64), lda, any(b).([]float64), k, fresh, next)
	}
}

// pack packs as many terms of a full panel, from term k and output j on, as the instruction set in use
// can, and returns their number.
func pack[T Float](dst []T, w *Matrix, k, terms, j int) int {
	width, size := PanelWidth[T](), int(w.DType.Size())
	last := w.offset(k+terms-1, j+width-1) + size
	src := w.Data[w.offset(k, j):last]
	switch dst := any(dst).(type) {
	case []float32:
		return use.pack32(dst, w.DType, w.InOut, src, w.Stride*size, terms)
	case []float64:
		return use.pack64(dst, w.DType, w.InOut, src, w.Stride*size, terms)
	}
	return 0
}
