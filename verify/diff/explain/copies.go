package explain

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// peek is some of the first elements of a tensor.
type peek struct {
	once  sync.Once
	codes []uint64
	err   error
}

// peekElements is how many elements a peek chooses from.
const peekElements = 128 << 10

func (x *Explainer) peek(ctx context.Context, o *tensor.Tensor) ([]uint64, error) {
	x.mu.Lock()
	p := x.peeks[o]
	if p == nil {
		p = &peek{}
		x.peeks[o] = p
	}
	x.mu.Unlock()
	p.once.Do(func() { p.codes, p.err = readPeek(ctx, addressed(o)) })
	return p.codes, p.err
}

func readPeek(_ context.Context, o *tensor.Tensor) ([]uint64, error) {
	n := min(o.Elements(), peekElements)
	raw := make([]byte, n*o.DType.Size())
	r, err := open(o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := readPiece(r, raw, o); err != nil {
		return nil, err
	}
	decode := decoderOf(o.DType)
	var codes []uint64
	for _, i := range samplePlaces(n) {
		var one [1]uint64
		decode(one[:], raw[i*o.DType.Size():(i+1)*o.DType.Size()])
		codes = append(codes, one[0])
	}
	return codes, nil
}

// relation is whether B's tensor of one pair is A's tensor of another, but for one step.
type relation struct {
	once  sync.Once
	holds bool
	then  []Explanation // none, or one
	err   error
}

// related checks, once, every element of what B's tensor of p would be, were it made of A's of other.
func (x *Explainer) related(ctx context.Context, p, other *Pair, exact bool) (holds bool, then []Explanation, err error) {
	key := [2]*Pair{p, other}
	x.mu.Lock()
	r := x.relations[key]
	if r == nil {
		r = &relation{}
		x.relations[key] = r
	}
	x.mu.Unlock()
	r.once.Do(func() { r.holds, r.then, r.err = relate(ctx, addressed(other.A), addressed(p.B)) })
	return r.holds && (!exact || len(r.then) == 0), r.then, r.err
}

func relate(ctx context.Context, a, b *tensor.Tensor) (holds bool, then []Explanation, err error) {
	if m := unmoved(a.Shape); slices.Equal(a.Shape, b.Shape) {
		out, err := check(ctx, a, b, []*claim{{how: m}})
		if err != nil || out[0].wrong == 0 {
			return err == nil, nil, err
		}
	}
	s, err := newSearch(ctx, a, b, 1)
	if err != nil {
		return false, nil, err
	}
	then, err = s.run()
	return len(then) > 0 && then[0].Kind != Zeroed, then, err
}

// copied looks for another tensor of A that B has in the place of this one. Only if inexact is asked for
// may one step follow.
func (x *Explainer) copied(ctx context.Context, p *Pair, s *search, inexact bool) ([]Explanation, error) {
	if s.cb.constant || s.b.Elements() < leastEvidence {
		return nil, nil
	}
	others, err := x.lookalikes(ctx, p, s, inexact)
	if err != nil {
		return nil, err
	}
	var best []Explanation
	for _, q := range others {
		holds, then, err := x.related(ctx, p, q, !inexact)
		if err != nil {
			return nil, err
		}
		if !holds {
			continue
		}
		kind := CopiedFrom
		if x.mutual(ctx, p, q) {
			kind = Swapped
		}
		says := append([]Explanation{{Kind: kind, With: q.Name}}, then...)
		if best == nil || precedence(candidate{says: says}, candidate{says: best}) < 0 {
			best = says
		}
	}
	return best, nil
}

// mutual reports whether q's tensor in B is A's of p as well.
func (x *Explainer) mutual(ctx context.Context, p, q *Pair) bool {
	if q.B == nil || p.A.Elements() != q.B.Elements() {
		return false
	}
	holds, _, err := x.related(ctx, q, p, false)
	return holds && err == nil
}

// mostLookalikes of a tensor are held against all of its elements.
const mostLookalikes = 4

// lookalikes returns pairs whose tensor in A has the first elements of p's tensor in B, or such that one
// operation leads to them.
func (x *Explainer) lookalikes(ctx context.Context, p *Pair, s *search, inexact bool) ([]*Pair, error) {
	mine, err := x.peek(ctx, p.B)
	if err != nil {
		return nil, err
	}
	before, err := x.peek(ctx, p.A)
	if err != nil {
		return nil, err
	}
	var same, alike, moved []*Pair
	for _, q := range x.pairs {
		if q == p || q.A == nil || q.A.Elements() != p.B.Elements() || !similarTypes(q.A, p.B) {
			continue
		}
		if slices.Equal(q.A.Shape, p.B.Shape) {
			theirs, err := x.peek(ctx, q.A)
			if err != nil {
				return nil, err
			}
			if slices.Equal(theirs, before) && slices.Equal(q.A.Shape, p.A.Shape) {
				continue // it is the tensor that A has here, twice
			}
			switch x := (sample{theirs, mine}); {
			case x.allEqual():
				same = append(same, q)
				continue
			case inexact && (x.mostlyEqual() || isFloat(p.B.DType) && x.operated(numberFormats[p.B.DType])):
				alike = append(alike, q)
				continue
			}
		}
		if inexact && q.B != nil && !q.Equal {
			sum, err := x.sum(ctx, q.A)
			if err != nil {
				return nil, err
			}
			if sum == s.cb.sum {
				moved = append(moved, q)
			}
		}
	}
	found := slices.Concat(same, alike, moved)
	return found[:min(len(found), mostLookalikes)], nil
}

// similarTypes reports whether elements of both can be the same.
func similarTypes(a, b *tensor.Tensor) bool {
	return a.DType == b.DType || isFloat(a.DType) && isFloat(b.DType)
}

// operated reports whether an operation fits a sample.
func (x sample) operated(f *numberFormat) bool {
	a, b := x.values(nil)
	for _, of := range []constraint{scaleOf, sumOf} {
		if _, ok := agreed(a, b, f, of); ok {
			return true
		}
	}
	for _, d := range narrowTypes {
		narrow, _ := x.values(rounding{numberFormats[d]})
		same := 0
		for i := range narrow {
			if math.Float64bits(narrow[i]) == x.b[i] {
				same++
			}
		}
		if same >= most(len(narrow)) {
			return true
		}
	}
	return false
}

// sum returns the sum of the digests of a tensor's elements.
func (x *Explainer) sum(ctx context.Context, o *tensor.Tensor) (uint64, error) {
	x.mu.Lock()
	sum, ok := x.sums[o]
	x.mu.Unlock()
	if ok {
		return sum, nil
	}
	c, err := takeCensus(ctx, addressed(o), nil)
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sums[o] = c.sum
	return c.sum, nil
}
