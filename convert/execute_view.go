package convert

import "github.com/griffin-ckpt/griffin/formats/tensor"

// compose returns the view of s's store that shows what view shows of the tensor's row-major
// elements: of the elements as Stream gives them. It reports false where no view does, which
// takes a view that runs across axes that s has in another order.
func compose(view tensor.View, s *tensor.Strided) (tensor.View, bool) {
	inner := simplify(s.View)
	steps := tensor.RowMajor(inner.Shape...).Strides
	out := tensor.View{Shape: view.Shape, Strides: make([]int64, len(view.Shape)), Offset: inner.Offset}
	if view.Elements() == 0 {
		return out, true
	}
	// Each index of inner is the sum of what the offset and the axes of view that lie within that
	// axis contribute, and none of the sums may carry over into the axis before.
	last := make([]int64, len(inner.Shape))
	rest := view.Offset
	for a, step := range steps {
		last[a] = rest / step
		rest %= step
		out.Offset += last[a] * inner.Strides[a]
	}
	for k, n := range view.Shape {
		if n == 1 || view.Strides[k] == 0 {
			continue
		}
		a := axisOf(view.Strides[k], steps, inner.Shape)
		if a < 0 {
			return tensor.View{}, false
		}
		times := view.Strides[k] / steps[a]
		out.Strides[k] = times * inner.Strides[a]
		last[a] += (n - 1) * times
	}
	for a, i := range last {
		if i >= inner.Shape[a] {
			return tensor.View{}, false
		}
	}
	return out, true
}

// axisOf returns the axis along which a stride over row-major elements moves, or -1.
func axisOf(stride int64, steps, shape []int64) int {
	for a, step := range steps {
		if stride%step == 0 && stride/step < shape[a] {
			return a
		}
	}
	return -1
}

// simplify drops axes of size 1 and joins axes that lie one within the other, without changing
// which elements the view shows in which order.
func simplify(v tensor.View) tensor.View {
	out := tensor.View{Offset: v.Offset}
	for k, n := range v.Shape {
		if n == 1 {
			continue
		}
		if last := len(out.Shape) - 1; last >= 0 && out.Strides[last] == n*v.Strides[k] {
			out.Shape[last] *= n
			out.Strides[last] = v.Strides[k]
			continue
		}
		out.Shape = append(out.Shape, n)
		out.Strides = append(out.Strides, v.Strides[k])
	}
	return out
}

// run reports whether a view shows consecutive elements in their order.
func run(v tensor.View) (first, n int64, ok bool) {
	return v.Offset, v.Elements(), v.IsRowMajor()
}

// matrices is a stack of matrices that are to be transposed, one after the other: matrix i
// consists of rows rows of cols consecutive elements, pitch elements apart, and its transpose fills
// the next rows*cols elements of the destination.
type matrices struct {
	first      []int64 // element at which each matrix begins
	rows, cols int64
	pitch      int64
}

// asMatrices recognises a view whose last two axes are a transpose, as both layouts of a dense
// layer are of each other.
func asMatrices(v tensor.View) (matrices, bool) {
	v = simplify(v)
	rank := len(v.Shape)
	const most = 1 << 16 // matrices in a stack; more are small ones
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

// ascending reports whether a stream that is read once gives the matrices in their order.
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
