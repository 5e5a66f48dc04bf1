package diff

import (
	"context"
	"slices"
)

// pairAlike pairs tensors that only A has with those that only B has, where one step leads from one to
// the other: they were renamed, and scaled, rounded, or changed in a few elements as well. Only those are
// looked at whose first elements fit one tensor of the other side and no other, and every element is
// checked.
func (d *differ) pairAlike(ctx context.Context) error {
	if d.options.Raw || !d.fewAlone() {
		return nil
	}
	release, err := d.pairs.explained.begin(ctx)
	if err != nil {
		return err
	}
	defer release()
	var paired []*pair
	for _, p := range slices.Clone(d.pairs.all) {
		if p.diff.Status != OnlyA {
			continue
		}
		q, err := d.onlyCounterpart(ctx, p)
		if err != nil || q == nil {
			if err != nil {
				return err
			}
			continue
		}
		if holds, _, err := relate(ctx, addressed(p.a), addressed(q.b)); err != nil || !holds {
			if err != nil {
				return err
			}
			continue
		}
		d.join(p, q)
		p.diff = d.newEntry(p)
		p.diff.Renamed = true
		if p.diff.Status != Shape {
			paired = append(paired, p)
		}
	}
	return d.measureAll(ctx, paired)
}

// fewAlone reports whether tensors without counterpart are few enough to hold each of A against each of B.
func (d *differ) fewAlone() bool {
	const most = 250_000
	onlyA, onlyB := 0, 0
	for _, p := range d.pairs.all {
		switch p.diff.Status {
		case OnlyA:
			onlyA++
		case OnlyB:
			onlyB++
		}
	}
	return onlyA*onlyB > 0 && onlyA*onlyB <= most
}

// onlyCounterpart returns the one tensor that only B has and that p's, which only A has, may have become,
// or nil where there is none, or more than one, or where that may have been another's as well.
func (d *differ) onlyCounterpart(ctx context.Context, p *pair) (*pair, error) {
	var found *pair
	for _, q := range d.pairs.all {
		if q.diff.Status != OnlyB {
			continue
		}
		alike, err := d.pairs.explained.alike(ctx, p.a, q.b)
		if err != nil {
			return nil, err
		}
		if alike && found != nil {
			return nil, nil
		} else if alike {
			found = q
		}
	}
	if found == nil {
		return nil, nil
	}
	for _, other := range d.pairs.all {
		if other == p || other.diff.Status != OnlyA {
			continue
		}
		if alike, err := d.pairs.explained.alike(ctx, other.a, found.b); err != nil || alike {
			return nil, err
		}
	}
	return found, nil
}

// alike reports whether the first elements of b may be those of a after one operation.
func (e *explained) alike(ctx context.Context, a, b *Operand) (bool, error) {
	if !slices.Equal(a.Shape, b.Shape) || !similarTypes(a, b) || a.Elements() < leastEvidence {
		return false, nil
	}
	before, err := e.peek(ctx, a)
	if err != nil {
		return false, err
	}
	after, err := e.peek(ctx, b)
	if err != nil {
		return false, err
	}
	x := sample{before, after}
	return x.mostlyEqual() || isFloat(b.DType) && x.operated(numberFormats[b.DType]), nil
}
