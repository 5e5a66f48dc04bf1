package diff

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// pairRenamed pairs tensors that only A has with those that only B has by what they hold: all elements,
// bit for bit. Of several that hold the same, the first of A is taken for the first of B.
func (d *differ) pairRenamed(ctx context.Context) error {
	if d.options.Raw {
		return nil
	}
	candidates := d.renameCandidates()
	if len(candidates) == 0 {
		return nil
	}
	total := int64(0)
	for _, p := range candidates {
		total += p.operand().Tensor.Bytes()
	}
	d.meter.begin("looking for renamed tensors", total)
	var mu sync.Mutex
	digests := map[*pair]tensor.Sum{}
	err := inParallel(ctx, candidates, func(ctx context.Context, p *pair) error {
		o := p.operand()
		sum, err := tensor.Digest(ctx, o.Tensor)
		if err != nil {
			return o.name(err)
		}
		d.meter.add(o.Tensor.Bytes())
		mu.Lock()
		defer mu.Unlock()
		digests[p] = sum
		return nil
	})
	if err != nil {
		return err
	}
	onlyB := map[contentKey][]*pair{}
	for _, p := range candidates {
		if p.a == nil {
			key := contentKey{p.operand().kind(), digests[p]}
			onlyB[key] = append(onlyB[key], p)
		}
	}
	for _, p := range candidates {
		if p.b != nil {
			continue
		}
		key := contentKey{p.operand().kind(), digests[p]}
		if same := onlyB[key]; len(same) > 0 {
			d.join(p, same[0])
			onlyB[key] = same[1:]
		}
	}
	return nil
}

type contentKey struct {
	kind string
	sum  tensor.Sum
}

// operand returns the one side of a pair without counterpart.
func (p *pair) operand() *Operand {
	if p.a == nil {
		return p.b
	}
	return p.a
}

// kind is what tensors have to have in common to hold the same.
func (o *Operand) kind() string { return fmt.Sprint(o.DType, o.Shape) }

// renameCandidates returns the pairs without counterpart for which the other side has one of the same type
// and shape.
func (d *differ) renameCandidates() []*pair {
	onlyA, onlyB := map[string]bool{}, map[string]bool{}
	for _, p := range d.pairs.all {
		switch p.diff.Status {
		case OnlyA:
			onlyA[p.a.kind()] = true
		case OnlyB:
			onlyB[p.b.kind()] = true
		}
	}
	var out []*pair
	for _, p := range d.pairs.all {
		if only := p.diff.Status; only == OnlyA && onlyB[p.a.kind()] || only == OnlyB && onlyA[p.b.kind()] {
			if p.operand().Elements() > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

// join makes one pair of two tensors that hold the same under different names.
func (d *differ) join(a, b *pair) {
	a.b = b.b
	a.diff.Status, a.diff.Renamed = Equal, true
	a.diff.B = d.b.nameOf(b.b)
	d.pairs.all = slices.DeleteFunc(d.pairs.all, func(p *pair) bool { return p == b })
	delete(d.pairs.byName, b.name)
}

// checkSums checks what checksums the formats keep of the tensors that were read, unless that was done
// while they were read.
func (d *differ) checkSums(ctx context.Context) error {
	seen := map[*tensor.Tensor]bool{}
	var all []*tensor.Tensor
	for _, p := range d.pairs.all {
		if p.a == nil || p.b == nil || p.diff.Status == Shape {
			continue
		}
		for _, t := range slices.Concat(p.a.Stored, p.b.Stored) {
			if _, ok := t.Data.(tensor.Checker); ok && !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		}
	}
	return inParallel(ctx, all, func(_ context.Context, t *tensor.Tensor) error {
		return nameError(t.Name, t.Data.(tensor.Checker).Check())
	})
}
