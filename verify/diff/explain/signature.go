package explain

import (
	"context"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// signatureWords are in a signature, of 64 bits each.
const signatureWords = 4

// fewestBits a signature needs to tell indices apart.
const fewestBits = 32

// signatures has for every index of an axis in which direction the numbers go from one of a few elements
// to the next. Multiplying by a constant, adding one, or rounding hardly changes them, and an element
// that is changed does not matter much: that is how rows are found again that were put in another order
// and then changed in one of those ways.
type signatures struct {
	n     int64
	words [][signatureWords]uint64 // by index

	last []float64 // the element before, by index
	seen []int     // elements seen, by index
	most int       // bits
}

// newSignatures chooses up to 257 of the elements that an index has: by their place in the axes before, and
// that in the axes after.
func newSignatures(shape []int64, axis int) (s *signatures, chosen map[int64][]int64) {
	n := shape[axis]
	inner, total := int64(1), int64(1)
	for k, m := range shape {
		if k > axis {
			inner *= m
		}
		total *= m
	}
	each := total / n
	if n > mostAxis || each <= fewestBits {
		return nil, nil
	}
	rng := rand.New(rand.NewPCG(9, uint64(each)))
	picked := map[int64]bool{}
	for want := min(each, 64*signatureWords+1); int64(len(picked)) < want; {
		picked[rng.Int64N(each)] = true
	}
	chosen = map[int64][]int64{} // by outer: inner
	for p := range picked {
		chosen[p/inner] = append(chosen[p/inner], p%inner)
	}
	for _, list := range chosen {
		slices.Sort(list)
	}
	return &signatures{n: n, words: make([][signatureWords]uint64, n), last: make([]float64, n), seen: make([]int, n),
		most: len(picked) - 1}, chosen
}

// see takes the next element of an index.
func (s *signatures) see(i int64, x float64) {
	if at := s.seen[i] - 1; at >= 0 && s.last[i] < x {
		s.words[i][at/64] |= 1 << (at % 64)
	}
	s.last[i] = x
	s.seen[i]++
}

// finish makes signatures the same for values of the other sign.
func (s *signatures) finish() {
	s.last, s.seen = nil, nil
	for i := range s.words {
		for w := range s.words[i] {
			if n := min(s.most-64*w, 64); n > 0 && s.words[i][w]&1 == 1 {
				s.words[i][w] ^= math.MaxUint64 >> (64 - n)
			}
		}
	}
}

// takeSignatures reads a tensor once and returns the signatures of one axis, or nil.
func takeSignatures(ctx context.Context, o *tensor.Tensor, axis int) (*signatures, error) {
	shape := squeezed(o.Shape)
	s, chosen := newSignatures(shape, axis)
	if s == nil {
		return nil, nil
	}
	inner := int64(1)
	for _, m := range shape[axis+1:] {
		inner *= m
	}
	decode := decoderOf(o.DType)
	size := o.DType.Size()
	codes := make([]uint64, pieceElements)
	// The tensor is [outer, n, inner]: index i of the axis has the stretches (outer, i).
	err := eachPiece(ctx, o, func(first int64, p []byte) error {
		end := first + int64(len(p))/size
		for stretch := first / inner; stretch*inner < end; stretch++ {
			list := chosen[stretch/s.n]
			if len(list) == 0 {
				next := (stretch/s.n + 1) * s.n // the first stretch of the next outer
				stretch = next - 1
				continue
			}
			i, start := stretch%s.n, stretch*inner
			if inner == 1 {
				run := min((stretch/s.n+1)*s.n, end) - stretch
				part := codes[:run]
				decode(part, p[(start-first)*size:(start-first+run)*size])
				for k, x := range part {
					s.see(i+int64(k), math.Float64frombits(x))
				}
				stretch += run - 1
				continue
			}
			for _, in := range list {
				if at := start + in - first; at >= 0 && at < end-first {
					decode(codes[:1], p[at*size:(at+1)*size])
					s.see(i, math.Float64frombits(codes[0]))
				}
			}
		}
		return nil
	})
	s.finish()
	return s, err
}

// match finds the order of the indices of an axis by their signatures: most are found, the others take what
// is left, in order.
func (s *signatures) match(b *signatures) (l line, ok bool) {
	places := make([]map[uint64]int32, signatureWords)
	for w := range places {
		if s.most-64*w < fewestBits {
			break
		}
		places[w] = make(map[uint64]int32, s.n)
		for i, words := range s.words {
			if _, twice := places[w][words[w]]; twice {
				places[w][words[w]] = -1
			} else {
				places[w][words[w]] = int32(i)
			}
		}
	}
	l = line{n: s.n, table: make([]int32, s.n)}
	used := make([]bool, s.n)
	var open []int
	moved := false
	for i, words := range b.words {
		found := int32(-1)
		for w := range places {
			if at, ok := places[w][words[w]]; ok && at >= 0 && !used[at] {
				found = at
				break
			}
		}
		if found < 0 {
			open = append(open, i)
			continue
		}
		used[found], l.table[i] = true, found
		moved = moved || int(found) != i
	}
	if !moved || len(open) > int(s.n)/2 {
		return l, false
	}
	s.fill(l, b, used, open)
	return l, true
}

// mostCompared open indices are compared with all that are left.
const mostCompared = 512

// fill gives the indices that are open the nearest ones that are left; where there are many, in order.
func (s *signatures) fill(l line, b *signatures, used []bool, open []int) {
	var left []int
	for i, taken := range used {
		if !taken {
			left = append(left, i)
		}
	}
	for _, i := range open {
		best := 0
		if len(open) <= mostCompared {
			least := math.MaxInt
			for k, at := range left {
				if d := s.distance(at, b, i); d < least {
					best, least = k, d
				}
			}
		}
		l.table[i] = int32(left[best])
		left = slices.Delete(left, best, best+1)
	}
}

// distance is in how many bits index i and index j of b differ. A word that differs in most of its bits had
// its first one changed, which turned all of them.
func (s *signatures) distance(i int, b *signatures, j int) int {
	n := 0
	for w, word := range s.words[i] {
		d := bits.OnesCount64(word ^ b.words[j][w])
		n += min(d, max(min(s.most-64*w, 64), 0)-d)
	}
	return n
}

// reordered queues that the indices of an axis were put in another order, and something was done besides.
func (s *search) reordered() error {
	m := unmoved(s.a.Shape)
	if s.steps < 2 || !isFloat(s.a.DType) || !isFloat(s.b.DType) || !slices.Equal(m.result(), squeezed(s.b.Shape)) {
		return nil
	}
	long := longAxes(s.b.Shape)
	for k := range m.shape {
		before, err := takeSignatures(s.ctx, s.a, k)
		if err != nil {
			return err
		}
		if before == nil {
			continue
		}
		after, err := takeSignatures(s.ctx, s.b, k)
		if err != nil {
			return err
		}
		l, ok := before.match(after)
		if !ok {
			continue
		}
		found := m.clone()
		found.along[k] = l
		found.says = []Explanation{explainLine(l, long[k])}
		taken, err := takeCensus(s.ctx, s.a, placesIn([]*arrangement{found}, s.places))
		if err != nil {
			return err
		}
		x := takeSample(taken, found, s.cb, s.places)
		if x.mostlyEqual() {
			s.claim(&claim{how: found, says: found.says})
		}
		s.operationsOn(found, x)
	}
	return nil
}
