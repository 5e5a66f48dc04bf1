package verify

import (
	"fmt"
)

// pattern says what the tokens outside at a site have in common; "" if nothing. That differences begin at the
// window, or at document boundaries, or are in one channel only, names the suspect.
func (c *comparison) pattern(name string, fed bool) string {
	var of *site
	for _, s := range c.sites {
		if s.name == name && s.fed == fed {
			of = s
		}
	}
	if of == nil || of.exact {
		return ""
	}
	var wrong, right []int // tokens
	for t, e := range of.fixture {
		if e == nil {
			continue
		}
		if rms, max := c.result.Envelope.allowed(of, t); share(e, rms, max) > 1 {
			wrong = append(wrong, t)
		} else {
			right = append(right, t)
		}
	}
	if len(wrong) == 0 || len(right) == 0 {
		return ""
	}
	places := c.documents()
	every := func(is func(place) bool) bool {
		for _, t := range wrong {
			if !is(places[t]) {
				return false
			}
		}
		return true
	}
	first := places[wrong[0]].at
	for _, t := range wrong {
		first = min(first, places[t].at)
	}
	window := c.result.Window
	switch {
	case every(func(p place) bool { return p.at == 0 }):
		return "only where a document begins (position 0)"
	case every(func(p place) bool { return p.document > 0 }):
		return "only behind a document boundary"
	case window > 0 && first >= window && first <= window+1:
		return fmt.Sprintf("differences begin at the attention window, at position %d (the window is %d)", first, window)
	case first > 0:
		return fmt.Sprintf("positions before %d are inside", first)
	}
	return ""
}

// place is where a token is in its document.
type place struct {
	document int // of the row
	at       int // tokens before it in the document
}

// documents returns where the tokens of all passes are.
func (c *comparison) documents() []place {
	places := make([]place, len(c.tokens))
	for t := range places {
		if t%c.length == 0 {
			continue
		}
		places[t] = place{places[t-1].document, places[t-1].at + 1}
		if c.positions[t] == 0 {
			places[t] = place{places[t-1].document + 1, 0}
		}
	}
	return places
}
