// Package model recognises the models of a family in a checkpoint of any format, under any wrapper,
// by the names and shapes of their tensors.
//
// A Family describes how each layout names and arranges the parameters; Griffin is one. Open returns
// a Model: its layout, its configuration as far as shapes show it, and which tensors hold what.
// Model.Configure completes the configuration.
package model

import (
	"context"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Model is a model of a family in a checkpoint. It does not change after Open or Recognize returned
// it, and reads its weights only when it is asked for them. The checkpoint and the adapter have to
// stay open as long as they are read.
type Model struct {
	Checkpoint *tensor.Checkpoint // with an adapter, one whose tensors are merged as they are read; see also Notes
	Family     *Family
	Layout     Layout
	Prefix     string // of the names of the model's tensors, such as "params."
	Config     Config // what shapes show; the settings are not set
	Preset     string // the preset that has these shapes, or ""

	Tensors []*tensor.Tensor // of the model, heads and Extra included, in the checkpoint's order
	Heads   []Head           // output heads; the first is the separate one, if there is one
	Extra   []*tensor.Tensor // among the model's tensors, but not parameters of the family
	Rest    []*tensor.Tensor // all others, those of other models included
	Others  []string         // names of other models in the checkpoint, as Options.Name takes them

	HeadRelation HeadRelation

	// Notes say which tensors of the file Checkpoint shows otherwise than they are stored: blocks that are stacked along an
	// axis one by one, and axes of length 1 where the layout has them.
	Notes   []string
	Stacked bool // the file has blocks that are stacked along an axis

	EmbeddedByHead bool // the tensor of the embedding has the name of the output head: it stands for both

	KeepExtra bool          // Options.KeepExtra
	Adapter   *peft.Adapter // Options.Adapter

	AdapterChanges int // parameters that the adapter changes

	AdapterLacks string // what a partial adapter lacks, in words, or ""

	neutral  bool  // the tensors do not show which of the original layouts it is
	found    byKey // by the name from the model's root on, without wrappers
	blocks   []int // the numbers of the blocks, ascending
	sizes    Sizes
	conflict string // how the sizes contradict each other, or ""
	files    *files
	parts    map[*tensor.Tensor]part // what tensors of Checkpoint show, if they are not as the file stores them

	headChanged bool // the adapter separates the head, whatever config.json states
	resized     bool // the adapter changes the size of the vocabulary, whatever config.json states
}

// Options choose a model.
type Options struct {
	Family    *Family // nil for Griffin
	Name      string  // the subtree of the model, such as "ema_params", or "." for the top level; "" for the only one
	KeepExtra bool    // accept tensors that are not parameters of the family

	// Adapter is merged into the model. The result is the model that PEFT runs, in the layout and the
	// types of the base; see package adapter. If the head is tied to an embedding that the adapter
	// changes, or the head changes and the embedding does not, the result has a separate head, as PEFT
	// runs the adapter. (PEFT's own merge changes both.)
	Adapter *peft.Adapter

	// PartialAdapter accepts an adapter that lacks tensors of some of its target modules, which stay as in the base. Modules that the adapter replaces are never left out.
	PartialAdapter bool
}

func (o *Options) family() *Family {
	if o.Family == nil {
		return Griffin
	}
	return o.Family
}

// Open finds a model in a checkpoint, merges the adapter, and compares output heads with the
// embedding. It reads weights only if there is an output head that does not share the embedding's
// storage, and only as far as needed.
//
// A checkpoint without a model of the family, or with several, and an adapter that does not fit, are
// a *tensor.FormatError; a name that no model has is an *OptionError. A model that is incomplete is
// returned: Problems lists what is wrong.
func Open(ctx context.Context, c *tensor.Checkpoint, o Options) (*Model, error) {
	m, err := Recognize(c, o)
	if err != nil {
		return nil, err
	}
	if err := resolveHead(ctx, m); err != nil {
		return nil, err
	}
	if o.Adapter != nil {
		if m, err = merge(m, &o); err != nil {
			return nil, err
		}
		if err := resolveHead(ctx, m); err != nil {
			return nil, err
		}
	}
	return m, resolveRelation(ctx, m)
}

// Recognize is Open without reading weights, and without the adapter: output heads are taken for
// copies of the embedding unless a config.json states that they are not.
//
// A quantised copy is refused with quantized.ReasonQuantized: quantized.Open dequantises it.
func Recognize(c *tensor.Checkpoint, o Options) (*Model, error) {
	if err := quantized.Refuse(c); err != nil {
		return nil, err
	}
	return recognize(c, &o, nil)
}

// Embedding returns the tensor that has the embedding, or nil.
func (m *Model) Embedding() *tensor.Tensor {
	return m.found.first[m.Family.EmbeddingName(m.Layout)]
}

// HeadSplit reports whether the adapter separates a head from the embedding to which it was tied.
func (m *Model) HeadSplit() bool { return m.headChanged && m.Config.SeparateHead }

// Parameters returns the number of elements of the model's tensors. Output heads count only if they
// are no copies of the embedding, divided or not.
func (m *Model) Parameters() int64 {
	var n int64
	for _, t := range m.Tensors {
		n += t.Elements()
	}
	if !unties(m) {
		for _, h := range m.Heads {
			n -= h.Tensor.Elements()
		}
	}
	return n
}

// unties reports whether the output head of a model is not the embedding. Where they were not compared, it is what config.json and conversion.json say.
func unties(m *Model) bool {
	if m.Config.SeparateHead || m.HeadRelation != UnknownHead {
		return m.Config.SeparateHead || m.HeadRelation == SeparateHead
	}
	if m.Layout != HuggingFace || m.files.config == nil || m.files.config.TieWordEmbeddings {
		return false
	}
	record, _, err := m.Manifest()
	return err != nil || record == nil || record.HuggingFace == nil || record.HuggingFace.EmbeddingDividedBy == 0
}

// TensorName returns the full name of the tensor that holds what package reference calls a parameter
// of a block (reference.Outer for the model itself); "" if there is none.
func (m *Model) TensorName(block int, name string) string {
	p, ok := m.parameter(block, name)
	if !ok {
		return ""
	}
	found := m.found.first[m.Family.nameOf(p, m.Layout)]
	if found == nil {
		return ""
	}
	return found.Name
}

// parameter returns a parameter by the block's index and the name in package reference.
func (m *Model) parameter(block int, name string) (parameter, bool) {
	r := m.Family.rule(name)
	if r == nil || r.Scope.block == (block < 0) || block >= len(m.blocks) {
		return parameter{}, false
	}
	if block >= 0 {
		block = m.blocks[block]
	}
	return parameter{r, max(block, -1)}, true
}

// parameters lists those that the model should have, in the order of the rules.
func (m *Model) parameters() []parameter {
	all := m.Family.parameters(&m.Config)
	for i := range all {
		if all[i].block >= 0 {
			all[i].block = m.blocks[all[i].block]
		}
	}
	return all
}

// Outline returns what is known of the model, without finding its parameters by their names any more: that takes memory if there are very many.
func Outline(m *Model) *Model {
	outline := *m
	outline.found = byKey{}
	return &outline
}

// NamedTensor is a tensor of a model with its name from the model's root on, without "params.",
// "model." and other wrappers.
type NamedTensor struct {
	Name   string
	Tensor *tensor.Tensor
}

// LacksRoot reports whether no tensor of a model has the prefix of the layout, as in a directory that RecurrentGemmaModel saved, the model without its
// head: transformers adds "model." when it loads it, but not where some tensors have it.
func LacksRoot(m *Model) bool {
	root := m.Family.Roots[m.Layout]
	return root != "" && m.Prefix == "" && !slices.ContainsFunc(m.Checkpoint.Tensors(), func(t *tensor.Tensor) bool { return strings.HasPrefix(t.Name, root) })
}

// ParameterTensors lists the tensors that have the parameters of the model, each once, in the order of
// the rules, and after them the separate output head, if c has one.
func (m *Model) ParameterTensors(c *Config) []NamedTensor {
	var out []NamedTensor
	seen := map[string]bool{}
	for _, p := range m.parameters() {
		name := m.Family.nameOf(p, m.Layout)
		if found := m.found.first[name]; !seen[name] && found != nil {
			seen[name] = true
			out = append(out, NamedTensor{name, found})
		}
	}
	if h := m.SeparateHead(c); h != nil {
		out = append(out, NamedTensor{m.Family.HeadName(), h.Tensor})
	}
	return out
}
