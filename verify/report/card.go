package report

import (
	"io"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// CardSchema identifies the format of a card. It changes when a field changes its meaning.
const CardSchema = "griffin verification card 1"

// Card is the verification card: a small JSON file to publish with a model. It says what was checked, with digests of the
// data, how, and with what outcome. Numbers that are not finite are the strings NaN, Infinity and -Infinity.
type Card struct {
	Schema  string   `json:"schema"`  // CardSchema
	Verdict string   `json:"verdict"` // Verdict.Answer
	Same    bool     `json:"same"`
	Griffin string   `json:"griffin"` // version of the tool
	Command []string `json:"command"` // as it was given, but for the directories of paths

	WeightsOnly bool `json:"weights_only,omitempty"` // only structure and weights were compared

	Source    *verify.CheckpointFacts `json:"source"`              // the original, or the only checkpoint
	Converted *verify.CheckpointFacts `json:"converted,omitempty"` // what was verified
	Adapter   *verify.AdapterFacts    `json:"adapter,omitempty"`   // that was merged into the source
	Golden    *verify.GoldenFacts     `json:"golden,omitempty"`
	Settings  *verify.Settings        `json:"settings,omitempty"` // of the source

	Checks  []verify.Check `json:"checks"`            // in the order in which they were made
	Weights *CardWeights   `json:"weights,omitempty"` // nil if they were not compared
	Logits  []*CardLogits  `json:"logits,omitempty"`

	Window  *runtime.Window       `json:"window,omitempty"`
	Runtime *verify.RuntimeResult `json:"runtime,omitempty"`
	Notes   []string              `json:"notes,omitempty"`
}

// CardWeights says what the proof of the weights compared.
type CardWeights struct {
	Tensors    int                                  `json:"tensors"`
	Elements   int64                                `json:"elements"`
	Bytes      int64                                `json:"bytes"`
	Rounded    int64                                `json:"rounded"`           // elements that were compared with the source rounded to nearest
	Kept       bool                                 `json:"kept,omitempty"`    // none of them changed its value
	Overflowed int64                                `json:"overflowed"`        // finite ones of them that became infinite
	Divided    int64                                `json:"divided,omitempty"` // elements of the embedding that were compared with a quotient
	Inexact    int64                                `json:"inexact,omitempty"` // those of them that multiplying does not restore
	Source     strictjson.List[verify.TensorDigest] `json:"source"`            // digests of each tensor's elements, row-major and little-endian
	Converted  strictjson.List[verify.TensorDigest] `json:"converted"`
}

// CardLogits is the outcome of one comparison with the fixture: logits.Result without the single results.
type CardLogits struct {
	Checkpoint string               `json:"checkpoint"`
	OK         bool                 `json:"ok"`
	Semantics  string               `json:"semantics"` // with which the model was run
	Results    int                  `json:"results"`   // number of results that were compared with the envelope
	Envelope   *logits.Envelope     `json:"envelope"`  // how it was measured, and its factors
	Worst      verify.Number        `json:"worst"`     // the largest share of what is allowed
	Metrics    []logits.PassMetrics `json:"metrics"`
	Faults     []*logits.Fault      `json:"faults"`
}

// NewCard returns the card of a verdict that has Facts. command is the command line that the card shows, the program's name
// first.
func NewCard(v *verify.Verdict, command []string) *Card {
	c := &Card{Schema: CardSchema, Verdict: v.Answer(), Same: v.Same, WeightsOnly: v.WeightsOnly, Griffin: v.Griffin,
		Source: withBaseName(v.Facts.Source), Converted: withBaseName(v.Facts.Converted), Adapter: v.Facts.Adapter, Settings: v.Settings, Checks: v.Checks(), Window: v.Window, Runtime: v.Runtime, Notes: v.Notes}
	for _, arg := range command {
		flag, value, ok := strings.Cut(arg, "=")
		if ok && strings.HasPrefix(flag, "-") {
			arg = flag + "=" + argument(value)
		} else {
			arg = argument(arg)
		}
		c.Command = append(c.Command, arg)
	}
	if v.Facts.Golden != nil {
		golden := *v.Facts.Golden
		golden.Path = baseName(golden.Path)
		c.Golden = &golden
	}
	if w := v.Weights; w != nil {
		c.Weights = &CardWeights{Tensors: w.Tensors, Elements: w.Elements, Bytes: w.Bytes, Rounded: w.Rounded, Kept: w.Kept, Overflowed: w.Overflowed, Divided: w.Divided, Inexact: w.Inexact,
			Source: w.Source, Converted: w.Converted}
	}
	for _, l := range v.Logits {
		c.Logits = append(c.Logits, &CardLogits{Checkpoint: baseName(l.Checkpoint), OK: l.OK, Semantics: l.Semantics, Results: len(l.Sites),
			Envelope: l.Envelope, Worst: l.Worst(), Metrics: l.Metrics, Faults: l.Faults})
	}
	return c
}

// withBaseName returns facts without the directory of the checkpoint, which says something about one machine.
func withBaseName(f *verify.CheckpointFacts) *verify.CheckpointFacts {
	if f == nil {
		return nil
	}
	named := *f
	named.Path = baseName(named.Path)
	return &named
}

// baseName returns the last element of a path, also if the path is ".", or of the address of a local file. Other addresses are
// returned as they are.
func baseName(path string) string {
	local, err := storage.LocalDestination(path)
	if _, isAddress := storage.Scheme(local); err != nil || isAddress || local == "" {
		return path
	}
	return storage.BaseName(local)
}

// argument returns an argument of the command line as the card shows it: as baseName does, but "." and ".." as they are.
func argument(given string) string {
	if given == "." || given == ".." {
		return given
	}
	return baseName(given)
}

// WriteCard writes the card of a verdict that has Facts, as JSON.
func WriteCard(path string, v *verify.Verdict, command []string) error {
	card := NewCard(v, command)
	counted := storage.Counter{To: io.Discard}
	if err := strictjson.WriteTo(&counted, "", card); err != nil {
		return err
	}
	return publish.Replace(path, counted.N, func(w io.WriterAt) error { return strictjson.WriteTo(io.NewOffsetWriter(w, 0), "", card) })
}
