package tensor

// Compose returns the view of s.Store that shows what view shows of the tensor's row-major elements.
// It reports false if there is no such view: if an axis of view runs across axes that s has in
// another order.
func (s *Strided) Compose(view View) (View, bool) {
	inner := s.View.Simplify()
	steps := RowMajor(inner.Shape...).Strides
	out := View{Shape: view.Shape, Strides: make([]int64, len(view.Shape)), Offset: inner.Offset}
	if view.Elements() == 0 {
		return out, true
	}
	// The index along an axis of inner is the sum of what the offset of view and those of its axes that
	// lie within that axis contribute. No sum may carry over into the axis before: last holds the
	// largest index along each axis.
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
			return View{}, false
		}
		times := view.Strides[k] / steps[a]
		out.Strides[k] = times * inner.Strides[a]
		last[a] += (n - 1) * times
	}
	for a, i := range last {
		if i >= inner.Shape[a] {
			return View{}, false
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
