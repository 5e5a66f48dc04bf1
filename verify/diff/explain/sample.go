package explain

import (
	"math/rand/v2"
	"slices"
)

// maxSample is how many elements decide whether a candidate is worth comparing in full.
const maxSample = 256

// sampleOf returns the indices of up to maxSample of n elements, ascending and always the same. It is all
// of a small tensor.
func sampleOf(n int64) []int64 {
	if n <= maxSample {
		return firstIndices(n)
	}
	rng := rand.New(rand.NewPCG(5, uint64(n)))
	var some []int64
	for range maxSample {
		some = append(some, rng.Int64N(n))
	}
	slices.Sort(some)
	return slices.Compact(some)
}

// firstIndices returns the numbers below n.
func firstIndices(n int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

// indicesIn returns the elements of a tensor that its arrangements put at the given indices, ascending.
func indicesIn(all []*arrangement, indices []int64) []int64 {
	var from []int64
	for _, m := range all {
		for _, i := range indices {
			from = append(from, m.from(i))
		}
	}
	slices.Sort(from)
	return slices.Compact(from)
}

// sample is the codes of some elements of B, and of those elements of A that an arrangement puts there.
type sample struct{ a, b []uint64 }

// newSample collects sampled elements by their indices in B.
func newSample(a *fingerprint, m *arrangement, b *fingerprint, indices []int64) sample {
	var s sample
	for _, i := range indices {
		s.a = append(s.a, a.code(m.from(i)))
		s.b = append(s.b, b.code(i))
	}
	return s
}

// nearlyAll is how many of n sampled elements have to agree for a candidate to be compared in full. A
// candidate that holds for 99% of all elements fails this once in a million.
func nearlyAll(n int) int { return n - n/12 }

// nearlyEqual reports whether nearly all elements are equal: in the bits, or in the value if the dtypes
// differ.
func (s sample) nearlyEqual() bool {
	equal := 0
	for i, a := range s.a {
		if a == s.b[i] {
			equal++
		}
	}
	return equal >= nearlyAll(len(s.a))
}

func (s sample) equal() bool { return slices.Equal(s.a, s.b) }

// values returns the numbers of a sample of floating-point elements.
func (s sample) values() (a, b []float64) {
	for i := range s.a {
		a, b = append(a, valueOf(s.a[i])), append(b, valueOf(s.b[i]))
	}
	return a, b
}
