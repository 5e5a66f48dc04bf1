package diff

import (
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// tally is what is known of the elements of a pair that have been compared so far.
type tally struct {
	differing int64
	beyond    int64 // outside the tolerance
	first     int64 // differing element, -1 for none
	firstA    float64
	firstB    float64

	maxAbs, sumAbs float64
	finite         int64   // numbers that are finite on both sides; the sums are over them
	dd, aa, bb, ab float64 // sums of (a-b)², a², b², a·b
	ulp            uint64
	nanA, nanB     int64
	infA, infB     int64

	changes *changes // nil where nothing was counted

	notRoundedB int64 // elements of B that are not those of A rounded to B's type
	notRoundedA int64 // and the other way round
}

// add adds what is known of the elements that follow.
func (t *tally) add(u *tally) {
	if t.first < 0 {
		t.first, t.firstA, t.firstB = u.first, u.firstA, u.firstB
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
	t.nanA += u.nanA
	t.nanB += u.nanB
	t.infA += u.infA
	t.infB += u.infB
	t.changes = t.changes.plus(u.changes)
	t.notRoundedA += u.notRoundedA
	t.notRoundedB += u.notRoundedB
}

// sumEqual sums numbers that are the same on both sides.
func (t *tally) sumEqual(x []float64) {
	for _, v := range x {
		if math.Abs(v) <= math.MaxFloat64 {
			t.finite++
			t.aa += v * v
		} else {
			t.countSpecial(v, v)
		}
	}
	t.bb, t.ab = t.aa, t.aa
}

// sum sums numbers and their differences, and counts the differences by their size.
func (t *tally) sum(x, y []float64, sizes *changes) {
	y = y[:len(x)]
	for i, a := range x {
		b := y[i]
		if !(math.Abs(a) <= math.MaxFloat64 && math.Abs(b) <= math.MaxFloat64) {
			t.countSpecial(a, b)
			continue
		}
		apart := math.Abs(a - b)
		if apart > t.maxAbs {
			t.maxAbs = apart
		}
		sizes[math.Float64bits(apart)>>52]++
		t.finite++
		t.sumAbs += apart
		t.dd += apart * apart
		t.aa += a * a
		t.bb += b * b
		t.ab += a * b
	}
}

func (t *tally) countSpecial(a, b float64) {
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

// metrics returns what the tally of a whole pair says.
func (t *tally) metrics(shape []int64, steps, tolerance bool) *Metrics {
	m := &Metrics{Differing: t.differing, MaxAbs: Number(t.maxAbs), RelativeL2: Number(math.Sqrt(t.dd / t.aa)), Cosine: Number(math.NaN()),
		NaNA: t.nanA, NaNB: t.nanB, InfA: t.infA, InfB: t.infB, First: tensor.Unravel(t.first, shape), FirstA: Number(t.firstA), FirstB: Number(t.firstB), Changes: t.changes.list()}
	if t.finite > 0 {
		m.MeanAbs = Number(t.sumAbs / float64(t.finite))
	}
	switch {
	case t.dd == 0:
		m.RelativeL2 = 0
	case t.aa == 0:
		m.RelativeL2 = Number(math.Inf(1))
	}
	if t.aa > 0 && t.bb > 0 {
		m.Cosine = Number(max(-1, min(1, t.ab/math.Sqrt(t.aa)/math.Sqrt(t.bb))))
	}
	if steps {
		m.MaxULP = &t.ulp
	}
	if tolerance {
		m.Beyond = &t.beyond
	}
	return m
}
