package verify

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// CompareOptions say how a model is held against a fixture.
type CompareOptions struct {
	Semantics *reference.Semantics // nil: those of the fixture's implementation
	Other     *runtime.Model       // another checkpoint that should be the same model, whose tensors may explain a fault; or nil
}

// CompareLogits runs a model on the tokens of a fixture and holds every result that was recorded
// against float64, within the envelope that the model's own runs measure. Where something lies
// outside, it says where the fault is.
//
// All runs go through the model side by side, block by block, and of each only one block's output is
// kept, so that memory does not grow with the number of blocks.
func CompareLogits(ctx context.Context, m *runtime.Model, g *golden.Fixture, o CompareOptions) (*LogitsResult, error) {
	c := newComparison(ctx, m, g, o)
	if why := c.unfit(); why != "" {
		c.result.Summary = why
		return c.result, nil
	}
	if err := c.sweep(); err != nil {
		return nil, err
	}
	c.judge()
	if !c.result.OK {
		if err := c.localise(); err != nil {
			return nil, err
		}
	}
	c.summarise()
	return c.result, nil
}

// comparison is one call of CompareLogits.
type comparison struct {
	ctx       context.Context
	model     *runtime.Model
	golden    *golden.Fixture
	other     *runtime.Model
	semantics reference.Semantics
	result    *LogitsResult

	// The rows of all passes, one pass after the other.
	batch, length     int
	tokens, positions []int32

	arithmetics []reference.Arithmetic // of the legal runs
	yardstick   *reference.Model       // in float64
	runs        []*reference.Model

	feed   bool // the fixture has the input of every block
	sites  []*site
	meters []*passMeter
	exact  *inexact // the first embedding that is not as it must be, or nil
}

func newComparison(ctx context.Context, m *runtime.Model, g *golden.Fixture, o CompareOptions) *comparison {
	c := &comparison{ctx: ctx, model: m, golden: g, other: o.Other, semantics: g.Meta.Semantics}
	if o.Semantics != nil {
		c.semantics = *o.Semantics
	}
	c.length = g.Passes[0].Length
	for i := range g.Passes {
		p := &g.Passes[i]
		c.batch += p.Batch
		c.tokens, c.positions = append(c.tokens, p.Tokens...), append(c.positions, p.Positions...)
	}
	c.arithmetics = legalRuns(c.precision(), len(c.tokens), m.Config.Parameters())
	c.yardstick = m.Reference(c.semantics, reference.Arithmetic{Precision: reference.Float64})
	for _, a := range c.arithmetics {
		c.runs = append(c.runs, m.Reference(c.semantics, a))
	}
	c.feed = c.hasInputs()
	c.result = &LogitsResult{Checkpoint: m.Checkpoint.Path, Golden: g.Path, Implementation: g.Meta.Implementation, Versions: g.Meta.Versions,
		DType: g.Meta.DType, Backend: g.Meta.Backend, Semantics: c.semantics.String(), Batch: g.Passes[0].Batch, Length: c.length}
	if m.Config.Has("attention") {
		c.result.Window = int(m.ConfigUnder(c.semantics).AttentionWindow)
	}
	if why := coarser(&g.Meta); why != "" {
		c.note("%s: the envelope is that of bfloat16, which is wider", why)
	}
	return c
}

// precision returns the arithmetic that is like the fixture's, or is known to be coarser.
func (c *comparison) precision() reference.Precision {
	if coarser(&c.golden.Meta) != "" {
		return reference.BFloat16
	}
	return c.golden.Meta.Precision
}

// coarser says why no arithmetic of the reference is like the fixture's, so that one has to stand in that
// rounds more; "" if there is one.
func coarser(m *golden.Meta) string {
	if m.DType == "float16" {
		return "there is no reference arithmetic in float16"
	}
	if m.DType != "float32" {
		return ""
	}
	kind, _, _ := strings.Cut(m.Backend, " ")
	products := m.Flags["jax_default_matmul_precision"] // JAX's None is the fastest that the device has
	switch {
	case kind == "tpu" && !slices.Contains([]string{"highest", "float32", "high", "bfloat16_3x"}, products):
		return "TPUs multiply float32 in bfloat16 at the precision that was set"
	case (kind == "gpu" || kind == "cuda") && m.Implementation == golden.JAX && !slices.Contains([]string{"highest", "float32"}, products):
		return "GPUs may multiply float32 in TF32 at the precision that was set"
	case kind == "cuda" && (m.Flags["allow_tf32"] == "True" || slices.Contains([]string{"high", "medium"}, m.Flags["float32_matmul_precision"])):
		return "the fixture's products of float32 may be in TF32"
	case kind == "cpu" && m.Flags["float32_matmul_precision"] == "medium":
		return "the fixture's products of float32 may be in bfloat16"
	}
	return ""
}

func (c *comparison) note(format string, args ...any) {
	c.result.Notes = append(c.result.Notes, fmt.Sprintf(format, args...))
}

func (c *comparison) blocks() int { return len(c.model.Config.BlockTypes) }

// hasInputs reports whether every pass has the input of every block, and of the head.
func (c *comparison) hasInputs() bool {
	for i := range c.golden.Passes {
		for block := range c.blocks() + 1 {
			if c.golden.Passes[i].Width(hidden(block)) == 0 {
				return false
			}
		}
	}
	return true
}

func hidden(i int) string   { return fmt.Sprintf("hidden.%d", i) }
func temporal(i int) string { return fmt.Sprintf("temporal.%d", i) }

// unfit says why the fixture cannot be of this model, by its sizes; "" if it can.
func (c *comparison) unfit() string {
	config := &c.model.Config
	for t, token := range c.tokens {
		if int64(token) >= config.VocabSize {
			return fmt.Sprintf("the fixture is of another model: its token %d is %d, and the vocabulary has %d", t, token, config.VocabSize)
		}
	}
	for i := range c.golden.Passes {
		p := &c.golden.Passes[i]
		for _, name := range p.Names() {
			want := int(config.Width)
			if name == "logits" {
				want = int(config.VocabSize)
			}
			if got := p.Width(name); got != want {
				return fmt.Sprintf("the fixture is of another model: %s is %d wide, the model's %d", p.FullName(name), got, want)
			}
		}
		last := hidden(c.blocks() + 1)
		if p.Width(last) != 0 {
			return fmt.Sprintf("the fixture is of another model: it has %s, and the model has %d blocks", last, c.blocks())
		}
	}
	if d := c.golden.Decode; d != nil && d.Vocabulary() != int(config.VocabSize) {
		return fmt.Sprintf("the fixture is of another model: decode.logits is %d wide, the vocabulary has %d", d.Vocabulary(), config.VocabSize)
	}
	return ""
}

// recorded is what all passes of the fixture have under a name; rows of a pass that has nothing
// are zero.
type recorded struct {
	reference.Activations
	have []bool // by pass
}

// read returns what was recorded under a name; nil if no pass has it.
func (c *comparison) read(name string) (*recorded, error) {
	r := &recorded{have: make([]bool, len(c.golden.Passes))}
	for i := range c.golden.Passes {
		r.Width = max(r.Width, c.golden.Passes[i].Width(name))
	}
	if r.Width == 0 {
		return nil, nil
	}
	r.Batch, r.Length, r.Float32 = c.batch, c.length, make([]float32, len(c.tokens)*r.Width)
	at := 0
	for i := range c.golden.Passes {
		p := &c.golden.Passes[i]
		n := p.Batch * p.Length * r.Width
		if p.Width(name) != 0 {
			r.have[i] = true
			if err := p.ReadAt(r.Float32[at:][:n], name, 0); err != nil {
				return nil, err
			}
		}
		at += n
	}
	return r, nil
}

// at returns the fixture's numbers of one token, or nil.
func (r *recorded) at(c *comparison, token int) []float32 {
	if r == nil || !r.have[token/(c.golden.Passes[0].Batch*c.length)] {
		return nil
	}
	return r.Float32[token*r.Width:][:r.Width]
}

// outputs are what one block gives.
type outputs struct{ in, temporal, out *reference.Activations }

// block runs one block on in; nil for the embeddings, where it is the first.
func (c *comparison) block(m *reference.Model, i int, in *reference.Activations) (outputs, error) {
	var got outputs
	err := m.Run(c.ctx, reference.Pass{Tokens: c.tokens, Positions: c.positions, Batch: c.batch, First: i, End: i + 1, Input: in,
		Observe: func(o reference.Observation) error {
			a := o.Activations
			switch {
			case o.Site == reference.Temporal:
				got.temporal = &a
			case o.Index == i:
				got.in = &a
			default:
				got.out = &a
			}
			return nil
		}})
	return got, err
}

// sweep runs everything and gathers the errors.
func (c *comparison) sweep() error {
	yard, runs := (*reference.Activations)(nil), make([]*reference.Activations, len(c.runs))
	for i := range c.blocks() {
		truth, err := c.block(c.yardstick, i, yard)
		if err != nil {
			return err
		}
		var all []outputs
		for k := range c.runs {
			got, err := c.block(c.runs[k], i, runs[k])
			if err != nil {
				return err
			}
			all, runs[k] = append(all, got), got.out
		}
		if i == 0 {
			if err := c.embeddings(truth, all); err != nil {
				return err
			}
		}
		if err := c.gather(i, false, truth, all); err != nil {
			return err
		}
		yard = truth.out
		if err := c.sweepFed(i); err != nil {
			return err
		}
	}
	return c.sweepHead(yard, runs)
}

// sweepFed gives a block the fixture's own input.
func (c *comparison) sweepFed(i int) error {
	if !c.feed {
		return nil
	}
	in, err := c.read(hidden(i))
	if err != nil {
		return err
	}
	truth, err := c.block(c.yardstick, i, &in.Activations)
	if err != nil {
		return err
	}
	var all []outputs
	for k := range c.runs {
		got, err := c.block(c.runs[k], i, &in.Activations)
		if err != nil {
			return err
		}
		all = append(all, got)
	}
	return c.gather(i, true, truth, all)
}

// embeddings holds the fixture's against those of the first run: they are one product, rounded
// once, so that there is one right result.
func (c *comparison) embeddings(truth outputs, all []outputs) error {
	of, err := c.read(hidden(0))
	if of == nil || err != nil {
		return err
	}
	var runs []*reference.Activations
	for k := range all {
		runs = append(runs, all[k].in)
	}
	c.sites = append(c.sites, c.errors(hidden(0), false, of, truth.in, runs))
	if coarser(&c.golden.Meta) != "" {
		return nil
	}
	c.sites[len(c.sites)-1].exact = true
	for t := range c.tokens {
		for i, x := range of.at(c, t) {
			if want := float32(all[0].in.At(t*of.Width + i)); want != x && !(want != want && x != x) {
				c.exact = &inexact{token: t, channel: i, want: want, got: x}
				return nil
			}
		}
	}
	return nil
}

// inexact is a number of the embeddings that is wrong.
type inexact struct {
	token, channel int
	want, got      float32
}

// gather notes the errors of a block's outputs.
func (c *comparison) gather(i int, fed bool, truth outputs, all []outputs) error {
	half, err := c.read(temporal(i))
	if err != nil {
		return err
	}
	out, err := c.read(hidden(i + 1))
	if err != nil {
		return err
	}
	var halves, outs []*reference.Activations
	for _, o := range all {
		halves, outs = append(halves, o.temporal), append(outs, o.out)
	}
	if half != nil {
		c.sites = append(c.sites, c.errors(temporal(i), fed, half, truth.temporal, halves))
	}
	if out != nil {
		c.sites = append(c.sites, c.errors(hidden(i+1), fed, out, truth.out, outs))
	}
	return nil
}

// errors compares the fixture and the runs with the yardstick.
func (c *comparison) errors(name string, fed bool, of *recorded, truth *reference.Activations, runs []*reference.Activations) *site {
	s := &site{name: name, fed: fed, fixture: make([]*TokenError, len(c.tokens)), runs: make([][]TokenError, len(runs))}
	for t := range c.tokens {
		y := rowOf(truth, t)
		if x := of.at(c, t); x != nil {
			e := tokenError(x, y.Float64)
			s.fixture[t] = &e
		}
		for k, run := range runs {
			s.runs[k] = append(s.runs[k], tokenError(stored(rowOf(run, t)), y.Float64))
		}
	}
	return s
}

func rowOf(a *reference.Activations, token int) *reference.Activations {
	return forward.Tokens(a, token, 1)
}

// stored returns numbers as a fixture has them: in float32.
func stored(a *reference.Activations) []float32 {
	if a.Float64 == nil {
		return a.Float32
	}
	out := make([]float32, len(a.Float64))
	for i, x := range a.Float64 {
		out[i] = float32(x)
	}
	return out
}

// tokenError returns the error of the channels of one token.
func tokenError(x []float32, y []float64) TokenError {
	var e TokenError
	var squares, norm float64
	for i, want := range y {
		d := math.Abs(apart(float64(x[i]), want))
		squares += d * d
		if !math.IsInf(want, 0) && !math.IsNaN(want) {
			norm += want * want
		}
		if !(d <= e.Largest) && !math.IsNaN(e.Largest) {
			e.Largest, e.Channel = d, i
		}
	}
	scale := math.Sqrt(norm / float64(len(y)))
	if scale == 0 {
		scale = 1
	}
	e.RMS, e.Max = math.Sqrt(squares/float64(len(y)))/scale, e.Largest/scale
	return e
}
