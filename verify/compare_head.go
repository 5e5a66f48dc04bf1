package verify

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
)

// passMeter compares the logits of a pass, and those of the runs, with float64.
type passMeter struct {
	pass    string
	fixture meter
	runs    []meter
	scatter [][2]float32
}

func (c *comparison) meter(pass string) *passMeter {
	for _, m := range c.meters {
		if m.pass == pass {
			return m
		}
	}
	m := &passMeter{pass: pass, runs: make([]meter, len(c.runs))}
	c.meters = append(c.meters, m)
	return m
}

// sweepHead runs the final norm and the logits, some tokens at a time.
func (c *comparison) sweepHead(yard *reference.Activations, runs []*reference.Activations) error {
	h := &head{comparison: c, sites: map[string]*site{}}
	for _, name := range []string{"final_norm", "logits"} {
		for _, fed := range []bool{false, true} {
			if c.recorded(name) || name == "logits" && c.golden.Decode != nil && !fed {
				if !fed || c.feed {
					h.add(name, fed)
				}
			}
		}
	}
	if len(h.sites) == 0 {
		return nil
	}
	var fed *reference.Activations
	if c.feed {
		in, err := c.read(hidden(c.blocks()))
		if err != nil {
			return err
		}
		fed = &in.Activations
	}
	step := forward.LogitsAtATime(c.yardstick)
	for first := 0; first < len(c.tokens); first += step {
		n := min(step, len(c.tokens)-first)
		if err := h.piece(first, n, false, yard, runs); err != nil {
			return err
		}
		if !c.feed {
			continue
		}
		same := make([]*reference.Activations, len(runs))
		for k := range same {
			same[k] = fed
		}
		if err := h.piece(first, n, true, fed, same); err != nil {
			return err
		}
	}
	return nil
}

// recorded reports whether any pass has a result of that name.
func (c *comparison) recorded(name string) bool {
	for i := range c.golden.Passes {
		if c.golden.Passes[i].Width(name) != 0 {
			return true
		}
	}
	return false
}

// head gathers the errors of the final norm and the logits.
type head struct {
	*comparison
	sites map[string]*site
}

func headSite(name string, fed bool) string { return fmt.Sprint(name, fed) }

func (h *head) add(name string, fed bool) {
	s := &site{name: name, fed: fed, fixture: make([]*TokenError, len(h.tokens)), decode: make([]*TokenError, len(h.tokens)), runs: make([][]TokenError, len(h.runs))}
	h.sites[headSite(name, fed)] = s
	h.comparison.sites = append(h.comparison.sites, s)
}

// piece runs n tokens from the last block's outputs.
func (h *head) piece(first, n int, fed bool, yard *reference.Activations, runs []*reference.Activations) error {
	truth, err := h.output(h.yardstick, first, n, yard)
	if err != nil {
		return err
	}
	for name, y := range truth {
		if s := h.sites[headSite(name, fed)]; s != nil {
			if err := h.fixture(s, first, n, y); err != nil {
				return err
			}
		}
	}
	for k := range h.runs {
		got, err := h.output(h.runs[k], first, n, runs[k])
		if err != nil {
			return err
		}
		for name, x := range got {
			s := h.sites[headSite(name, fed)]
			if s == nil {
				continue
			}
			for t := range n {
				values, y := stored(rowOf(x, t)), rowOf(truth[name], t).Float64
				s.runs[k] = append(s.runs[k], tokenError(values, y))
				if name == "logits" && !fed {
					row, token := (first+t)/h.length, (first+t)%h.length
					add(&h.meter(h.passOf(first + t).Name).runs[k], row, token, values, y)
				}
			}
		}
	}
	return nil
}

// output runs the head of a model.
func (h *head) output(m *reference.Model, first, n int, from *reference.Activations) (map[string]*reference.Activations, error) {
	got := map[string]*reference.Activations{}
	err := m.Run(h.ctx, reference.Pass{Tokens: h.tokens[first:][:n], Batch: 1, First: h.blocks(), Input: forward.Tokens(from, first, n),
		SkipLogits: h.sites[headSite("logits", false)] == nil,
		Observe: func(o reference.Observation) error {
			if o.Site != reference.Hidden {
				a := o.Activations
				got[o.Name()] = &a
			}
			return nil
		}})
	return got, err
}

// passOf returns the pass that a token, counted over all, is of.
func (c *comparison) passOf(token int) *golden.Pass {
	return &c.golden.Passes[token/(c.golden.Passes[0].Batch*c.length)]
}

// fixture compares the fixture's numbers of n tokens with the yardstick.
func (h *head) fixture(s *site, first, n int, truth *reference.Activations) error {
	values := make([]float32, truth.Width)
	for t := range n {
		at, y := first+t, rowOf(truth, t).Float64
		p := h.passOf(at)
		inPass := at % (p.Batch * p.Length)
		if p.Width(s.name) != 0 {
			if err := p.ReadAt(values, s.name, inPass*truth.Width); err != nil {
				return err
			}
			e := tokenError(values, y)
			s.fixture[at] = &e
			if s.name == "logits" && !s.fed {
				h.meter(p.Name).observe(inPass/p.Length, inPass%p.Length, values, y)
			}
		}
		if s.name == "logits" && !s.fed && p.Name == "" {
			if err := h.decoded(s, at, values, y); err != nil {
				return err
			}
		}
	}
	return nil
}

// decoded compares the logits of decoding: those of the same tokens, since decoding computes what
// the full pass does.
func (h *head) decoded(s *site, at int, values []float32, y []float64) error {
	d := h.golden.Decode
	if d == nil || at%h.length < d.Start-1 {
		return nil
	}
	row, token := at/h.length, at%h.length
	if err := d.ReadAt(values, (row*d.Length+token-d.Start+1)*len(y)); err != nil {
		return err
	}
	e := tokenError(values, y)
	s.decode[at] = &e
	h.meter("decode").observe(row, token, values, y)
	return nil
}

// scatterPoints is about how many logits of a token a plot shows.
const scatterPoints = 24

func (p *passMeter) observe(row, token int, x []float32, y []float64) {
	add(&p.fixture, row, token, x, y)
	for i := token % 7; i < len(y); i += max(1, len(y)/scatterPoints) {
		p.scatter = append(p.scatter, [2]float32{float32(y[i]), x[i]})
	}
}

// metrics sums up what the meters saw. Decoding is held against the runs' full passes.
func (c *comparison) metrics() []PassMetrics {
	var all []PassMetrics
	for _, m := range c.meters {
		if len(m.fixture.tokens) == 0 {
			continue
		}
		from := m
		if m.pass == "decode" {
			from = c.meter("")
		}
		p := PassMetrics{Pass: m.pass, Fixture: m.fixture.metrics(), Tokens: m.fixture.tokens, Scatter: m.scatter}
		for k := range from.runs {
			p.Legal = p.Legal.worse(from.runs[k].metrics())
		}
		all = append(all, p)
	}
	return all
}
