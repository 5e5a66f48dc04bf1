package runtime

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// Side is a model with the runtime that runs it.
type Side struct {
	*Model
	Runtime *Runtime
}

// RunBy returns a model with the runtime that runs its layout: the original, or hf for a Hugging Face directory.
func (m *Model) RunBy(hf *Runtime) Side {
	if m.Found.Layout == model.HuggingFace {
		return Side{m, hf}
	}
	return Side{m, Original}
}

// Reference returns the side as the reference computes it, in float32.
func (s *Side) Reference() *reference.Model {
	return s.Model.Reference(s.Runtime.Semantics, reference.Arithmetic{})
}

// config returns the configuration that the side computes with.
func (s *Side) config() *model.Config { return s.ConfigUnder(s.Runtime.Semantics) }

// zeroLogits reports whether all logits of the side are zero.
func (s *Side) zeroLogits() bool { return s.Runtime.dividesByZeroCap && s.config().LogitsSoftCap == 0 }

// Divergence says where two sides with the same weights compute something else. It follows from what each runtime does with a
// configuration, without running anything.
type Divergence struct {
	// From is the position from which on they diverge in a document that is long enough; -1 if they never do.
	From int
	// First is the first token of the passes at which they diverge; nil if they do not.
	First  *Token
	Pass   string // of First: "" or "packed"
	Reason string // of First

	Summary string // a sentence
	Refused bool   // it says that a runtime does not load or compute a side
	// Unloaded is the beginning of Summary if the runtime does not load a side: "transformers 5 does not load the directory".
	Unloaded string
	Own      bool // the runtime computes something else with what a directory states, apart from windows
}

// Token is a token of a pass.
type Token struct {
	Row, Index int   // Index counts within the row
	Position   int32 // given to the model
}

// Compare finds where two sides diverge that should be the same model. passes are the tokens to look at; their logits are
// not read. A side in the Hugging Face layout may have a config.json that cannot be read, which is an error. What another runtime than the original
// does with a file that has no config.json is not known: then the divergence is nil.
func Compare(source, converted Side, passes []golden.Pass) (*Divergence, error) {
	pair := &pair{a: &source, b: &converted, own: -1}
	if err := pair.explain(); err != nil {
		return nil, err
	}
	if pair.bare {
		return nil, nil
	}
	if pair.refused != "" {
		return &Divergence{From: -1, Summary: pair.refused, Refused: true, Unloaded: pair.unloaded}, nil
	}
	d := &Divergence{From: pair.divergeFrom(), Own: pair.own >= 0}
	for i := range passes {
		p := &passes[i]
		if t, reason := pair.firstApart(p); t >= 0 {
			d.First, d.Pass, d.Reason = &Token{Row: t / p.Length, Index: t % p.Length, Position: p.Positions[t]}, p.Name, reason
			break
		}
	}
	d.Summary = d.summary(&source, &converted, LongestDocument(passes))
	return d, nil
}

// pair is two sides that are compared.
type pair struct {
	a, b *Side

	bare    bool   // a side that the original does not run is a file without config.json
	refused string // a sentence, if a runtime does not load or compute a side

	unloaded string // its beginning, if the runtime does not load it

	// If only one side is run by the original, what the explanation of the other says apart from windows.
	own int    // first position at which its runtime computes other logits; -1 for none
	why string // of own
}

// explain asks what the runtime of a Hugging Face directory does with it, and whether the original computes the source where it runs a side. If one
// runtime of directories runs both sides, what it computes is the same.
func (p *pair) explain() error {
	both := p.a.Runtime != Original && p.b.Runtime != Original
	var beyond []string
	if p.a.Runtime == p.b.Runtime && !both {
		beyond = model.BeyondOriginal(p.a.Found, &p.a.Original)
	} else if h := model.OwnHead(p.a.Found, &p.a.Original); h != nil && !both { // constants are reasons of the other side
		beyond = []string{model.HeadIgnored(h.Tensor.Name)}
	}
	if beyond != nil {
		p.refused = "the original does not compute the model: " + strings.Join(beyond, "; ")
		return nil
	}
	for _, side := range []*Side{p.b, p.a} {
		if side.Runtime == Original {
			continue
		}
		d, err := side.Directory()
		if err != nil {
			return err
		}
		if d.bare {
			p.bare = true
			return nil
		}
		title, x := side.Runtime.Title, side.Runtime.examine(d)
		reasons := strings.Join(x.Reasons, "; ")
		switch {
		case !x.Loads:
			of := ""
			if both && side == p.a {
				of = " of the source"
			}
			p.unloaded = title + " " + x.unloaded(of)
			p.refused = p.unloaded + ": " + reasons
			return nil
		case !both && x.own >= 0:
			p.own, p.why = x.own, fmt.Sprintf("%s %s", title, reasons)
		}
	}
	return nil
}

// keys returns the most tokens that attention of the side sees; 0 for no limit.
func (s *Side) keys() int { return s.Runtime.keys(int(s.config().AttentionWindow)) }

// divergeFrom returns the position of a document from which on the sides diverge; -1 if never.
func (p *pair) divergeFrom() int {
	windows := divergingWindows(p.a, p.b)
	if p.own >= 0 && (windows < 0 || p.own < windows) {
		return p.own
	}
	return windows
}

// divergingWindows returns the position of a document from which on the attention of the sides sees other tokens; -1 if never.
func divergingWindows(a, b *Side) int {
	if a.zeroLogits() != b.zeroLogits() {
		return 0
	}
	if !a.Config.Has(model.Attention) {
		return -1
	}
	x, y := a.keys(), b.keys()
	switch {
	case x == y:
		return -1
	case x == 0 || y != 0 && y < x:
		return y
	}
	return x
}

// firstApart returns the first token of a pass, counted over all rows, that sees something else on the two sides, and
// what that is; -1 if there is none. Of several rows it is the token that is earliest in its row.
func (pair *pair) firstApart(p *golden.Pass) (token int, reason string) {
	a, b := pair.a, pair.b
	if a.zeroLogits() != b.zeroLogits() {
		return 0, "transformers divides by the soft cap of 0, and all its logits are zero"
	}
	x := reference.TokenMasks(a.Runtime.Semantics, int(a.config().AttentionWindow), int(a.config().ConvWidth), p.Positions, p.Batch)
	y := reference.TokenMasks(b.Runtime.Semantics, int(b.config().AttentionWindow), int(b.config().ConvWidth), p.Positions, p.Batch)
	inA, inB := sideNames(a, b)
	attention, recurrent := a.Config.Has(model.Attention), a.Config.Has(model.Recurrent)
	for column := range p.Length {
		for row := range p.Batch {
			t := row*p.Length + column
			switch {
			case pair.own >= 0 && column >= pair.own:
				return t, pair.why
			case attention && x[t].Keys != y[t].Keys:
				return t, fmt.Sprintf("there attention sees %s in %s and %s in %s", text.Count(x[t].Keys, "token"), inA, text.Count(y[t].Keys, "token"), inB)
			case recurrent && x[t].Taps != y[t].Taps:
				return t, fmt.Sprintf("there the convolution sees %s in %s and %d in %s: only the original cuts it at document boundaries", text.Count(x[t].Taps, "earlier token"), inA, y[t].Taps, inB)
			}
		}
	}
	return -1, ""
}

// sideNames returns what to call the sides: by their runtimes, or if one runtime runs both as source and conversion.
func sideNames(a, b *Side) (string, string) {
	if a.Runtime == b.Runtime {
		return "the source", "the conversion"
	}
	return a.Runtime.Title, b.Runtime.Title
}

func (d *Divergence) summary(source, converted *Side, longest int) string {
	a, b := sideNames(source, converted)
	under := ""
	if source.Runtime == converted.Runtime {
		under = "under " + converted.Runtime.Title + " "
	}
	switch {
	case d.First != nil:
		in := ""
		if d.Pass != "" {
			in = " of the " + d.Pass + " rows"
		}
		s := fmt.Sprintf("%s%s diverges from %s at token %d of row %d%s (position %d): %s", under, b, a, d.First.Index, d.First.Row, in, d.First.Position, d.Reason)
		if d.From < 0 {
			s += "; for a document alone it computes the same at every position"
		}
		return s
	case d.From < 0:
		return fmt.Sprintf("%s%s computes the same as %s at every position of a document", under, b, a)
	case longest == 0:
		return fmt.Sprintf("%s%s diverges from %s from position %d of a document on", under, b, a, d.From)
	}
	return fmt.Sprintf("%sthe window of %d was not reached: %s diverges from %s from position %d on, and the longest document has %s",
		under, source.Original.AttentionWindow, b, a, d.From, text.Count(longest, "token"))
}

// LongestDocument returns the tokens of the longest document of passes.
func LongestDocument(passes []golden.Pass) (tokens int) {
	for i := range passes {
		for _, position := range passes[i].Positions {
			tokens = max(tokens, int(position)+1)
		}
	}
	return tokens
}
