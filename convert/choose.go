package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// findModel returns the model of a checkpoint that the options mean, with its head settled.
func (o *Options) findModel(ctx context.Context, src *tensor.Checkpoint) (*Model, error) {
	keep, err := ParseExtra(o.Extra)
	if err != nil {
		return nil, err
	}
	m, err := RecognizeNamed(src, o.Model)
	if err != nil {
		return nil, err
	}
	m.KeepExtra = keep
	if err := m.SettleHead(ctx); err != nil {
		return nil, err
	}
	if o.Adapter != "" {
		if m, err = o.withAdapter(ctx, m); err != nil {
			return nil, err
		}
	}
	if o.To == ToHF && o.DType == tensor.Invalid {
		return m, nil // a head of a directory is copied, whatever it is
	}
	if err := m.SettleScale(ctx); err != nil {
		m.closeAdapter()
		return nil, err
	}
	return m, nil
}

// topLevel names the model that lies under no name.
const topLevel = "."

// modelName is what RecognizeNamed calls a candidate.
func (c *candidate) modelName() string {
	if c.prefix == "" {
		return topLevel
	}
	return strings.TrimSuffix(c.prefix, ".")
}

// choose returns the candidate that is meant: the one of that name, or the only one.
func choose(c *tensor.Checkpoint, all []*candidate, name string) (*candidate, error) {
	if name != "" {
		return chooseNamed(c, all, name)
	}
	models := slices.DeleteFunc(slices.Clone(all), func(a *candidate) bool { return isMirror(a.prefix) })
	if len(models) == 0 {
		return nil, notGriffin(c, len(all) > 0)
	}
	return models[0], ambiguous(c, models)
}

// ambiguous refuses a checkpoint with another subtree of about the size of the best.
func ambiguous(c *tensor.Checkpoint, models []*candidate) error {
	var names []string
	for _, a := range models {
		if 2*a.size() >= models[0].size() {
			names = append(names, fmt.Sprintf("%s (%d tensors)", describePrefix(a), a.size()))
		}
	}
	if len(names) < 2 {
		return nil
	}
	return tensor.Bad("holds %d models: %s", len(names), tensor.JoinNames(names)).In(c.Path).
		Advise("--model NAME takes one of them, such as --model %s", tensor.QuoteName(models[0].modelName()))
}

func describePrefix(c *candidate) string {
	if c.prefix == "" {
		return "the top level"
	}
	return tensor.QuoteName(c.modelName())
}

// chooseNamed returns the candidate under a name: the one whose prefix it is, or else the only one
// below it, or else the only one that ends with it, so that "ema" is enough for "ema.params".
func chooseNamed(c *tensor.Checkpoint, all []*candidate, name string) (*candidate, error) {
	var below, ending []*candidate
	for _, a := range all {
		full := a.modelName()
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
		return nil, notGriffin(c, false)
	}
	problem, offered := "no model is named", all
	if len(near) > 1 {
		problem, offered = "several models are under", near
	}
	var names []string
	for _, a := range offered {
		names = append(names, tensor.QuoteName(a.modelName()))
	}
	return nil, &SettingsError{Problem: fmt.Sprintf("%s: %s %s", c.Path, problem, tensor.QuoteName(name)), Hint: "--model takes " + tensor.JoinNames(names)}
}

// others notes the further models in the checkpoint and returns their tensors, and what lies beside
// their parameters. Where no model was asked for by name, small subtrees that look like one count as
// parts of this.
func (m *Model) others(chosen *candidate, all []*candidate, named bool) map[*tensor.Tensor]bool {
	tensors := map[*tensor.Tensor]bool{}
	below := map[string]bool{} // prefixes of other models, within the subtree of this one or beside it
	for _, a := range all {
		if a == chosen || !named || isMirror(a.prefix) && !isMirror(chosen.prefix) {
			continue
		}
		m.Others = append(m.Others, a.modelName())
		if len(a.prefix) > len(chosen.prefix) {
			below[a.prefix] = true
		}
		for _, found := range a.found {
			for _, t := range found {
				tensors[t] = true
			}
		}
	}
	if len(below) == 0 {
		return tensors
	}
	for _, t := range m.Checkpoint.Tensors() {
		name := t.Name[:min(len(t.Name), maxName)]
		for i := range name {
			if name[i] == '.' && below[name[:i+1]] {
				tensors[t] = true
			}
		}
	}
	return tensors
}
