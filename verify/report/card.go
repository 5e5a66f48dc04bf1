package report

import (
	"bytes"
	"encoding/json"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// CardSchema names the form of a card; it changes when a field changes its meaning.
const CardSchema = "griffin verification card 1"

// Card is the verification card: a small JSON file to publish beside a model, which says what was
// checked, of which bytes, how and with which outcome. Equal input gives equal bytes: it has no time
// and no name of a machine. Numbers that are not finite are the strings NaN, Infinity and -Infinity.
type Card struct {
	Schema  string   `json:"schema"`  // CardSchema
	Verdict string   `json:"verdict"` // Verdict.Answer
	Same    bool     `json:"same"`
	Griffin string   `json:"griffin"` // version of the tool
	Command []string `json:"command"` // exactly as it was given

	Source    *verify.CheckpointFacts `json:"source"`              // what was judged by, or with Golden alone: what was judged
	Converted *verify.CheckpointFacts `json:"converted,omitempty"` // what was judged
	Golden    *verify.GoldenFacts     `json:"golden,omitempty"`
	Settings  *verify.Settings        `json:"settings,omitempty"` // by which the source was judged

	Checks  []verify.Check `json:"checks"`            // in the order in which they were made
	Weights *CardWeights   `json:"weights,omitempty"` // nil if they were not compared
	Logits  []*CardLogits  `json:"logits,omitempty"`

	Window  *runtime.Window       `json:"window,omitempty"`
	Runtime *verify.RuntimeResult `json:"runtime,omitempty"`
	Notes   []string              `json:"notes,omitempty"`
}

// CardWeights is what the proof of the weights went over.
type CardWeights struct {
	Tensors    int                   `json:"tensors"`
	Elements   int64                 `json:"elements"`
	Bytes      int64                 `json:"bytes"`
	Rounded    int64                 `json:"rounded"`           // elements that were held against rounding to nearest
	Overflowed int64                 `json:"overflowed"`        // of them finite ones that became infinite
	Divided    int64                 `json:"divided,omitempty"` // elements of an embedding that were held against a quotient
	Inexact    int64                 `json:"inexact,omitempty"` // of them those that multiplying does not give back
	Source     []verify.TensorDigest `json:"source"`            // SHA-256 of each tensor's elements, row-major and little-endian
	Converted  []verify.TensorDigest `json:"converted"`
}

// CardLogits is the outcome of one comparison with the fixture: logits.Result without the places
// that a report plots.
type CardLogits struct {
	Checkpoint string               `json:"checkpoint"`
	OK         bool                 `json:"ok"`
	Semantics  string               `json:"semantics"` // that the model was run under
	Results    int                  `json:"results"`   // kinds of results that were held against the envelope
	Envelope   *logits.Envelope     `json:"envelope"`  // how it was measured, and its factors
	Worst      verify.Number        `json:"worst"`     // the largest error, over what is allowed there
	Metrics    []logits.PassMetrics `json:"metrics"`
	Faults     []*logits.Fault      `json:"faults"`
}

// NewCard returns the card of a verdict that has Facts. command is the command line that the card shows, the program's name
// first.
func NewCard(v *verify.Verdict, command []string) *Card {
	c := &Card{Schema: CardSchema, Verdict: v.Answer(), Same: v.Same, Griffin: v.Griffin, Command: command,
		Source: v.Facts.Source, Converted: v.Facts.Converted, Golden: v.Facts.Golden, Settings: v.Settings, Checks: v.Checks(), Window: v.Window, Runtime: v.Runtime, Notes: v.Notes}
	if w := v.Weights; w != nil {
		c.Weights = &CardWeights{Tensors: w.Tensors, Elements: w.Elements, Bytes: w.Bytes, Rounded: w.Rounded, Overflowed: w.Overflowed, Divided: w.Divided, Inexact: w.Inexact,
			Source: w.Source, Converted: w.Converted}
	}
	for _, l := range v.Logits {
		c.Logits = append(c.Logits, &CardLogits{Checkpoint: l.Checkpoint, OK: l.OK, Semantics: l.Semantics, Results: len(l.Sites),
			Envelope: l.Envelope, Worst: l.Worst(), Metrics: l.Metrics, Faults: l.Faults})
	}
	return c
}

// WriteCard writes the card of a verdict that has Facts, as JSON.
func WriteCard(path string, v *verify.Verdict, command []string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(NewCard(v, command)); err != nil {
		return err
	}
	return storage.ReplaceWith(path, b.Bytes())
}
