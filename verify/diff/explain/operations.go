package explain

import (
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// operations are candidates in which one operation was done to every element, in its place or in that
// of an arrangement.
func (s *search) operations() {
	if !isFloat(s.a.DType) || !isFloat(s.b.DType) {
		return
	}
	for _, m := range s.orders {
		s.operationsOn(m, takeSample(s.ca, m, s.cb, s.places))
	}
}

// operationsOn queues the operations that fit a sample.
func (s *search) operationsOn(m *arrangement, x sample) {
	if x.allEqual() || len(m.says) >= s.steps {
		return
	}
	a, b := x.values(nil)
	own := numberFormats[s.b.DType]
	types := roundedTypes(s.b.DType, b)
	for _, f := range types {
		s.rounded(m, x, f)
		s.constants(m, nil, a, b, f, own)
	}
	if len(m.says) > 0 {
		return
	}
	for _, d := range narrowTypes {
		f := numberFormats[d]
		if f.mantissa >= numberFormats[s.a.DType].mantissa {
			continue
		}
		first := rounding{f}
		if narrow, b := x.values(first); !slices.Equal(narrow, a) {
			s.constants(m, first, narrow, b, own, own)
		}
	}
}

// rounded queues that elements were rounded to a type.
func (s *search) rounded(m *arrangement, x sample, f *numberFormat) {
	if f.mantissa >= numberFormats[s.a.DType].mantissa {
		return
	}
	narrow, b := x.values(rounding{f})
	same := 0
	for i, y := range narrow {
		if y == b[i] || y != y && b[i] != b[i] {
			same++
		}
	}
	if same >= most(len(b)) && len(b) >= leastEvidence {
		s.claim(&claim{how: m, as: f, says: append(slices.Clone(m.says), rounding{f}.explain())})
	}
}

// constants queues that elements were multiplied by a constant, or that one was added, where a and b, a
// sample of elements of both sides after a first step, say so.
func (s *search) constants(m *arrangement, first step, a, b []float64, f, own *numberFormat) {
	says := slices.Clone(m.says)
	var steps []step
	if first != nil {
		says = append(says, first.explain())
		steps = append(steps, first)
	}
	for _, kind := range []Kind{Scaled, Added} {
		of, nothing := scaleOf, 1.0
		if kind == Added {
			of, nothing = sumOf, 0
		}
		in, ok := agreed(a, b, f, of)
		if !ok || in.has(nothing) {
			continue
		}
		says := append(slices.Clone(says), Explanation{Kind: kind})
		if f != own && first == nil {
			says = append(says, rounding{f}.explain())
		}
		at := len(says) - 1
		if f != own && first == nil {
			at--
		}
		s.add(says, func() (verdict, error) { return s.tryConstants(m, steps, in, f, of, kind, says, at) })
	}
}

// tryConstants finds a constant that does for every element, or for all but a few. says[at] is the
// explanation that names it.
func (s *search) tryConstants(m *arrangement, first []step, in interval, f *numberFormat, of constraint, kind Kind,
	says []Explanation, at int) (verdict, error) {
	in, err := narrowedBy(s.ctx, s.a, s.b, m, first, f, of, in)
	if err != nil || in.low > in.high {
		return verdict{}, err
	}
	var claims []*claim
	for _, c := range constantsIn(in, f, s.b.Shape, kind == Scaled) {
		says := slices.Clone(says)
		operation := c.step(kind, f)
		says[at] = operation.explain()
		claims = append(claims, &claim{how: m, steps: append(slices.Clone(first), operation), as: f, says: says})
	}
	out, err := check(s.ctx, s.a, s.b, claims)
	if err != nil {
		return verdict{}, err
	}
	best := 0
	for i := range out {
		if out[i].wrong < out[best].wrong {
			best = i
		}
	}
	return s.judge(claims[best].says, &out[best]), nil
}

// step returns the operation with the constant.
func (c constant) step(kind Kind, f *numberFormat) step {
	var via *numberFormat
	text := c.text
	if c.via32 {
		via = numberFormats[tensor.F32]
		text += ", computed in float32"
	}
	if c.via64 {
		text += ", computed in float64"
	}
	exact := f.mantissa == 52 || c.via64
	if kind == Added {
		return adding{constant: c.value, via: via, exact: exact, detail: text}
	}
	return scaling{by: c.value, divide: c.divide, via: via, exact: exact, detail: "by " + text}
}
