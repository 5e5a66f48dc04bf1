package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// judge holds every error against the envelope.
func (c *comparison) judge() {
	r := c.result
	r.Envelope = newEnvelope(c.arithmetics, c.sites)
	r.OK = c.exact == nil
	for _, s := range c.sites {
		for i := range c.golden.Passes {
			p := &c.golden.Passes[i]
			from := i * p.Batch * p.Length
			c.keep(c.judgeSite(s, p.Name, s.fixture[from:][:p.Batch*p.Length], from))
		}
		if s.decode != nil {
			c.keep(c.judgeSite(s, "decode", s.decode, 0))
		}
	}
	r.Metrics = c.metrics()
}

func (c *comparison) keep(s *SiteResult) {
	if s != nil {
		c.result.Sites = append(c.result.Sites, s)
		c.result.OK = c.result.OK && s.OK
	}
}

// allowed returns what errors at a site may be, at a token.
func (e *Envelope) allowed(s *site, token int) (rms, max float64) {
	f := e.Chain
	if s.fed {
		f = e.Fed
	}
	return float64(f.RMS) * s.rms[token], float64(f.Max) * s.max[token]
}

// share returns an error over what is allowed: above 1 it lies outside.
func share(e *TokenError, rms, max float64) float64 {
	return math.Max(over(e.RMS, rms), over(e.Max, max))
}

func over(x, allowed float64) float64 {
	switch {
	case x == 0:
		return 0
	case math.IsNaN(x) || allowed == 0:
		return math.Inf(1)
	}
	return x / allowed
}

// judgeSite judges the errors of one pass at a site; nil if there are none. first is the pass's first
// token among those of all.
func (c *comparison) judgeSite(s *site, pass string, errors []*TokenError, first int) *SiteResult {
	r := &SiteResult{Pass: pass, Name: s.name, Fed: s.fed, Exact: s.exact, OK: true}
	worst := -1.0
	for t, e := range errors {
		if e == nil {
			continue
		}
		rms, max := c.result.Envelope.allowed(s, first+t)
		r.Errors, r.Allowed = append(r.Errors, *e), append(r.Allowed, [2]float64{rms, max})
		r.Largest = Number(math.Max(float64(r.Largest), e.Largest))
		over := share(e, rms, max)
		place := Place{Row: t / c.length, Token: t % c.length, Position: c.positions[first+t], Channel: e.Channel, Share: Number(over)}
		if over > worst {
			worst, r.Worst = over, place
			r.RMS, r.RMSAllowed, r.Max, r.MaxAllowed = Number(e.RMS), Number(rms), Number(e.Max), Number(max)
		}
		if over > 1 && r.First == nil && !s.exact {
			r.OK, r.First = false, &place
		}
	}
	if len(r.Errors) == 0 {
		return nil
	}
	if s.exact && c.exact != nil && c.exact.token >= first && c.exact.token < first+len(errors) {
		t := c.exact.token - first
		r.OK, r.First = false, &Place{Row: t / c.length, Token: t % c.length, Position: c.positions[first+t], Channel: c.exact.channel, Share: r.Worst.Share}
	}
	return r
}

// title names a site result as the fixture does, and how it was computed.
func (s *SiteResult) title() string {
	name := s.Name
	if s.Pass != "" {
		name = s.Pass + "." + name
	}
	if s.Fed {
		name += " (fed)"
	}
	return name
}

// summarise writes the line that sums the result up.
func (c *comparison) summarise() {
	r := c.result
	if r.OK {
		worst := 0.0
		for _, s := range r.Sites {
			if !s.Exact {
				worst = math.Max(worst, float64(s.Worst.Share))
			}
		}
		r.Summary = fmt.Sprintf("%s of %s match within rounding over %s (worst: %.0f%% of the limit)",
			countOf(len(r.Sites), "output"), r.Implementation, countOf(len(c.tokens), "token"), 100*worst)
		return
	}
	if n := len(r.Faults); n > 1 && r.Faults[0].Cause != "" && !slices.ContainsFunc(r.Faults, func(f *Fault) bool { return f.Cause != r.Faults[0].Cause }) {
		r.Summary = fmt.Sprintf("%s, explained by one change: %s; first %s", countOf(n, "fault"), r.Faults[0].Cause, r.Faults[0].Detail)
		return
	}
	var parts []string
	for _, f := range r.Faults {
		parts = append(parts, f.Detail)
	}
	r.Summary = strings.Join(parts, "; ")
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
