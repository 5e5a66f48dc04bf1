package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// headState describes output heads of a converted checkpoint that the plan does not have.
type headState struct {
	copies []string // names of those with the shape and dtype of the embedding; the proof of the weights compares them
	other  bool     // there is one that cannot be a copy
	alone  string   // name of one that stands for the embedding in both checkpoints; "" for none
}

// checkStructure lists the tensors of a plan that are missing from a converted checkpoint, or have another name, shape or dtype,
// and the extra tensors of the checkpoint. renamed has the names of those that have other names.
//
// found is the model in the converted checkpoint, or nil if there is none. In an original layout the checkpoint may have
// other tensors beside the model; in a Hugging Face directory all have to be part of it. another is true if what was found is wholly
// another model.
func checkStructure(p *convert.Plan, converted *tensor.Checkpoint, found *model.Model, renamed *renaming) (s *Section, head headState, another bool) {
	c := &structure{plan: p, converted: converted, found: found, renaming: renamed, section: &Section{Findings: []Finding{}}}
	known := map[string]bool{}
	for i := range p.Dests {
		known[renamed.name(p.Dests[i].Name)] = true
		c.check(i)
	}
	heads := c.heads(found, known)
	for _, t := range heads {
		known[t.Name] = true
	}
	var extra []*tensor.Tensor
	beside := 0
	for _, t := range converted.Tensors() {
		switch {
		case known[t.Name]:
		case found != nil && p.Layout != model.HuggingFace && slices.Contains(found.Rest, t):
			beside++
		default:
			extra = append(extra, t)
		}
	}
	if beside > 0 {
		c.section.Notes = append(c.section.Notes, text.CountAre(beside, "tensor")+" not part of the model")
	}
	slices.SortStableFunc(extra, func(a, b *tensor.Tensor) int { return tensor.CompareNames(a.Name, b.Name) })
	for _, t := range extra {
		c.section.Findings = append(c.section.Findings, Finding{Kind: ExtraTensor, Tensor: t.Name, ConvertedName: t.Name, Got: describeTensor(t.DType, t.Shape)})
	}
	head = c.head(heads)
	c.section.OK = len(c.section.Findings) == 0
	sizes := renamed.words()
	if found != nil && sizes == "" {
		sizes = otherSizes(&found.Config, &p.Config)
	}
	another = c.isAnother()
	switch {
	case another:
		c.section.Summary = c.describeAnother(sizes)
	case sizes != "":
		c.section.Summary = c.summary() + "; " + sizes
	default:
		c.section.Summary = c.summary()
	}
	return c.section, head, another
}

type structure struct {
	plan      *convert.Plan
	converted *tensor.Checkpoint
	found     *model.Model // in converted, or nil
	renaming  *renaming
	section   *Section
}

// sourcesOf returns the full names of the tensors that a destination is made of.
func sourcesOf(l moves.List, dest int) []string {
	var names []string
	for _, m := range l.MovesOf(dest) {
		if !slices.Contains(names, m.Source.Name) {
			names = append(names, m.Source.Name)
		}
	}
	return names
}

// sourceNames returns what sourcesOf does, as one text.
func sourceNames(l moves.List, dest int) string { return strings.Join(sourcesOf(l, dest), " + ") }

func (c *structure) add(kind FindingKind, dest int, want, got, detail string) {
	d := c.plan.Dests[dest]
	c.section.Findings = append(c.section.Findings, Finding{Kind: kind, Tensor: d.Name, SourceName: sourceNames(c.plan.List, dest),
		ConvertedName: cmp.Or(c.renaming.name(d.Name), d.Name), Want: want, Got: got, Detail: detail})
}

// check compares one tensor of the plan.
func (c *structure) check(dest int) {
	d := c.plan.Dests[dest]
	name := c.renaming.name(d.Name)
	t := c.converted.Tensor(name)
	if t == nil && dest == c.plan.Embedding && c.embeddedByHead() {
		t = c.found.Embedding()
	}
	if t == nil {
		detail := ""
		if c.found != nil && c.found.EmbeddedByHead && dest == c.plan.Embedding {
			detail = fmt.Sprintf("transformers 5.23 takes %s for it, and 4.57 leaves it without values", c.found.Embedding().Name)
		}
		c.add(MissingTensor, dest, describeTensor(d.DType, d.Shape), "", detail)
		return
	}
	if name != d.Name {
		c.add(RenamedTensor, dest, d.Name, name, "")
	}
	if !slices.Equal(t.Shape, d.Shape) {
		detail := ""
		switch reversed := slices.Clone(t.Shape); {
		case t.Elements() != (&tensor.Tensor{Shape: d.Shape}).Elements():
		case len(d.Shape) == 2:
			if slices.Reverse(reversed); slices.Equal(reversed, d.Shape) {
				detail = "it looks transposed"
			}
		default:
			detail = "it has the same number of elements"
		}
		c.add(MisshapenTensor, dest, tensor.ShapeString(d.Shape), tensor.ShapeString(t.Shape), detail)
	}
	if t.DType != d.DType && !isQuantized(c.converted, d.Name) {
		c.add(MistypedTensor, dest, d.DType.String(), t.DType.String(), "")
	}
}

// embeddedByHead reports whether the output head stands for the embedding in source and converted checkpoint, so that every version of
// transformers makes the same of both.
func (c *structure) embeddedByHead() bool {
	return c.plan.Source.EmbeddedByHead && c.found != nil && c.found.EmbeddedByHead
}

// heads returns the output heads that the plan does not have.
func (c *structure) heads(found *model.Model, known map[string]bool) (heads []*tensor.Tensor) {
	if c.plan.Layout == model.HuggingFace {
		name := c.plan.Source.Family.HeadName()
		if t := c.converted.Tensor(name); t != nil && !known[name] {
			heads = append(heads, t)
		}
		return heads
	}
	if found != nil {
		for _, h := range found.Heads {
			if !known[h.Tensor.Name] {
				heads = append(heads, h.Tensor)
			}
		}
	}
	return heads
}

// head checks output heads that the plan does not have: they should be absent, or copies of the embedding.
func (c *structure) head(heads []*tensor.Tensor) (state headState) {
	i := c.plan.Embedding
	for _, t := range heads {
		d := c.plan.Dests[i]
		if c.embeddedByHead() && t == c.found.Embedding() { // check has looked at it
			c.section.Notes = append(c.section.Notes, fmt.Sprintf("%s stands for the embedding, as in the source", t.Name))
			state.alone = t.Name
			continue
		}
		if t.DType == d.DType && slices.Equal(t.Shape, d.Shape) {
			note := " is present, as a second copy of the embedding; it is compared too"
			if c.found != nil && c.found.EmbeddedByHead {
				note = " is compared with the embedding"
			}
			c.section.Notes = append(c.section.Notes, t.Name+note)
			state.copies = append(state.copies, t.Name)
			continue
		}
		state.other = true
		c.section.Findings = append(c.section.Findings, Finding{Kind: UntiedHead, Tensor: t.Name, ConvertedName: t.Name, SourceName: sourceNames(c.plan.List, i),
			Want: describeTensor(d.DType, d.Shape), Got: describeTensor(t.DType, t.Shape), Detail: "the head is tied: it should be absent, or a copy of the embedding"})
	}
	return state
}

func (c *structure) summary() string {
	if c.section.OK {
		return text.Count(len(c.plan.Dests), "tensor") + ": names, shapes and types as expected"
	}
	var parts []string
	for _, k := range []FindingKind{MissingTensor, ExtraTensor, RenamedTensor, MisshapenTensor, MistypedTensor} {
		if n := c.count(k); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
		}
	}
	if c.count(UntiedHead) > 0 {
		parts = append(parts, "an output head that is not a copy of the embedding")
	}
	return "of " + text.Count(len(c.plan.Dests), "tensor") + ": " + strings.Join(parts, ", ")
}

func describeTensor(d tensor.DType, shape []int64) string {
	return d.String() + " " + tensor.ShapeString(shape)
}
