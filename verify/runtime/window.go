package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
)

// Evidence says how the original's window of a Hugging Face directory is known.
type Evidence string

// The kinds of evidence.
const (
	FromSource   Evidence = "source"          // of the checkpoint that the directory was converted from
	FromManifest Evidence = "conversion.json" // manifest.Name, the record of the conversion
	FromFixture  Evidence = "fixture"         // what the original computed
	FromPreset   Evidence = "preset"          // of the preset with the model's shapes
	Given        Evidence = "given"           // the caller gave it, and nothing else says it
	Assumed      Evidence = "assumed"         // it is not known
	Contradicted Evidence = "contradicted"    // it is taken from config.json, and the record of the conversion, the recording or the caller has another
)

// Window says how a Hugging Face directory writes the attention window. The original attends to window + 1 tokens,
// transformers 5 and mlx-lm to attention_window_size of them: a plain conversion has the original's number, and one that is to
// match these has one more.
type Window struct {
	Written  int64    `json:"attention_window_size"` // in config.json
	Original int64    `json:"attention_window"`      // of the model, in the original's terms
	Matches  string   `json:"matches,omitempty"`     // "transformers5" if Written is Original + 1
	Source   Evidence `json:"source"`                // of Original
	Summary  string   `json:"summary"`
}

// Window says how a Hugging Face directory writes its window. It is nil for other layouts, for tensors without a config.json, and for a model
// without attention.
func (m *Model) Window() *Window {
	if stated, err := m.Found.StatedConfig(); stated == nil || err != nil {
		return nil
	}
	if m.Found.Layout != model.HuggingFace || !m.Config.Has(model.Attention) {
		return nil
	}
	w := &Window{Written: m.Config.AttentionWindow, Original: m.Original.AttentionWindow, Source: m.Evidence}
	isBeyond := len(m.Found.Family.BeyondOriginal(&m.Original)) > 0
	switch {
	case w.Written == w.Original && w.Source == Assumed && isBeyond:
		w.Summary = fmt.Sprintf("attention_window_size is %d; the original implementation, whose window could be another, does not compute the model", w.Written)
	case w.Written == w.Original+1 && w.Source == Assumed:
		w.Matches = Transformers5.Name
		w.Summary = fmt.Sprintf("attention_window_size is %d, one more than %d, which is taken for the original's window: nothing says whether that is one more already, to match transformers 5", w.Written, w.Original)
	case w.Written == w.Original+1 && w.Source == Given:
		w.Matches = Transformers5.Name
		w.Summary = fmt.Sprintf("attention_window_size is %d, one more than the window of %d that was given: if that is the original's, transformers 5 attends to the same tokens as the original", w.Written, w.Original)
	case w.Source == Given:
		w.Summary = fmt.Sprintf("attention_window_size is %d, the original's window as it was given", w.Written)
	case w.Written == w.Original+1:
		w.Matches = Transformers5.Name
		w.Summary = fmt.Sprintf("attention_window_size is %d, one more than the original's window of %d: transformers 5 attends to the same tokens as the original", w.Written, w.Original)
		if isBeyond {
			w.Summary = fmt.Sprintf("attention_window_size is %d, one more than the window of %d, to match an original that does not compute the model; with %d, transformers 5 computes other logits", w.Written, w.Original, w.Original)
		}
	case w.Source == Assumed:
		w.Summary = fmt.Sprintf("attention_window_size is %d, which is taken for the original's window: nothing says whether it is one more, to match transformers 5", w.Written)
	case w.Source == Contradicted:
		w.Summary = fmt.Sprintf("attention_window_size is %d, which is taken for the original's window; %s records another", w.Written, manifest.Name)
	default:
		w.Summary = fmt.Sprintf("attention_window_size is %d, the original's window", w.Written)
	}
	return w
}

// For returns the window of a directory that should be the model with that window of the original's. If Written expresses it,
// it is w.
func (w *Window) For(original int64) *Window {
	if w.Written == original || w.Written == original+1 {
		return w
	}
	return &Window{Written: w.Written, Original: original, Source: FromSource,
		Summary: fmt.Sprintf("attention_window_size is %d, neither the original's window of %d nor one more", w.Written, original)}
}
