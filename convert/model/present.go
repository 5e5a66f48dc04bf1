package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// part says which elements of a tensor of the file a tensor of the model shows.
type part struct {
	stored *tensor.Tensor
	view   *tensor.View // of stored's row-major elements
	rule   string       // what selects them, for people; "" if it is all
}

// presenter makes of the tensors of a file those that the rules expect, where a program has stored the same
// elements under other shapes.
type presenter struct {
	family *Family
	parts  map[*tensor.Tensor]part // by tensors that are not as they are stored
	notes  []string

	stacked bool // there are stacks of blocks
}

// show returns a tensor that shows a part of a stored one.
func (p *presenter) show(name string, stored *tensor.Tensor, view *tensor.View, rule string) (*tensor.Tensor, error) {
	t, err := tensor.Viewed(stored, *view)
	if err != nil {
		return nil, err
	}
	shown := *t
	shown.Name = name
	p.parts[&shown] = part{stored, view, rule}
	return &shown, nil
}

// moveUnitAxes returns the checkpoint with every parameter of a model whose shape differs from that of its rule only by
// axes of length 1: MLX has the weight of the convolution as [channels, taps, 1], Flax as [taps, 1, channels].
func (p *presenter) moveUnitAxes(c *tensor.Checkpoint, chosen *candidate) (*tensor.Checkpoint, error) {
	replaced := map[*tensor.Tensor]*tensor.Tensor{}
	layout := layoutOf(chosen)
	views := map[string]*tensor.View{} // by the shape, which most have in common
	example := map[string]string{}     // by the name of the parameter in its block
	rules := map[string][]*Rule{}      // by the same name
	for i := range p.family.Rules {
		rule := &p.family.Rules[i]
		rules[rule.At[layout].Tail] = append(rules[rule.At[layout].Tail], rule)
	}
	for key, t := range chosen.found.all() {
		_, tail := splitBlock(key, p.family.Blocks[layout])
		for _, rule := range rules[tail] {
			axes := rule.axesIn(layout)
			shape := withUnitAxes(t.Shape, axes)
			if shape == nil || p.parts[t].stored != nil || replaced[t] != nil {
				continue
			}
			like := fmt.Sprint(shape)
			if views[like] == nil {
				view := tensor.RowMajor(shape...)
				views[like] = &view
			}
			shown, err := p.show(t.Name, t, views[like], "")
			if err != nil {
				return nil, err
			}
			replaced[t] = shown
			example[tail] = fmt.Sprintf("%s is stored as %s and read as %s", tail, tensor.ShapeString(t.Shape), tensor.ShapeString(shape))
		}
	}
	if len(replaced) == 0 {
		return c, nil
	}
	chosen.found.replace(replaced)
	for _, tail := range slices.Sorted(maps.Keys(example)) {
		p.notes = append(p.notes, example[tail]+": axes of length 1 are elsewhere than in the "+layout.String()+" layout")
	}
	var all []*tensor.Tensor
	for _, t := range c.Tensors() {
		if shown := replaced[t]; shown != nil {
			t = shown
		}
		all = append(all, t)
	}
	return c.With(all)
}

// withUnitAxes returns the shape that has the same elements in the same order and the axes of a rule, if only axes of
// length 1 have to be added, removed or moved for it. Otherwise, and if shape has those axes already, it is nil.
func withUnitAxes(shape []int64, axes []byte) []int64 {
	rest := slices.DeleteFunc(slices.Clone(shape), func(n int64) bool { return n == 1 })
	var out []int64
	for _, a := range axes {
		switch {
		case a == '1':
			out = append(out, 1)
			continue
		case len(rest) == 0 || a > '0' && a <= '9' && rest[0] != int64(a-'0'):
			return nil
		}
		out = append(out, rest[0])
		rest = rest[1:]
	}
	if len(rest) > 0 || slices.Equal(out, shape) {
		return nil
	}
	return out
}

// ReasonStacked is the reason for refusing a model whose blocks are stacked, where neither the file nor the family says in which order.
const ReasonStacked tensor.Reason = "stacked blocks"

// stack is blocks whose parameters are stored together: each tensor has an axis more, along which the blocks follow
// each other, as nn.scan of Flax stores them.
type stack struct {
	convention convention
	root, name string // precede the name in a block: "params." and "recurrent_layers."
	kinds      map[BlockType]bool
	blocks     int64
	axis       int                       // of the blocks
	found      map[string]*tensor.Tensor // by the name in a block, without wrappers
}

// maxStacked is far more blocks than any model has.
const maxStacked = 4096

// unstack returns the checkpoint with the blocks of stacks as blocks of their own; c if there are no stacks. Stacks
// whose order is not certain are a *tensor.FormatError.
func (p *presenter) unstack(c *tensor.Checkpoint) (*tensor.Checkpoint, error) {
	byRoot := map[string][]*stack{}
	var uneven []string
	for _, s := range p.stacks(c) {
		if p.measure(s) {
			byRoot[s.root] = append(byRoot[s.root], s)
		} else {
			uneven = append(uneven, tensor.QuoteName(strings.TrimSuffix(s.root+s.name, ".")))
		}
	}
	if len(byRoot) == 0 {
		return c, nil
	}
	if len(uneven) > 0 {
		return nil, tensor.Bad("a %s model whose blocks are stacked along an axis, as nn.scan of Flax does, but the tensors under %s have no such axis of one length", p.family.Name, tensor.JoinNames(uneven)).
			In(c.Path).Because(ReasonStacked)
	}
	stacked := map[*tensor.Tensor]bool{}
	var all []*tensor.Tensor
	for _, root := range slices.Sorted(maps.Keys(byRoot)) {
		order, err := p.order(c, byRoot[root])
		if err != nil {
			return nil, err
		}
		next := map[*stack]int64{}
		for block, s := range order {
			shown, err := p.takeBlock(s, next[s], block)
			if err != nil {
				return nil, err
			}
			next[s]++
			all = append(all, shown...)
		}
		for _, s := range byRoot[root] {
			for _, t := range s.found {
				stacked[t] = true
			}
		}
	}
	for _, t := range c.Tensors() {
		if !stacked[t] {
			all = append(all, t)
		}
	}
	return c.With(all)
}

// takeBlock returns the tensors of one block of a stack, named as those of a block of the model.
func (p *presenter) takeBlock(s *stack, index int64, block int) ([]*tensor.Tensor, error) {
	var shown []*tensor.Tensor
	for _, tail := range slices.Sorted(maps.Keys(s.found)) {
		t := s.found[tail]
		view := tensor.RowMajor(t.Shape...).Narrow(s.axis, index, 1)
		view.Shape = slices.Delete(view.Shape, s.axis, s.axis+1)
		view.Strides = slices.Delete(view.Strides, s.axis, s.axis+1)
		name := fmt.Sprintf("%s%s%d.%s", s.root, p.family.Blocks[s.convention.layout()], block, tail)
		x, err := p.show(name, t, &view, fmt.Sprintf("take %d of axis %d", index, s.axis))
		if err != nil {
			return nil, err
		}
		shown = append(shown, x)
	}
	return shown, nil
}

// stacks finds what may be stacks of a checkpoint, in the order of their first tensors.
func (p *presenter) stacks(c *tensor.Checkpoint) []*stack {
	names := newVocabulary(p.family)
	ranks := p.ranks()
	byPrefix := map[string]*stack{}
	var all []*stack
	for _, t := range c.Tensors() {
		for _, r := range names.stackedReadings(t.Name) {
			if len(t.Shape) != ranks[r.convention][r.tail]+1 || isOptimizerState(r.prefix) {
				continue
			}
			s := byPrefix[r.prefix]
			if s == nil {
				root, name := cutLast(r.prefix)
				s = &stack{convention: r.convention, root: root, name: name, kinds: map[BlockType]bool{}, found: map[string]*tensor.Tensor{}}
				byPrefix[r.prefix] = s
				all = append(all, s)
			}
			if s.found[r.tail] == nil && s.convention == r.convention {
				s.found[r.tail] = t
			}
		}
	}
	return all
}

// ranks returns the number of axes of each parameter of a block, by its name in the block.
func (p *presenter) ranks() (ranks [2]map[string]int) {
	for c := range ranks {
		ranks[c] = map[string]int{}
	}
	for i := range p.family.Rules {
		r := &p.family.Rules[i]
		ranks[originalNames][r.At[Flax].Tail] = len(r.axesIn(Flax))
		ranks[originalNames][r.At[Torch].Tail] = len(r.axesIn(Torch))
		ranks[hfNames][r.At[HuggingFace].Tail] = len(r.axesIn(HuggingFace))
	}
	return ranks
}

// measure finds the axis of the blocks, the first or the second, which has the same length in all tensors, and the kinds
// of blocks to which the tensors belong. It returns false if there is no such axis.
func (p *presenter) measure(s *stack) bool {
	for s.axis = range 2 {
		lengths := map[int64]bool{}
		for _, t := range s.found {
			if s.axis < len(t.Shape) {
				s.blocks = t.Shape[s.axis]
				lengths[s.blocks] = true
			}
		}
		if len(lengths) == 1 && s.blocks > 0 && s.blocks <= maxStacked {
			for i := range p.family.Rules {
				r := &p.family.Rules[i]
				if r.Scope.kind != "" && (s.found[r.At[Flax].Tail] != nil || s.found[r.At[Torch].Tail] != nil || s.found[r.At[HuggingFace].Tail] != nil) {
					s.kinds[r.Scope.kind] = true
				}
			}
			return true
		}
	}
	return false
}

// order returns the stack of each block. It is certain if all blocks are in one stack of one kind. If there is one
// stack for each kind, it is that of the family's pattern, provided that the stacks have as many blocks as it.
func (p *presenter) order(c *tensor.Checkpoint, stacks []*stack) ([]*stack, error) {
	byKind := map[BlockType]*stack{}
	total := int64(0)
	certain := true
	var described []string
	for _, s := range stacks {
		var kinds []string
		for kind := range s.kinds {
			kinds = append(kinds, string(kind))
			byKind[kind] = s
		}
		certain = certain && len(kinds) == 1
		total += s.blocks
		slices.Sort(kinds)
		described = append(described, fmt.Sprintf("%s: %d %s", tensor.QuoteName(strings.TrimSuffix(s.root+s.name, ".")), s.blocks, strings.Join(kinds, " and ")))
	}
	pattern := p.family.Pattern
	if len(stacks) == 1 {
		pattern = slices.Collect(maps.Keys(stacks[0].kinds))
	}
	var order []*stack
	left := map[*stack]int64{}
	for _, s := range stacks {
		left[s] = s.blocks
	}
	if certain {
		for _, kind := range Repeat(int(total), pattern...) {
			s := byKind[kind]
			if left[s]--; s == nil || left[s] < 0 {
				certain = false
				break
			}
			order = append(order, s)
		}
	}
	list := tensor.JoinNames(described)
	if !certain || len(order) == 0 {
		return nil, tensor.Bad("a %s model whose blocks are stacked along an axis, as nn.scan of Flax does (%s), and nothing tells their order", p.family.Name, list).
			In(c.Path).Because(ReasonStacked).Advise("save the parameters of each block under a name of its own, such as %s0", p.family.Blocks[Flax])
	}
	note := fmt.Sprintf("the blocks are stacked along an axis (%s)", list)
	if len(stacks) > 1 {
		note += "; their order is not stored, and taken to be that of the family: " + patternText(pattern)
	}
	p.notes, p.stacked = append(p.notes, note), true
	return order, nil
}

func patternText(pattern []BlockType) string {
	var names []string
	for _, kind := range pattern {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ") + ", repeated"
}

// cutLast cuts a prefix of names, which ends in a dot, before its last segment.
func cutLast(prefix string) (before, last string) {
	i := strings.LastIndexByte(strings.TrimSuffix(prefix, "."), '.')
	return prefix[:i+1], prefix[i+1:]
}
