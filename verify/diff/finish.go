package diff

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// explainAll finds out what was done to the pairs that differ.
func (d *differ) explainAll(ctx context.Context) error {
	var differing []*pair
	var all []*explain.Pair
	pairs := map[*pair]*explain.Pair{}
	total := int64(0)
	for _, p := range d.pairs.all {
		e := p.diff
		pairs[p] = &explain.Pair{Name: p.name, A: p.a.tensor(), B: p.b.tensor(), Equal: e.Status == Equal}
		all = append(all, pairs[p])
		if e.Explanation == nil && (e.Status == Differs || e.Status == DType && e.Metrics != nil && e.Metrics.Differing > 0 ||
			e.Status == Shape && p.a.Elements() == p.b.Elements()) {
			differing = append(differing, p)
			total += p.a.Tensor.Bytes()
		}
	}
	d.meter.begin("explaining", total)
	explainer := explain.New(all)
	return inParallel(ctx, differing, func(ctx context.Context, p *pair) error {
		explanation, err := explainer.Explain(ctx, pairs[p])
		if err != nil {
			return err
		}
		p.diff.Explanation = explanation
		d.meter.add(p.a.Tensor.Bytes())
		return nil
	})
}

// finish sorts the entries and sums up.
func (d *differ) finish() {
	r := d.result
	for _, p := range d.pairs.all {
		r.Tensors = append(r.Tensors, *p.diff)
	}
	r.A, r.B = d.a.describe(), d.b.describe()
	for _, p := range d.pairs.all {
		r.A.count(p.a)
		r.B.count(p.b)
	}
	slices.SortStableFunc(r.Tensors, func(a, b TensorDiff) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.distance(), a.distance()))
	})
	r.sum()
}

func (s *side) describe() Side {
	out := Side{Path: s.checkpoint.Path, Format: s.checkpoint.Format, Prefix: s.prefix}
	if s.model != nil {
		out.Layout = s.model.Layout.String()
	}
	return out
}

func (s *Side) count(o *Operand) {
	if o != nil {
		s.Tensors++
		s.Parameters += o.Elements()
		s.Bytes += o.Tensor.Bytes()
	}
}

// rank is how much an entry matters: the least first.
func (t *TensorDiff) rank() int {
	switch {
	case t.Status == OnlyA:
		return 0
	case t.Status == OnlyB:
		return 1
	case t.Status == Shape:
		return 2
	case t.Status == Differs:
		return 3
	case t.Status == DType && t.Metrics != nil && t.Metrics.Differing > 0:
		return 4
	case t.Status == DType:
		return 5
	case t.Renamed:
		return 6
	}
	return rankEqual
}

// rankEqual is that of tensors that are the same.
const rankEqual = 7

// distance orders entries of one rank: what is not finite counts most, then what is farthest apart.
func (t *TensorDiff) distance() float64 {
	m := t.Metrics
	if m == nil || t.Status == Equal {
		return 0
	}
	if m.NaNA != m.NaNB || m.InfA != m.InfB || math.IsNaN(float64(m.RelativeL2)) {
		return math.Inf(1)
	}
	return float64(m.RelativeL2)
}

func (r *Result) sum() {
	s := &r.Summary
	s.Tensors, s.Config = len(r.Tensors), len(r.Config)
	for i := range r.Tensors {
		t := &r.Tensors[i]
		switch t.Status {
		case Equal:
			s.Equal++
		case Differs:
			s.Differ++
		case OnlyA:
			s.OnlyA++
		case OnlyB:
			s.OnlyB++
		case Shape:
			s.Shape++
		case DType:
			s.DType++
		}
		if t.Renamed {
			s.Renamed++
		}
		if e := t.Explanation; e != nil && e.Kind != explain.Other {
			s.Explained++
		}
		if t.Status == Equal || t.Status == Differs || t.Status == DType {
			s.Elements += t.Elements
		}
		if m := t.Metrics; m != nil {
			s.Differing += m.Differing
			if m.NaNA+m.NaNB+m.InfA+m.InfB > 0 {
				s.NonFinite++
			}
		}
	}
	r.Equal = s.Equal == s.Tensors && s.Renamed == 0 && s.Config == 0
}
