package explain

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// sparsityPatterns are N:M patterns, of which processors can use 2:4: of every m consecutive elements of a row, at most n are
// not zero. The strictest come first.
var sparsityPatterns = []struct{ n, m int64 }{{1, 4}, {2, 4}, {4, 8}}

// pruned queues that elements were set to zero, or that zeros have other signs, and all others are as they were.
func (s *search) pruned() {
	a, b := s.a.tensor, s.b.tensor
	if !s.sameShape() || a.DType != b.DType || !isFloat(b.DType) {
		return
	}
	m := identity(a.Shape)
	sample := newSample(s.a, m, s.b, s.sampled)
	kind := ZeroSigns
	for i, code := range sample.b {
		switch {
		case code == sample.a[i]:
		case valueOf(code) != 0:
			return
		case valueOf(sample.a[i]) != 0:
			kind = Pruned
		}
	}
	s.add([]Explanation{{Kind: kind}}, func() (verdict, error) {
		steps, err := s.checkPruned(m)
		return verdict{steps: steps}, err
	})
}

// checkPruned compares all elements, and finds the pattern of those that are zero, or that only signs of zeros differ. It returns nil if an
// element is neither zero nor as it was.
func (s *search) checkPruned(m *arrangement) ([]Explanation, error) {
	b := s.b.tensor
	size := b.DType.Size()
	row := int64(1)
	if n := len(b.Shape); n > 0 {
		row = b.Shape[n-1]
	}
	patterns := newPatterns(row)
	removed, signs := int64(0), 0
	err := s.eachPair(m, func(first int64, p, q []byte) error {
		for at := int64(0); at < int64(len(q)); at += size {
			isZero := zeroBits(q[at : at+size])
			switch {
			case bytes.Equal(p[at:at+size], q[at:at+size]):
			case isZero && zeroBits(p[at:at+size]):
				signs++
			case isZero:
				removed++
			default:
				return errStop
			}
			patterns.add(first+at/size, isZero)
		}
		return nil
	})
	switch {
	case err == errStop:
		return nil, nil
	case err != nil:
		return nil, err
	case removed == 0 && signs > 0 && slices.Equal(s.a.tensor.Shape, b.Shape):
		return []Explanation{{Kind: ZeroSigns}}, nil
	case removed < minEvidence:
		return nil, nil
	}
	return []Explanation{{Kind: Pruned, Detail: patterns.describe()}}, nil
}

// tryZeroSigns finds out whether signs of zeros differ, and a few other elements. All NaN are the same.
func tryZeroSigns(s *search, m *arrangement) (verdict, error) {
	c := &comparison{a: s.a.tensor, b: s.b.tensor}
	values, elements, signs := newDecoder(c.a, c.b), c.b.Elements(), 0
	var rest mismatches
	err := s.eachPair(m, func(first int64, p, q []byte) error {
		c.start(first, p, q)
		a, b := values.decode(p, q)
		for i, x := range a {
			switch y := b[i]; {
			case x != y && (x == x || y == y):
				rest.add(func() Changed { return c.changed(i) })
			case x == 0 && math.Signbit(x) != math.Signbit(y):
				signs++
			}
		}
		if rest.n > elements/sparseShare {
			return errStop
		}
		return nil
	})
	if err == errStop || err == nil && (signs == 0 || rest.n == 0) {
		return verdict{}, nil
	}
	return verdict{steps: []Explanation{{Kind: ZeroSigns}, rest.explanation(elements)}}, err
}

// zeroBits reports whether a floating-point element is zero, of either sign.
func zeroBits(p []byte) bool {
	last := len(p) - 1
	for _, b := range p[:last] {
		if b != 0 {
			return false
		}
	}
	return p[last]&0x7f == 0
}

// patterns finds which of the patterns holds for the elements that are added, in order.
type patterns struct {
	holds []bool
	zeros []int64 // in the current group of each
}

func newPatterns(row int64) *patterns {
	p := &patterns{make([]bool, len(sparsityPatterns)), make([]int64, len(sparsityPatterns))}
	for i, x := range sparsityPatterns {
		p.holds[i] = row%x.m == 0
	}
	return p
}

func (p *patterns) add(element int64, isZero bool) {
	for i, x := range sparsityPatterns {
		if element%x.m == 0 {
			p.zeros[i] = 0
		}
		if isZero {
			p.zeros[i]++
		}
		if element%x.m == x.m-1 && p.zeros[i] < x.m-x.n {
			p.holds[i] = false
		}
	}
}

func (p *patterns) describe() string {
	for i, x := range sparsityPatterns {
		if p.holds[i] {
			return fmt.Sprintf("%d:%d (of every %d elements of a row at least %d are zero, all others are as they were)", x.n, x.m, x.m, x.m-x.n)
		}
	}
	return "(elements were set to zero, all others are as they were)"
}
