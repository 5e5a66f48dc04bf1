package explain

import (
	"cmp"
	"context"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// kinds are the kinds of explanation in the order in which they are preferred.
var kinds = []Kind{Zeroed, Swapped, CopiedFrom, Transposed, PermutedAxes, Reversed, BlockPermuted,
	Scaled, Added, Rounded, Sparse, LowRank}

// mostTries bounds how many candidates are held against all elements of a pair.
const mostTries = 24

// candidate is an explanation that a sample speaks for.
type candidate struct {
	says []Explanation // its kinds say when its turn is
	try  func() (verdict, error)
	held bool // it has been checked
}

// verdict is what checking a candidate gave: the explanation in full where it holds, or the elements that
// it does not hold for, where they are few.
type verdict struct {
	says  []Explanation // nil where it does not hold
	wrong *outcome      // not nil where says holds for all elements but these
}

// precedence orders candidates: one step before two, and then by kind. A difference of low rank comes
// after both: a constant that was added, besides a changed element, is one as well.
func precedence(x, y candidate) int {
	if c := cmp.Compare(x.effort(), y.effort()); c != 0 {
		return c
	}
	for i := range min(len(x.says), len(y.says)) {
		if c := cmp.Compare(slices.Index(kinds, x.says[i].Kind), slices.Index(kinds, y.says[i].Kind)); c != 0 {
			return c
		}
	}
	return 0
}

func (c candidate) effort() int {
	if slices.ContainsFunc(c.says, func(e Explanation) bool { return e.Kind == LowRank }) {
		return 2 + len(c.says)
	}
	return len(c.says)
}

// search seeks what turns one tensor into another.
type search struct {
	ctx    context.Context
	a, b   *tensor.Tensor
	places []int64        // of the elements of b that are looked at first
	orders []*arrangement // that can be listed, and give b's shape
	ca, cb *census
	patch  *patch // of the difference; nil where it has no rank

	steps int // at most: 1 or 2
	queue []candidate
}

// newSearch reads both tensors once.
func newSearch(ctx context.Context, a, b *tensor.Tensor, steps int) (*search, error) {
	s := &search{ctx: ctx, a: a, b: b, steps: steps, places: samplePlaces(b.Elements()), orders: enumerated(a.Shape, b.Shape)}
	s.patch = newPatch(a, b)
	var err error
	if s.ca, err = takeCensus(ctx, a, merged(placesIn(s.orders, s.places), s.patch.places())); err != nil {
		return nil, err
	}
	s.cb, err = takeCensus(ctx, b, merged(s.places, s.patch.places()))
	return s, err
}

func merged(x, y []int64) []int64 {
	all := slices.Concat(x, y)
	slices.Sort(all)
	return slices.Compact(all)
}

// comparable reports whether elements of both are the same 64 bits in a census where they are the same.
func (s *search) comparable() bool {
	return s.a.DType == s.b.DType || isFloat(s.a.DType) && isFloat(s.b.DType)
}

// run returns the first explanation that holds for every element, or nil.
func (s *search) run() ([]Explanation, error) {
	s.zeroes()
	if s.comparable() {
		s.rearrangements()
		s.operations()
		s.differences()
		for _, m := range s.orders {
			s.lowRank(m)
		}
	}
	for tries, last := 0, false; tries < mostTries; tries++ {
		if len(s.queue) == 0 && !last && s.comparable() {
			last = true
			if err := s.reordered(); err != nil {
				return nil, err
			}
		}
		if len(s.queue) == 0 {
			return nil, nil
		}
		next := s.next()
		if next.held {
			return next.says, nil
		}
		v, err := next.try()
		if err != nil {
			return nil, err
		}
		switch {
		case v.says == nil:
		case v.wrong == nil:
			return v.says, nil
		default:
			if says := append(slices.Clone(v.says), v.wrong.sparseness(s.b.Elements())); len(says) <= s.steps {
				s.queue = append(s.queue, candidate{says: says, held: true})
			}
		}
	}
	return nil, nil
}

// next takes the candidate whose turn it is out of the queue.
func (s *search) next() candidate {
	best := 0
	for i, c := range s.queue {
		if precedence(c, s.queue[best]) < 0 {
			best = i
		}
	}
	c := s.queue[best]
	s.queue = slices.Delete(s.queue, best, best+1)
	return c
}

// add queues a candidate, unless it has too many steps.
func (s *search) add(says []Explanation, try func() (verdict, error)) {
	if len(says) <= s.steps {
		s.queue = append(s.queue, candidate{says: says, try: try})
	}
}

// zeroes are candidates in which nothing is left of A.
func (s *search) zeroes() {
	elements := s.b.Elements()
	zeroed := Explanation{Kind: Zeroed}
	all := func(says ...Explanation) func() (verdict, error) {
		return func() (verdict, error) { return verdict{says: says}, nil } // the census has seen every element
	}
	switch {
	case s.cb.zeros == elements:
		s.add([]Explanation{zeroed}, all(zeroed))
	case s.cb.constant && elements >= leastEvidence && isFloat(s.b.DType):
		_, b := sample{s.cb.codes[:1], s.cb.codes[:1]}.values(nil)
		added := Explanation{Kind: Added, Detail: plainNumber(b[0])}
		s.add([]Explanation{zeroed, added}, all(zeroed, added))
	case s.ca.zeros < elements && elements-s.cb.zeros <= elements/sparseShare && isFloat(s.a.DType) && isFloat(s.b.DType):
		m := unmoved(s.a.Shape)
		if slices.Equal(m.result(), squeezed(s.b.Shape)) {
			s.claim(&claim{how: m, steps: []step{zeroing{}}, says: []Explanation{zeroed}})
		}
	}
}

// rearrangements are candidates in which every element is still there.
func (s *search) rearrangements() {
	if s.ca.sum == s.cb.sum {
		for _, m := range s.byDigests() {
			s.claim(&claim{how: m, says: m.says})
		}
	}
	for _, m := range s.orders {
		if len(m.says) == 0 {
			continue
		}
		if x := takeSample(s.ca, m, s.cb, s.places); x.mostlyEqual() {
			s.claim(&claim{how: m, says: m.says})
		}
	}
}

// byDigests returns the arrangements in which the indices of every axis of B have the elements of
// indices of A.
func (s *search) byDigests() []*arrangement {
	var all []*arrangement
	long := longAxes(s.b.Shape)
	for _, m := range axisOrders(s.a.Shape, s.b.Shape) {
		found := m.clone()
		ok := true
		for k, x := range m.axes {
			l, same := matchLine(s.ca.axes[x], s.cb.axes[k])
			if !same {
				ok = false
				break
			}
			found.along[k] = l
			if !l.plain() {
				found.says = append(found.says, explainLine(l, long[k]))
			}
		}
		if ok && len(found.says) > 0 {
			all = append(all, found)
		}
	}
	return all
}

// claim queues a candidate that has nothing to be found out any more.
func (s *search) claim(c *claim) {
	s.add(c.says, func() (verdict, error) {
		out, err := check(s.ctx, s.a, s.b, []*claim{c})
		if err != nil {
			return verdict{}, err
		}
		return s.judge(c.says, &out[0]), nil
	})
}

func (s *search) judge(says []Explanation, o *outcome) verdict {
	switch {
	case o.wrong == 0:
		return verdict{says: says}
	case o.sparse(s.b.Elements()):
		return verdict{says: says, wrong: o}
	}
	return verdict{}
}

// differences are candidates in which the elements are in their places, but for some that are others.
func (s *search) differences() {
	m := unmoved(s.a.Shape)
	if !slices.Equal(m.result(), squeezed(s.b.Shape)) {
		return
	}
	if takeSample(s.ca, m, s.cb, s.places).mostlyEqual() {
		s.add([]Explanation{{Kind: Sparse}}, func() (verdict, error) {
			out, err := check(s.ctx, s.a, s.b, []*claim{{how: m}})
			if err != nil || !out[0].sparse(s.b.Elements()) {
				return verdict{}, err
			}
			return verdict{says: []Explanation{out[0].sparseness(s.b.Elements())}}, nil
		})
	}
}

// zeroing leaves zeros.
type zeroing struct{}

func (zeroing) apply(values []float64) { clear(values) }

func (zeroing) explain() Explanation { return Explanation{Kind: Zeroed} }
