package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// hypothesis is a change of the model that may be what a fixture was computed with.
type hypothesis struct {
	cause      string
	half       string   // that it changes
	parameters []string // that it changes, or that are computed with otherwise
	change     func(m *reference.Model, positions []int32) (*reference.Model, []int32)
}

// explain looks for a hypothesis about a block under which everything comes to lie inside. The fault's
// half, if it is not known, and its tensors are then those of the hypothesis.
func (c *comparison) explain(f *Fault) error {
	t, err := c.trialOf(f)
	if err != nil {
		return err
	}
	var plain *hypothesis // explains the rows of one document
	for _, h := range c.hypotheses(f) {
		if f.Half != "" && h.half != f.Half {
			continue
		}
		inside, err := t.inside(h)
		if err != nil {
			return err
		}
		if inside == len(c.tokens) {
			f.Cause, f.Half, f.Tensors = h.cause, h.half, c.names(f.Block, h.parameters...)
			return nil
		}
		if plain == nil && f.Pass == "" && inside >= len(c.golden.Passes[0].Tokens) {
			plain = &h
		}
	}
	if plain != nil {
		f.Cause, f.Half, f.Tensors = plain.cause+", as far as rows of one document tell", plain.half, c.names(f.Block, plain.parameters...)
		return nil
	}
	if err := t.oneChannel(f); err != nil || f.Tensors != nil {
		return err
	}
	switch f.Half {
	case temporalHalf:
		f.Tensors = c.names(f.Block, temporalNames(f.Kind)...)
	case mlpHalf:
		f.Tensors = c.names(f.Block, mlpNames...)
	}
	return nil
}

// trial runs one block with changes, and holds it against the fixture.
type trial struct {
	*comparison
	block int
	model *reference.Model // in float64
	input *reference.Activations
	of    *recorded // of the fixture
	site  *site
	half  bool // the site is the output of the temporal half
}

// trialOf prepares the trials of a fault's hypotheses.
func (c *comparison) trialOf(f *Fault) (*trial, error) {
	if f.Half == mlpHalf && c.recorded(temporal(f.Block)) {
		return c.mlpTrial(f.Block)
	}
	in, err := c.read(hidden(f.Block))
	if err != nil {
		return nil, err
	}
	t := &trial{comparison: c, block: f.Block, model: c.yardstick, input: &in.Activations, half: f.Half == temporalHalf}
	return t, t.against(map[bool]string{true: temporal(f.Block), false: hidden(f.Block + 1)}[t.half])
}

// mlpTrial is of the MLP alone: its input is what the fixture has after the temporal half, and the
// temporal half adds nothing.
func (c *comparison) mlpTrial(block int) (*trial, error) {
	in, err := c.read(hidden(block))
	if err != nil {
		return nil, err
	}
	add, err := c.read(temporal(block))
	if err != nil {
		return nil, err
	}
	sum := reference.Activations{Batch: in.Batch, Length: in.Length, Width: in.Width, Float64: make([]float64, len(in.Float32))}
	for i := range sum.Float64 {
		sum.Float64[i] = float64(in.Float32[i]) + float64(add.Float32[i])
	}
	silent := *c.yardstick
	silent.Weights = silenced(silent.Weights, block, reference.LinearOut+reference.Kernel, reference.LinearOut+reference.Bias,
		reference.ProjFinal+reference.Kernel, reference.ProjFinal+reference.Bias)
	t := &trial{comparison: c, block: block, model: &silent, input: &sum}
	return t, t.against(hidden(block + 1))
}

func (t *trial) against(name string) (err error) {
	for _, s := range t.sites {
		if s.fed && s.name == name {
			t.site = s
		}
	}
	t.of, err = t.read(name)
	return err
}

// run runs the block under a hypothesis.
func (t *trial) run(h hypothesis) (*reference.Activations, error) {
	m, positions := *t.model, slices.Clone(t.positions)
	changed, positions := h.change(&m, positions)
	c := *t.comparison
	c.positions = positions
	got, err := c.block(changed, t.block, t.input)
	if t.half {
		return got.temporal, err
	}
	return got.out, err
}

// inside returns how many tokens, of all passes, come before the first that is outside under a
// hypothesis.
func (t *trial) inside(h hypothesis) (int, error) {
	got, err := t.run(h)
	if err != nil {
		return 0, t.ctx.Err() // a model that cannot be run explains nothing
	}
	for at := range t.tokens {
		if x := t.of.at(t.comparison, at); x != nil {
			e := tokenError(x, rowOf(got, at).Float64)
			if rms, max := t.result.Envelope.allowed(t.site, at); !(share(&e, rms, max) <= 1) {
				return at, nil
			}
		}
	}
	return len(t.tokens), nil
}

// unchanged is the hypothesis that nothing was changed.
var unchanged = hypothesis{change: func(m *reference.Model, p []int32) (*reference.Model, []int32) { return m, p }}

// mlpOutside reports whether the MLP of a block is at fault by itself.
func (c *comparison) mlpOutside(block int) (bool, error) {
	t, err := c.mlpTrial(block)
	if err != nil {
		return false, err
	}
	inside, err := t.inside(unchanged)
	return inside < len(c.tokens), err
}

// oneChannel recognises a fault that is in one channel of the output only: such are those of one row of
// the last matrix, or of its bias.
func (t *trial) oneChannel(f *Fault) error {
	got, err := t.run(unchanged)
	if err != nil {
		return err
	}
	channel := f.Worst.Channel
	low, high := math.Inf(1), math.Inf(-1)
	for at := range t.tokens {
		x := t.of.at(t.comparison, at)
		if x == nil {
			continue
		}
		x, y := slices.Clone(x), rowOf(got, at).Float64
		d := float64(x[channel]) - y[channel]
		low, high = min(low, d), max(high, d)
		x[channel] = float32(y[channel])
		e := tokenError(x, y)
		if rms, most := t.result.Envelope.allowed(t.site, at); !(share(&e, rms, most) <= 1) {
			return nil
		}
	}
	last := reference.MLPDown
	switch {
	case t.half && f.Kind == reference.Attention.String():
		last = reference.ProjFinal
	case t.half:
		last = reference.LinearOut
	default:
		f.Half = mlpHalf // what the temporal half adds spreads over all channels in the MLP
	}
	f.Where = strings.TrimPrefix(f.Where+fmt.Sprintf("; only channel %d is outside", channel), "; ")
	f.Tensors = t.names(f.Block, last+reference.Kernel, last+reference.Bias)
	if high-low < 0.02*math.Abs(high+low)/2 { // the same at every token
		f.Cause = fmt.Sprintf("element %d of the bias differs by %.3g", channel, (high+low)/2)
		f.Tensors = t.names(f.Block, last+reference.Bias)
	}
	return nil
}

// explainHead looks for a hypothesis about the final norm and the logits.
func (c *comparison) explainHead(f *Fault) error {
	for _, h := range c.headHypotheses(f) {
		inside, err := c.headInside(f, h)
		if err != nil {
			return err
		}
		if inside {
			f.Cause = h.cause
			return nil
		}
	}
	return nil
}

// headTokens is how many tokens a hypothesis about the head is tried on: the vocabulary is large.
const headTokens = 16

func (c *comparison) headInside(f *Fault, h hypothesis) (bool, error) {
	if !c.feed {
		return false, nil
	}
	in, err := c.read(hidden(c.blocks()))
	if err != nil {
		return false, err
	}
	m := *c.yardstick
	changed, _ := h.change(&m, nil)
	var of *site
	for _, s := range c.sites {
		if s.fed && s.name == f.Site {
			of = s
		}
	}
	inside := true
	perPass := c.golden.Passes[0].Batch * c.length
	for first := 0; first < len(c.tokens); first += max(1, len(c.tokens)/headTokens) {
		p := c.passOf(first)
		if p.Width(f.Site) == 0 {
			continue
		}
		values := make([]float32, p.Width(f.Site))
		if err := p.ReadAt(values, f.Site, first%perPass*len(values)); err != nil {
			return false, err
		}
		err := changed.Run(c.ctx, reference.Pass{Tokens: c.tokens[first:][:1], Batch: 1, First: c.blocks(), Input: forward.Tokens(&in.Activations, first, 1),
			SkipLogits: f.Site != "logits", Observe: func(o reference.Observation) error {
				if o.Name() == f.Site {
					e := tokenError(values, o.Float64)
					rms, most := c.result.Envelope.allowed(of, first)
					inside = inside && share(&e, rms, most) <= 1
				}
				return nil
			}})
		if err != nil || !inside {
			return false, c.ctx.Err()
		}
	}
	return inside, nil
}

func (c *comparison) headHypotheses(f *Fault) []hypothesis {
	soft := func(cause string, value float64) hypothesis {
		return hypothesis{cause: cause, change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
			m.Config.LogitsSoftCap, m.Semantics = value, reference.Original
			return m, p
		}}
	}
	if f.Site == "logits" {
		all := []hypothesis{}
		if softCap := c.model.ConfigUnder(c.semantics).LogitsSoftCap; softCap != 0 {
			all = append(all, soft("no soft cap on the logits", 0))
			for _, other := range []float64{30, 50} {
				if other != softCap {
					all = append(all, soft(fmt.Sprintf("a soft cap of %v on the logits", other), other))
				}
			}
		} else {
			all = append(all, soft("a soft cap of 30 on the logits", 30))
		}
		return all
	}
	return normHypotheses(reference.Outer, reference.FinalNorm, "")
}

// rewrite makes a parameter from those that there are.
type rewrite func(get func(name string) (*reference.Parameter, error)) (*reference.Parameter, error)

// edited are weights of which some, of one block, are others.
type edited struct {
	reference.Weights
	block int
	edits map[string]rewrite
}

// Parameter implements reference.Weights.
func (e edited) Parameter(block int, name string) (*reference.Parameter, error) {
	if change, ok := e.edits[name]; ok && block == e.block {
		return change(func(name string) (*reference.Parameter, error) { return e.Weights.Parameter(block, name) })
	}
	return e.Weights.Parameter(block, name)
}

// mapped returns a parameter with other values: f is given the values as they are stored.
func mapped(name string, f func(p *reference.Parameter, x []float32)) rewrite {
	return func(get func(string) (*reference.Parameter, error)) (*reference.Parameter, error) {
		p, err := get(name)
		if err != nil {
			return nil, err
		}
		n := int64(1)
		for _, d := range p.Shape {
			n *= d
		}
		raw, wide := make([]byte, n*p.DType.Size()), make([]byte, 4*n)
		if got, err := p.Data.ReadAt(raw, 0); got < len(raw) {
			return nil, err
		}
		if closer, ok := p.Data.(interface{ Close() error }); ok {
			closer.Close()
		}
		cast, err := tensor.NewCast(p.DType, tensor.F32)
		if err != nil {
			return nil, err
		}
		cast(wide, raw)
		x := make([]float32, n)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(wide[4*i:]))
		}
		f(p, x)
		for i := range x {
			binary.LittleEndian.PutUint32(wide[4*i:], math.Float32bits(x[i]))
		}
		return &reference.Parameter{DType: tensor.F32, Shape: p.Shape, InOut: p.InOut, Data: reference.Bytes(wide)}, nil
	}
}

// zeroed returns a parameter that is zero.
func zeroed(name string) rewrite {
	return mapped(name, func(_ *reference.Parameter, x []float32) { clear(x) })
}

// instead returns another parameter in a parameter's place.
func instead(name string) rewrite {
	return func(get func(string) (*reference.Parameter, error)) (*reference.Parameter, error) { return get(name) }
}

// turnedOver returns a square matrix transposed.
func turnedOver(name string) rewrite {
	return func(get func(string) (*reference.Parameter, error)) (*reference.Parameter, error) {
		p, err := get(name)
		if err != nil {
			return nil, err
		}
		if len(p.Shape) != 2 || p.Shape[0] != p.Shape[1] {
			return nil, context.Canceled
		}
		turned := *p
		turned.InOut = !p.InOut
		return &turned, nil
	}
}

// silenced returns weights of which some are zero.
func silenced(w reference.Weights, block int, names ...string) reference.Weights {
	e := edited{Weights: w, block: block, edits: map[string]rewrite{}}
	for _, name := range names {
		e.edits[name] = zeroed(name)
	}
	return e
}
