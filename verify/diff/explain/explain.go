// Package explain names what was done to the tensors of one checkpoint, A, to make those of another, B:
// "transposed, then scaled by 0.5", "swapped with x". Every explanation was checked on all elements
// before it is returned.
//
// A caller lists its tensors as pairs and asks about those that differ:
//
//	x := explain.New(pairs)        // all pairs, also the equal ones: B may hold copies of their tensors
//	e, err := x.Explain(ctx, pair) // one of pairs
//	fmt.Println(e)                 // programs use e.Kind, e.With and e.Then
//
// A and B may be any tensors, such as views of stored ones. A program that compares a tensor with what it
// expects there takes the expected elements as A; Expected makes such a tensor of the sources. A pair
// without B is a candidate only: to find out whether a tensor holds something that no pair has, such as
// another part of the same source, add a pair with that as A and a name that says so, and look for
// CopiedFrom with this name.
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

	at int32 // index of the pair in its Explainer
}

// Explainer explains the pairs of two checkpoints. It may be used by several goroutines.
type Explainer struct {
	pairs []*Pair
	slots chan struct{} // holds one value for each pair that is being explained

	mu      sync.Mutex
	classes map[string]*class
	copies  map[[2]*Pair]*copyCheck
}

// maxConcurrent is how many pairs are explained at a time: each may hold a band (see gather.go).
const maxConcurrent = 2

// New returns an Explainer for the pairs of two checkpoints. All of them are candidates for the other
// tensor of Swapped and CopiedFrom. A pair has one Explainer.
func New(pairs []*Pair) *Explainer {
	for i, p := range pairs {
		p.at = int32(i)
	}
	return &Explainer{pairs: pairs, slots: make(chan struct{}, maxConcurrent),
		classes: map[string]*class{}, copies: map[[2]*Pair]*copyCheck{}}
}

// Explain finds what was done to A's tensor of a pair to make B's. It returns the first kind of the list
// that holds for every element, else two steps in succession, else Other. It returns nil if the pair
// has one side only, or if the shapes differ and nothing explains it. Candidates are guessed from
// samples, digests and sketches, and then computed for every element and compared with B, so that a
// collision of digests cannot make an explanation wrong.
//
// What "holds" means:
//
//   - Zeroed, Swapped, CopiedFrom, Transposed, PermutedAxes, Reshaped, Reversed, BlockPermuted: the same
//     bits, once A is rounded to B's dtype. If B is all zero, signs do not matter.
//   - Truncated: B is A rounded towards zero to B's dtype or to a narrower one, which changes some elements.
//   - Scaled, Added, Rounded: B is the result, computed in float64 and rounded to nearest, ties to even, to
//     B's dtype or, if Rounded follows, to that of its Detail and then to B's. Zeros of either sign are the
//     same, and so are all NaN. What was scaled or added is A, or A rounded to B's dtype. The result may have been
//     rounded to float32 first, as torch does. A constant is determined by at least 8 elements that it changes.
//   - Sparse: all elements but at most 1% are the same; after ZeroSigns, apart from the signs of zeros.
//   - Pruned: every element of B is zero or that of A; Detail names an N:M pattern that holds throughout.
//   - Resized: the rows, the indices of the first axis, of both sides are compared by their SHA-256.
//   - LowRank: see search.lowRank. It is tried last, because other steps may also leave a difference of
//     low rank: a constant that was added, or an element that was changed. Of a tensor that stacks up to
//     16 matrices along its first axis, it holds for each matrix that was changed.
//
// Zeroed and then Added is a tensor of one value. Constant tensors, and those of fewer than 8 elements,
// are not taken for copies of others. If several explanations hold, as for a constant or a symmetric
// tensor, the first is returned. Tensors of packed dtypes are only Zeroed or copies.
//
// A pair that nothing explains costs two or three readings of each side, one more if it may stack matrices, and as many again if B's
// dtype lacks values of A's. Memory does not grow with the tensors.
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
	if err != nil || len(steps) == 0 && !slices.Equal(p.A.Shape, p.B.Shape) {
		return nil, err
	}
	return chain(steps), nil
}

// unexplained is shared, since there may be very many.
var unexplained = &Explanation{Kind: Other}

// chain links steps that follow one another. No steps are Other.
func chain(steps []Explanation) *Explanation {
	if len(steps) == 0 {
		return unexplained
	}
	first := steps[0]
	if len(steps) > 1 {
		first.Then = chain(steps[1:])
	}
	return &first
}

// explain returns one step, or two that follow one another, or none.
func (x *Explainer) explain(ctx context.Context, p *Pair) ([]Explanation, error) {
	if ResizedRows(p.A, p.B) {
		return resized(ctx, p.A, p.B)
	}
	b := addressable(p.B)
	if n := addressable(p.A).Elements(); n == 0 || n != b.Elements() {
		return nil, nil
	}
	own, after, err := find(ctx, p, b, 2)
	if err != nil || len(own) > 0 && own[0].Kind == Zeroed {
		return own, err
	}
	packed := p.A.DType.Size() == 0 || p.B.DType.Size() == 0
	if packed {
		own = nil // it would be about bytes, not about elements
	}
	if other, err := x.copied(ctx, p, after, len(own) != 1 && !packed); err != nil || other != nil {
		return other, err
	}
	if own == nil {
		if own, err = stacked(ctx, p.cast(), p.B); err == nil && p.isRounded() {
			var unrounded []Explanation
			unrounded, err = stacked(ctx, p.A, p.B)
			own = preferred(own, unrounded)
		}
	}
	return own, err
}

// cast returns A with its elements rounded to B's dtype; A if there is no B, or if either dtype is one that griffin does not round to.
func (p *Pair) cast() *tensor.Tensor {
	if p.A == nil || p.B == nil || !isFloat(p.A.DType) || !isFloat(p.B.DType) {
		return p.A
	}
	cast, err := converted(p.A, p.B.DType, 0)
	if err != nil { // float8
		return p.A
	}
	return cast
}

// isRounded reports whether cast may have changed elements.
func (p *Pair) isRounded() bool {
	cast := p.cast()
	return cast != p.A && !numberFormats[cast.DType].contains(numberFormats[p.A.DType])
}

// find looks for what turns A of a pair into b: an operation on A rounded to b's dtype, or if that was no rearrangement, one on A itself that
// was rounded afterwards, whichever comes first in the order of compareSteps. It also returns the fingerprint of b.
func find(ctx context.Context, p *Pair, b *tensor.Tensor, maxSteps int) ([]Explanation, *fingerprint, error) {
	s, err := newSearch(ctx, addressable(p.cast()), b, nil, maxSteps)
	if err != nil {
		return nil, nil, err
	}
	s.exact = numberFormats[p.A.DType]
	steps, err := s.run()
	if err != nil || !p.isRounded() || len(steps) == 1 && compareSteps(steps, []Explanation{{Kind: Truncated}}) < 0 {
		return steps, s.b, err
	}
	unrounded, err := newSearch(ctx, p.A, b, s.b, maxSteps)
	if err != nil {
		return nil, nil, err
	}
	unrounded.computed()
	for _, m := range unrounded.orders {
		unrounded.lowRank(m)
	}
	other, err := tryAll(unrounded)
	return preferred(steps, other), s.b, err
}

// addressable returns the tensor if its elements have addresses, or its bytes if they are packed.
func addressable(t *tensor.Tensor) *tensor.Tensor {
	if t.DType.Size() > 0 {
		return t
	}
	raw := *t
	raw.DType, raw.Shape = tensor.U8, []int64{t.Bytes()}
	return &raw
}
