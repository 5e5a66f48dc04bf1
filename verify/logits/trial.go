package logits

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/reference"
)

// errNotApplicable says that a hypothesis does not apply to a block, such as the transpose of a matrix that is not square.
var errNotApplicable = errors.New("hypothesis does not apply")

// hypothesis is a change of the model that the fixture may have been computed with.
type hypothesis struct {
	cause      string   // what the checkpoint then does otherwise than the recording
	setting    *Setting // of cause, or nil
	half       Half     // that it changes; "" for both
	parameters []string // that it changes, or whose use it changes
	change     func(m *reference.Model, positions []int32) (*reference.Model, []int32)
}

// explain looks for a hypothesis under which all results of a block are inside. If it finds one, the fault's half and
// tensors are those of the hypothesis.
func (l *localiser) explain(f *Fault) error {
	t, err := l.newTrial(f)
	if err != nil {
		return err
	}
	var plain *hypothesis // explains the rows of one document
	all, err := l.hypotheses(f, t)
	if err != nil {
		return err
	}
	for _, h := range all {
		if f.Half != "" && h.half != "" && h.half != f.Half {
			continue
		}
		inside, err := t.inside(h)
		if err != nil {
			return err
		}
		if inside == len(l.in.tokens) {
			f.Cause, f.Setting, f.Half, f.Tensors = h.cause, h.setting, cmp.Or(h.half, f.Half), l.tensors(f.Block, h.parameters...)
			l.keep(h)
			return nil
		}
		if plain == nil && f.Pass == "" && inside >= len(l.in.fixture.Passes[0].Tokens) {
			plain = &h
		}
	}
	if plain != nil {
		f.Cause, f.Setting, f.Half, f.Tensors = plain.cause+", as far as rows of one document tell", plain.setting, cmp.Or(plain.half, f.Half), l.tensors(f.Block, plain.parameters...)
		return nil
	}
	if err := t.oneChannel(f); err != nil || f.Tensors != nil {
		return err
	}
	switch f.Half {
	case TemporalHalf:
		f.Tensors = l.tensors(f.Block, temporalParameters(f.Kind)...)
	case MLPHalf:
		f.Tensors = l.tensors(f.Block, mlpParameters...)
	}
	return nil
}

// trial runs one block with changes and compares a result with the fixture.
type trial struct {
	l        *localiser
	block    int
	model    *reference.Model // in float64
	input    *reference.Activations
	fixture  *fixtureValues
	errors   *siteErrors
	temporal bool // the result is that of the temporal half
}

// newTrial prepares the trials for a fault. If the fixture has the result of the temporal half, the MLP is tried alone.
func (l *localiser) newTrial(f *Fault) (*trial, error) {
	if f.Half == MLPHalf && l.in.hasSite(temporal(f.Block)) {
		return l.mlpTrial(f.Block)
	}
	in, err := l.in.read(hidden(f.Block))
	if err != nil {
		return nil, err
	}
	t := &trial{l: l, block: f.Block, model: l.reference, input: &in.Activations, temporal: f.Half == TemporalHalf}
	site := hidden(f.Block + 1)
	if t.temporal {
		site = temporal(f.Block)
	}
	return t, t.against(site)
}

// mlpTrial prepares trials of the MLP alone: its input is the fixture's sum after the temporal half, and the temporal half
// adds zero. All of its parameters are zero, because a NaN in one of them times a zero in another is still a NaN.
func (l *localiser) mlpTrial(block int) (*trial, error) {
	in, err := l.in.read(hidden(block))
	if err != nil {
		return nil, err
	}
	add, err := l.in.read(temporal(block))
	if err != nil {
		return nil, err
	}
	sum := reference.Activations{Batch: in.Batch, Length: in.Length, Width: in.Width, Float64: make([]float64, len(in.Float32))}
	for i := range sum.Float64 {
		sum.Float64[i] = float64(in.Float32[i]) + float64(add.Float32[i])
	}
	m := *l.reference
	m.Weights = zeroedWeights(m.Weights, block, temporalParameters(l.in.blockKind(block))...)
	t := &trial{l: l, block: block, model: &m, input: &sum}
	if err := t.against(hidden(block + 1)); err != nil || l.measured.site(temporal(block), true).finite() {
		return t, err
	}
	return t, t.measure()
}

// measure measures the errors of legal runs of the block alone. Those of the model's own runs say nothing if an earlier half makes them NaN.
func (t *trial) measure() error {
	truth, err := t.run(unchanged)
	if err != nil {
		return err
	}
	var runs []*reference.Activations
	for _, a := range t.l.measured.arithmetics {
		m := *t.model
		m.Arithmetic = a
		got, err := t.l.in.runBlock(t.l.ctx, &m, t.block, t.l.in.positions, t.input)
		if err != nil {
			return err
		}
		runs = append(runs, got.out)
	}
	t.errors = newSiteErrors(t.errors.name, true, len(t.l.in.tokens), len(runs))
	t.errors.add(t.fixture, truth, runs)
	t.errors.setLimits(t.l.measured.arithmetics[0].Precision)
	return nil
}

// against sets the result that is compared.
func (t *trial) against(site string) (err error) {
	t.errors = t.l.measured.site(site, true)
	t.fixture, err = t.l.in.read(site)
	return err
}

// run runs the block under a hypothesis.
func (t *trial) run(h hypothesis) (*reference.Activations, error) {
	m := *t.model
	changed, positions := h.change(&m, slices.Clone(t.l.in.positions))
	got, err := t.l.in.runBlock(t.l.ctx, changed, t.block, positions, t.input)
	if t.temporal {
		return got.temporal, err
	}
	return got.out, err
}

// inside returns how many tokens come before the first that is outside under a hypothesis, counted over all rows.
func (t *trial) inside(h hypothesis) (int, error) {
	got, err := t.run(h)
	if errors.Is(err, errNotApplicable) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for at := range t.l.in.tokens {
		if t.outside(got, at) {
			return at, nil
		}
	}
	return len(t.l.in.tokens), nil
}

// outside reports whether a token of a result is outside.
func (t *trial) outside(got *reference.Activations, at int) bool {
	x := t.fixture.token(at)
	if x == nil {
		return false
	}
	e := tokenError(x, tokenOf(got, at).Float64)
	return !(e.share(t.l.judged.envelope.allowed(t.errors, at)) <= 1)
}

// unchanged is the hypothesis that nothing was changed.
var unchanged = hypothesis{change: func(m *reference.Model, p []int32) (*reference.Model, []int32) { return m, p }}

// mlpOutside returns the results that are outside of the MLP of a block alone, by pass.
func (l *localiser) mlpOutside(block int) ([]*Site, error) {
	t, err := l.mlpTrial(block)
	if err != nil {
		return nil, err
	}
	got, err := t.run(unchanged)
	if err != nil {
		return nil, err
	}
	alone := *t.errors
	alone.fixture = make([]*TokenError, len(l.in.tokens))
	for at := range alone.fixture {
		if x := t.fixture.token(at); x != nil {
			e := tokenError(x, tokenOf(got, at).Float64)
			alone.fixture[at] = &e
		}
	}
	j := &judgement{envelope: l.judged.envelope}
	j.addPasses(l.in, l.measured, &alone)
	return j.outside(alone.name, true), nil
}

// oneChannel recognises a fault in a single channel of the output, as one row of the last matrix or one element of its
// bias cause.
func (t *trial) oneChannel(f *Fault) error {
	got, err := t.run(unchanged)
	if err != nil {
		return err
	}
	channel := f.Worst.Channel
	low, high := math.Inf(1), math.Inf(-1)
	for at := range t.l.in.tokens {
		x := t.fixture.token(at)
		if x == nil {
			continue
		}
		x, y := slices.Clone(x), tokenOf(got, at).Float64
		d := float64(x[channel]) - y[channel]
		low, high = min(low, d), max(high, d)
		x[channel] = float32(y[channel])
		e := tokenError(x, y)
		if !(e.share(t.l.judged.envelope.allowed(t.errors, at)) <= 1) {
			return nil
		}
	}
	last := reference.MLPDown
	switch {
	case t.temporal && f.Kind == AttentionFault:
		last = reference.ProjFinal
	case t.temporal:
		last = reference.LinearOut
	default:
		f.Half = MLPHalf // the MLP spreads what the temporal half adds over all channels
	}
	f.Where = strings.TrimPrefix(f.Where+fmt.Sprintf("; only channel %d is outside", channel), "; ")
	f.Tensors = t.l.tensors(f.Block, last+reference.Kernel, last+reference.Bias)
	if high-low < 0.02*math.Abs(high+low)/2 { // the same at every token
		f.Cause = fmt.Sprintf("element %d of the bias, which is too small by %.3g", channel, (high+low)/2)
		if high < 0 {
			f.Cause = fmt.Sprintf("element %d of the bias, which is too large by %.3g", channel, -(high+low)/2)
		}
		f.Tensors = t.l.tensors(f.Block, last+reference.Bias)
	}
	return nil
}
