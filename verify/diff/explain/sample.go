package explain

import (
	"cmp"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// sample is some elements of B, and of A those that an arrangement puts in their places.
type sample struct{ a, b []uint64 }

// takeSample collects what the censuses hold of the elements at places of B.
func takeSample(a *census, m *arrangement, b *census, places []int64) sample {
	var s sample
	for _, i := range places {
		s.a = append(s.a, a.code(m.from(i)))
		s.b = append(s.b, b.code(i))
	}
	return s
}

// most of a sample is what has to agree for an explanation to be checked: one that holds but for 1% of
// the elements passes, but for one time in a million.
func most(n int) int { return n - n/12 }

// mostlyEqual reports whether most elements are the same in every bit, or in value where the types differ.
func (s sample) mostlyEqual() bool {
	equal := 0
	for i, a := range s.a {
		if a == s.b[i] {
			equal++
		}
	}
	return equal >= most(len(s.a))
}

func (s sample) allEqual() bool { return slices.Equal(s.a, s.b) }

// values returns the numbers of a sample of floating-point elements, those of A after a step.
func (s sample) values(first step) (a, b []float64) {
	for i := range s.a {
		a = append(a, math.Float64frombits(s.a[i]))
		b = append(b, math.Float64frombits(s.b[i]))
	}
	if first != nil {
		first.apply(a)
	}
	return a, b
}

// interval is the constants that turn an element of A into one of B; or into most of them.
type interval struct{ low, high float64 }

func (i interval) has(x float64) bool { return x >= i.low && x <= i.high }

// constraint tells what an element says of a constant: which ones it allows, or nothing at all (a zero
// that is scaled), or that none would do.
type constraint func(a, b float64, f *numberFormat) (allowed interval, says, possible bool)

// scaleOf is the constraint on c where b is c·a rounded.
func scaleOf(a, b float64, f *numberFormat) (allowed interval, says, possible bool) {
	if a == 0 || a != a || b != b || math.IsInf(a, 0) {
		same := a == 0 && b == 0 || a != a && b != b || math.IsInf(a, 0) && math.IsInf(b, 0)
		return interval{}, false, same
	}
	low, high, _ := f.roundsTo(b)
	low, high = low/a, high/a
	if a < 0 {
		low, high = high, low
	}
	return interval{math.Nextafter(low, math.Inf(-1)), math.Nextafter(high, math.Inf(1))}, true, true
}

// sumOf is the constraint on d where b is a+d rounded.
func sumOf(a, b float64, f *numberFormat) (allowed interval, says, possible bool) {
	if a != a || b != b || math.IsInf(a, 0) {
		return interval{}, false, a != a && b != b || a == b
	}
	low, high, _ := f.roundsTo(b)
	return interval{math.Nextafter(low-a, math.Inf(-1)), math.Nextafter(high-a, math.Inf(1))}, true, true
}

// leastEvidence is how many elements have to tell the constant for it to be claimed: with fewer, some
// constant is often found that means nothing.
const leastEvidence = 8

// agreed returns the constants that most elements of a sample allow, if there are any.
func agreed(a, b []float64, f *numberFormat, of constraint) (interval, bool) {
	var all []interval
	impossible := 0
	for i := range a {
		allowed, says, possible := of(a[i], b[i], f)
		if !possible {
			impossible++
		}
		if !says || !possible {
			continue
		}
		all = append(all, allowed)
		if len(all) == 12 && !overlapSome(all) {
			return interval{}, false
		}
	}
	if len(a)-impossible < most(len(a)) || len(all) < leastEvidence || len(all) < len(a)/20 {
		return interval{}, false
	}
	best, agree := deepest(all)
	return best, agree >= most(len(all))
}

// overlapSome is a quick look at a few intervals: whether one of the first three meets most others.
func overlapSome(all []interval) bool {
	for _, one := range all[:3] {
		common := 0
		for _, other := range all {
			if one.low <= other.high && other.low <= one.high {
				common++
			}
		}
		if common >= len(all)*2/3 {
			return true
		}
	}
	return false
}

// deepest returns the constants that most intervals have in common, and how many.
func deepest(all []interval) (best interval, agree int) {
	type end struct {
		at    float64
		opens int // 1, or -1
	}
	var ends []end
	for _, i := range all {
		ends = append(ends, end{i.low, 1}, end{i.high, -1})
	}
	slices.SortFunc(ends, func(x, y end) int {
		return cmp.Or(cmp.Compare(x.at, y.at), y.opens-x.opens)
	})
	depth := 0
	for i, e := range ends {
		if depth += e.opens; depth > agree {
			agree, best = depth, interval{e.at, ends[i+1].at}
		}
	}
	return best, agree
}

// holdsMost reports whether the type has most numbers of a sample of B, so that they may have been rounded
// to it.
func holdsMost(f *numberFormat, values []float64) bool {
	held := 0
	for _, x := range values {
		if y := f.round(x); y == x || x != x {
			held++
		}
	}
	return held >= most(len(values))
}

// roundedTypes returns the types that B's elements may have been rounded to before they were stored: its
// own type first, and narrower ones.
func roundedTypes(b tensor.DType, values []float64) []*numberFormat {
	own := numberFormats[b]
	types := []*numberFormat{own}
	for _, d := range narrowTypes {
		if f := numberFormats[d]; f.mantissa < own.mantissa && holdsMost(f, values) {
			types = append(types, f)
		}
	}
	return types
}
