package diff

import (
	"context"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// explain finds what was done to A's tensor of a pair to make B's: the first kind of the list that
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
func explain(ctx context.Context, p *pair, all *pairs) (*Explanation, error) {
	if p.a == nil || p.b == nil {
		return nil, nil
	}
	release, err := all.explained.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	says, err := all.explain(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(says) == 0 && p.diff.Status == Shape {
		return nil, nil // the shapes say it
	}
	return chain(says), nil
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
func (all *pairs) explain(ctx context.Context, p *pair) ([]Explanation, error) {
	a, b := addressed(p.a), addressed(p.b)
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
	packed := p.a.DType.Size() == 0 || p.b.DType.Size() == 0
	if packed {
		own = nil // it would be about bytes, not about elements
	}
	if other, err := all.copied(ctx, p, s, len(own) != 1 && !packed); err != nil || other != nil {
		return other, err
	}
	return own, nil
}

// addressed returns an operand whose elements have addresses: of packed types the bytes.
func addressed(o *Operand) *Operand {
	if o.DType.Size() > 0 {
		return o
	}
	bytes := *o.Tensor
	bytes.DType, bytes.Shape = tensor.U8, []int64{o.Bytes()}
	return &Operand{Tensor: &bytes, Stored: o.Stored}
}
