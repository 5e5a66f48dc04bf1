package kernel

// tile adds to rows of c (ldc apart) rows of a (lda apart) times a packed panel b of k terms. There
// are at most tileRows rows; c's are a panel wide.
func tile[T Float](rows int, c []T, ldc int, a []T, lda int, b []T, k int) {
	if k == 0 {
		return
	}
	width := PanelWidth[T]()
	// The assembly checks nothing.
	_, _, _ = c[(rows-1)*ldc+width-1], a[(rows-1)*lda+k-1], b[k*width-1]
	switch c := any(c).(type) {
	case []float32:
		tile32(rows, c, ldc, any(a).([]float32), lda, any(b).([]float32), k)
	case []float64:
		tile64(rows, c, ldc, any(a).([]float64), lda, any(b).([]float64), k)
	}
}

// The tiles in use: generic, unless a file for this machine's instructions says otherwise.
var (
	tile32 = generic32
	tile64 = generic64

	// Implementation names the tiles in use.
	Implementation = "generic"
)
