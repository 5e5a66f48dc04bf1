package logits

import (
	"math"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Number is a float64 whose JSON is a string if it is not finite: NaN, Infinity, -Infinity.
type Number = float.Number

// Result is the outcome of comparing a model with a golden fixture.
type Result struct {
	OK      bool   `json:"ok"`
	Summary string `json:"summary"` // one line

	Checkpoint     string                `json:"checkpoint"` // that was run
	Golden         string                `json:"golden"`
	Implementation golden.Implementation `json:"implementation"` // that recorded the fixture
	Versions       map[string]string     `json:"versions"`
	DType          string                `json:"dtype"`
	Backend        string                `json:"backend,omitempty"`
	Semantics      string                `json:"semantics"`

	Batch  int `json:"batch"`
	Length int `json:"length"`
	Window int `json:"window"` // of attention; 0 if the model has none

	Weights Weights `json:"weights,omitempty"` // of the model, if it fails
	Beside  string  `json:"beside,omitempty"`  // what is known of the recording and the other checkpoint, if this one fails

	Envelope *Envelope     `json:"envelope"`
	Sites    []*Site       `json:"sites"`   // in the order of computation: each as run from the tokens, then fed
	Metrics  []PassMetrics `json:"metrics"` // of logits, by pass
	Faults   []*Fault      `json:"faults"`  // where the model and the fixture diverge, in order; empty if OK
	Notes    []string      `json:"notes,omitempty"`

	// Untold are settings of a model that is inside that the recording does not show: those whose values are not usual for the family, and which the
	// recording does not tell from the usual ones, Setting.Recorded; and an attention window that it does not tell from "another" or from "a larger one".
	Untold []*Setting `json:"untold,omitempty"`

	Blocks []model.BlockType `json:"-"` // kinds of the blocks of the model
	Passes []golden.Pass     `json:"-"` // tokens and positions of the fixture, for plots

	Digests map[string]digest.Sum `json:"-"` // of the tensors that were read, by name, as Options.Digest asks for
}

// Site is the outcome for one result of the model, such as the output of block 2, at all tokens of a pass.
type Site struct {
	Pass string `json:"pass,omitempty"` // "", "packed" or "decode"
	Name string `json:"name"`           // "hidden.3", "temporal.3", "final_norm", "logits"

	// Fed says that the block was given the fixture's own input, so that its error is of this block alone. Otherwise the
	// model ran from the tokens on, and errors add up.
	Fed bool `json:"fed"`

	OK      bool   `json:"ok"`
	Exact   bool   `json:"exact,omitempty"` // compared bit for bit
	Largest Number `json:"largest"`         // absolute difference from float64

	// The root mean square over the channels of the error, and the largest error, each divided by the root mean square
	// of the channels in float64, at the token where it is worst; and what is allowed.
	RMS        Number `json:"rms"`
	RMSAllowed Number `json:"rms_allowed"`
	Max        Number `json:"max"`
	MaxAllowed Number `json:"max_allowed"`

	Worst Location  `json:"worst"`           // where the share of what is allowed is largest
	First *Location `json:"first,omitempty"` // the first token outside, if there is one

	// Errors has the errors of every token, [batch, length] (for decoding: of the positions that it has), and Allowed what
	// is allowed of RMS and Max. They are for plots.
	Errors  []TokenError `json:"-"`
	Allowed [][2]float64 `json:"-"`
}

// Location is one element of a result.
type Location struct {
	Row      int    `json:"row"`
	Token    int    `json:"token"`    // of the row
	Position int32  `json:"position"` // given to the model
	Channel  int    `json:"channel"`  // for logits: the vocabulary entry
	Share    Number `json:"share"`    // the error divided by what is allowed
}

// TokenError is the error over the channels of one token, relative to their root mean square in float64.
type TokenError struct {
	RMS, Max float64
	Channel  int     // with the largest error
	Largest  float64 // error, absolute
}

// Share returns the error of Errors[i] divided by what is allowed: above 1 it is outside.
func (s *Site) Share(i int) float64 { return s.Errors[i].share(s.Allowed[i]) }

// Outside counts the outputs that are outside the envelope, each in each pass.
func (r *Result) Outside() (n int) {
	for _, s := range r.Sites {
		if !s.OK {
			n++
		}
	}
	return n
}

// Title returns the name of the site as the fixture has it, and how it was computed.
func (s *Site) Title() string {
	name := s.Name
	if s.Pass != "" {
		name = s.Pass + "." + name
	}
	if s.Fed {
		name += " (fed)"
	}
	return name
}

// Site returns the outcome for one result, or nil.
func (r *Result) Site(pass, name string, fed bool) *Site {
	for _, s := range r.Sites {
		if s.Pass == pass && s.Name == name && s.Fed == fed {
			return s
		}
	}
	return nil
}

// Pass returns the tokens of a pass. Decoding has those of the plain pass.
func (r *Result) Pass(name string) *golden.Pass {
	if name == "decode" {
		name = ""
	}
	for i := range r.Passes {
		if r.Passes[i].Name == name {
			return &r.Passes[i]
		}
	}
	return nil
}

// Shares returns RMS and Max, each divided by what is allowed of it.
func (e *TokenError) Shares(allowed [2]float64) (rms, max float64) {
	return ratio(e.RMS, allowed[0]), ratio(e.Max, allowed[1])
}

// share returns the larger of Shares.
func (e *TokenError) share(allowed [2]float64) float64 { return math.Max(e.Shares(allowed)) }

// ratio divides an error by what is allowed.
func ratio(x, allowed float64) float64 {
	switch {
	case x == 0:
		return 0
	case math.IsNaN(x) || allowed == 0:
		return math.Inf(1)
	}
	return x / allowed
}
