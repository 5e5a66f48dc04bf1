package verify

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// explanations says what wrong tensors hold, in comparison with what a list of moves puts there.
type explanations struct {
	list           moves.List
	merged         bool  // an adapter was
	heads, headDim int64 // of attention
	explainer      *explain.Explainer
	pairs          []*explain.Pair   // by index into list.Dests
	parts          map[int][]part    // by index into list.Dests
	titles         map[string]string // what to call parts, by the names of their pairs
	sentences      map[string]string // what is said of a tensor that is a copy of a pair's, by the pair's name
}

// part is a part of a tensor that is made of several, such as the gate and the up projection.
type part struct {
	title string // "its first part"
	own   bool   // it has a source of its own; otherwise it is half of the leading axis
	pair  *explain.Pair
}

// newExplanations lists what wrong tensors may hold: the other tensors of the list; and of those that are explained the parts, the
// source without the division, and the source in its own order.
func newExplanations(w *weightsCheck, explained []int, c *model.Config) (*explanations, error) {
	x := &explanations{list: w.list, merged: w.merged, heads: c.NumHeads, headDim: c.HeadDim(), parts: map[int][]part{}, titles: map[string]string{}, sentences: map[string]string{}}
	x.pairs = make([]*explain.Pair, len(w.list.Dests))
	for i := range w.list.Dests {
		d := &w.list.Dests[i]
		a := w.copiedTo(i)
		if a == nil {
			var err error
			if a, err = w.unrounded(i); err != nil {
				return nil, err
			}
		}
		x.pairs[i] = &explain.Pair{Name: d.Name, A: a, Equal: w.state[i] == right}
		if w.state[i] != skipped {
			x.pairs[i].B = w.converted.Tensor(d.Name)
		}
	}
	var candidates []*explain.Pair
	for _, i := range explained {
		more, err := x.candidates(w, i, x.pairs[i].B)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, more...)
	}
	x.explainer = explain.New(slices.Concat(candidates, x.pairs))
	return x, nil
}

// copiedTo returns the source whose elements become those of a tensor in their order, perhaps rounded, or nil if it is made otherwise. It takes no
// more memory.
func (w *weightsCheck) copiedTo(dest int) *tensor.Tensor {
	d, filling := &w.list.Dests[dest], w.list.MovesOf(dest)
	if len(filling) != 1 {
		return nil
	}
	m := &filling[0]
	if m.Divide != 0 || m.View.Offset != 0 || !m.View.IsRowMajor() || !slices.Equal(m.Source.Shape, d.Shape) {
		return nil
	}
	return m.Source
}

// expected returns a tensor as the list of moves has it.
func (w *weightsCheck) expected(dest int) (*tensor.Tensor, error) {
	d := &w.list.Dests[dest]
	return explain.Expected(d.Name, d.DType, d.Shape, fillingOf(w.list, dest)...)
}

// unrounded returns a tensor as the list of moves has it, in the dtype of its sources: it may be found to have been rounded otherwise. Sources of
// several dtypes, and quotients, are rounded.
func (w *weightsCheck) unrounded(dest int) (*tensor.Tensor, error) {
	d, filling := &w.list.Dests[dest], fillingOf(w.list, dest)
	dtype := filling[0].Source.DType
	if slices.ContainsFunc(filling, func(p explain.Part) bool { return p.Divide != 0 || p.Source.DType != dtype }) {
		dtype = d.DType
	}
	return explain.Expected(d.Name, dtype, d.Shape, filling...)
}

// fillingOf returns what a tensor of a list is filled with, in order.
func fillingOf(l moves.List, dest int) []explain.Part {
	filling := slices.Clone(l.MovesOf(dest))
	slices.SortFunc(filling, func(a, b moves.Move) int { return cmp.Compare(a.Offset, b.Offset) })
	parts := make([]explain.Part, len(filling))
	for i, m := range filling {
		parts[i] = explain.Part{Source: m.Source, View: m.View, Divide: m.Divide}
	}
	return parts
}

// candidates returns what else a wrong tensor may hold.
func (x *explanations) candidates(w *weightsCheck, dest int, found *tensor.Tensor) ([]*explain.Pair, error) {
	d, filling := &w.list.Dests[dest], fillingOf(w.list, dest)
	var all []*explain.Pair
	add := func(sentence string, of explain.Part) error {
		t, err := explain.Expected(d.Name, d.DType, d.Shape, of)
		if err != nil {
			return err
		}
		p := &explain.Pair{Name: fmt.Sprintf("%s, %d", d.Name, len(all)), A: t}
		x.sentences[p.Name] = sentence
		all = append(all, p)
		return nil
	}
	if len(filling) == 1 {
		whole := filling[0]
		if plain := whole; plain.Divide != 0 {
			plain.Divide = 0
			if err := add(fmt.Sprintf("not divided by %.6g", whole.Divide), plain); err != nil {
				return nil, err
			}
		}
		plain := whole
		plain.View = tensor.RowMajor(d.Shape...)
		plain.View.Offset = whole.View.Offset
		if n := len(d.Shape); n > 1 && d.Shape[n-1] != d.Shape[n-2] && !whole.View.IsRowMajor() && tensor.CheckView(plain.View, plain.Source.Elements()) == nil {
			if err := add("reshaped instead of transposed: the elements are in the order of the source", plain); err != nil {
				return nil, err
			}
		}
	}
	parts, err := x.partsOf(d, filling, found)
	for _, p := range parts {
		all = append(all, p.pair)
	}
	x.parts[dest] = parts
	return all, err
}

// partsOf splits a tensor into the two or more parts that it is made of, or that its leading axis has.
func (x *explanations) partsOf(d *moves.Dest, filling []explain.Part, found *tensor.Tensor) ([]part, error) {
	titles := make([]string, len(filling))
	for i, p := range filling {
		titles[i] = p.Source.Name
	}
	own := len(filling) > 1
	if !own && len(d.Shape) > 1 && d.Shape[0] == 2 {
		whole := filling[0]
		filling = []explain.Part{whole, whole}
		for i := range filling {
			filling[i].View = whole.View.Narrow(0, int64(i), 1)
		}
		titles = []string{"the first part of " + whole.Source.Name, "the second part of " + whole.Source.Name}
	}
	if len(filling) < 2 {
		return nil, nil
	}
	var parts []part
	ordinals := []string{"first", "second", "third", "fourth"}
	first := int64(0)
	for i, p := range filling {
		n := p.View.Elements()
		name := fmt.Sprintf("%s, part %d", d.Name, i)
		a, err := explain.Expected(name, d.DType, p.View.Shape, p)
		if err != nil {
			return nil, err
		}
		view := tensor.RowMajor(p.View.Shape...)
		view.Offset = first
		b, err := tensor.Viewed(found, view)
		if err != nil {
			return nil, err
		}
		x.titles[name] = titles[i]
		parts = append(parts, part{fmt.Sprintf("its %s part", ordinals[min(i, len(ordinals)-1)]), own, &explain.Pair{Name: name, A: a, B: b}})
		first += n
	}
	return parts, nil
}

// describeAll describes wrong tensors. explained is called for each once it is explained, from several goroutines.
func (x *explanations) describeAll(ctx context.Context, dests []int, explained func(dest int)) ([]string, error) {
	found := make([]*explain.Explanation, len(dests))
	err := eachIndex(ctx, len(dests), func(ctx context.Context, k int) (err error) {
		found[k], err = x.explainer.Explain(ctx, x.pairs[dests[k]])
		explained(dests[k])
		return err
	})
	if err != nil {
		return nil, err
	}
	explain.Agree(found)
	texts := make([]string, len(dests))
	err = eachIndex(ctx, len(dests), func(ctx context.Context, k int) (err error) {
		texts[k], err = x.describe(ctx, dests[k], found[k])
		return err
	})
	return texts, err
}

// eachIndex calls f with the numbers below n, from as many goroutines as there are processors.
func eachIndex(ctx context.Context, n int, f func(ctx context.Context, k int) error) error {
	group, ctx := task.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for k := range n {
		group.Go(func() error { return f(ctx, k) })
	}
	return group.Wait()
}

// describe says what a wrong tensor holds, of which e is the explanation; "" if nothing explains it.
func (x *explanations) describe(ctx context.Context, dest int, e *explain.Explanation) (string, error) {
	if p := x.pairs[dest]; p.B != nil {
		if is, err := explain.IsRounded(ctx, p.B, p.A); is || err != nil {
			return "the other way round: the source is this rounded to " + p.A.DType.String(), err
		}
	}
	isOther := e != nil && (e.Kind == explain.Swapped || e.Kind == explain.CopiedFrom) // as a whole
	if len(x.parts[dest]) > 0 && x.parts[dest][0].own && !isOther {
		if text, err := x.describeParts(ctx, dest); text != "" || err != nil {
			return text, err
		}
	}
	if e != nil && e.Kind == explain.Other {
		if text, err := x.describeParts(ctx, dest); text != "" || err != nil {
			return text, err
		}
		e = nil
	}
	if e == nil {
		return x.describeRounding(ctx, x.pairs[dest])
	}
	if e.Then == nil {
		if sentence := x.sentences[e.With]; sentence != "" {
			return sentence, nil
		}
		if divisor := x.divisor(dest); divisor != 0 && e.Kind == explain.Scaled {
			return describeFactor(divisor, e.Factor), nil
		}
	}
	text := x.words(e, x.list.Dests[dest].Name)
	if width := x.heads * x.headDim; e.Kind == explain.BlockPermuted && slices.Equal(x.list.Dests[dest].Shape, []int64{width, width}) {
		text += fmt.Sprintf("; an attention head is %d wide", x.headDim)
	}
	return text, nil
}

// describeResized says of tensors of the plan to which rows were added or removed, as to extend the vocabulary, which rows are the same. The
// texts are by index into plan.Dests.
func describeResized(ctx context.Context, p *convert.Plan, converted *tensor.Checkpoint, renamed *renaming) (map[int]string, error) {
	texts := map[int]string{}
	for i := range p.Dests {
		d := &p.Dests[i]
		t := converted.Tensor(renamed.name(d.Name))
		if t == nil || len(texts) == maxExplained || !explain.ResizedRows(&tensor.Tensor{DType: d.DType, Shape: d.Shape}, t) {
			continue
		}
		expected, err := (&weightsCheck{list: p.List}).expected(i)
		if err != nil {
			return nil, err
		}
		pair := &explain.Pair{Name: d.Name, A: expected, B: t}
		e, err := explain.New([]*explain.Pair{pair}).Explain(ctx, pair)
		if err != nil {
			return nil, err
		}
		texts[i] = e.Summary(nil)
	}
	return texts, nil
}

// describeRounding says that a tensor that an adapter was merged into differs by no more than another order or number of roundings explains; "" if
// it differs by more.
func (x *explanations) describeRounding(ctx context.Context, p *explain.Pair) (string, error) {
	if p.B == nil || !x.merged {
		return "", nil
	}
	rounded, err := explain.Expected(p.Name, p.B.DType, p.A.Shape, explain.Part{Source: p.A, View: tensor.RowMajor(p.A.Shape...)})
	if err != nil {
		return "", err
	}
	if is, err := differsByRounding(ctx, rounded, p.B); !is || err != nil {
		return "", err
	}
	return "by no more than a merge that rounds otherwise to " + p.B.DType.String() + ", as PEFT's does", nil
}

// words describes what was done to the tensor of a name. A sparse change is described by the finding already.
func (x *explanations) words(e *explain.Explanation, name string) string {
	if e.Kind == explain.Sparse && e.Then == nil {
		return ""
	}
	return diff.ChangeWords(e, name, x.title)
}

// title returns what to call a pair.
func (x *explanations) title(name string) string {
	if title, ok := x.titles[name]; ok {
		return title
	}
	i := slices.IndexFunc(x.list.Dests, func(d moves.Dest) bool { return d.Name == name })
	if i < 0 {
		return ""
	}
	if source := sourceNames(x.list, i); source != name {
		name += " (" + source + ")"
	}
	return name
}

// divisor returns what a tensor is divided by, or 0.
func (x *explanations) divisor(dest int) float64 {
	for _, m := range x.list.Moves {
		if m.Dest == dest && m.Divide != 0 {
			return m.Divide
		}
	}
	return 0
}

// describeFactor describes a tensor that is the expected quotient times a factor.
func describeFactor(divisor, factor float64) string {
	if by := divisor / factor; by < 1 {
		return fmt.Sprintf("multiplied by %.6g instead of divided by %.6g", 1/by, divisor)
	}
	return fmt.Sprintf("divided by %.6g instead of by %.6g", divisor/factor, divisor)
}

// describeParts describes a wrong tensor by its parts, if each of them is right or holds another.
func (x *explanations) describeParts(ctx context.Context, dest int) (string, error) {
	var sentences []string
	for _, p := range x.parts[dest] {
		equal, err := equalTensors(ctx, p.pair)
		if err != nil {
			return "", err
		}
		if equal {
			continue
		}
		e, err := x.explainer.Explain(ctx, p.pair)
		if err != nil {
			return "", err
		}
		if e == nil || e.Kind != explain.CopiedFrom && e.Kind != explain.Swapped {
			return "", nil
		}
		sentence := p.title + " holds " + x.title(e.With)
		if then := e.Then.Summary(x.title); then != "" {
			sentence += ", " + then
		}
		sentences = append(sentences, sentence)
	}
	return strings.Join(sentences, ", "), nil
}

// equalTensors reports whether both sides of a pair have the same elements.
func equalTensors(ctx context.Context, p *explain.Pair) (bool, error) {
	a, err := tensor.Digest(ctx, p.A, digest.Default)
	if err != nil {
		return false, err
	}
	b, err := tensor.Digest(ctx, p.B, digest.Default)
	return a == b, err
}
