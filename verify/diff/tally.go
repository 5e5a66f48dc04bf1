package diff

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// tally sums up the elements of a pair that were compared.
type tally struct {
	differing int64
	beyond    int64 // outside the tolerance
	first     int64 // index of the first differing element, -1 for none
	firstA    float64
	firstB    float64
	restA     float64 // of 64-bit integers: what firstA and firstB lack
	restB     float64

	maxAbs, sumAbs float64
	finite         int64   // numbers that are finite on both sides; the sums are over them
	dd, aa, bb, ab float64 // sums of (a-b)², a², b², a·b
	ulp            uint64
	apart          apart
	nanA, nanB     int64
	infA, infB     int64

	changes []Change // of all chunks

	notRoundedB int64 // elements of B that are not those of A rounded to B's type
	notRoundedA int64 // and the other way round
}

// add adds the tally of the elements that follow.
func (t *tally) add(u *tally) {
	if t.first < 0 {
		t.first, t.firstA, t.firstB, t.restA, t.restB = u.first, u.firstA, u.firstB, u.restA, u.restB
	}
	t.differing += u.differing
	t.beyond += u.beyond
	t.maxAbs = max(t.maxAbs, u.maxAbs)
	t.sumAbs += u.sumAbs
	t.finite += u.finite
	t.dd += u.dd
	t.aa += u.aa
	t.bb += u.bb
	t.ab += u.ab
	t.ulp = max(t.ulp, u.ulp)
	t.apart.undefined, t.apart.infinite = t.apart.undefined || u.apart.undefined, t.apart.infinite || u.apart.infinite
	t.nanA += u.nanA
	t.nanB += u.nanB
	t.infA += u.infA
	t.infB += u.infB
	t.changes = plusChanges(t.changes, u.changes)
	t.notRoundedA += u.notRoundedA
	t.notRoundedB += u.notRoundedB
}

// addEqual adds numbers that are the same on both sides.
func (t *tally) addEqual(x []float64) {
	for _, v := range x {
		if math.Abs(v) <= math.MaxFloat64 {
			t.finite++
			t.aa += v * v
		} else {
			t.addNonFinite(v, v)
		}
	}
	t.bb, t.ab = t.aa, t.aa
}

// addValues adds numbers and their differences, and counts the differences by their size.
func (t *tally) addValues(x, y []float64, sizes *histogram) {
	y = y[:len(x)]
	for i, a := range x {
		b := y[i]
		if !(math.Abs(a) <= math.MaxFloat64 && math.Abs(b) <= math.MaxFloat64) {
			t.addNonFinite(a, b)
			continue
		}
		distance := math.Abs(a - b)
		if distance > t.maxAbs {
			t.maxAbs = distance
		}
		sizes[math.Float64bits(distance)>>52]++
		t.finite++
		t.sumAbs += distance
		t.dd += distance * distance
		t.aa += a * a
		t.bb += b * b
		t.ab += a * b
	}
}

// addNonFinite adds numbers one of which is not finite. Unless both are the same, their distance is not a number, or infinite.
func (t *tally) addNonFinite(a, b float64) {
	switch {
	case a != a != (b != b):
		t.apart.undefined = true
	case a == a && a != b:
		t.apart.infinite = true
	}
	if a != a {
		t.nanA++
	} else if math.IsInf(a, 0) {
		t.infA++
	}
	if b != b {
		t.nanB++
	} else if math.IsInf(b, 0) {
		t.infB++
	}
}

// apart says that some elements have a distance that is not a finite number.
type apart struct {
	undefined bool // NaN on one side only
	infinite  bool // infinite on one side only, or with other signs
}

// spread gives the distances of m the value that such elements give them.
func (a apart) spread(m *Metrics) {
	switch {
	case a.undefined:
		m.MaxAbs, m.MeanAbs, m.RelativeL2, m.Cosine = Number(math.NaN()), Number(math.NaN()), Number(math.NaN()), Number(math.NaN())
		m.MaxULP = nil
	case a.infinite:
		m.MaxAbs, m.MeanAbs, m.RelativeL2, m.Cosine = Number(math.Inf(1)), Number(math.Inf(1)), Number(math.Inf(1)), Number(math.NaN())
	}
}

// metrics returns the metrics of a pair all of whose elements were added. ulp and tolerance say whether
// Metrics.MaxULP and Metrics.Beyond apply.
func (t *tally) metrics(shape []int64, ulp, tolerance bool) *Metrics {
	m := &Metrics{Differing: t.differing, MaxAbs: Number(t.maxAbs), RelativeL2: Number(math.Sqrt(t.dd / t.aa)), Cosine: Number(max(-1, min(1, t.ab/math.Sqrt(t.aa)/math.Sqrt(t.bb)))), // NaN if a or b is 0
		NaNA: t.nanA, NaNB: t.nanB, InfA: t.infA, InfB: t.infB, First: tensor.Unravel(t.first, shape), FirstA: Number(t.firstA), FirstB: Number(t.firstB), Changes: NewChanges(t.changes...)}
	if t.finite > 0 {
		m.MeanAbs = Number(t.sumAbs / float64(t.finite))
	}
	switch {
	case t.dd == 0:
		m.RelativeL2 = 0
	case t.aa == 0:
		m.RelativeL2 = Number(math.Inf(1))
	}
	if ulp { // copies, since a pointer into t keeps all of it
		most := t.ulp
		m.MaxULP = &most
	}
	if tolerance {
		beyond := t.beyond
		m.Beyond = &beyond
	}
	t.apart.spread(m)
	if t.restA != 0 || t.restB != 0 {
		m.FirstIntegers = []string{wideText(t.firstA, t.restA), wideText(t.firstB, t.restB)}
	}
	return m
}

// histogram counts differences |a - b| by the exponent of a float64.
type histogram [2048]int64

// plusChanges returns the counts of both, in ascending order as they are.
func plusChanges(a, b []Change) []Change {
	if len(a) == 0 {
		return b
	}
	var sum []Change
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Exponent < b[0].Exponent:
			sum, a = append(sum, a[0]), a[1:]
		case len(a) == 0 || b[0].Exponent < a[0].Exponent:
			sum, b = append(sum, b[0]), b[1:]
		default:
			sum = append(sum, Change{a[0].Exponent, a[0].Count + b[0].Count})
			a, b = a[1:], b[1:]
		}
	}
	return sum
}

// changes lists the differences that are not 0 and that did not overflow. Those below the least normal
// float64 count as 0.
func (h *histogram) changes() []Change {
	const bias, overflow = 1023, 2047
	var out []Change
	for i, n := range h {
		if i > 0 && i < overflow && n > 0 {
			out = append(out, Change{Exponent: i - bias, Count: n})
		}
	}
	return out
}
