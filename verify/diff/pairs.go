package diff

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// pair is a tensor of A and its counterpart in B. One of them may be nil. It becomes an entry of the result at the end, since that is large.
type pair struct {
	name string // in the layout of comparison
	a, b *operand

	unequal   atomic.Bool // the bytes of a and b differ
	notFinite atomic.Bool // some that were compared are NaN or infinities, or may be

	// These are those of the entry; status is "" until it is known.
	renamed, aligned bool
	status           Status
	details          *details // nil for none
}

// details are what the entry of a pair that differs has more.
type details struct {
	metrics     packedMetrics
	quantized   *Quantized
	explanation *explain.Explanation
	copyOf      *operand // of A, of a tensor without counterpart
}

// found returns the details of a pair, to be filled in.
func (p *pair) found() *details {
	if p.details == nil {
		p.details = new(details)
	}
	return p.details
}

// only returns the one side of a pair without counterpart.
func (p *pair) only() *operand {
	if p.a == nil {
		return p.b
	}
	return p.a
}

// view returns an operand that is a view, or nil if both are whole tensors.
func (p *pair) view() *operand {
	switch {
	case p.a.view != nil:
		return p.a
	case p.b.view != nil:
		return p.b
	}
	return nil
}

// match finds the counterparts of all tensors.
func (d *differ) match(ctx context.Context, a, b *tensor.Checkpoint) error {
	renamed, oldNames, err := d.options.Map.Apply(a)
	if err != nil {
		return err
	}
	d.a, d.b = newSide(renamed, oldNames), newSide(b, nil)
	layout := model.UnknownLayout
	if !d.options.Raw {
		d.a.recognize()
		d.b.recognize()
		for i, s := range []*side{d.a, d.b} {
			if s.several != "" && (d.a.several == "" || d.b.several == "") {
				d.note("%s %s: its tensors are compared by their names, as those of no model; griffin convert writes one of them, which can be compared", "AB"[i:i+1], s.several)
			}
		}
		d.result.Notes = append(d.result.Notes, append(d.a.presented("A"), d.b.presented("B")...)...)
	}
	switch {
	case d.options.Raw:
		d.a.addAll()
		d.b.addAll()
	case d.a.model != nil && d.b.model != nil:
		layout = commonLayout(d.a.model.Layout, d.b.model.Layout)
		first, second := d.a, d.b
		if !first.has(layout) {
			first, second = second, first
		}
		if err := first.addModel(layout, second); err != nil {
			return err
		}
		if err := second.addModel(layout, first); err != nil {
			return err
		}
		d.a.takeKeys(d.b)
		d.pairHeads(d.a, d.b)
		d.pairHeads(d.b, d.a)
	default:
		addByNames(d)
	}
	if !d.options.Raw {
		keepNames(d)
		if d.moved, err = alignLayers(ctx, d.a, d.b, &d.progress); err != nil {
			return err
		}
		if d.moved != nil {
			d.result.aligned = d.moved.moved()
			d.note("%s", d.moved.Words("A", "B"))
		}
	}
	if err := d.pair(layout); err != nil {
		return err
	}
	return d.keepOnly()
}

// addByNames adds the tensors of two sides that are not both models, under the names that they have in common.
func addByNames(d *differ) {
	prefixA, prefixB := commonNames(d.a.checkpoint, d.b.checkpoint)
	outerA, listA := splitList(d.a.checkpoint, prefixA)
	outerB, listB := splitList(d.b.checkpoint, prefixB)
	if listA != "" && listB != "" {
		prefixA, prefixB = outerA, outerB
		if listA != listB {
			d.b.ownList, d.b.list = listB, listA
			d.note("the layers of %s of B are compared with those of %s of A", prefixB+listB, prefixA+listA)
		}
	}
	d.a.addUnwrapped(prefixA)
	d.b.addUnwrapped(prefixB)
}

// keepNames pairs tensors that have the same full name on both sides, where the prefixes that were removed would part them, as if only the layers
// were renamed. Names are then written in full, prefixes included.
func keepNames(d *differ) {
	if d.a.prefix == d.b.prefix || !d.b.takeNames(d.a) {
		return
	}
	if list, _ := longestList(d.b); d.b.ownList == "" && list != "" {
		d.b.ownList, d.b.list = list, list
		d.note("the layers of %s of B are compared with those of %s of A", d.b.prefix+list, d.a.prefix+list)
	}
	if d.b.ownList != "" {
		d.b.ownList, d.b.list = d.b.prefix+d.b.ownList, d.a.prefix+d.b.list
	}
	d.a.prefix, d.b.prefix, d.mixed = "", "", true
}

// pairHeads gives an output head that only one side has the other's embedding as its counterpart, since
// that is the head of the other side.
func (d *differ) pairHeads(with, without *side) {
	name := with.model.Family.HeadName()
	head, embedding := with.byKey[name], without.embedding()
	if head == nil || embedding == nil || without.byKey[name] != nil {
		return
	}
	without.add(name, embedding)
	without.head = embedding
	d.note("%s is compared with %s of %s, which has no separate output head",
		head.Name, without.nameOf(embedding), without.checkpoint.Path)
	divideEmbedding(d, with, without)
}

// divideEmbedding divides the embedding of an original by the number by which transformers multiplies it, as a conversion does, if the
// conversion.json of either side records a model without embedding scale. If none does, explainDivided looks whether it was so divided.
func divideEmbedding(d *differ, converted, original *side) {
	embedding, theirs := original.head, converted.embedding()
	if converted.model.Layout != model.HuggingFace || original.model.Layout == model.HuggingFace || theirs == nil || embedding.view != nil {
		return
	}
	by := huggingface.EmbeddingScale(original.model.Config.Width)
	if half, _ := math.Frexp(by); half != 0.5 && embedding.DType != theirs.DType { // a quotient would be rounded twice
		return
	}
	t, err := explain.Expected(embedding.Name, embedding.DType, embedding.Shape,
		explain.Part{Source: embedding.Tensor, View: tensor.RowMajor(embedding.Shape...), Divide: by})
	if err != nil { // elements that no conversion divides
		return
	}
	original.divided, original.divisor = &operand{Tensor: t, parameter: embedding.parameter}, by
	if record := cmp.Or(recordOfNoScale(converted), recordOfNoScale(original)); record != "" {
		original.byKey[original.model.Family.EmbeddingName(original.layout)] = original.divided
		d.note("%s is compared with %s of %s divided by %g, by which transformers multiplies it: embedding scale false, as %s records",
			theirs.Name, original.nameOf(embedding), original.checkpoint.Path, by, record)
	}
}

// recordOfNoScale returns the path of a side's conversion.json if it records a model without embedding scale.
func recordOfNoScale(s *side) string {
	c, err := s.model.Configure(model.Settings{})
	if err != nil || !(c.Form != nil && c.Form.EmbeddingDividedBy != 0 || slices.Contains(c.Recorded, "embedding_scale") && !c.Original.EmbeddingScale) {
		return ""
	}
	_, file, _ := s.model.Manifest()
	return file
}

// explainDivided explains an embedding that differs, and that is exactly what divideEmbedding would have compared.
func explainDivided(ctx context.Context, d *differ) error {
	for _, p := range d.pairs {
		trial, words := &pair{}, "by 1/%g, as a conversion divides the embedding of a model without embedding scale"
		switch {
		case p.status != Differs:
			continue
		case d.a.divided != nil && p.a == d.a.head:
			trial.a, trial.b = d.a.divided, p.b
		case d.b.divided != nil && p.b == d.b.head:
			trial.a, trial.b = p.a, d.b.divided
			words = "by %g, by which a conversion divides the embedding of a model without embedding scale"
		default:
			continue
		}
		if err := d.compareBytes(ctx, []*pair{trial}); err != nil {
			return err
		}
		if !trial.unequal.Load() {
			p.found().explanation = &explain.Explanation{Kind: explain.Scaled, Detail: fmt.Sprintf(words, cmp.Or(d.a.divisor, d.b.divisor))}
		}
	}
	return nil
}

// maxPairs bounds the tensors of both checkpoints together, counterparts counted once.
const maxPairs = tensor.MaxTensors + tensor.MaxTensors/4

// pair makes the pairs.
func (d *differ) pair(layout model.Layout) error {
	n := len(d.a.keys)
	for _, key := range d.b.keys {
		if d.a.byKey[key] == nil {
			n++
		}
	}
	if n > maxPairs {
		return tensor.Bad("the checkpoints have %d tensors, or more, of which either lacks many; griffin compares at most %d of both together", n, maxPairs).Because(tensor.TooLarge)
	}
	taken := make(map[string]bool, n)
	pairs := make([]pair, n)
	d.pairs = make([]*pair, 0, n)
	add := func(key string) {
		k := len(d.pairs)
		p := &pairs[k]
		p.a, p.b = d.a.byKey[key], d.b.byKey[key]
		switch p.name = pairName(d.a, d.b, key, layout, p); {
		case d.mixed && p.a != nil && p.b != nil:
			p.name = d.a.fullName(key, layout, p.a)
		case p.a == nil && d.b.hasOtherList(p.b):
			p.name = unpaired + d.b.nameOf(p.b)
		case p.a == nil && strings.HasPrefix(key, unpaired):
			p.name = unpaired + p.name
		case taken[p.name]: // a name of one side that is a key of the other
			p.name = key
		}
		taken[p.name] = true
		p.status = p.statusUnread()
		if copied := d.moved.copied(p); copied != nil {
			p.found().copyOf = copied
		}
		d.pairs = append(d.pairs, p)
	}
	for _, key := range d.a.keys {
		add(key)
	}
	for _, key := range d.b.keys {
		if d.a.byKey[key] == nil {
			add(key)
		}
	}
	d.a.forget()
	d.b.forget()
	return nil
}

// pairName returns the name that a pair of two sides has in the layout of comparison. Names of both sides are written without prefixes
// if these differ, and a list of layers that has two names has that of A. A tensor of one side that has another layout is named as the other side would name it.
func pairName(a, b *side, key string, layout model.Layout, p *pair) string {
	common := a.prefix == b.prefix
	only := func(own, other *side, o *operand) string {
		key := strings.TrimPrefix(key, unpaired)
		switch {
		case !own.has(layout) && o.parameter && other.model != nil && other.has(layout):
			return other.prefix + key
		case !common && own.has(layout) && other.has(layout):
			return key
		}
		return own.fullName(key, layout, o)
	}
	switch short := strings.TrimPrefix(key, unpaired); {
	case b.list != "" && strings.HasPrefix(short, b.list+".") && common:
		return a.prefix + short
	case b.list != "" && strings.HasPrefix(short, b.list+"."):
		return short
	case p.a == nil:
		return only(b, a, p.b)
	case p.b == nil:
		return only(a, b, p.a)
	}
	nameA, nameB := a.fullName(key, layout, p.a), b.fullName(key, layout, p.b)
	inA, inB := a.has(layout), b.has(layout)
	switch {
	case nameA == nameB || inA && !inB:
		return nameA
	case inB && !inA:
		return nameB
	case common && strings.HasPrefix(nameA, a.prefix) && strings.HasPrefix(nameB, b.prefix):
		return a.prefix + key
	}
	return key
}

// statusUnread returns the status that is known before elements are read, otherwise "".
func (p *pair) statusUnread() Status {
	switch {
	case p.a == nil:
		return OnlyB
	case p.b == nil:
		return OnlyA
	case !slices.Equal(p.a.Shape, p.b.Shape):
		return Shape
	}
	return ""
}

// entry returns the entry of the result for a pair of two sides.
func (p *pair) entry(a, b *side) TensorDiff {
	of := p.a
	if of == nil {
		of = p.b
	}
	e := TensorDiff{Name: p.name, Status: p.status, Renamed: p.renamed, aligned: p.aligned, DType: of.DType.String(), Shape: shapeOf(of.Shape), Elements: of.Elements()}
	if x := p.details; x != nil {
		e.Metrics, e.Quantized, e.Explanation = x.metrics.unpack(), x.quantized, x.explanation
		if x.copyOf != nil && (p.a == nil || p.b == nil) {
			e.CopyOf = a.nameOf(x.copyOf)
		}
	}
	if p.a != nil {
		e.A = unless(p.name, a.nameOf(p.a))
	}
	if p.b == nil {
		return e
	}
	e.B = unless(p.name, b.nameOf(p.b))
	if p.b.DType != of.DType {
		e.DTypeB = p.b.DType.String()
	}
	if p.status == Shape {
		e.ShapeB = shapeOf(p.b.Shape)
	}
	return e
}

// unless returns a name, or "" if it is known.
func unless(known, name string) string {
	if name == known {
		return ""
	}
	return name
}

// shapeOf is a shape that JSON shows as a list, also that of a scalar.
func shapeOf(shape []int64) []int64 {
	if shape == nil {
		return []int64{}
	}
	return shape
}

// keepOnly leaves out the pairs that match no pattern.
func (d *differ) keepOnly() error {
	if len(d.options.Only) == 0 {
		return nil
	}
	used := make([]bool, len(d.options.Only))
	var kept []*pair
	for _, p := range d.pairs {
		all := []string{p.name}
		if p.a != nil {
			all = append(all, d.a.nameOf(p.a))
		}
		if p.b != nil {
			all = append(all, d.b.nameOf(p.b))
		}
		keep := false
		for i, pattern := range d.options.Only {
			if slices.ContainsFunc(all, func(name string) bool { return names.Glob(pattern, name) }) {
				keep, used[i] = true, true
			}
		}
		if keep {
			kept = append(kept, p)
		} else {
			d.left = append(d.left, p)
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		bad := &OptionError{Option: OptionOnly, Problem: fmt.Sprintf("no tensor of either checkpoint matches %q", d.options.Only[i]), Given: d.options.Only[i]}
		for _, p := range d.pairs {
			bad.Names = append(bad.Names, p.name)
		}
		return bad
	}
	d.pairs = kept
	return nil
}
