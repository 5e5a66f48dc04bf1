package verify

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// QuantizedSection says what a quantised copy is. A copy is never the same model: OK is false, and Findings are the matrices that
// are farther from the source than their scheme explains.
type QuantizedSection struct {
	Section
	Tensors []QuantizedTensor `json:"tensors"` // that are quantised, in the converted checkpoint's order
	Kept    []string          `json:"kept"`    // tensors that were left alone, which the check of the weights compares
}

// QuantizedTensor is how far a quantised matrix is from the source.
type QuantizedTensor struct {
	Name   string `json:"name"`
	Scheme string `json:"scheme"`
	Error  Number `json:"error"`  // ‖copy - source‖ / ‖source‖
	Least  Number `json:"least"`  // the least that the scheme allows
	Ratio  Number `json:"ratio"`  // Error / Least, 1 if both are 0
	Blocks int64  `json:"blocks"` // parts with a scale of their own
	Far    int64  `json:"far"`    // of them, farther from the source than the scheme explains
}

// dequantize replaces a converted checkpoint that is a quantised copy, and a source that is one if it is only to be run. A source
// that a conversion is compared with is refused by package model.
func (r *run) dequantize() (err error) {
	if r.converted != nil {
		if r.copy, err = quantized.Open(r.converted); r.copy != nil {
			r.converted = r.copy.Checkpoint
		}
		return err
	}
	q, err := quantized.Open(r.source)
	if q != nil {
		r.source, r.verdict.dequantized = q.Checkpoint, true
		r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s is a quantised copy, run dequantised: %s", storage.BaseName(q.Checkpoint.Path), q))
		r.verdict.Notes = append(r.verdict.Notes, q.Notes...)
	}
	return err
}

// isQuantized reports whether the converted checkpoint has a tensor of a name quantised.
func isQuantized(converted *tensor.Checkpoint, name string) bool {
	t := converted.Tensor(name)
	return t != nil && quantized.WeightOf(t) != nil
}

// withoutDests returns the part of a list that makes other tensors than those that are left out.
func withoutDests(l moves.List, isLeftOut func(d *moves.Dest) bool) moves.List {
	var out moves.List
	index := map[int]int{}
	for i := range l.Dests {
		if d := &l.Dests[i]; !isLeftOut(d) {
			index[i] = len(out.Dests)
			out.Dests = append(out.Dests, *d)
		}
	}
	for _, m := range l.Moves {
		if i, ok := index[m.Dest]; ok {
			m.Dest = i
			out.Moves = append(out.Moves, m)
		}
	}
	return out
}

// judgeQuantized judges the quantised matrices of the converted checkpoint by the source, and output heads that should be copies of the embedding by that.
func (r *run) judgeQuantized(ctx context.Context, head headState) (*QuantizedSection, error) {
	l := r.plan.List
	for _, name := range head.copies {
		l = withHead(l, r.plan.Embedding, name)
	}
	s := &QuantizedSection{Kept: []string{}}
	var bad []Finding
	for _, t := range r.copy.Kept() {
		s.Kept = append(s.Kept, t.Name)
	}
	w := &weightsCheck{list: l}
	var dests []int
	total := int64(0)
	for i, d := range l.Dests {
		if t := r.converted.Tensor(d.Name); isQuantized(r.converted, d.Name) && slices.Equal(t.Shape, d.Shape) {
			dests = append(dests, i)
			total += t.Bytes()
		}
	}
	found := make([]*quantized.Judgement, len(dests))
	var done atomic.Int64
	group, groupCtx := task.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for k, dest := range dests {
		group.Go(func() error {
			expected, err := w.expected(dest)
			if err != nil {
				return err
			}
			t := r.converted.Tensor(expected.Name)
			found[k], err = quantized.WeightOf(t).Judge(groupCtx, expected)
			r.progress("judging quantised tensors", done.Add(t.Bytes()), total)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for k, dest := range dests {
		bad = append(bad, s.judge(l.Dests[dest].Name, sourceNames(l, dest), quantized.WeightOf(r.converted.Tensor(l.Dests[dest].Name)), found[k])...)
	}
	s.Findings = strictjson.Items(bad...)
	s.summarise(r.copy, r.convertedModel)
	return s, nil
}

// judge lists a matrix, and returns a finding if its error is more than the scheme explains.
func (s *QuantizedSection) judge(name, source string, w *quantized.Weight, j *quantized.Judgement) []Finding {
	s.Tensors = append(s.Tensors, QuantizedTensor{name, w.Scheme.String(), Number(j.Error), Number(j.Least), Number(j.Ratio()), j.Blocks, j.Far})
	if j.Good() {
		return nil
	}
	detail := ""
	if j.Far > 0 {
		are := map[bool]string{true: "is", false: "are"}[j.Far == 1]
		detail = fmt.Sprintf("%d of its %s %s farther from the source than the scheme explains", j.Far, text.Count(j.Blocks, "block"), are)
	}
	return []Finding{{Kind: BadlyQuantized, Detail: detail, Tensor: name, ConvertedName: name, SourceName: source,
		Want: fmt.Sprintf("about %.3g, the least that %s allows", j.Least, w.Scheme), Got: fmt.Sprintf("a relative L2 error of %.3g", j.Error)}}
}

// summarise sets the summary and the notes.
func (s *QuantizedSection) summarise(q *quantized.Copy, found *model.Model) {
	s.Summary = q.String()
	if len(s.Tensors) > 0 {
		byError := func(a, b QuantizedTensor) int { return cmp.Compare(a.Error, b.Error) }
		worst := slices.MaxFunc(s.Tensors, func(a, b QuantizedTensor) int { return cmp.Compare(a.Ratio, b.Ratio) }).Ratio
		of := ""
		if times := fmt.Sprintf("%.4g", worst); times != "1" {
			of = "at most " + times + " times "
		}
		s.Summary += fmt.Sprintf("; relative L2 error %.3g to %.3g, %sthe least that the scheme allows",
			slices.MinFunc(s.Tensors, byError).Error, slices.MaxFunc(s.Tensors, byError).Error, of)
	}
	s.Notes = append(s.Notes, "left alone: "+q.KeptMatrices())
	s.Notes = append(s.Notes, q.Notes...)
	if found != nil {
		s.Notes = append(s.Notes, model.SensitiveNotes(found, q)...)
	}
}
