package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// side is one of the checkpoints, with its tensors by the keys under which they are paired.
type side struct {
	checkpoint *tensor.Checkpoint
	names      map[string]string // what tensors are called in the file, where --map gave them another name
	model      *convert.Model    // of the family; nil if there is none, or none that is clear
	prefix     string            // that is seen through
	keys       []string          // in order
	byKey      map[string]*Operand
}

func newSide(c *tensor.Checkpoint, names map[string]string) *side {
	return &side{checkpoint: c, names: names, byKey: map[string]*Operand{}}
}

// add lists a whole tensor under a key, or, where that is taken, under its own name.
func (s *side) add(key string, t *tensor.Tensor) {
	s.put(key, &Operand{Tensor: t, Stored: []*tensor.Tensor{t}})
}

func (s *side) put(key string, o *Operand) {
	if s.byKey[key] != nil {
		key = o.Name
	}
	if s.byKey[key] == nil {
		s.keys = append(s.keys, key)
		s.byKey[key] = o
	}
}

// nameOf returns the operand's name in the file.
func (s *side) nameOf(o *Operand) string {
	if old, ok := s.names[o.Name]; ok {
		return old
	}
	return o.Name
}

// match finds the counterparts of all tensors.
func (d *differ) match(a, b *tensor.Checkpoint) error {
	renamed, names, err := d.options.Map.apply(a)
	if err != nil {
		return err
	}
	d.a, d.b = newSide(renamed, names), newSide(b, nil)
	layout := convert.UnknownLayout
	if !d.options.Raw {
		d.a.recognize()
		d.b.recognize()
	}
	switch {
	case d.options.Raw:
		d.a.addAll()
		d.b.addAll()
	case d.a.model != nil && d.b.model != nil:
		layout = commonLayout(d.a.model.Layout, d.b.model.Layout)
		for _, s := range []*side{d.a, d.b} {
			if err := s.addModel(layout); err != nil {
				return err
			}
		}
		d.shareHeads()
	default:
		pa, pb := commonNames(d.a.checkpoint, d.b.checkpoint)
		d.a.addUnwrapped(pa)
		d.b.addUnwrapped(pb)
	}
	d.pair(layout)
	return d.keepOnly()
}

// recognize finds the model of the family, if there is just one.
func (s *side) recognize() {
	if m, err := convert.Recognize(s.checkpoint); err == nil {
		s.model = m
	}
}

// commonLayout returns the layout in which models of two layouts are compared: one that each tensor of
// either has a place of its own in.
func commonLayout(a, b convert.Layout) convert.Layout {
	if a == convert.HuggingFace {
		return a
	}
	return b
}

// addModel lists the tensors of a model as a layout has them, and after them what is no part of it.
func (s *side) addModel(layout convert.Layout) error {
	s.prefix = s.model.Prefix
	placed, left := s.model.In(layout)
	for _, p := range placed {
		shown, err := tensor.Viewed(p.Stored, p.View)
		if err != nil {
			return err
		}
		s.put(p.Name, &Operand{Tensor: shown, Stored: []*tensor.Tensor{p.Stored}, shows: &p.View})
	}
	for _, t := range left {
		s.add(strings.TrimPrefix(t.Name, s.prefix), t)
	}
	return nil
}

// shareHeads holds an output head that only one side has against the other's embedding, which is what
// that side computes logits with.
func (d *differ) shareHeads() {
	for _, s := range [][2]*side{{d.a, d.b}, {d.b, d.a}} {
		with, without := s[0], s[1]
		head := with.byKey[convert.HeadName]
		if head == nil || without.byKey[convert.HeadName] != nil {
			continue
		}
		if embedding := without.embedding(); embedding != nil {
			without.put(convert.HeadName, embedding)
			d.note(fmt.Sprintf("%s is held against %s of %s, which has no output head but its embedding",
				head.Name, without.nameOf(embedding), without.checkpoint.Path))
		}
	}
}

// embedding returns the model's, in whatever layout it was listed.
func (s *side) embedding() *Operand {
	for _, key := range []string{"embed_tokens.weight", "embedder.input_embedding"} {
		if o := s.byKey[key]; o != nil {
			return o
		}
	}
	return nil
}

// addAll lists all tensors by their names, as they are.
func (s *side) addAll() {
	for _, t := range s.checkpoint.Tensors() {
		s.add(t.Name, t)
	}
}

// addUnwrapped lists all tensors by their names without a prefix and what wrappers put into them.
func (s *side) addUnwrapped(prefix string) {
	s.prefix = prefix
	taken := map[string]bool{}
	for _, t := range s.checkpoint.Tensors() {
		if unwrap(t.Name, prefix) == t.Name {
			taken[t.Name] = true
		}
	}
	for _, t := range s.checkpoint.Tensors() {
		key := unwrap(t.Name, prefix)
		if taken[key] {
			key = t.Name
		}
		s.add(key, t)
	}
}

// pair makes the pairs: A's tensors in order, and then what only B has.
func (d *differ) pair(layout convert.Layout) {
	d.pairs = &pairs{byName: map[string]*pair{}}
	for _, key := range d.a.keys {
		d.addPair(key, layout, d.a.byKey[key], d.b.byKey[key])
	}
	for _, key := range d.b.keys {
		if d.a.byKey[key] == nil {
			d.addPair(key, layout, nil, d.b.byKey[key])
		}
	}
}

func (d *differ) addPair(key string, layout convert.Layout, a, b *Operand) {
	p := &pair{name: d.pairName(key, layout, a, b), a: a, b: b}
	if d.pairs.byName[p.name] != nil { // a name of one side that is a key of the other
		p.name = key
	}
	p.diff = d.newEntry(p)
	d.pairs.all = append(d.pairs.all, p)
	d.pairs.byName[p.name] = p
}

// pairName returns what a pair is called: as the side calls it that has the layout in which it is
// compared, or by its key where both have that and call it differently.
func (d *differ) pairName(key string, layout convert.Layout, a, b *Operand) string {
	switch {
	case a == nil:
		return d.b.fullName(key, layout, b)
	case b == nil:
		return d.a.fullName(key, layout, a)
	}
	nameA, nameB := d.a.fullName(key, layout, a), d.b.fullName(key, layout, b)
	inA, inB := d.a.has(layout), d.b.has(layout)
	switch {
	case nameA == nameB || inA && !inB:
		return nameA
	case inB && !inA:
		return nameB
	}
	return key
}

// has reports whether the side's own layout is the one in which the pairs are compared.
func (s *side) has(layout convert.Layout) bool { return s.model == nil || s.model.Layout == layout }

// fullName returns the operand's own name, or its key where it is compared in another layout.
func (s *side) fullName(key string, layout convert.Layout, o *Operand) string {
	if s.has(layout) || o.shows == nil {
		return o.Name
	}
	return key
}

// newEntry returns the entry of the result for a pair, with what is known before any element is read.
func (d *differ) newEntry(p *pair) *TensorDiff {
	e := &TensorDiff{Name: p.name}
	describe := func(o *Operand) {
		e.DType, e.Shape, e.Elements = o.DType.String(), shapeOf(o.Shape), o.Elements()
	}
	switch {
	case p.a == nil:
		e.Status = OnlyB
		describe(p.b)
		e.B = other(d.b.nameOf(p.b), p.name)
	case p.b == nil:
		e.Status = OnlyA
		describe(p.a)
		e.A = other(d.a.nameOf(p.a), p.name)
	default:
		describe(p.a)
		e.A, e.B = other(d.a.nameOf(p.a), p.name), other(d.b.nameOf(p.b), p.name)
		if p.b.DType != p.a.DType {
			e.DTypeB = p.b.DType.String()
		}
		if !slices.Equal(p.a.Shape, p.b.Shape) {
			e.Status, e.ShapeB = Shape, shapeOf(p.b.Shape)
		}
	}
	return e
}

func other(name, than string) string {
	if name == than {
		return ""
	}
	return name
}

// shapeOf is a shape that JSON shows as a list, also of a scalar.
func shapeOf(shape []int64) []int64 {
	if shape == nil {
		return []int64{}
	}
	return shape
}

// keepOnly leaves out the pairs that are not asked for.
func (d *differ) keepOnly() error {
	if len(d.options.Only) == 0 {
		return nil
	}
	fits := make([]bool, len(d.options.Only))
	d.pairs.all = slices.DeleteFunc(d.pairs.all, func(p *pair) bool {
		names := []string{p.name, p.diff.A, p.diff.B}
		wanted := false
		for i, pattern := range d.options.Only {
			if slices.ContainsFunc(names, func(name string) bool { return name != "" && Glob(pattern, name) }) {
				wanted, fits[i] = true, true
			}
		}
		return !wanted
	})
	if i := slices.Index(fits, false); i >= 0 {
		return &convert.SettingsError{Problem: fmt.Sprintf("no tensor of either checkpoint fits %q", d.options.Only[i]),
			Hint: "a pattern is of the whole name; * stands for any characters, dots included"}
	}
	return nil
}
