package runtime

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/reference"
)

// Settings are what a model is run with and no tensor shows: two runs of the same weights may differ in them.
type Settings struct {
	AttentionWindow int64   `json:"attention_window,omitempty"` // as the semantics count it; 0, and left out, if every token sees all before it
	LogitsSoftCap   float64 `json:"logits_soft_cap"`            // 0 for none
	EmbeddingScale  bool    `json:"embedding_scale"`
	Activation      string  `json:"hidden_activation"`
	NormEpsilon     float64 `json:"rms_norm_eps"`
	RopeTheta       float64 `json:"rope_theta,omitempty"`            // 0, and left out, without attention
	RotaryFactor    float64 `json:"partial_rotary_factor,omitempty"` // 0, and left out, without attention

	counted string // the name that AttentionWindow has there, if not "attention window": attention_window_size counts the token itself in transformers 5

	// WindowFull is the first position of which attention does not see position 0; 0 if there is none.
	WindowFull int `json:"-"`
}

// SettingsUnder returns the settings with which a runtime with the given semantics runs the model. A divided embedding that it multiplies is not scaled.
func (m *Model) SettingsUnder(semantics reference.Semantics) Settings {
	s := settingsOf(m.ConfigUnder(semantics), semantics)
	s.EmbeddingScale = s.EmbeddingScale && !m.unscaled
	return s
}

func settingsOf(c *model.Config, semantics reference.Semantics) Settings {
	n := c.KnownNumerics()
	s := Settings{LogitsSoftCap: c.LogitsSoftCap, EmbeddingScale: c.EmbeddingScale, Activation: n.Activation, NormEpsilon: n.NormEpsilon}
	if semantics != reference.Original {
		s.counted = "attention_window_size"
	}
	if c.Has(model.Attention) {
		s.RopeTheta, s.RotaryFactor = n.RopeTheta, n.RotaryFactor
		if s.WindowFull = semantics.WindowFull(int(c.AttentionWindow)); s.WindowFull > 0 {
			s.AttentionWindow = c.AttentionWindow
		}
	}
	return s
}

// String writes the settings, without those that are the same in all models of the original: "attention window 2048, logits soft cap 30,
// embedding scale true".
func (s *Settings) String() string {
	var parts []string
	add := func(shown bool, name string, value any) {
		if shown {
			parts = append(parts, fmt.Sprintf("%s %v", name, value))
		}
	}
	usual := new(model.Config).KnownNumerics()
	add(s.AttentionWindow != 0, cmp.Or(s.counted, "attention window"), s.AttentionWindow)
	add(true, "logits soft cap", hfconfig.Decimal(s.LogitsSoftCap))
	add(true, "embedding scale", s.EmbeddingScale)
	add(!model.SameActivation(s.Activation, usual.Activation), "hidden_activation", s.Activation)
	add(s.NormEpsilon != usual.NormEpsilon, "rms_norm_eps", s.NormEpsilon)
	add(s.RopeTheta != 0 && s.RopeTheta != usual.RopeTheta, "rope_theta", s.RopeTheta)
	add(s.RotaryFactor != 0 && s.RotaryFactor != usual.RotaryFactor, "partial_rotary_factor", s.RotaryFactor)
	return strings.Join(parts, ", ")
}

// Apart lists the settings that have other values in another run, with both: "logits soft cap 30 and 5". Attention windows are among them
// if attention sees other tokens. What one of the runs has no attention for is not, nor is the window of semantics that have one where the others
// have none.
func (s *Settings) Apart(other *Settings) []string {
	out := []string{}
	add := func(differs bool, name string, a, b any) {
		if differs {
			out = append(out, fmt.Sprintf("%s %v and %v", name, a, b))
		}
	}
	attend := s.RopeTheta != 0 && other.RopeTheta != 0
	windows := s.AttentionWindow != 0 && other.AttentionWindow != 0 && s.WindowFull != other.WindowFull
	add(windows && s.AttentionWindow != other.AttentionWindow, "attention window", s.AttentionWindow, other.AttentionWindow)
	add(s.LogitsSoftCap != other.LogitsSoftCap, "logits soft cap", hfconfig.Decimal(s.LogitsSoftCap), hfconfig.Decimal(other.LogitsSoftCap))
	add(s.EmbeddingScale != other.EmbeddingScale, "embedding scale", s.EmbeddingScale, other.EmbeddingScale)
	add(!model.SameActivation(s.Activation, other.Activation), "hidden_activation", s.Activation, other.Activation)
	add(s.NormEpsilon != other.NormEpsilon, "rms_norm_eps", s.NormEpsilon, other.NormEpsilon)
	add(attend && s.RopeTheta != other.RopeTheta, "rope_theta", s.RopeTheta, other.RopeTheta)
	add(attend && s.RotaryFactor != other.RotaryFactor, "partial_rotary_factor", s.RotaryFactor, other.RotaryFactor)
	return out
}
