package explain

import (
	"context"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// readLeading returns the codes of some of the first elements of a tensor.
func readLeading(t *tensor.Tensor) ([]uint64, error) {
	const chosenFrom = 128 << 10
	n, size := min(t.Elements(), chosenFrom), t.DType.Size()
	r, err := t.Data.Stream(0)
	if err != nil {
		return nil, annotate(t, err)
	}
	defer r.Close()
	raw := make([]byte, n*size)
	if err := tensor.ReadFull(r, raw); err != nil {
		return nil, annotate(t, err)
	}
	decode := decoderOf(t.DType, 1)
	indices := sampleOf(n)
	codes := make([]uint64, len(indices))
	for k, i := range indices {
		decode(codes[k:k+1], raw[i*size:(i+1)*size])
	}
	return codes, nil
}

// copyCheck is whether B's tensor of one pair is A's of another, or is made of it by one step.
type copyCheck struct {
	once  sync.Once
	holds bool
	then  []Explanation // none, or one step
	err   error
}

// isCopy reports whether B's tensor of p is A's of other, or is made of it by the step then. All elements
// are compared, once.
func (x *Explainer) isCopy(ctx context.Context, p, other *Pair) (holds bool, then []Explanation, err error) {
	key := [2]*Pair{p, other}
	const most = 16 << 10 // that are known at a time
	x.mu.Lock()
	c := x.copies[key]
	if c == nil {
		if len(x.copies) >= most {
			clear(x.copies)
		}
		c = &copyCheck{}
		x.copies[key] = c
	}
	x.mu.Unlock()
	c.once.Do(func() { c.holds, c.then, c.err = checkCopy(ctx, other, addressable(p.B)) })
	return c.holds, c.then, c.err
}

func checkCopy(ctx context.Context, of *Pair, b *tensor.Tensor) (holds bool, then []Explanation, err error) {
	a := addressable(of.cast())
	if slices.Equal(a.Shape, b.Shape) {
		s := &search{ctx: ctx, a: &fingerprint{tensor: a}, b: &fingerprint{tensor: b}}
		rest, err := s.check([]*claim{{order: identity(a.Shape)}})
		if err != nil || rest[0].n == 0 {
			return err == nil, nil, err
		}
	}
	then, _, err = find(ctx, of, b, 1)
	return len(then) > 0 && then[0].Kind != Zeroed, then, err
}

// copied looks for another tensor of A that B has in the place of p's. b is the fingerprint of B's tensor.
// If changed is set, one step may follow.
func (x *Explainer) copied(ctx context.Context, p *Pair, b *fingerprint, changed bool) ([]Explanation, error) {
	if b.constant || b.tensor.Elements() < minEvidence {
		return nil, nil
	}
	others, err := x.originals(ctx, p, changed)
	if err != nil {
		return nil, err
	}
	var best []Explanation
	for _, q := range others {
		holds, then, err := x.isCopy(ctx, p, q)
		if err != nil {
			return nil, err
		}
		if !holds || len(then) > 0 && !changed {
			continue
		}
		kind := CopiedFrom
		if q.B != nil && !q.Equal && p.A.Elements() == q.B.Elements() {
			if mutual, _, err := x.isCopy(ctx, q, p); err != nil {
				return nil, err
			} else if mutual {
				kind = Swapped
			}
		}
		steps := append([]Explanation{{Kind: kind, With: q.Name}}, then...)
		if best == nil || compareSteps(steps, best) < 0 {
			best = steps
		}
	}
	return best, nil
}

// originals returns the pairs whose tensor in A has the first elements of p's tensor in B, or, if changed is
// set, elements that one operation turns into these. They are few.
func (x *Explainer) originals(ctx context.Context, p *Pair, changed bool) ([]*Pair, error) {
	const maxOriginals = 4
	after, err := readLeading(addressable(p.B))
	if err != nil {
		return nil, err
	}
	before, err := readLeading(addressable(p.cast()))
	if err != nil {
		return nil, err
	}
	class, err := x.classOf(ctx, p.B)
	if err != nil {
		return nil, err
	}
	var same, similar []*Pair
	for _, q := range class.near(p, signatureOf(addressable(p.B), after), changed) {
		other, err := readLeading(addressable(q.cast()))
		if err != nil {
			return nil, err
		}
		s := sample{other, after}
		switch {
		case slices.Equal(other, before) && slices.Equal(q.A.Shape, p.A.Shape): // A has p's tensor twice
		case s.equal():
			same = append(same, q)
		case changed && (s.nearlyEqual() || isFloat(p.B.DType) && s.computed(p.B.DType)):
			similar = append(similar, q)
		}
	}
	found := append(same, similar...)
	return found[:min(len(found), maxOriginals)], nil
}

// computed reports whether one operation on every element, with a result of dtype d, explains the sample.
func (s sample) computed(d tensor.DType) bool {
	a, b := s.values()
	own := numberFormats[d]
	if _, ok := Scaled.agreed(a, b, own); ok {
		return true
	}
	if _, ok := Added.agreed(a, b, own); ok {
		return true
	}
	return slices.ContainsFunc(narrowTypes, func(d tensor.DType) bool { return numberFormats[d].rounds(a, b, own) })
}
