package model

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// candidate is a subtree of a checkpoint whose tensors have the names of parameters.
type candidate struct {
	convention convention
	prefix     string
	hasBlocks  bool // whether some of the tensors are of blocks
	found      byKey
}

// byKey has tensors by the key of a parameter. There may be very many keys, nearly all of one tensor.
type byKey struct {
	first map[string]*tensor.Tensor
	more  map[string][]*tensor.Tensor // behind the first
}

func newByKey() byKey { return byKey{map[string]*tensor.Tensor{}, map[string][]*tensor.Tensor{}} }

func (b byKey) add(key string, t *tensor.Tensor) {
	if b.first[key] == nil {
		b.first[key] = t
		return
	}
	b.more[key] = append(b.more[key], t)
}

// of gives the tensors of a key.
func (b byKey) of(key string) iter.Seq[*tensor.Tensor] {
	return func(yield func(*tensor.Tensor) bool) {
		if t := b.first[key]; t != nil && yield(t) {
			slices.Values(b.more[key])(yield)
		}
	}
}

// all gives all tensors, in no order.
func (b byKey) all() iter.Seq2[string, *tensor.Tensor] {
	return func(yield func(string, *tensor.Tensor) bool) {
		for key := range b.first {
			for t := range b.of(key) {
				if !yield(key, t) {
					return
				}
			}
		}
	}
}

// replace puts other tensors in the places of some.
func (b byKey) replace(by map[*tensor.Tensor]*tensor.Tensor) {
	for key, t := range b.first {
		if by[t] != nil {
			b.first[key] = by[t]
		}
		for k, t := range b.more[key] {
			if by[t] != nil {
				b.more[key][k] = by[t]
			}
		}
	}
}

func (c *candidate) size() int { return len(c.found.first) }

// topLevel names the model whose tensors have no prefix.
const topLevel = "."

// denseLayers counts the matrices of dense layers by the names that the original layouts give them.
func (c *candidate) denseLayers() (kernels, weights int) {
	for key := range c.found.first {
		switch {
		case strings.HasSuffix(key, ".kernel"):
			kernels++
		case strings.HasSuffix(key, ".weight"):
			weights++
		}
	}
	return kernels, weights
}

// name returns the name by which Options.Name selects the candidate.
func (c *candidate) name() string {
	if c.prefix == "" {
		return topLevel
	}
	return strings.TrimSuffix(c.prefix, ".")
}

// candidates returns the subtrees that have blocks, the one with the most parameters first.
func candidates(tensors []*tensor.Tensor, f *Family) []*candidate {
	type root struct {
		convention convention
		prefix     string
	}
	names := newVocabulary(f)
	byRoot := map[root]*candidate{}
	var all []*candidate
	for _, t := range tensors {
		for _, r := range names.readings(t.Name, f) {
			at := root{r.convention, r.prefix}
			c := byRoot[at]
			if c == nil {
				c = &candidate{convention: r.convention, prefix: r.prefix, found: newByKey()}
				byRoot[at] = c
				all = append(all, c)
			}
			c.found.add(r.key(f), t)
			c.hasBlocks = c.hasBlocks || r.block >= 0
		}
	}
	all = slices.DeleteFunc(all, func(c *candidate) bool { return !c.hasBlocks })
	slices.SortStableFunc(all, func(a, b *candidate) int { return b.size() - a.size() })
	return all
}

// choose returns the candidate of a name, or the only one if name is "".
func choose(c *tensor.Checkpoint, f *Family, all []*candidate, name string) (*candidate, error) {
	if name != "" {
		return chooseNamed(c, f, all, name)
	}
	models := slices.DeleteFunc(slices.Clone(all), func(a *candidate) bool { return isOptimizerState(a.prefix) })
	if len(models) == 0 {
		return nil, notOfFamily(c, f, len(all) > 0)
	}
	return models[0], checkUnique(c, f, models)
}

// checkUnique refuses a checkpoint that has several subtrees of at least half the size of the
// largest, or a smaller one with an embedding of its own and the names of another convention.
func checkUnique(c *tensor.Checkpoint, f *Family, models []*candidate) error {
	var names []string
	for _, a := range models {
		embedding := a.found.first[f.EmbeddingName(a.convention.layout())]
		if 2*a.size() >= models[0].size() || a.convention != models[0].convention && embedding != nil {
			names = append(names, fmt.Sprintf("%s (%s)", describePrefix(a), text.Count(a.size(), "parameter tensor")))
		}
	}
	if len(names) < 2 {
		return nil
	}
	return tensor.Bad("holds %d models: %s", len(names), tensor.JoinNames(names)).In(c.Path).Because(ReasonSeveralModels)
}

func describePrefix(c *candidate) string {
	if c.prefix == "" {
		return "the top level"
	}
	return tensor.QuoteName(c.name())
}

// chooseNamed returns the candidate of a name: the one whose prefix it is, or else the only one below
// it, or else the only one that ends in it, so that "ema" is enough for "ema.params".
func chooseNamed(c *tensor.Checkpoint, f *Family, all []*candidate, name string) (*candidate, error) {
	var below, ending []*candidate
	for _, a := range all {
		full := a.name()
		switch {
		case full == name || a.prefix == name:
			return a, nil
		case strings.HasPrefix(full, name+"."):
			below = append(below, a)
		case strings.HasSuffix(full, "."+name):
			ending = append(ending, a)
		}
	}
	near := below
	if len(below) == 0 {
		near = ending
	}
	if len(near) == 1 {
		return near[0], nil
	}
	if len(all) == 0 {
		return nil, notOfFamily(c, f, false)
	}
	problem, offered := "no model is named", all
	if len(near) > 1 {
		problem, offered = "several models are under", near
	}
	var names []string
	for _, a := range offered {
		names = append(names, tensor.QuoteName(a.name()))
	}
	return nil, &OptionError{Option: "Name", Problem: fmt.Sprintf("%s: %s %s", c.Path, problem, tensor.QuoteName(name)), Given: name, Accepted: names}
}
