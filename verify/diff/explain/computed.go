package explain

import (
	"context"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// computed queues that one operation was done to every element: where it was, or after the elements were
// put in another order.
func (s *search) computed() {
	if !isFloat(s.a.tensor.DType) || !isFloat(s.b.tensor.DType) {
		return
	}
	for _, m := range s.orders {
		x := newSample(s.a, m, s.b, s.sampled)
		if x.equal() || len(m.steps) >= s.maxSteps {
			continue
		}
		a, b := x.values()
		queueRounded(s, m, a, b)
		for _, f := range roundedTypes(s.b.tensor.DType, b) {
			if f.contains(s.exact) || !f.nearlyRounds(a, b) {
				s.constants(m, a, b, f)
			}
		}
	}
}

// queueRounded queues that elements were rounded to a dtype that lacks some of a's values, and then to b's, if sampled values of both sides
// allow it. What truncates does so to a dtype that b's contains.
func queueRounded(s *search, m *arrangement, a, b []float64) {
	own := numberFormats[s.b.tensor.DType]
	formats := []*numberFormat{own}
	for _, d := range narrowTypes {
		if numberFormats[d] != own {
			formats = append(formats, numberFormats[d])
		}
	}
	for _, f := range formats {
		if f.contains(numberFormats[s.a.tensor.DType]) {
			continue
		}
		ways := []*numberFormat{f}
		if own.contains(f) {
			ways = append(ways, f.truncated())
		}
		for _, f := range ways {
			if f.rounds(a, b, own) {
				s.addClaim(&claim{order: m, format: f, steps: append(slices.Clone(m.steps), f.explanation(own))})
			}
		}
	}
}

// IsRounded reports whether b is a tensor of the same shape in another floating-point dtype, without all values of a's, that has the
// elements of a rounded to nearest, if that changed more than half as many as it is expected to change. The elements of a may be changed ones
// otherwise, by less than rounding. It reads b once and a twice.
func IsRounded(ctx context.Context, a, b *tensor.Tensor) (bool, error) {
	f, to := numberFormats[a.DType], numberFormats[b.DType]
	if f == nil || to == nil || to.contains(f) || !slices.Equal(a.Shape, b.Shape) {
		return false, nil
	}
	s := &search{ctx: ctx, a: &fingerprint{tensor: a}, b: &fingerprint{tensor: b}}
	rest, err := s.check([]*claim{{order: identity(a.Shape), format: to}})
	if err != nil || rest[0].n > 0 {
		return false, err
	}
	expected := 0.0
	values := newDecoder(a, b)
	err = s.eachPair(identity(a.Shape), func(_ int64, p, q []byte) error {
		all, _ := values.decode(p, q)
		for _, x := range all {
			expected += f.lost(to, math.Abs(x))
		}
		return nil
	})
	return 2*rest[0].rounded > int64(math.Ceil(expected)), err
}

// lost is the share of the numbers of f near x, which is not negative, that another format lacks.
func (f *numberFormat) lost(to *numberFormat, x float64) float64 {
	switch {
	case x == 0 || x != x || math.IsInf(x, 0):
		return 0
	case x > to.largest:
		return 1
	}
	return max(0, 1-f.step(x)/to.step(x))
}

// rounds reports whether nearly all values of b are those of a rounded to the format, and then to that in which they are stored.
func (f *numberFormat) rounds(a, b []float64, stored *numberFormat) bool {
	same := 0
	for i, x := range a {
		if y := stored.round(f.round(x)); y == b[i] || y != y && b[i] != b[i] {
			same++
		}
	}
	return same >= nearlyAll(len(b)) && len(b) >= minEvidence
}

// nearlyRounds reports whether no value of b is farther than a step of the format from that of a. Then another rounding explains it, and
// constants that fit would often be found by chance.
func (f *numberFormat) nearlyRounds(a, b []float64) bool {
	for i, x := range a {
		if y := f.round(x); math.Abs(y-b[i]) > f.step(max(math.Abs(y), math.Abs(b[i]))) {
			return false
		}
	}
	return true
}

// constants queues that elements were multiplied by a constant, or that one was added, if sampled values
// of both sides allow it. The result was rounded to f.
func (s *search) constants(m *arrangement, a, b []float64, f *numberFormat) {
	for _, kind := range []Kind{Scaled, Added} {
		in, ok := kind.agreed(a, b, f)
		if !ok || in.has(kind.neutral()) {
			continue
		}
		steps := append(slices.Clone(m.steps), Explanation{Kind: kind})
		if f != numberFormats[s.b.tensor.DType] {
			steps = append(steps, f.explanation(numberFormats[s.b.tensor.DType]))
		}
		s.add(steps, func() (verdict, error) { return s.tryConstants(m, in, f, kind, steps) })
	}
}

// tryConstants finds a constant that holds for every element, or for all but a few. steps is the
// explanation without the constant.
func (s *search) tryConstants(m *arrangement, in interval, f *numberFormat, kind Kind, steps []Explanation) (verdict, error) {
	in, err := s.narrow(m, in, f, kind)
	if err != nil || in.low > in.high {
		return verdict{}, err
	}
	ends := kind.endsOf(in, f)
	var claims []*claim
	for _, c := range append(kind.constantsIn(in, f, s.b.tensor.Shape), ends...) {
		steps := slices.Clone(steps)
		steps[len(m.steps)] = c.explanation()
		claims = append(claims, &claim{order: m, constant: &c, format: f, steps: steps})
	}
	rest, err := s.check(claims)
	if err != nil {
		return verdict{}, err
	}
	best := 0
	for i := range rest {
		if rest[i].n < rest[best].n {
			best = i
		}
	}
	d := &determined{interval: in, chosen: *claims[best].constant, format: f}
	for i, c := range ends {
		if rest[len(rest)-len(ends)+i].n == rest[best].n {
			d.ends = append(d.ends, c)
		}
	}
	if d.chosen.inFloat32 || !in.has(d.chosen.factor()) {
		d.interval, d.ends = interval{d.chosen.factor(), d.chosen.factor()}, nil
	}
	claims[best].steps[len(m.steps)].constants = d
	return s.judge(claims[best].steps, &rest[best]), nil
}

// narrow intersects an interval with the constants that each element of b allows, except for elements
// that leave nothing of it: a few may have been changed as well. The result is empty if these are many.
func (s *search) narrow(m *arrangement, from interval, f *numberFormat, kind Kind) (interval, error) {
	values, elements := newDecoder(s.a.tensor, s.b.tensor), s.b.tensor.Elements()
	against := int64(0)
	err := s.eachPair(m, func(_ int64, p, q []byte) error {
		a, b := values.decode(p, q)
		for i, x := range a {
			in, certain, possible := kind.allowed(x, b[i], f)
			common := interval{max(from.low, in.low), min(from.high, in.high)}
			switch {
			case possible && !certain:
			case possible && common.low <= common.high:
				from = common
			default:
				against++
			}
		}
		if against > elements/sparseShare+elements/1000+8 {
			return errStop
		}
		return nil
	})
	if err == errStop {
		return interval{math.Inf(1), math.Inf(-1)}, nil
	}
	return from, err
}
