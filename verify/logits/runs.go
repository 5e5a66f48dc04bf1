package logits

import (
	"context"

	"github.com/griffin-ckpt/griffin/reference"
)

// measurements are the errors of the fixture and of the legal runs against float64.
type measurements struct {
	arithmetics []reference.Arithmetic // of the legal runs
	sites       []*siteErrors          // in the order of computation
	meters      []*passMeter           // of logits

	wrongEmbedding *wrongElement // the first element of the embeddings that is not bit for bit as it must be, or nil
}

// wrongElement is an element of a result.
type wrongElement struct {
	token, channel int
	want, got      float32
}

// runs are the runs of a model on the fixture's tokens: one in float64, and several in the fixture's precision, with
// other legal roundings and orders of sums.
type runs struct {
	ctx      context.Context
	in       *input
	float64  *reference.Model
	legal    []*reference.Model
	measured *measurements
}

// measure runs the model and returns the errors.
func measure(ctx context.Context, in *input) (*measurements, error) {
	m := &measurements{arithmetics: in.legalRuns()}
	r := &runs{ctx: ctx, in: in, measured: m, float64: in.model.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})}
	for _, a := range m.arithmetics {
		r.legal = append(r.legal, in.model.Reference(in.semantics, a))
	}
	// The output of the last block that was run, of each run.
	var truth *reference.Activations
	legal := make([]*reference.Activations, len(r.legal))
	var err error
	for i := range in.blocks() {
		if truth, err = r.block(i, truth, legal); err != nil {
			return nil, err
		}
	}
	if err := r.head(truth, legal); err != nil {
		return nil, err
	}
	for _, s := range m.sites {
		s.rmsScale, s.maxScale = s.scales(-1)
	}
	return m, nil
}

// block runs a block on the outputs of the block before it, measures its errors, and returns its outputs: that in float64,
// and those of the legal runs in place. Where the fixture has the input of every block, it also runs the block on that.
func (r *runs) block(i int, input *reference.Activations, legal []*reference.Activations) (*reference.Activations, error) {
	truth, all, err := r.outputs(i, input, legal)
	if err != nil {
		return nil, err
	}
	if i == 0 {
		if err := r.embeddings(truth, all); err != nil {
			return nil, err
		}
	}
	if err := r.addBlock(i, false, truth, all); err != nil {
		return nil, err
	}
	for k := range all {
		legal[k] = all[k].out
	}
	if r.in.fed {
		fixture, err := r.in.read(hidden(i))
		if err != nil {
			return nil, err
		}
		same := make([]*reference.Activations, len(legal))
		for k := range same {
			same[k] = &fixture.Activations
		}
		fedTruth, fedAll, err := r.outputs(i, &fixture.Activations, same)
		if err != nil {
			return nil, err
		}
		if err := r.addBlock(i, true, fedTruth, fedAll); err != nil {
			return nil, err
		}
	}
	return truth.out, nil
}

// blockResults are the input and the outputs of one block. in is only set for the first block.
type blockResults struct{ in, temporal, out *reference.Activations }

// outputs runs a block in float64 and in every legal run.
func (r *runs) outputs(i int, input *reference.Activations, legal []*reference.Activations) (truth blockResults, all []blockResults, err error) {
	if truth, err = r.in.runBlock(r.ctx, r.float64, i, r.in.positions, input); err != nil {
		return truth, nil, err
	}
	for k, m := range r.legal {
		got, err := r.in.runBlock(r.ctx, m, i, r.in.positions, legal[k])
		if err != nil {
			return truth, nil, err
		}
		all = append(all, got)
	}
	return truth, all, nil
}

// runBlock runs one block of a model. input is nil for the embeddings, if the block is the first.
func (in *input) runBlock(ctx context.Context, m *reference.Model, i int, positions []int32, input *reference.Activations) (blockResults, error) {
	var got blockResults
	err := m.Run(ctx, reference.Pass{Tokens: in.tokens, Positions: positions, Batch: in.batch, First: i, End: i + 1, Input: input,
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
		}})
	return got, err
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
		r.measured.wrongEmbedding = firstWrong(fixture, runs[0], len(r.in.tokens))
	}
	return nil
}

// firstWrong returns the first element of a result that is not the same as that of a run, or nil. Every NaN is the same.
func firstWrong(fixture *fixtureValues, run *reference.Activations, tokens int) *wrongElement {
	for t := range tokens {
		for i, x := range fixture.token(t) {
			if want := float32(run.At(t*fixture.Width + i)); want != x && !(want != want && x != x) {
				return &wrongElement{token: t, channel: i, want: want, got: x}
			}
		}
	}
	return nil
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
		s := newSiteErrors(x.name, fed, len(r.in.tokens), len(runs))
		s.add(fixture, x.of(&truth), runs)
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
