package transfer

import "github.com/griffin-ckpt/griffin/formats/tensor"

// matrices is a stack of matrices that are to be transposed, one after the other: a matrix has rows
// rows of cols consecutive elements, pitch elements apart, and its transpose fills the next rows*cols
// elements of the destination.
type matrices struct {
	first      []int64 // element of the source at which each matrix begins
	rows, cols int64
	pitch      int64
}

// asMatrices returns the matrices of a view whose last two axes are a transpose, as those of a dense
// layer are between the layouts. It reports false for other views.
func asMatrices(v tensor.View) (matrices, bool) {
	v = v.Simplify()
	rank := len(v.Shape)
	const most = 1 << 16 // matrices in a stack: more are small ones
	if rank < 2 || v.Strides[rank-2] != 1 || v.Strides[rank-1] < v.Shape[rank-2] {
		return matrices{}, false
	}
	m := matrices{first: []int64{v.Offset}, rows: v.Shape[rank-1], cols: v.Shape[rank-2], pitch: v.Strides[rank-1]}
	for k := range rank - 2 {
		if int64(len(m.first)) > most/v.Shape[k] {
			return matrices{}, false
		}
		var next []int64
		for _, at := range m.first {
			for i := range v.Shape[k] {
				next = append(next, at+i*v.Strides[k])
			}
		}
		m.first = next
	}
	return m, true
}

// ascending reports whether each matrix lies behind the one before, so that a stream that is read
// once gives them in order.
func (m matrices) ascending() bool {
	for i := 1; i < len(m.first); i++ {
		if m.first[i] < m.end(i-1) {
			return false
		}
	}
	return true
}

// end returns the element behind the last of a matrix.
func (m matrices) end(i int) int64 { return m.first[i] + (m.rows-1)*m.pitch + m.cols }
