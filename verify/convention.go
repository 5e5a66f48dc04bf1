package verify

import (
	"errors"
	"fmt"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Window says how a Hugging Face directory writes the attention window. The original attends to window + 1
// tokens, transformers 5 to attention_window_size of them: a plain conversion has the original's number, and one
// that is to match transformers 5 has one more.
type Window struct {
	Written  int64  `json:"attention_window_size"` // by config.json
	Original int64  `json:"attention_window"`      // of the model, in the original's terms
	Matches  string `json:"matches,omitempty"`     // "transformers5" where Written is Original + 1, else ""
	Source   string `json:"source"`                // who says so: "source", "conversion.json", "fixture" or "assumed"
	Summary  string `json:"summary"`
}

// Window says how a Hugging Face directory writes its window; nil of other layouts, and where there is no
// attention.
func (m *Model) Window() *Window {
	if m.Found.Layout != convert.HuggingFace || !m.Config.Has(convert.Attention) {
		return nil
	}
	w := &Window{Written: m.Config.AttentionWindow, Original: m.Original.AttentionWindow, Source: m.termsFrom}
	switch {
	case w.Written == w.Original+1:
		w.Matches = reference.Transformers5.String()
		w.Summary = fmt.Sprintf("attention_window_size is %d, one more than the original's window of %d: transformers 5 attends to the very tokens that the original attends to", w.Written, w.Original)
	case w.Source == assumed:
		w.Summary = fmt.Sprintf("attention_window_size is %d, and nothing says whether that is the original's window or one more, to match transformers 5: it is taken for the window", w.Written)
	default:
		w.Summary = fmt.Sprintf("attention_window_size is %d, the original's window", w.Written)
	}
	return w
}

// What a window is known from.
const (
	fromSource  = "source"
	fromRecord  = convert.ManifestName
	fromFixture = "fixture"
	assumed     = "assumed"
)

// readTerms sets m.Original. The weights are those of m, so that the embedding is scaled as m has it.
func (m *Model) readTerms() error {
	m.termsFrom = assumed
	if m.Found.Layout != convert.HuggingFace {
		return nil
	}
	record, _, err := convert.ReadManifest(m.Checkpoint.Path)
	var broken *tensor.FormatError
	if err != nil && !errors.As(err, &broken) {
		return err
	}
	if record != nil && record.Settings != nil && err == nil {
		m.termsFrom = fromRecord
	}
	original := m.Found.Original(m.Config)
	m.setTerms(original.AttentionWindow, original.LogitsSoftCap)
	return nil
}

// setTerms sets what the original computes with.
func (m *Model) setTerms(window int64, softCap float64) {
	m.Original = m.Config
	m.Original.AttentionWindow, m.Original.LogitsSoftCap, m.Original.OriginalWindow = window, softCap, 0
}

// Facts says what each implementation does with a model, an original as a plain conversion of it.
func (m *Model) Facts() []RuntimeFact {
	written := m.Config
	if m.Found.Layout != convert.HuggingFace && written.LogitsSoftCap == 0 {
		written.LogitsSoftCap = 1 << 20 // as convert writes it
	}
	return ExplainRuntime(&m.Original, &written)
}
