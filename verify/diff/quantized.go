package diff

import (
	"context"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// copies are the quantised copies that A and B are; nil for none.
type copies [2]*quantized.Copy

// dequantize sets the copies that A and B are, and returns their dequantised checkpoints. Copies in schemes that are not read
// stay as they are stored, and are noted.
func (x *copies) dequantize(a, b *tensor.Checkpoint, note func(format string, args ...any)) (*tensor.Checkpoint, *tensor.Checkpoint, error) {
	sides := []*tensor.Checkpoint{a, b}
	for i, c := range sides {
		q, err := quantized.Open(c)
		if tensor.ReasonOf(err) == quantized.ReasonScheme {
			note("%v: compared as it is stored", err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if q != nil {
			x[i], sides[i] = q, q.Checkpoint
		}
	}
	return sides[0], sides[1], nil
}

// differ reports whether only one side is a quantised copy. Its tensors tell then how it differs, and not its configuration.
func (x *copies) differ() bool { return (x[0] == nil) != (x[1] == nil) }

// judgement is a pair of which one side is quantised.
type judgement struct {
	pair     *pair
	weight   *quantized.Weight
	original *tensor.Tensor
}

// judgeQuantized returns the step of a comparison that judges the pairs that differ and of which one side is quantised.
func judgeQuantized(d *differ) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		tasks := judgements(d.pairs)
		total := int64(0)
		for _, t := range tasks {
			total += t.pair.a.Bytes()
		}
		d.progress.start("judging quantised tensors", total)
		return inParallel(ctx, slices.Values(tasks), func(ctx context.Context, t judgement) error {
			defer d.progress.add(t.pair.a.Bytes())
			return t.judge(ctx)
		})
	}
}

// judgements lists the pairs to judge.
func judgements(pairs []*pair) (tasks []judgement) {
	for _, p := range pairs {
		if p.status != Differs && p.status != DType || p.view() != nil {
			continue
		}
		a, b := quantized.WeightOf(p.a.stored()), quantized.WeightOf(p.b.stored())
		switch {
		case a != nil && b == nil:
			tasks = append(tasks, judgement{p, a, p.b.Tensor})
		case b != nil && a == nil:
			tasks = append(tasks, judgement{p, b, p.a.Tensor})
		}
	}
	return tasks
}

// judge judges one pair.
func (t judgement) judge(ctx context.Context) error {
	j, err := t.weight.Judge(ctx, t.original)
	if err != nil {
		return err
	}
	t.pair.status = Differs
	p := t.pair.found()
	p.quantized = &Quantized{t.weight.Scheme.String(), Number(j.Error), Number(j.Least), Number(j.Ratio()), j.Blocks, j.Far}
	p.explanation = &explain.Explanation{Kind: explain.Quantized, Detail: "to " + p.quantized.Scheme}
	if !j.Good() {
		p.explanation.Detail += ", badly, damaged or from another matrix"
	}
	if j.Far > 0 && j.Far < j.Blocks {
		p.explanation.Detail += fmt.Sprintf(": %d of its %d blocks", j.Far, j.Blocks)
	}
	return nil
}

// noteQuantized notes what a reader should know about quantised copies.
func noteQuantized(d *differ) {
	for i, q := range d.copies {
		if q == nil {
			continue
		}
		s := []*side{d.a, d.b}[i]
		for _, note := range q.Notes {
			d.note("%s: %s", q.Checkpoint.Path, note)
		}
		d.note("%s is a quantised copy. These matrices of it were left alone: %s", q.Checkpoint.Path, q.KeptMatrices())
		if s.model != nil {
			for _, note := range model.SensitiveNotes(s.model, q) {
				d.note("%s", note)
			}
		}
	}
}

// describeCopy returns what a quantised copy is, "" for nil.
func describeCopy(q *quantized.Copy) string {
	if q == nil {
		return ""
	}
	return q.String()
}
