package logits

import (
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// head runs the final norm and the output head on the outputs of the last block, some tokens at a time, and measures the
// errors.
func (r *runs) head(truth *reference.Activations, others []*reference.Activations) error {
	h := &headRuns{runs: r, errors: map[headSite]*siteErrors{}}
	h.declare()
	if len(h.errors) == 0 {
		return nil
	}
	var fixture *reference.Activations
	if r.in.fed {
		values, err := r.in.read(hidden(r.in.blocks()))
		if err != nil {
			return err
		}
		fixture = &values.Activations
	}
	step := forward.LogitsAtATime(r.float64)
	for first := 0; first < len(r.in.tokens); first += step {
		n := min(step, len(r.in.tokens)-first)
		if err := h.piece(first, n, false, truth, func(run int) *reference.Activations { return others[run] }); err != nil {
			return err
		}
		if !r.in.fed {
			continue
		}
		if err := h.piece(first, n, true, fixture, func(int) *reference.Activations { return fixture }); err != nil {
			return err
		}
	}
	return nil
}

// headRuns measures the errors of the final norm and the logits.
type headRuns struct {
	runs   *runs
	errors map[headSite]*siteErrors
}

type headSite struct {
	name string
	fed  bool
}

// declare adds the results that the fixture has.
func (h *headRuns) declare() {
	in := h.runs.in
	for _, name := range []string{"final_norm", "logits"} {
		for _, fed := range []bool{false, true} {
			decoded := name == "logits" && in.fixture.Decode != nil && !fed
			if !in.hasSite(name) && !decoded || fed && !in.fed {
				continue
			}
			s := newSiteErrors(name, fed, len(in.tokens), len(h.runs.legal))
			s.decode = make([]*TokenError, len(in.tokens))
			h.errors[headSite{name, fed}] = s
			h.runs.measured.sites = append(h.runs.measured.sites, s)
		}
	}
}

// piece measures the errors of n tokens, given the outputs of the last block, that in float64 and those of the other runs.
func (h *headRuns) piece(first, n int, fed bool, output *reference.Activations, other func(run int) *reference.Activations) error {
	truth, err := h.run(h.runs.float64, first, n, output)
	if err != nil {
		return err
	}
	usual := map[string][]*reference.Activations{} // of each rival
	for k, v := range h.runs.rivals {
		got, err := h.run(v.model, first, n, other(len(h.runs.legal)+k))
		if err != nil {
			return err
		}
		for name, y := range got {
			usual[name] = append(usual[name], y)
		}
	}
	for name, y := range truth {
		if s := h.errors[headSite{name, fed}]; s != nil {
			if err := h.addFixture(s, first, n, y, usual[name]); err != nil {
				return err
			}
		}
	}
	for k, m := range h.runs.legal {
		got, err := h.run(m, first, n, other(k))
		if err != nil {
			return err
		}
		for name, x := range got {
			if s := h.errors[headSite{name, fed}]; s != nil {
				h.addRun(s, k, first, n, x, truth[name], usual[name])
			}
		}
	}
	return nil
}

// run runs the head of a model and returns its results by name.
func (h *headRuns) run(m *reference.Model, first, n int, output *reference.Activations) (map[string]*reference.Activations, error) {
	got := map[string]*reference.Activations{}
	err := m.Run(h.runs.ctx, reference.Pass{Tokens: h.runs.in.tokens[first:][:n], Batch: 1, First: h.runs.in.blocks(), Input: forward.Tokens(output, first, n),
		SkipLogits: h.errors[headSite{"logits", false}] == nil,
		Observe: func(o reference.Observation) error {
			if o.Site != reference.Hidden {
				got[o.Name()] = &o.Activations
			}
			return nil
		}})
	return got, err
}

// addRun measures n tokens of a legal run.
func (h *headRuns) addRun(s *siteErrors, run, first, n int, got, truth *reference.Activations, usual []*reference.Activations) {
	in := h.runs.in
	for t := range n {
		x, y := asRecorded(tokenOf(got, t)), tokenOf(truth, t).Float64
		s.runs[run] = append(s.runs[run], tokenError(x, y))
		h.runs.project(s, run, first+t, x, t, truth, usual)
		if s.name == "logits" && !s.fed {
			pass := in.passOf(first + t).Name
			addLogits(&h.runs.measured.meter(pass).runs[run], 0, 0, x, y) // only the metrics of all tokens are used
			if pass == "" && in.decodes(first+t) {
				addLogits(&h.runs.measured.meter("decode").runs[run], 0, 0, x, y)
			}
		}
	}
}

// addFixture measures n tokens of the fixture.
func (h *headRuns) addFixture(s *siteErrors, first, n int, truth *reference.Activations, usual []*reference.Activations) error {
	in := h.runs.in
	values := make([]float32, truth.Width)
	for i := range n {
		t, y := first+i, tokenOf(truth, i).Float64
		s.spacings[t] = spacingOf(y)
		p, inPass := in.passOf(t), in.inPass(t)
		if p.Width(s.name) != 0 {
			if err := p.ReadAt(values, s.name, inPass*truth.Width); err != nil {
				return err
			}
			e := tokenError(values, y)
			s.fixture[t] = &e
			s.notFinite.add(t, values, y, false)
			h.runs.project(s, recording, t, values, i, truth, usual)
			if s.name == "logits" && !s.fed {
				h.runs.measured.meter(p.Name).addFixture(inPass/p.Length, inPass%p.Length, values, y)
			}
		}
		if s.name == "logits" && !s.fed && p.Name == "" {
			if err := h.addDecoded(s, t, values, y); err != nil {
				return err
			}
		}
	}
	return nil
}

// addDecoded measures the fixture's decoding of a token against the same truth, because decoding computes what the plain
// pass computes.
func (h *headRuns) addDecoded(s *siteErrors, t int, values []float32, truth []float64) error {
	if !h.runs.in.decodes(t) {
		return nil
	}
	d, length := h.runs.in.fixture.Decode, h.runs.in.length
	row, token := t/length, t%length
	if err := d.ReadAt(values, (row*d.Length+token-d.Start+1)*len(truth)); err != nil {
		return err
	}
	e := tokenError(values, truth)
	s.decode[t] = &e
	s.notFinite.add(t, values, truth, true)
	h.runs.measured.meter("decode").addFixture(row, token, values, truth)
	return nil
}

// passMeter compares the logits of a pass, those of the fixture and those of the legal runs, with float64.
type passMeter struct {
	pass    string
	fixture meter
	runs    []meter
	scatter [][2]float32
}

// meter returns the meter of a pass.
func (m *measurements) meter(pass string) *passMeter {
	for _, p := range m.meters {
		if p.pass == pass {
			return p
		}
	}
	p := &passMeter{pass: pass, runs: make([]meter, len(m.arithmetics))}
	m.meters = append(m.meters, p)
	return p
}

// scatterPoints is about how many logits of a token a plot shows.
const scatterPoints = 24

func (p *passMeter) addFixture(row, token int, x []float32, y []float64) {
	addLogits(&p.fixture, row, token, x, y)
	for i := token % 7; i < len(y); i += max(1, len(y)/scatterPoints) {
		p.scatter = append(p.scatter, [2]float32{float32(y[i]), x[i]})
	}
}

// metrics returns the metrics of every pass of the fixture. Decoding is compared with the plain passes of the legal runs, at its own tokens.
func (m *measurements) metrics() []PassMetrics {
	var all []PassMetrics
	for _, p := range m.meters {
		if len(p.fixture.tokens) == 0 {
			continue
		}
		out := PassMetrics{Pass: p.pass, Fixture: p.fixture.metrics(), Tokens: p.fixture.tokens, Scatter: p.scatter}
		for k := range p.runs {
			out.Legal = out.Legal.worse(p.runs[k].metrics())
		}
		all = append(all, out)
	}
	return all
}

// PassTitle names a pass for people.
func PassTitle(pass string) string {
	switch pass {
	case "":
		return "full pass"
	case "decode":
		return "decoding"
	}
	return pass + " rows"
}
