package stats

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// moments are the count, the mean, the sum of squared distances from the mean, and the range of values. They can be merged
// without loss of precision (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances", 1979).
type moments struct {
	n        int64
	mean, m2 float64
	min, max float64
}

func (m *moments) merge(o moments) {
	if o.n == 0 {
		return
	}
	if m.n == 0 {
		*m = o
		return
	}
	n := m.n + o.n
	d := o.mean - m.mean
	m.m2 += o.m2 + d*d*(float64(m.n)*(float64(o.n)/float64(n)))
	m.mean += d * (float64(o.n) / float64(n))
	m.n, m.min, m.max = n, min(m.min, o.min), max(m.max, o.max)
}

func (m *moments) into(s *Stats) {
	if m.n == 0 {
		return
	}
	s.Min, s.Max, s.Mean = Number(m.min), Number(m.max), Number(m.mean)
	s.Std = Number(math.Sqrt(m.m2 / float64(m.n)))
	s.AbsMax = Number(max(math.Abs(m.min), math.Abs(m.max)))
}

// wide gathers the statistics of dtypes that have too many values for codes: moments panel by panel, and the histogram by
// the upper 16 bits of float32.
type wide struct {
	dtype   tensor.DType
	values  tensor.Values
	decoded []float64

	sum             moments
	nan, inf, zeros int64
	cells           *counts // values by order
}

func newWide(d tensor.DType, values tensor.Values, total int64) *wide {
	return &wide{dtype: d, values: values, cells: newCounts(total)}
}

func (w *wide) add(p []byte) {
	n := len(p) * 8 / w.dtype.Bits() * w.values.Lanes
	if cap(w.decoded) < n {
		w.decoded = make([]float64, n)
	}
	v := w.decoded[:n]
	w.values.Decode(v, p)
	finite := v[:0]
	for _, x := range v {
		if x-x != 0 { // only of NaN and infinities
			w.countNotFinite(x)
			continue
		}
		if x == 0 {
			w.zeros++
		}
		w.cells.add(order(x))
		finite = append(finite, x)
	}
	w.sum.merge(momentsOf(finite))
}

func (w *wide) countNotFinite(x float64) {
	if math.IsNaN(x) {
		w.nan++
	} else {
		w.inf++
	}
}

func momentsOf(v []float64) moments {
	if len(v) == 0 {
		return moments{}
	}
	m := moments{n: int64(len(v)), min: v[0], max: v[0]}
	sum := 0.0
	for _, x := range v {
		sum += x
		if x < m.min {
			m.min = x
		}
		if x > m.max {
			m.max = x
		}
	}
	if m.mean = sum / float64(m.n); math.IsInf(sum, 0) {
		m.mean = 0
		for _, x := range v { // the sum overflows, but the mean does not
			m.mean += x / float64(m.n)
		}
	}
	for _, x := range v {
		m.m2 += (x - m.mean) * (x - m.mean)
	}
	return m
}

func (w *wide) stats() *Stats {
	s := noValues()
	s.Values, s.NaN, s.Inf, s.Zeros = w.sum.n+w.nan+w.inf, w.nan, w.inf, w.zeros
	w.sum.into(&s)
	var cells []cell
	for _, k := range w.cells.occurring() {
		cells = append(cells, cell{lowest(k), w.cells.n[k]})
	}
	w.cells.release()
	if w.sum.n > 0 {
		s.Histogram = fill(edgesOf(w.dtype, w.sum.min, w.sum.max), cells)
	}
	return &s
}

// order numbers values in ascending order by the upper 16 bits of their float32. A value that float32 does not represent
// counts as the next lower one.
func order(v float64) uint16 {
	f := float32(v)
	if float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	f += 0 // -0 becomes 0
	if f < -math.MaxFloat32 {
		f = -math.MaxFloat32
	}
	bits := math.Float32bits(f)
	return uint16((bits ^ (uint32(int32(bits)>>31) | 1<<31)) >> 16) // without branches, because half of them would be mispredicted
}

// lowest returns the smallest value with a given order.
func lowest(k uint16) float64 {
	if k == order(-math.MaxFloat32) {
		return math.Inf(-1) // all below float32 are in it
	}
	if k&0x8000 != 0 {
		return float64(math.Float32frombits(uint32(k&0x7fff) << 16))
	}
	return float64(math.Float32frombits(uint32(^k)<<16 | 0xffff))
}
