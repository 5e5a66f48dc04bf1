package diff

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// explainAll finds what was done to the pairs that differ.
func (d *differ) explainAll(ctx context.Context) error {
	var differing []int32 // indexes of pairs
	total := int64(0)
	for i, p := range d.pairs {
		if found := p.details; (found == nil || found.explanation == nil) && (p.status == Differs || p.status == DType && found != nil && found.metrics.differing() > 0 ||
			p.status == Shape && (p.a.Elements() == p.b.Elements() || explain.ResizedRows(p.a.tensor(), p.b.tensor()))) {
			differing = append(differing, int32(i))
			total += p.a.Bytes()
		}
	}
	if len(differing) == 0 {
		return nil
	}
	list := make([]explain.Pair, len(d.pairs))
	all := make([]*explain.Pair, len(d.pairs))
	for i, p := range d.pairs {
		list[i] = explain.Pair{Name: p.name, A: p.a.tensor(), B: p.b.tensor(), Equal: p.status == Equal}
		all[i] = &list[i]
	}
	d.progress.start("explaining", total)
	explainer := explain.New(all)
	err := inParallel(ctx, slices.Values(differing), func(ctx context.Context, i int32) error {
		p := d.pairs[i]
		explanation, err := explainer.Explain(ctx, all[i])
		if err != nil {
			return err
		}
		p.found().explanation = explanation
		d.progress.add(p.a.Bytes())
		return nil
	})
	if err != nil {
		return err
	}
	explanations := make([]*explain.Explanation, len(differing))
	for k, i := range differing {
		explanations[k] = d.pairs[i].details.explanation
	}
	explain.Agree(explanations)
	return nil
}

// noteNotFinite notes NaN and infinities of tensors that are equal, which nothing else in the result shows.
func noteNotFinite(ctx context.Context, d *differ) error {
	var found []*pair
	for _, p := range d.pairs {
		if p.status != Equal {
			continue
		}
		within := &Metrics{} // of a pair that is equal within the tolerance
		if p.details != nil && p.details.metrics != "" {
			within = p.details.metrics.unpack()
		}
		if p.notFinite.Load() || within.NaNA+within.InfA > 0 {
			found = append(found, p)
		}
	}
	var mu sync.Mutex
	var sum stats.NotFinite
	has := map[string]bool{} // by the name of a pair
	err := inParallel(ctx, slices.Values(found), func(ctx context.Context, p *pair) error {
		s, err := stats.Of(ctx, p.a.Tensor)
		if err != nil {
			return p.a.annotate(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if n := s.NotFinite(); !s.Finite() {
			sum.NaN, sum.Inf = sum.NaN+n.NaN, sum.Inf+n.Inf
			has[p.name] = true
		}
		return nil
	})
	if err != nil || len(has) == 0 {
		return err
	}
	items := &Items{Len: len(d.pairs), Name: func(i int) string { return d.pairs[i].name }, BlockTypes: d.a.describe().BlockTypes,
		What: func(i int) (Status, string, bool) { return Equal, "", has[d.pairs[i].name] }}
	d.note("%s in %s of A, and the same in B: %s", sum, text.Count(len(has), "tensor"), items.Words())
	return nil
}

// finish sorts the entries and sums them up.
func (d *differ) finish() {
	r := d.result
	r.A, r.B = d.a.describe(), d.b.describe()
	r.Only, r.Map, r.Summary.Unselected = d.options.Only, d.options.Map.File(), len(d.left)
	if d.options.Tolerance != nil {
		r.Tolerance, r.Summary.Beyond = d.options.Tolerance.String(), new(int64)
	}
	r.A.Quantized, r.B.Quantized = describeCopy(d.copies[0]), describeCopy(d.copies[1])
	noteQuantized(d)
	if layout := model.UnknownLayout; d.a.layout == layout && d.b.layout == layout && (isSafetensors(d.a.checkpoint) || isSafetensors(d.b.checkpoint)) {
		// Of no model. A safetensors file has names in the order of their bytes, 10 before 2.
		slices.SortStableFunc(d.pairs, func(x, y *pair) int { return tensor.CompareNames(x.name, y.name) })
	}
	r.Tensors = make([]TensorDiff, len(d.pairs))
	for i, p := range d.pairs {
		r.Tensors[i] = p.entry(d.a, d.b)
		d.a.count(&r.A, p.a)
		d.b.count(&r.B, p.b)
		p.a, p.b, p.details = nil, nil, nil // so that their memory can be used for the entries
	}
	for _, p := range d.left {
		d.a.count(&r.A, p.a)
		d.b.count(&r.B, p.b)
	}
	d.pairs, d.left = nil, nil
	for i, s := range []*Side{&r.A, &r.B} {
		if d.stored[i] != s.Tensors {
			s.Stored = d.stored[i]
		}
	}
	sortEntries(r.Tensors)
	r.summarize()
}

func isSafetensors(c *tensor.Checkpoint) bool { return strings.HasPrefix(c.Format, "safetensors") }

// sortEntries sorts entries by what matters most, in place, those that matter as much in their order. Tensors to which the same kind of change was
// done stay together in their order, and matter as much as the farthest of them, unless the kind leaves open how far a tensor is changed.
func sortEntries(entries []TensorDiff) {
	type class struct {
		rank int
		kind explain.Kind // "" for those that are sorted by their own distance
	}
	open := []explain.Kind{explain.Sparse, explain.LowRank, explain.Quantized}
	classOf := func(t *TensorDiff) class {
		if t.Explained() && !slices.Contains(open, t.Explanation.Kind) {
			return class{t.rank(), t.Explanation.Kind}
		}
		return class{rank: t.rank()}
	}
	farthest := map[class]float64{}
	for i := range entries {
		c := classOf(&entries[i])
		farthest[c] = max(farthest[c], entries[i].Distance())
	}
	order := make([]int32, len(entries)) // the indexes of entries in the order to be
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		a, b := &entries[i], &entries[j]
		c, d := classOf(a), classOf(b)
		x, y := a.Distance(), b.Distance()
		if c.kind != "" {
			x = farthest[c]
		}
		if d.kind != "" {
			y = farthest[d]
		}
		return cmp.Or(cmp.Compare(c.rank, d.rank), cmp.Compare(y, x), cmp.Compare(c.kind, d.kind), cmp.Compare(i, j))
	})
	const done = -1
	for start := range order {
		if order[start] == done {
			continue
		}
		first, at := entries[start], start
		for int(order[at]) != start {
			from := int(order[at])
			entries[at], order[at] = entries[from], done
			at = from
		}
		entries[at], order[at] = first, done
	}
}

// count adds an operand of the side to what describes it. The embedding counts once, also if it stands for the head.
func (s *side) count(out *Side, o *operand) {
	isHead := o != nil && (o == s.head || o == s.divided)
	if o == nil || isHead && s.headCounted {
		return
	}
	s.headCounted = s.headCounted || isHead
	out.Tensors++
	out.Parameters += o.Elements()
	out.Bytes += o.storedBytes()
}

// rank orders entries by what matters most.
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
	return 7
}

// Same reports whether the tensors are equal and have the same name.
func (t *TensorDiff) Same() bool { return t.Status == Equal && !t.Renamed }

// ChangedToo reports whether a tensor has another dtype, and values that are not those of the other side in that dtype.
func (t *TensorDiff) ChangedToo() bool {
	if t.Status != DType || t.Metrics == nil || t.Metrics.Differing == 0 {
		return false
	}
	e := t.Explanation
	return e == nil || e.Then != nil || e.Kind != explain.Rounded && e.Kind != explain.Truncated
}

// Explained reports whether it is known what was done to the values of a tensor.
func (t *TensorDiff) Explained() bool {
	return t.Explanation != nil && t.Explanation.Kind != explain.Other
}

// Distance orders entries of one status: Inf if one side has more elements that are not finite than the
// other, otherwise the relative L2 distance.
func (t *TensorDiff) Distance() float64 {
	m := t.Metrics
	if m == nil || t.Status == Equal {
		return 0
	}
	if m.NaNA != m.NaNB || m.InfA != m.InfB || math.IsNaN(float64(m.RelativeL2)) {
		return math.Inf(1)
	}
	return float64(m.RelativeL2)
}

// summarize fills in Summary, Equal and Verdict.
func (r *Result) summarize() {
	s := &r.Summary
	s.Tensors, s.Config = len(r.Tensors), len(r.Config)
	counts := map[Status]*int{Equal: &s.Equal, Differs: &s.Differ, OnlyA: &s.OnlyA, OnlyB: &s.OnlyB, Shape: &s.Shape, DType: &s.DType}
	for i := range r.Tensors {
		t := &r.Tensors[i]
		*counts[t.Status]++
		if t.Renamed {
			s.Renamed++
		}
		if t.ChangedToo() {
			s.Changed++
		}
		if t.Explained() {
			s.Explained++
		}
		if t.Status == Equal || t.Status == Differs || t.Status == DType {
			s.Elements += t.Elements
		}
		if m := t.Metrics; m != nil {
			s.Differing += m.Differing
			if m.Beyond != nil {
				*s.Beyond += *m.Beyond
			}
			if m.NaNA+m.NaNB+m.InfA+m.InfB > 0 {
				s.NonFinite++
			}
		}
	}
	r.Equal = s.Equal == s.Tensors && s.Renamed == 0 && s.Config == 0 && r.A.Quantized == r.B.Quantized
	r.Verdict = r.Answer()
}
