package logits

import (
	"context"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/reference"
)

// measurements are the errors of the fixture and of the legal runs against float64.
type measurements struct {
	arithmetics []reference.Arithmetic // of the legal runs
	sites       []*siteErrors          // in the order of computation
	meters      []*passMeter           // of logits

	wrongEmbeddings []wrongElements // of the embeddings, which must be the same bit for bit: one for each pass in which they are not
}

// wrongElements are two elements of a pass in which a result is not as it must be.
type wrongElements struct{ first, worst wrongElement }

// wrongElement is an element of a result that is not as it must be.
type wrongElement struct {
	token, channel int
	recorded       float32 // by the fixture
	computed       float32 // by the model
}

// apart returns how far the values are apart.
func (w *wrongElement) apart() float64 {
	return math.Abs(difference(float64(w.recorded), float64(w.computed)))
}

// runs are the runs of a model on the fixture's tokens: one in float64, and several in the fixture's precision, with
// other legal roundings and orders of sums; and one in float64 for each rival.
type runs struct {
	ctx      context.Context
	in       *input
	float64  *reference.Model
	legal    []*reference.Model
	rivals   []*rival
	measured *measurements
}

// measure runs the model and returns the errors.
func measure(ctx context.Context, in *input, rivals []*rival) (*measurements, error) {
	m := &measurements{arithmetics: in.legalRuns()}
	r := &runs{ctx: ctx, in: in, measured: m, rivals: rivals, float64: in.float64}
	for _, a := range m.arithmetics {
		r.legal = append(r.legal, in.model.Reference(in.semantics, a))
	}
	// The output of the last block that was run, of each run.
	var truth *reference.Activations
	others := make([]*reference.Activations, len(r.others()))
	var err error
	for i := range in.blocks() {
		if truth, err = r.block(i, truth, others); err != nil {
			return nil, err
		}
	}
	if err := r.head(truth, others); err != nil {
		return nil, err
	}
	for _, s := range m.sites {
		s.setLimits(m.arithmetics[0].Precision)
	}
	return m, nil
}

// others are the models of the legal runs and of the rivals.
func (r *runs) others() []*reference.Model {
	all := slices.Clone(r.legal)
	for _, v := range r.rivals {
		all = append(all, v.model)
	}
	return all
}

// block runs a block on the outputs of the block before it, measures its errors, and returns its outputs: that in float64,
// and those of the other runs in place. Where the fixture has the input of every block, it also runs the block on that.
func (r *runs) block(i int, input *reference.Activations, others []*reference.Activations) (*reference.Activations, error) {
	var fixture *fixtureValues
	inputs := append([]*reference.Activations{input}, others...)
	if r.in.fed {
		var err error
		if fixture, err = r.in.read(hidden(i)); err != nil {
			return nil, err
		}
		for range 1 + len(others) {
			inputs = append(inputs, &fixture.Activations)
		}
	}
	results, err := r.outputs(i, inputs)
	if err != nil {
		return nil, err
	}
	truth, all := results[0], results[1:1+len(others)]
	if i == 0 {
		if err := r.embeddings(truth, all[:len(r.legal)]); err != nil {
			return nil, err
		}
	}
	if err := r.addBlock(i, false, truth, all); err != nil {
		return nil, err
	}
	for k := range all {
		others[k] = all[k].out
	}
	if fixture != nil {
		fed := results[1+len(others):]
		if err := r.addBlock(i, true, fed[0], fed[1:]); err != nil {
			return nil, err
		}
	}
	return truth.out, nil
}

// blockResults are the input and the outputs of one block. in is only set for the first block.
type blockResults struct{ in, temporal, out *reference.Activations }

// outputs runs a block on inputs, in turn in float64 and in every other run, and reads its weights once for as many of
// them as run together. A rival runs alone, because its configuration is another one.
func (r *runs) outputs(i int, inputs []*reference.Activations) ([]blockResults, error) {
	models := append([]*reference.Model{r.float64}, r.others()...)
	results := make([]blockResults, len(inputs))
	isRival := func(k int) bool { return k%len(models) > len(r.legal) }
	for first, end := 0, 0; first < len(inputs); first = end {
		for end++; end < min(first+r.in.together(), len(inputs)) && !isRival(first) && !isRival(end); {
			end++
		}
		var group []*reference.Model
		var passes []reference.Pass
		for k := first; k < end; k++ {
			group = append(group, models[k%len(models)])
			passes = append(passes, r.in.blockPass(i, r.in.positions, inputs[k], &results[k]))
		}
		if err := reference.RunTogether(r.ctx, group, passes); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// runMemory bounds the activations of the runs that go through a block together, in bytes. (Tests make it smaller.)
var runMemory int64 = 320 << 20

// together returns how many runs go through a block together.
func (in *input) together() int {
	c := &in.model.Config
	activations := 8 * int64(len(in.tokens)) * (3*c.MLPExpandedWidth + 4*c.Width + 2*c.LRUWidth)
	return int(max(1, runMemory/max(1, activations)))
}

// runBlock runs one block of a model.
func (in *input) runBlock(ctx context.Context, m *reference.Model, i int, positions []int32, input *reference.Activations) (blockResults, error) {
	var got blockResults
	err := m.Run(ctx, in.blockPass(i, positions, input, &got))
	return got, err
}

// blockPass returns the pass through one block, whose results are stored in got. input is nil for the embeddings, if the
// block is the first.
func (in *input) blockPass(i int, positions []int32, input *reference.Activations, got *blockResults) reference.Pass {
	return reference.Pass{Tokens: in.tokens, Positions: positions, Batch: in.batch, First: i, End: i + 1, Input: input,
		Observe: func(o reference.Observation) error {
			switch {
			case o.Site == reference.Temporal:
				got.temporal = &o.Activations
			case o.Index == i:
				got.in = &o.Activations
			default:
				got.out = &o.Activations
			}
			return nil
		}}
}

// embeddings measures the errors of the embeddings, and compares them bit for bit with those of the first legal run: each
// element is one product, rounded once, so that there is one right result.
func (r *runs) embeddings(truth blockResults, all []blockResults) error {
	fixture, err := r.in.read(hidden(0))
	if fixture == nil || err != nil {
		return err
	}
	var runs []*reference.Activations
	for k := range all {
		runs = append(runs, all[k].in)
	}
	s := newSiteErrors(hidden(0), false, len(r.in.tokens), len(runs))
	s.add(fixture, truth.in, runs)
	r.measured.sites = append(r.measured.sites, s)
	if s.exact = r.in.coarser == ""; s.exact {
		r.measured.wrongEmbeddings = findWrong(fixture, runs[0], len(r.in.tokens), len(r.in.fixture.Passes[0].Tokens))
	}
	return nil
}

// findWrong returns elements of a result that are not the same as those of a run, by pass. Every NaN is the same. Each pass has so many of the tokens.
func findWrong(fixture *fixtureValues, run *reference.Activations, tokens, pass int) (all []wrongElements) {
	var wrong *wrongElements // of the pass
	for t := range tokens {
		if t%pass == 0 {
			wrong = nil
		}
		for i, x := range fixture.token(t) {
			e := wrongElement{token: t, channel: i, recorded: x, computed: float32(run.At(t*fixture.Width + i))}
			switch d := e.apart(); {
			case d == 0:
			case wrong == nil:
				all = append(all, wrongElements{e, e})
				wrong = &all[len(all)-1]
			case !(d <= wrong.worst.apart()) && !math.IsNaN(wrong.worst.apart()):
				wrong.worst = e
			}
		}
	}
	return all
}

// addBlock measures the errors of a block's outputs.
func (r *runs) addBlock(i int, fed bool, truth blockResults, all []blockResults) error {
	for _, x := range []struct {
		name string
		of   func(*blockResults) *reference.Activations
	}{
		{temporal(i), func(b *blockResults) *reference.Activations { return b.temporal }},
		{hidden(i + 1), func(b *blockResults) *reference.Activations { return b.out }},
	} {
		fixture, err := r.in.read(x.name)
		if err != nil {
			return err
		}
		if fixture == nil {
			continue
		}
		var runs []*reference.Activations
		for k := range all {
			runs = append(runs, x.of(&all[k]))
		}
		s := newSiteErrors(x.name, fed, len(r.in.tokens), len(r.legal))
		legal := runs[:len(r.legal)]
		s.add(fixture, x.of(&truth), legal)
		for t := range s.fixture {
			r.project(s, recording, t, fixture.token(t), t, x.of(&truth), runs[len(legal):])
			for k, run := range legal {
				r.project(s, k, t, asRecorded(tokenOf(run, t)), t, x.of(&truth), runs[len(legal):])
			}
		}
		r.measured.sites = append(r.measured.sites, s)
	}
	return nil
}

// site returns the errors of a result, or nil.
func (m *measurements) site(name string, fed bool) *siteErrors {
	for _, s := range m.sites {
		if s.name == name && s.fed == fed {
			return s
		}
	}
	return nil
}
