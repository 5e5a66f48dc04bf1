package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// headState describes output heads of a converted checkpoint that the plan does not have.
type headState struct {
	copies []string // names of those with the shape and dtype of the embedding; the proof of the weights compares them
	other  bool     // there is one that cannot be a copy
	alone  string   // name of one that stands for the embedding in both checkpoints; "" for none

	tiesOther bool // config.json ties one to the embedding that differs from it
}

// checkStructure lists the tensors of a plan that are missing from a converted checkpoint, or have another name, shape or dtype,
// and the extra tensors of the checkpoint. renamed has the names of those that have other names,
// and resized says, by index into the plan, which rows of others are the same.
//
// found is the model in the converted checkpoint, or nil if there is none. In an original layout the checkpoint may have
// other tensors beside the model; in a Hugging Face directory all have to be part of it. another is true if what was found is wholly
// another model. tiesOther says that config.json ties an output head to the embedding that differs from it.
func checkStructure(p *convert.Plan, converted *tensor.Checkpoint, found *model.Model, renamed *renaming, resized map[int]string, tiesOther bool) (s *Section, head headState, another bool) {
	c := &structure{plan: p, converted: converted, found: found, renaming: renamed, resized: resized, section: &Section{}}
	for i := range p.Dests {
		c.check(i)
	}
	known := renamed.known(p.List)
	heads := c.heads(found, known)
	rest := map[*tensor.Tensor]bool{} // of an original: not part of the model
	if found != nil && p.Layout != model.HuggingFace {
		for _, t := range found.Rest {
			rest[t] = true
		}
	}
	var extra []*tensor.Tensor
	beside := 0
	for _, t := range converted.Tensors() {
		switch {
		case known(t.Name), slices.Contains(heads, t):
		case rest[t]:
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
		c.wrong = append(c.wrong, wrongTensor{t, -1, isExtra})
	}
	head = c.head(heads, tiesOther)
	c.section.Findings = strictjson.NewList(len(c.wrong), c.finding)
	c.section.OK = len(c.wrong) == 0
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
	resized   map[int]string
	section   *Section
	wrong     []wrongTensor

	otherHeads int // that the plan does not have, under other names
}

// wrongTensor is what a finding is about. There may be as many as both checkpoints have tensors, so that the texts are made when they are shown.
type wrongTensor struct {
	tensor *tensor.Tensor // in the converted checkpoint; nil if it is missing
	dest   int32          // index into plan.Dests; -1 for an extra tensor
	kind   structureKind
}

// structureKind is the kind of a finding of the structure.
type structureKind uint8

const (
	isMissing structureKind = iota
	isExtra
	isRenamed
	isMisshapen
	isMistyped
	isWrongHead
)

// finding describes what is wrong.
func (c *structure) finding(k int) Finding {
	w := &c.wrong[k]
	t := w.tensor
	if w.kind == isExtra {
		return Finding{Kind: ExtraTensor, Tensor: t.Name, ConvertedName: t.Name, Got: describeTensor(t.DType, t.Shape), Detail: c.renaming.copied(t.Name)}
	}
	d := &c.plan.Dests[w.dest]
	f := Finding{Tensor: d.Name, SourceName: sourceNames(c.plan.List, int(w.dest)), ConvertedName: cmp.Or(c.renaming.name(d.Name), d.Name)}
	switch w.kind {
	case isMissing:
		f.Kind, f.Want, f.Detail = MissingTensor, describeTensor(d.DType, d.Shape), c.renaming.taken(d.Name)
		if f.Detail != "" {
			f.ConvertedName = ""
		}
		if c.found != nil && c.found.EmbeddedByHead && int(w.dest) == c.plan.Embedding {
			f.Detail = fmt.Sprintf("transformers 5.23 takes %s for it, and 4.57 leaves it without values", c.found.Embedding().Name)
		}
	case isRenamed:
		f.Kind, f.Want, f.Got = RenamedTensor, d.Name, t.Name
		if f.ConvertedName != t.Name { // it is the head
			f.Tensor, f.ConvertedName = c.plan.Source.Family.HeadName(), t.Name
			f.Want = f.Tensor
		}
	case isMisshapen:
		f.Kind, f.Want, f.Got, f.Detail = MisshapenTensor, tensor.ShapeString(d.Shape), tensor.ShapeString(t.Shape), cmp.Or(c.resized[int(w.dest)], otherShape(d, t))
	case isMistyped:
		f.Kind, f.Want, f.Got = MistypedTensor, d.DType.String(), t.DType.String()
	case isWrongHead:
		f.Kind, f.Tensor, f.ConvertedName = UntiedHead, t.Name, t.Name
		f.Want, f.Got, f.Detail = describeTensor(d.DType, d.Shape), describeTensor(t.DType, t.Shape), "the head is tied: it should be absent, or a copy of the embedding"
		if f.Want == f.Got {
			f.Want, f.Got, f.Detail = "a copy of "+d.Name, "other values", "config.json ties the head: "+model.ComputedWith("the embedding", "this head")
		}
	}
	return f
}

// otherShape says what the wrong shape of a tensor looks like.
func otherShape(d *moves.Dest, t *tensor.Tensor) string {
	reversed := slices.Clone(t.Shape)
	slices.Reverse(reversed)
	switch {
	case t.Elements() != d.Elements():
	case len(d.Shape) != 2:
		return "the same number of elements"
	case slices.Equal(reversed, d.Shape):
		return "looks transposed"
	}
	return ""
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

// check compares one tensor of the plan.
func (c *structure) check(dest int) {
	d := &c.plan.Dests[dest]
	name := c.renaming.name(d.Name)
	t := c.converted.Tensor(name)
	if t == nil && dest == c.plan.Embedding && c.embeddedByHead() {
		t = c.found.Embedding()
	}
	if t == nil {
		c.wrong = append(c.wrong, wrongTensor{nil, int32(dest), isMissing})
		return
	}
	if name != d.Name {
		c.wrong = append(c.wrong, wrongTensor{t, int32(dest), isRenamed})
	}
	if !slices.Equal(t.Shape, d.Shape) {
		c.wrong = append(c.wrong, wrongTensor{t, int32(dest), isMisshapen})
	}
	if t.DType != d.DType && !isQuantized(c.converted, d.Name) {
		c.wrong = append(c.wrong, wrongTensor{t, int32(dest), isMistyped})
	}
}

// embeddedByHead reports whether the output head stands for the embedding in source and converted checkpoint, so that every version of
// transformers makes the same of both.
func (c *structure) embeddedByHead() bool {
	return c.plan.Source.EmbeddedByHead && c.found != nil && c.found.EmbeddedByHead
}

// heads returns the output heads that the plan does not have.
func (c *structure) heads(found *model.Model, known func(name string) bool) (heads []*tensor.Tensor) {
	if c.plan.Layout == model.HuggingFace {
		name := c.renaming.name(c.plan.Source.Family.HeadName())
		if t := c.converted.Tensor(name); t != nil && !known(name) {
			heads = append(heads, t)
		}
		return heads
	}
	if found != nil {
		for _, h := range found.Heads {
			if !known(h.Tensor.Name) {
				heads = append(heads, h.Tensor)
			}
		}
	}
	return heads
}

// head checks output heads that the plan does not have: they should be absent, or copies of the embedding.
func (c *structure) head(heads []*tensor.Tensor, tiesOther bool) (state headState) {
	state.tiesOther = tiesOther
	i := c.plan.Embedding
	for _, t := range heads {
		d := c.plan.Dests[i]
		isOther := c.plan.Layout == model.HuggingFace && t.Name != c.plan.Source.Family.HeadName()
		if isOther {
			c.wrong = append(c.wrong, wrongTensor{t, int32(i), isRenamed})
		}
		if c.embeddedByHead() && t == c.found.Embedding() { // check has looked at it
			c.section.Notes = append(c.section.Notes, fmt.Sprintf("%s stands for the embedding, as in the source", t.Name))
			state.alone = t.Name
			continue
		}
		if isOther {
			c.otherHeads++
		}
		if t.DType == d.DType && slices.Equal(t.Shape, d.Shape) {
			c.section.Notes = append(c.section.Notes, t.Name+" is compared with the embedding, of which it should be a copy")
			state.copies = append(state.copies, t.Name)
			if tiesOther {
				c.wrong = append(c.wrong, wrongTensor{t, int32(i), isWrongHead})
			}
			continue
		}
		state.other = true
		c.wrong = append(c.wrong, wrongTensor{t, int32(i), isWrongHead})
	}
	return state
}

func (c *structure) summary() string {
	if c.section.OK {
		return text.Count(len(c.plan.Dests), "tensor") + ": names, shapes and types as expected"
	}
	var parts []string
	for _, of := range []struct {
		kind structureKind
		name FindingKind
	}{{isMissing, MissingTensor}, {isExtra, ExtraTensor}, {isRenamed, RenamedTensor}, {isMisshapen, MisshapenTensor}, {isMistyped, MistypedTensor}} {
		if n := c.count(of.kind); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, of.name))
		}
	}
	if c.count(isWrongHead) > 0 {
		parts = append(parts, "an output head that is not a copy of the embedding")
	}
	return "of " + text.Count(len(c.plan.Dests)+c.otherHeads, "tensor") + ": " + strings.Join(parts, ", ")
}

func describeTensor(d tensor.DType, shape []int64) string {
	return d.String() + " " + tensor.ShapeString(shape)
}

// otherSizes says in which sizes, as the shapes of its tensors show them, a model differs from the one that it should be: "width 36,
// not 32; 3 layers, not 5". It is "" if they are the same. A size that no tensor shows says nothing.
func otherSizes(got, want *model.Config) string {
	var parts []string
	for _, s := range []struct {
		name      string
		got, want int64
	}{
		{"width", got.Width, want.Width}, {"layers", int64(len(got.BlockTypes)), int64(len(want.BlockTypes))}, {"vocabulary", got.VocabSize, want.VocabSize},
		{"MLP width", got.MLPExpandedWidth, want.MLPExpandedWidth}, {"heads", got.NumHeads, want.NumHeads}, {"RG-LRU width", got.LRUWidth, want.LRUWidth},
	} {
		switch {
		case s.got == s.want, s.got <= 0:
		case s.name == "layers", s.name == "heads":
			parts = append(parts, fmt.Sprintf("%s, not %d", text.Count(s.got, strings.TrimSuffix(s.name, "s")), s.want))
		default:
			parts = append(parts, fmt.Sprintf("%s %d, not %d", s.name, s.got, s.want))
		}
	}
	isRight := func(got, want model.BlockType) bool { return got == want || got == model.UnknownKind }
	if len(got.BlockTypes) == len(want.BlockTypes) && !slices.EqualFunc(got.BlockTypes, want.BlockTypes, isRight) {
		parts = append(parts, "recurrent and attention layers in another order")
	}
	return strings.Join(parts, "; ")
}

// isAnother reports whether what was found is wholly another model, so that a list of its tensors would only repeat that: more than
// half of the tensors that were expected are wrong, no other name was found for one, and no more tensors fit than do not.
func (c *structure) isAnother() bool {
	wrong, foreign := c.count(isMissing)+c.count(isMisshapen), c.count(isMisshapen)+c.count(isExtra)
	return c.renaming == nil && 2*wrong > len(c.plan.Dests) && foreign >= len(c.plan.Dests)-wrong
}

// count counts the findings of a kind.
func (c *structure) count(kind structureKind) (n int) {
	for i := range c.wrong {
		if c.wrong[i].kind == kind {
			n++
		}
	}
	return n
}

// describeAnother says what another model is.
func (c *structure) describeAnother(sizes string) string {
	if sizes != "" {
		return "another model: " + sizes
	}
	return fmt.Sprintf("another model: it lacks %d of %s, and has %d others", c.count(isMissing), text.Count(len(c.plan.Dests), "tensor"), c.count(isExtra))
}
