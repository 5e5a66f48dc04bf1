package kernel

// tile adds the product of rows of a and a packed panel b of k terms to rows of c. Rows of a start lda
// elements apart, rows of c ldc elements; there are at most tileRows rows. A row of c has PanelWidth
// elements.
func tile[T Float](rows int, c []T, ldc int, a []T, lda int, b []T, k int) {
	if k == 0 {
		return
	}
	width := PanelWidth[T]()
	// The assembly does not check bounds.
	_, _, _ = c[(rows-1)*ldc+width-1], a[(rows-1)*lda+k-1], b[k*width-1]
	switch c := any(c).(type) {
	case []float32:
		tile32(rows, c, ldc, any(a).([]float32), lda, any(b).([]float32), k)
	case []float64:
		tile64(rows, c, ldc, any(a).([]float64), lda, any(b).([]float64), k)
	}
}

// The implementation in use. Files for the instructions of a machine replace the generic one.
var (
	tile32 = generic32
	tile64 = generic64

	implementation = "generic"
)
