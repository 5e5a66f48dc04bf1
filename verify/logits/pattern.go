package logits

import (
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// pattern says what the tokens outside at a site have in common; "" if nothing. Differences that start at the window or at
// document boundaries point to the cause.
func (l *localiser) pattern(name string, fed bool) string {
	s := l.measured.site(name, fed)
	if s == nil || s.exact {
		return ""
	}
	var wrong, right []docPosition
	positions := l.in.docPositions()
	for t, e := range s.fixture {
		switch {
		case e == nil:
		case e.share(l.judged.envelope.allowed(s, t)) > 1:
			wrong = append(wrong, positions[t])
		default:
			right = append(right, positions[t])
		}
	}
	if len(wrong) == 0 || len(right) == 0 {
		return ""
	}
	first := wrong[0].token
	for _, p := range wrong {
		first = min(first, p.token)
	}
	window := 0
	if l.in.model.Config.Has(model.Attention) {
		window = l.in.window()
	}
	fromFirst := func(p docPosition) bool { return p.token >= first }
	switch {
	case only(wrong, right, func(p docPosition) bool { return p.token == 0 }):
		return "only where a document begins (position 0)"
	case only(wrong, right, func(p docPosition) bool { return p.document > 0 }):
		return "only behind a document boundary"
	case !only(wrong, right, fromFirst):
		return ""
	case window > 0 && first >= window && first <= window+1 && !slices.ContainsFunc(right, fromFirst):
		return fmt.Sprintf("differences begin at the attention window, at position %d (the window is %d)", first, window)
	}
	return fmt.Sprintf("positions before %d are inside in every document", first)
}

// only reports whether all wrong positions are of a kind, and that is no coincidence: as many positions, chosen at random, would be of it with
// a probability below 1%.
func only(wrong, right []docPosition, kind func(docPosition) bool) bool {
	of, all, chance := len(wrong), len(wrong)+len(right), 1.0
	for _, p := range right {
		if kind(p) {
			of++
		}
	}
	for i, p := range wrong {
		if !kind(p) {
			return false
		}
		chance *= float64(of-i) / float64(all-i)
	}
	return chance < 0.01
}

// docPosition is the position of a token in its document.
type docPosition struct {
	document int // of the row
	token    int // tokens before it in the document
}

// docPositions returns the positions of the tokens of all passes in their documents.
func (in *input) docPositions() []docPosition {
	out := make([]docPosition, len(in.tokens))
	for t := range out {
		switch {
		case t%in.length == 0: // a row begins
		case in.positions[t] == 0:
			out[t] = docPosition{out[t-1].document + 1, 0}
		default:
			out[t] = docPosition{out[t-1].document, out[t-1].token + 1}
		}
	}
	return out
}
