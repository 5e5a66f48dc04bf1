package diff

import (
	"context"
	"math"
	"slices"
	"sync"
)

// explained is what explanations of pairs share.
type explained struct {
	once  sync.Once
	slots chan struct{}

	mu        sync.Mutex
	peeks     map[*Operand]*peek
	sums      map[*Operand]uint64
	relations map[[2]*pair]*relation
}

// atOnce is how many pairs are explained at a time: each may hold a band, and pieces of both sides.
const atOnce = 2

// begin waits until a pair may be explained.
func (e *explained) begin(ctx context.Context) (end func(), err error) {
	e.once.Do(func() {
		e.slots = make(chan struct{}, atOnce)
		e.peeks = map[*Operand]*peek{}
		e.sums = map[*Operand]uint64{}
		e.relations = map[[2]*pair]*relation{}
	})
	select {
	case e.slots <- struct{}{}:
		return func() { <-e.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// peek is some of the first elements of a tensor.
type peek struct {
	once  sync.Once
	codes []uint64
	err   error
}

// peekElements is how many elements a peek chooses from.
const peekElements = 128 << 10

func (e *explained) peek(ctx context.Context, o *Operand) ([]uint64, error) {
	e.mu.Lock()
	p := e.peeks[o]
	if p == nil {
		p = &peek{}
		e.peeks[o] = p
	}
	e.mu.Unlock()
	p.once.Do(func() { p.codes, p.err = readPeek(ctx, addressed(o)) })
	return p.codes, p.err
}

func readPeek(_ context.Context, o *Operand) ([]uint64, error) {
	n := min(o.Elements(), peekElements)
	raw := make([]byte, n*o.DType.Size())
	r, err := o.Open(0)
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
func (all *pairs) related(ctx context.Context, p, other *pair, exact bool) (holds bool, then []Explanation, err error) {
	e := &all.explained
	key := [2]*pair{p, other}
	e.mu.Lock()
	r := e.relations[key]
	if r == nil {
		r = &relation{}
		e.relations[key] = r
	}
	e.mu.Unlock()
	r.once.Do(func() { r.holds, r.then, r.err = relate(ctx, addressed(other.a), addressed(p.b)) })
	return r.holds && (!exact || len(r.then) == 0), r.then, r.err
}

func relate(ctx context.Context, a, b *Operand) (holds bool, then []Explanation, err error) {
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
func (all *pairs) copied(ctx context.Context, p *pair, s *search, inexact bool) ([]Explanation, error) {
	if s.cb.constant || s.b.Elements() < leastEvidence {
		return nil, nil
	}
	others, err := all.lookalikes(ctx, p, s, inexact)
	if err != nil {
		return nil, err
	}
	var best []Explanation
	for _, q := range others {
		holds, then, err := all.related(ctx, p, q, !inexact)
		if err != nil {
			return nil, err
		}
		if !holds {
			continue
		}
		kind := CopiedFrom
		if all.mutual(ctx, p, q) {
			kind = Swapped
		}
		says := append([]Explanation{{Kind: kind, With: q.diff.Name}}, then...)
		if best == nil || precedence(candidate{says: says}, candidate{says: best}) < 0 {
			best = says
		}
	}
	return best, nil
}

// mutual reports whether q's tensor in B is A's of p as well.
func (all *pairs) mutual(ctx context.Context, p, q *pair) bool {
	if q.b == nil || p.a.Elements() != q.b.Elements() {
		return false
	}
	holds, _, err := all.related(ctx, q, p, false)
	return holds && err == nil
}

// mostLookalikes of a tensor are held against all of its elements.
const mostLookalikes = 4

// lookalikes returns pairs whose tensor in A has the first elements of p's tensor in B, or such that one
// operation leads to them.
func (all *pairs) lookalikes(ctx context.Context, p *pair, s *search, inexact bool) ([]*pair, error) {
	mine, err := all.explained.peek(ctx, p.b)
	if err != nil {
		return nil, err
	}
	before, err := all.explained.peek(ctx, p.a)
	if err != nil {
		return nil, err
	}
	var same, alike, moved []*pair
	for _, q := range all.all {
		if q == p || q.a == nil || q.a.Elements() != p.b.Elements() || !similarTypes(q.a, p.b) {
			continue
		}
		if slices.Equal(q.a.Shape, p.b.Shape) {
			theirs, err := all.explained.peek(ctx, q.a)
			if err != nil {
				return nil, err
			}
			if slices.Equal(theirs, before) && slices.Equal(q.a.Shape, p.a.Shape) {
				continue // it is the tensor that A has here, twice
			}
			switch x := (sample{theirs, mine}); {
			case x.allEqual():
				same = append(same, q)
				continue
			case inexact && (x.mostlyEqual() || isFloat(p.b.DType) && x.operated(numberFormats[p.b.DType])):
				alike = append(alike, q)
				continue
			}
		}
		if inexact && q.b != nil && q.diff.Status != Equal {
			sum, err := all.explained.sum(ctx, q.a)
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
func similarTypes(a, b *Operand) bool {
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
func (e *explained) sum(ctx context.Context, o *Operand) (uint64, error) {
	e.mu.Lock()
	sum, ok := e.sums[o]
	e.mu.Unlock()
	if ok {
		return sum, nil
	}
	c, err := takeCensus(ctx, addressed(o), nil)
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sums[o] = c.sum
	return c.sum, nil
}
