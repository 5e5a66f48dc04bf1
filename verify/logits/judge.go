package logits

import (
	"math"
	"slices"
)

// judgement compares the measured errors with the envelope.
type judgement struct {
	envelope *Envelope
	results  []*Site // by site and pass, in the order of computation
	ok       bool
}

func judge(in *input, m *measurements) *judgement {
	j := &judgement{envelope: newEnvelope(m), ok: m.wrongEmbeddings == nil}
	for _, s := range m.sites {
		j.addPasses(in, m, s)
		if s.decode != nil {
			j.add(in, m, s, "decode", s.decode, 0)
		}
	}
	return j
}

// addPasses judges the errors of all passes at a site.
func (j *judgement) addPasses(in *input, m *measurements, s *siteErrors) {
	first := 0
	for i := range in.fixture.Passes {
		p := &in.fixture.Passes[i]
		n := p.Batch * p.Length
		j.add(in, m, s, p.Name, s.fixture[first:][:n], first)
		first += n
	}
}

// add judges the errors of one pass at a site, if there are any. first is the first token of the pass, counted over all
// rows.
func (j *judgement) add(in *input, m *measurements, s *siteErrors, pass string, errors []*TokenError, first int) {
	r := &Site{Pass: pass, Name: s.name, Fed: s.fed, Exact: s.exact, OK: true}
	worst := -1.0
	for t, e := range errors {
		if e == nil {
			continue
		}
		allowed := j.envelope.allowed(s, first+t)
		r.Errors, r.Allowed = append(r.Errors, *e), append(r.Allowed, allowed)
		r.Largest = Number(math.Max(float64(r.Largest), e.Largest))
		share := e.share(allowed)
		at := in.location(first, t, e.Channel, share)
		if share > worst {
			worst, r.Worst = share, at
			r.RMS, r.RMSAllowed, r.Max, r.MaxAllowed = Number(e.RMS), Number(allowed[0]), Number(e.Max), Number(allowed[1])
		}
		if share > 1 && r.First == nil && !s.exact {
			r.OK, r.First = false, &at
		}
	}
	if len(r.Errors) == 0 {
		return
	}
	isHere := func(w wrongElements) bool { return w.first.token >= first && w.first.token < first+len(errors) }
	if i := slices.IndexFunc(m.wrongEmbeddings, isHere); s.exact && i >= 0 {
		wrong := &m.wrongEmbeddings[i]
		place := func(w wrongElement) Location {
			return in.location(first, w.token-first, w.channel, errors[w.token-first].share(j.envelope.allowed(s, w.token)))
		}
		at := place(wrong.first)
		r.OK, r.First, r.Worst = false, &at, place(wrong.worst)
	}
	j.results = append(j.results, r)
	j.ok = j.ok && r.OK
}

// location describes an element of a token, counted from the first token of its pass.
func (in *input) location(first, token, channel int, share float64) Location {
	return Location{Row: token / in.length, Token: token % in.length, Position: in.positions[first+token], Channel: channel, Share: Number(share)}
}

// outside returns the results of a site that are outside the envelope, by pass.
func (j *judgement) outside(name string, fed bool) []*Site {
	var out []*Site
	for _, s := range j.results {
		if s.Name == name && s.Fed == fed && !s.OK {
			out = append(out, s)
		}
	}
	return out
}
