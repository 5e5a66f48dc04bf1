package verify

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// proveWeights compares every element of a converted checkpoint with its source: bit for bit, or
// where the dtype changed, with the definition of rounding. Tensors that the structure finds
// missing, misshapen or mistyped are left out. progress is told the bytes compared so far.
func proveWeights(ctx context.Context, p *convert.Plan, head headState, converted *tensor.Checkpoint, progress func(done int64)) (*WeightsSection, error) {
	for _, name := range head.copies {
		p = withHead(p, name)
	}
	if err := checkCovered(p); err != nil {
		return nil, err
	}
	proved, err := proof.Prove(ctx, p.List, converted, proof.Options{Progress: progress, Digests: true})
	if err != nil {
		return nil, err
	}
	w := &weights{ctx: ctx, plan: p, converted: converted, digests: proved.Digests, sources: sourcesOf(p), copies: head.copies, demands: map[int][]byte{},
		section: &WeightsSection{Section: Section{Findings: []Finding{}}, Elements: proved.Elements, Bytes: proved.Bytes, Rounded: proved.Rounded, Overflowed: proved.Overflowed}}
	w.collect(proved.Failures)
	if err := errors.Join(w.wantQuotients(), w.countDivided()); err != nil {
		return nil, err
	}
	if err := w.explainAll(); err != nil {
		return nil, err
	}
	w.list()
	w.summarise()
	return w.section, nil
}

// withHead adds a second copy of the embedding to a plan.
func withHead(p *convert.Plan, name string) *convert.Plan {
	all := *p
	all.Dests, all.Moves = slices.Clone(p.Dests), slices.Clone(p.Moves)
	i := embeddingDest(p)
	d := p.Dests[i]
	d.Name = name
	all.Dests = append(all.Dests, d)
	for _, m := range p.Moves {
		if m.Dest == i {
			m.Dest = len(all.Dests) - 1
			all.Moves = append(all.Moves, m)
		}
	}
	return &all
}

// checkCovered reports a plan that leaves elements of a source tensor out, so that what is proven is
// said of all of them.
func checkCovered(p *convert.Plan) error {
	moved := map[*tensor.Tensor]map[int64]int64{} // elements, by the tensor and the first of them
	for _, m := range p.Moves {
		if moved[m.Source] == nil {
			moved[m.Source] = map[int64]int64{}
		}
		first, _ := m.View.Span()
		moved[m.Source][first] = m.View.Elements()
	}
	for t, parts := range moved {
		n := int64(0)
		for _, elements := range parts {
			n += elements
		}
		if n != t.Elements() {
			return fmt.Errorf("plan moves %d of the %d elements of %s", n, t.Elements(), t.Name)
		}
	}
	return nil
}

type weights struct {
	ctx       context.Context
	plan      *convert.Plan
	converted *tensor.Checkpoint
	digests   *moves.Digests
	sources   [][]string // by index into plan.Dests
	copies    []string   // output heads that should be copies of the embedding
	section   *WeightsSection

	wrong map[int]*Finding // by index into plan.Dests
	left  map[int]bool     // not compared, because of their structure

	divisor float64 // of the embedding

	demands map[int][]byte // a few elements that the plan demands, of those dests that were asked for
}

// collect makes findings of the failures of a proof, in the order of the destination.
func (w *weights) collect(failures []proof.Failure) {
	index := map[string]int{}
	for i, d := range w.plan.Dests {
		index[d.Name] = i
	}
	w.wrong, w.left = map[int]*Finding{}, map[int]bool{}
	failures = slices.Clone(failures)
	slices.SortStableFunc(failures, func(a, b proof.Failure) int { return cmp.Compare(index[a.Tensor], index[b.Tensor]) })
	for _, f := range failures {
		i, known := index[f.Tensor]
		if !known {
			continue // too many: the structure says so
		}
		if f.Differing == 0 {
			w.left[i] = true
			continue
		}
		d := w.plan.Dests[i]
		kind := WrongWeights
		if slices.Contains(w.copies, d.Name) {
			kind = UntiedHead
		}
		w.section.Findings = append(w.section.Findings, Finding{Kind: kind, Tensor: d.Name, SourceName: strings.Join(w.sources[i], " + "), ConvertedName: d.Name,
			Index: f.Index, Want: f.Want, Got: f.Got, Differing: f.Differing, Elements: (&tensor.Tensor{Shape: d.Shape}).Elements()})
	}
	for k := range w.section.Findings {
		f := &w.section.Findings[k]
		w.wrong[index[f.Tensor]] = f
	}
}

// list fills in the digests of all tensors that were compared, on both sides.
func (w *weights) list() {
	badSource := map[*tensor.Tensor]bool{}
	seen := map[*tensor.Tensor]bool{}
	var sources []*tensor.Tensor
	for _, m := range w.plan.Moves {
		badSource[m.Source] = badSource[m.Source] || w.wrong[m.Dest] != nil || w.left[m.Dest]
		if !seen[m.Source] {
			seen[m.Source] = true
			sources = append(sources, m.Source)
		}
	}
	for i, d := range w.plan.Dests {
		if w.left[i] {
			continue
		}
		sum := w.digests.Dests[i]
		w.section.Tensors++
		w.section.Converted = append(w.section.Converted, TensorDigest{Name: d.Name, DType: d.DType.String(), Shape: shapeOf(d.Shape), SHA256: hex.EncodeToString(sum[:]),
			Rule: d.Rule, From: w.sources[i], OK: w.wrong[i] == nil})
	}
	for _, t := range sources {
		sum := w.digests.Sources[t]
		w.section.Source = append(w.section.Source, TensorDigest{Name: t.Name, DType: t.DType.String(), Shape: shapeOf(t.Shape), SHA256: hex.EncodeToString(sum[:]), OK: !badSource[t]})
	}
}

// shapeOf is a shape that JSON shows as a list, also of a scalar.
func shapeOf(shape []int64) []int64 {
	if shape == nil {
		return []int64{}
	}
	return shape
}

func (w *weights) summarise() {
	s := w.section
	s.OK = len(s.Findings)+len(w.left) == 0
	how := "identical to the source, bit for bit"
	if s.Rounded > 0 {
		how = fmt.Sprintf("identical to the source, rounded to nearest where the dtype changed (%s of %s elements)", text.Grouped(s.Rounded), text.Grouped(s.Elements))
	}
	if s.Divided > 0 {
		exact := ", exactly"
		if s.Inexact > 0 {
			exact = fmt.Sprintf("; %s of them are not given back by multiplying", text.Grouped(s.Inexact))
		}
		how += fmt.Sprintf(", and the embedding's %s divided by %g%s", text.Grouped(s.Divided), w.divisor, exact)
	}
	if len(s.Findings) > 0 {
		var differing int64
		for _, f := range s.Findings {
			differing += f.Differing
		}
		how = fmt.Sprintf("%s differ, in %s elements", text.Count(len(s.Findings), "tensor"), text.Grouped(differing))
	}
	s.Summary = fmt.Sprintf("%s, %s elements: %s", text.Count(s.Tensors, "tensor"), text.Grouped(s.Elements), how)
	switch n := len(w.left); {
	case n > 0 && s.Tensors == 0:
		s.Summary = "no tensor could be compared"
	case n > 0:
		s.Summary += fmt.Sprintf("; %s could not be compared", text.Count(n, "more tensor"))
	}
	if s.Overflowed > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s elements became infinite: they are beyond the range of %s", text.Grouped(s.Overflowed), w.plan.DType))
	}
}
