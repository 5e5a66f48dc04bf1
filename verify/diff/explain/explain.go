// Package explain names what was done to the tensors of one checkpoint, A, to make those of another, B:
// "transposed, then scaled by 0.5", "swapped with x". An explanation was checked on every element before it
// is given.
//
// A caller lists its tensors as pairs and asks about those that differ:
//
//	x := explain.New(pairs)          // all pairs, also the equal ones: B may hold copies of their tensors
//	e, err := x.Explain(ctx, pair)   // one of pairs
//	fmt.Println(e)                   // or e.Kind, e.With, e.Then for programs
//
// A and B of a pair may be any tensors, such as views of stored ones. A program that compares a tensor with
// what it expects there takes the expected elements as A. A pair without B is a candidate only: to find out
// whether a tensor holds something that no pair has, such as another part of the same source, add a pair
// with that as A and a name that says so, and look for CopiedFrom and this name.
package explain

import (
	"context"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Pair is a tensor of A and its counterpart in B.
type Pair struct {
	Name  string         // Explanation.With names other pairs by it
	A, B  *tensor.Tensor // nil if the side has no such tensor
	Equal bool           // B is known to hold A's elements
}

// Explainer explains the pairs of two checkpoints.
type Explainer struct {
	pairs []*Pair
	slots chan struct{} // one for each pair that is explained at a time

	mu        sync.Mutex
	peeks     map[*tensor.Tensor]*peek
	sums      map[*tensor.Tensor]uint64
	relations map[[2]*Pair]*relation
}

// maxConcurrent is how many pairs are explained at a time: each may hold a band, and pieces of both sides.
const maxConcurrent = 2

// New returns an Explainer for the pairs of two checkpoints. All of them are candidates for the other
// tensor of Swapped and CopiedFrom; a pair without B is a candidate only.
func New(pairs []*Pair) *Explainer {
	return &Explainer{pairs: pairs, slots: make(chan struct{}, maxConcurrent),
		peeks: map[*tensor.Tensor]*peek{}, sums: map[*tensor.Tensor]uint64{}, relations: map[[2]*Pair]*relation{}}
}

// Explain finds what was done to A's tensor of a pair to make B's: the first kind of the list that
// holds for every element, else two in succession, else Other. Guesses are made from samples, digests
// and sketches; whatever is said was then computed for every element and held against B, so that no
// digest can make a claim wrong.
//
// What "holds" means:
//
//   - Zeroed, Swapped, CopiedFrom, Transposed, PermutedAxes, Reversed and BlockPermuted: the same bits;
//     the same values where the types of both sides differ. Zeros may have either sign where all is zero.
//   - Scaled, Added, Rounded: B is the exact result rounded once, to nearest and ties to even, to its own
//     type (or, followed by Rounded, to a narrower one). Zeros of either sign are the same, and so are
//     all NaN. Where Detail says "computed in float32" or "in float64", the result was rounded to that
//     first. A constant is claimed only if 8 elements or more tell it.
//   - Sparse: all elements but at most 1% are the same.
//   - LowRank: see lowRank. It is claimed after two other steps, because two such steps may also leave a
//     difference of low rank: a constant that was added, and an element that was changed.
//
// Zeroed and then Added is a tensor of one value. Constant tensors, and those of fewer than 8 elements, are
// no copies of others. Of explanations that all hold, as for a constant or a symmetric tensor, the first is
// said. Tensors of packed types are only Zeroed, or copies. nil says that there is nothing to say.
//
// A pair that nothing explains costs two or three readings of each side; memory does not grow with it.
func (x *Explainer) Explain(ctx context.Context, p *Pair) (*Explanation, error) {
	if p.A == nil || p.B == nil {
		return nil, nil
	}
	select {
	case x.slots <- struct{}{}:
		defer func() { <-x.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	steps, err := x.explain(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 && !slices.Equal(p.A.Shape, p.B.Shape) {
		return nil, nil // the shapes say it
	}
	return chain(steps), nil
}

// chain links explanations that follow one another; none are Other.
func chain(says []Explanation) *Explanation {
	if len(says) == 0 {
		return &Explanation{Kind: Other}
	}
	first := says[0]
	if len(says) > 1 {
		first.Then = chain(says[1:])
	}
	return &first
}

// explain returns one explanation, or two that follow one another, or none.
func (x *Explainer) explain(ctx context.Context, p *Pair) ([]Explanation, error) {
	a, b := addressed(p.A), addressed(p.B)
	if a.Elements() == 0 || b.Elements() == 0 || a.Elements() != b.Elements() {
		return nil, nil
	}
	s, err := newSearch(ctx, a, b, 2)
	if err != nil {
		return nil, err
	}
	own, err := s.run()
	if err != nil || len(own) > 0 && own[0].Kind == Zeroed {
		return own, err
	}
	packed := p.A.DType.Size() == 0 || p.B.DType.Size() == 0
	if packed {
		own = nil // it would be about bytes, not about elements
	}
	if other, err := x.copied(ctx, p, s, len(own) != 1 && !packed); err != nil || other != nil {
		return other, err
	}
	return own, nil
}

// addressed returns an operand whose elements have addresses: of packed types the bytes.
func addressed(o *tensor.Tensor) *tensor.Tensor {
	if o.DType.Size() > 0 {
		return o
	}
	bytes := *o
	bytes.DType, bytes.Shape = tensor.U8, []int64{o.Bytes()}
	return &bytes
}
