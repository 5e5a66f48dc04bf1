package explain

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// kinds are the kinds of explanation in the order in which they are preferred.
var kinds = []Kind{Zeroed, ZeroSigns, Swapped, CopiedFrom, Transposed, PermutedAxes, Reshaped, Reversed, BlockPermuted,
	Truncated, Scaled, Added, Rounded, Sparse, Pruned, LowRank}

// maxTries bounds how many candidates of a pair are compared with all elements.
const maxTries = 24

// candidate is an explanation that agrees with a sample.
type candidate struct {
	steps []Explanation // their kinds determine the order of trying
	try   func() (verdict, error)
}

// verdict is the result of trying a candidate.
type verdict struct {
	steps []Explanation // with all details; nil if the candidate does not hold
	rest  *mismatches   // the few elements for which it does not hold; nil if there are none
}

// compareSteps orders explanations: one step before two, then by kind, and then by rank. LowRank comes after both.
func compareSteps(x, y []Explanation) int {
	if c := cmp.Compare(effort(x), effort(y)); c != 0 {
		return c
	}
	byKind := func(x, y Explanation) int {
		return cmp.Compare(slices.Index(kinds, x.Kind), slices.Index(kinds, y.Kind))
	}
	byRank := func(x, y Explanation) int { return cmp.Compare(x.Rank, y.Rank) }
	return cmp.Or(slices.CompareFunc(x, y, byKind), slices.CompareFunc(x, y, byRank))
}

// preferred returns the explanation that comes first in order; nil if both are.
func preferred(x, y []Explanation) []Explanation {
	if x == nil || y != nil && compareSteps(y, x) < 0 {
		return y
	}
	return x
}

func effort(steps []Explanation) int {
	if slices.ContainsFunc(steps, func(e Explanation) bool { return e.Kind == LowRank }) {
		return 2 + len(steps)
	}
	return len(steps)
}

// search looks for what turns tensor a into tensor b.
type search struct {
	ctx      context.Context
	a, b     *fingerprint
	sampled  []int64        // the elements of b that are looked at first
	orders   []*arrangement // all that give b's shape and can be listed
	reshaped []*arrangement // those after which the shape has to be changed as well
	patch    *patch         // of the difference; nil if it has no rank
	maxSteps int            // 1 or 2
	exact    *numberFormat  // that a's elements had before they were rounded to its dtype; nil if it is no float
	queue    []candidate
}

// newSearch reads both tensors once, b only if its fingerprint is not known from another search for the same shapes.
func newSearch(ctx context.Context, a, b *tensor.Tensor, known *fingerprint, maxSteps int) (*search, error) {
	s := &search{ctx: ctx, sampled: sampleOf(b.Elements()), orders: listed(a.Shape, b.Shape), reshaped: reshaped(a.Shape, b.Shape),
		patch: newPatch(a, b), maxSteps: maxSteps, exact: numberFormats[a.DType], b: known}
	sampledA := indicesIn(slices.Concat(s.orders, s.reshaped), s.sampled)
	var err error
	if s.a, err = newFingerprint(ctx, a, union(sampledA, s.patch.indices())); err != nil {
		return nil, err
	}
	if known == nil {
		s.b, err = newFingerprint(ctx, b, union(s.sampled, s.patch.indices()))
	}
	return s, err
}

func union(x, y []int64) []int64 {
	all := slices.Concat(x, y)
	slices.Sort(all)
	return slices.Compact(all)
}

// run returns the first explanation that holds for every element, or nil.
func (s *search) run() ([]Explanation, error) {
	s.zeroed()
	if comparable(s.a.tensor, s.b.tensor) {
		s.rearranged()
		s.computed()
		s.sparse()
		s.pruned()
		for _, m := range s.orders {
			s.lowRank(m)
		}
	}
	return tryAll(s)
}

// tryAll tries what is queued, and returns the first explanation that holds for every element, or nil.
func tryAll(s *search) ([]Explanation, error) {
	for tries := 0; tries < maxTries && len(s.queue) > 0; tries++ {
		v, err := s.next().try()
		switch {
		case err != nil:
			return nil, err
		case v.steps == nil:
		case v.rest == nil:
			return v.steps, nil
		default:
			s.addKnown(append(slices.Clone(v.steps), v.rest.explanation(s.b.tensor.Elements()))...)
		}
	}
	return nil, nil
}

// next removes the first candidate from the queue.
func (s *search) next() candidate {
	first := 0
	for i, c := range s.queue {
		if compareSteps(c.steps, s.queue[first].steps) < 0 {
			first = i
		}
	}
	c := s.queue[first]
	s.queue = slices.Delete(s.queue, first, first+1)
	return c
}

// add queues a candidate, unless it has too many steps.
func (s *search) add(steps []Explanation, try func() (verdict, error)) {
	if len(steps) <= s.maxSteps {
		s.queue = append(s.queue, candidate{steps, try})
	}
}

// addKnown queues an explanation that was already checked.
func (s *search) addKnown(steps ...Explanation) {
	s.add(steps, func() (verdict, error) { return verdict{steps: steps}, nil })
}

// addClaim queues a claim. Rounding has to explain more elements than it leaves.
func (s *search) addClaim(c *claim) {
	s.add(c.steps, func() (verdict, error) {
		rest, err := s.check([]*claim{c})
		if err != nil || c.format != nil && rest[0].rounded <= rest[0].n {
			return verdict{}, err
		}
		return s.judge(c.steps, &rest[0]), nil
	})
}

// judge returns the verdict on steps that do not hold for some elements.
func (s *search) judge(steps []Explanation, rest *mismatches) verdict {
	switch {
	case rest.n == 0:
		return verdict{steps: steps}
	case rest.few(s.b.tensor.Elements()):
		return verdict{steps, rest}
	}
	return verdict{}
}

// sameShape reports whether both tensors have the same shape, apart from axes of size 1.
func (s *search) sameShape() bool {
	return slices.Equal(squeeze(s.a.tensor.Shape), squeeze(s.b.tensor.Shape))
}

// zeroed queues that nothing is left of A, or if nothing was in A, that zeros have other signs.
func (s *search) zeroed() {
	elements := s.b.tensor.Elements()
	switch {
	case s.b.zeros == elements && s.a.zeros == elements && slices.Equal(s.a.tensor.Shape, s.b.tensor.Shape):
		s.addKnown(Explanation{Kind: ZeroSigns})
	case s.b.zeros == elements:
		s.addKnown(Explanation{Kind: Zeroed})
	case s.b.constant && elements >= minEvidence && isFloat(s.b.tensor.DType) && !math.IsNaN(valueOf(s.b.codes[0])):
		s.addKnown(Explanation{Kind: Zeroed}, Explanation{Kind: Added, Detail: plainNumber(valueOf(s.b.codes[0]))})
	}
}

// rearranged queues that the elements are in another order.
func (s *search) rearranged() {
	for _, m := range s.byDigests() {
		s.addClaim(&claim{order: m, steps: m.steps})
	}
	for _, m := range slices.Concat(s.orders, s.reshaped) {
		if len(m.steps) > 0 && newSample(s.a, m, s.b, s.sampled).nearlyEqual() {
			s.addClaim(&claim{order: m, steps: m.steps})
		}
	}
}

// byDigests returns the arrangements in which every index of an axis of B has the elements of some index
// of A.
func (s *search) byDigests() []*arrangement {
	if s.a.sum != s.b.sum {
		return nil
	}
	var all []*arrangement
	long := longAxes(s.b.tensor.Shape)
	for _, m := range axisOrders(s.a.tensor.Shape, s.b.tensor.Shape) {
		found, ok := m.clone(), true
		for k, axis := range m.axes {
			var order axisOrder
			if order, ok = matchAxis(s.a.axes[axis], s.b.axes[k]); !ok {
				break
			}
			found.orders[k] = order
			if !order.isIdentity() {
				found.steps = append(found.steps, order.explanation(long[k]))
			}
		}
		if ok && len(found.steps) > 0 {
			all = append(all, found)
		}
	}
	return all
}

// sparse queues that all elements are where they were, except that a few were changed.
func (s *search) sparse() {
	if !s.sameShape() {
		return
	}
	m := identity(s.a.tensor.Shape)
	if s.a.zeros > 0 && s.b.zeros > 0 && isFloat(s.a.tensor.DType) && isFloat(s.b.tensor.DType) {
		s.add([]Explanation{{Kind: ZeroSigns}, {Kind: Sparse}}, func() (verdict, error) { return tryZeroSigns(s, m) })
	}
	if !newSample(s.a, m, s.b, s.sampled).nearlyEqual() {
		return
	}
	s.add([]Explanation{{Kind: Sparse}}, func() (verdict, error) {
		rest, err := s.check([]*claim{{order: m}})
		elements := s.b.tensor.Elements()
		if err != nil || !rest[0].few(elements) {
			return verdict{}, err
		}
		return verdict{steps: []Explanation{rest[0].explanation(elements)}}, nil
	})
}
