package kernel

import "github.com/griffin-ckpt/griffin/formats/tensor"

// instructions are the routines for one instruction set. All sets give the same bits.
type instructions struct {
	name string
	rows int // rows of the largest tile, at most maxTileRows

	// A tile adds the product of rows of a and one or two packed panels b of k terms to rows of c:
	// c[r*ldc+j] += Σ a[t*lda+r]·b[t][j] over t < k. The second panel starts BlockTerms terms after the
	// first. The running sums start with c or, if fresh is set, with zero and are added to c. The tile
	// prefetches next.
	tile32 func(rows, panels int, c []float32, ldc int, a []float32, lda int, b []float32, k int, fresh bool, next *lines)
	tile64 func(rows, panels int, c []float64, ldc int, a []float64, lda int, b []float64, k int, fresh bool, next *lines)

	// A block adds the product of n rows of a and two packed panels of k terms to c. n is a multiple of PanelWidth, and a has
	// the packed panels of rows one after the other. It prefetches next once. nil if there is none: then the tiles are called
	// one by one.
	block32 func(n int, c []float32, ldc int, a, b []float32, k int, next *lines)

	// A pack packs the first of the k terms of a full panel and returns how many. src starts with the
	// first weight; rows (outputs or terms) are stride bytes apart.
	pack32 func(dst []float32, dtype tensor.DType, inOut bool, src []byte, stride, k int) int
	pack64 func(dst []float64, dtype tensor.DType, inOut bool, src []byte, stride, k int) int

	// A direct adds the product of a few packed rows x and weights that are not packed to rows of y. outs
	// is directOutputs, or a multiple of it if the weights are [in, out]. It prefetches as many lines of
	// next as the weights have, and returns how many of the k terms it multiplied: 0 if it has no routine
	// for that many rows.
	direct func(rows int, y []float32, ldy int, x []float32, dtype tensor.DType, inOut bool, src []byte, stride, k, outs int, next stream) int

	functions

	pause func()

	pairs pairInstructions
}

// pairInstructions are the routines for products of bfloat16, in which a step of k is a pair of terms: see packPairs for what
// 32 bits then hold. They are else like the routines of instructions.
type pairInstructions struct {
	tile   func(rows, panels int, c []float32, ldc int, a []float32, lda int, b []float32, k int, fresh bool, next *lines)
	block  func(n int, c []float32, ldc int, a, b []float32, k int, next *lines)
	pack   func(dst []float32, dtype tensor.DType, inOut bool, src []byte, stride, k int) int
	direct func(rows int, y []float32, ldy int, x []float32, dtype tensor.DType, inOut bool, src []byte, stride, k, outs int, next stream) int
}

// directOutputs is the number of outputs that a direct computes together.
const directOutputs = 32

// maxTileRows is the number of rows of the largest tile of all instruction sets.
const maxTileRows = 8

// available are the instruction sets of this processor, the fastest one last.
var available = []*instructions{{
	name: "generic", rows: maxTileRows, tile32: generic32, tile64: generic64, pack32: noPack[float32], pack64: noPack[float64], direct: noDirect,
	functions: genericFunctions, pairs: genericPairInstructions, pause: func() {},
}}

var genericPairInstructions = pairInstructions{tile: genericPairs, pack: noPack[float32], direct: noDirect}

func noPack[T Float]([]T, tensor.DType, bool, []byte, int, int) int { return 0 }

func noDirect(int, []float32, int, []float32, tensor.DType, bool, []byte, int, int, int, stream) int {
	return 0
}

// use is the instruction set in use.
var use = available[0]

// tile calls the tile of the instruction set in use.
func tile[T Float](rows, panels int, c []T, ldc int, a []T, lda int, b []T, k int, pairs, fresh bool, next *lines) {
	width := PanelWidth[T]()
	// The assembly does not check bounds.
	_, _, _ = c[(rows-1)*ldc+panels*width-1], a[(k-1)*lda+rows-1], b[((panels-1)*BlockTerms+k)*width-1]
	switch c := any(c).(type) {
	case []float32:
		tile := use.tile32
		if pairs {
			tile = use.pairs.tile
		}
		tile(rows, panels, c, ldc, any(a).([]float32), lda, any(b).([]float32), k, fresh, next)
	case []float64:
		use.tile64(rows, panels, c, ldc, any(a).([]float64), lda, any(b).([]float64), k, fresh, next)
	}
}

// pack packs the first of the terms [k, k+terms) of the full panel that starts at output j, and returns
// how many.
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
