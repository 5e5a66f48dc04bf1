package model

import (
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// recognize finds a model in a checkpoint. It reads no weights. described are the files beside a checkpoint from which this one is
// derived, or nil.
func recognize(c *tensor.Checkpoint, o *Options, described *files) (*Model, error) {
	f := o.family()
	all := candidates(c.Tensors(), f)
	p := &presenter{family: f, parts: map[*tensor.Tensor]part{}}
	if len(all) == 0 {
		var err error
		if c, err = p.unstack(c); err != nil {
			return nil, err
		}
		all = candidates(c.Tensors(), f)
	}
	chosen, err := choose(c, f, all, o.Name)
	if err != nil {
		return nil, err
	}
	if c, err = p.moveUnitAxes(c, chosen); err != nil {
		return nil, err
	}
	r := &recognizer{&Model{Notes: p.notes, Stacked: p.stacked, parts: p.parts, Checkpoint: c, Family: f, Layout: layoutOf(chosen), neutral: isNeutral(chosen), Prefix: chosen.prefix, KeepExtra: o.KeepExtra, found: chosen.found}}
	if r.files = described; described == nil {
		r.files = readFiles(r.Model)
	}
	r.sortTensors(chosen, r.otherModels(chosen, all, o.Name != ""))
	r.embedByHead()
	r.measure()
	for _, a := range []byte(f.Axes) {
		if r.sizes[a] < 0 {
			return nil, tensor.Bad("a model with an empty axis").In(c.Path)
		}
	}
	r.dropMisshapenHeads()
	if p := f.PresetByShape(&r.Config); p != nil {
		r.Preset = p.Name
	}
	return r.Model, nil
}

// recognizer fills in a Model.
type recognizer struct{ *Model }

// layoutOf distinguishes Flax from torch by the names of dense layers: "kernel" or "weight".
func layoutOf(c *candidate) Layout {
	if c.convention == hfNames {
		return HuggingFace
	}
	kernels, weights := c.denseLayers()
	if weights > kernels {
		return Torch
	}
	return Flax
}

// isNeutral reports whether a candidate has nothing by which layoutOf tells the original layouts apart.
func isNeutral(c *candidate) bool {
	kernels, weights := c.denseLayers()
	return c.convention != hfNames && kernels+weights == 0
}

// ShownLayout returns the layout of a model, UnknownLayout if it is a part of one that both original layouts have: one without a dense layer.
func ShownLayout(m *Model) Layout {
	if m.neutral {
		return UnknownLayout
	}
	return m.Layout
}

// otherModels sets r.Others and returns the tensors of other models in the checkpoint, with what lies
// beside their parameters. Unless a model was selected by name, smaller subtrees that look like
// models count as parts of this one.
func (r recognizer) otherModels(chosen *candidate, all []*candidate, named bool) map[*tensor.Tensor]bool {
	tensors := map[*tensor.Tensor]bool{}
	below := map[string]bool{} // prefixes of other models, within the subtree of this one or beside it
	for _, a := range all {
		if a == chosen || !named || isOptimizerState(a.prefix) && !isOptimizerState(chosen.prefix) {
			continue
		}
		r.Others = append(r.Others, a.name())
		if len(a.prefix) > len(chosen.prefix) {
			below[a.prefix] = true
		}
		for _, t := range a.found.all() {
			tensors[t] = true
		}
	}
	if len(below) == 0 {
		return tensors
	}
	for _, t := range r.Checkpoint.Tensors() {
		name := t.Name[:min(len(t.Name), maxName)]
		for i := range name {
			if name[i] == '.' && below[name[:i+1]] {
				tensors[t] = true
			}
		}
	}
	return tensors
}

// sortTensors sorts the checkpoint's tensors into those of the model and the rest, which includes
// those of other models, and lists the blocks.
func (r recognizer) sortTensors(c *candidate, others map[*tensor.Tensor]bool) {
	tails := map[string]bool{}
	for i := range r.Family.Rules {
		tails[r.Family.Rules[i].At[r.Layout].Tail] = true
	}
	delete(tails, "")                  // of rules that the layout does not have
	named := map[*tensor.Tensor]bool{} // like a parameter; true if the layout has one of that name
	blocks := map[int]bool{}
	for key, t := range c.found.all() {
		block, tail := splitBlock(key, r.Family.Blocks[r.Layout])
		if block >= 0 {
			blocks[block] = true
		}
		named[t] = tails[tail]
	}
	r.blocks = slices.Sorted(maps.Keys(blocks))
	for _, t := range r.Checkpoint.Tensors() {
		isParameter, isNamed := named[t]
		switch {
		case isParameter:
			r.Tensors = append(r.Tensors, t)
		case others[t]:
			r.Rest = append(r.Rest, t)
		case r.addHead(t):
			r.Tensors = append(r.Tensors, t)
		case isNamed || r.isExtra(t) || r.KeepExtra && IsBeside(r.Model, t):
			r.Extra = append(r.Extra, t)
			r.Tensors = append(r.Tensors, t)
		default:
			r.Rest = append(r.Rest, t)
		}
	}
}

// isExtra reports whether a tensor that is not named like a parameter lies among the parameters, and
// is not known to be something else.
func (r recognizer) isExtra(t *tensor.Tensor) bool {
	rest, ok := strings.CutPrefix(t.Name, r.Prefix)
	return ok && len(t.Shape) > 0 && !isTrainerState(rest) &&
		!slices.ContainsFunc(r.Family.Ignored, func(ending string) bool { return strings.HasSuffix(rest, ending) })
}

// IsBeside reports whether a tensor lies beside the parameters of transformers, as the heads of classifiers and reward
// models do ("score.weight" beside "model.", "v_head." beside "pretrained_model.model."), and is not known to be
// something else.
func IsBeside(m *Model, t *tensor.Tensor) bool {
	if m.Layout != HuggingFace || outerOf(m) == m.Prefix || strings.HasPrefix(t.Name, m.Prefix) {
		return false
	}
	return len(t.Shape) > 0 && !isTrainerState(t.Name) && !isTrainerState(besideName(m, t))
}

// besideName returns the name of a tensor that lies beside the model, without what the names of both begin with.
func besideName(m *Model, t *tensor.Tensor) string {
	return strings.TrimPrefix(t.Name, outerOf(m))
}

// outerOf returns what the names beside a model of transformers begin with: m.Prefix without the root, behind which there may be wrappers.
func outerOf(m *Model) string {
	root := m.Family.Roots[HuggingFace]
	if i := strings.LastIndex(m.Prefix, root); i >= 0 && unwrap(m.Prefix[i+len(root):]) == "" {
		return m.Prefix[:i]
	}
	return m.Prefix
}

// ExtraName returns the name that an extra tensor has in a layout: its own, below that layout's root if it lies among
// the parameters, and at the top if it lies beside them.
func (m *Model) ExtraName(t *tensor.Tensor, l Layout) string {
	if rest, among := strings.CutPrefix(t.Name, m.Prefix); among {
		return m.Family.Roots[l] + rest
	}
	return besideName(m, t)
}

// measure finds the length of each axis, which is the one that most tensors have, and from them the
// configuration. A tensor that is transposed or cut is outvoted here and reported as misshapen later.
func (r recognizer) measure() {
	votes := map[byte]map[int64]int{}
	for i := range r.Family.Rules {
		rule := &r.Family.Rules[i]
		if rule.At[r.Layout].Tail == "" {
			continue
		}
		axes := rule.axesIn(r.Layout)
		for _, b := range r.blocksOf(rule) {
			for t := range r.found.of(r.Family.nameOf(parameter{rule, b}, r.Layout)) {
				if len(t.Shape) != len(axes) {
					continue
				}
				for k, a := range axes {
					if votes[a] == nil {
						votes[a] = map[int64]int{}
					}
					votes[a][t.Shape[k]]++
				}
			}
		}
	}
	for _, a := range []byte(r.Family.Axes) {
		most := 0
		for length, count := range votes[a] {
			if count > most || count == most && length > r.sizes[a] {
				most, r.sizes[a] = count, length
			}
		}
		if most > 0 && r.sizes[a] == 0 {
			r.sizes[a] = -1
		}
	}
	r.conflict = r.Family.Resolve(&r.sizes, r.Layout, r.files.config)
	var blocks []BlockType
	for _, b := range r.blocks {
		blocks = append(blocks, r.blockType(b))
	}
	r.Config = r.Family.Config(&r.sizes, blocks, r.has)
}

// has reports whether a block has a parameter, or the model outside its blocks.
func (r recognizer) has(parameterName string) bool {
	rule := r.Family.rule(parameterName)
	return rule != nil && rule.At[r.Layout].Tail != "" && slices.ContainsFunc(r.blocksOf(rule), func(b int) bool {
		return r.found.first[r.Family.nameOf(parameter{rule, b}, r.Layout)] != nil
	})
}

// blocksOf returns the numbers of the blocks in which a parameter may be, or only -1 if it is not part of a block.
func (r recognizer) blocksOf(rule *Rule) []int {
	if !rule.Scope.block {
		return []int{-1}
	}
	return r.blocks
}

// blockType returns the kind of a block: that to which most of its tensors belong. It is unknown if the block has no tensor of any kind, and
// every kind has some.
func (r recognizer) blockType(b int) BlockType {
	count := map[BlockType]int{}
	has := map[BlockType]bool{}
	for i := range r.Family.Rules {
		rule := &r.Family.Rules[i]
		if rule.Scope.kind == "" || rule.At[r.Layout].Tail == "" {
			continue
		}
		has[rule.Scope.kind] = true
		if r.found.first[r.Family.nameOf(parameter{rule, b}, r.Layout)] != nil {
			count[rule.Scope.kind]++
		}
	}
	if len(count) == 0 && len(has) == len(r.Family.Kinds) {
		return UnknownKind
	}
	best := r.Family.Kinds[0]
	for _, kind := range r.Family.Kinds {
		if count[kind] > count[best] {
			best = kind
		}
	}
	return best
}
