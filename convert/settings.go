package convert

import (
	"fmt"
	"math"
	"strings"
)

// Settings are what shapes cannot tell. A nil field is taken from the preset.
type Settings struct {
	Preset          string   // one of PresetNames; "" for the one that the shapes are those of, if any
	AttentionWindow *int64   // tokens
	LogitsSoftCap   *float64 // 0 for none
	EmbeddingScale  *bool    // multiply embeddings by sqrt(width)
}

// SettingsError says that the caller has to decide something, or decided what cannot be. The
// command line maps it to exit status 2.
type SettingsError struct {
	Problem string
	Hint    string
}

func (e *SettingsError) Error() string { return e.Problem }

// unsettled is the *SettingsError of settings that nothing tells.
type unsettled struct{ SettingsError }

// Unwrap returns the *SettingsError.
func (e *unsettled) Unwrap() error { return &e.SettingsError }

// defaultWindow is written for models without attention blocks, where it means nothing: it is what
// transformers assumes where config.json does not say.
const defaultWindow = 2048

// Complete returns the model's configuration with what shapes cannot tell, and the name of the preset
// that gave it, or "". A Hugging Face directory has it in its config.json, which settings may repeat
// but not contradict; an original may have it in a conversion.json.
//
// Tensors that are missing, unexpected, misshapen or mistyped are a *PlanError, settings that
// nothing tells a *SettingsError, a config.json that is broken, contradicts the tensors or asks for
// what the family does not compute a *tensor.FormatError.
func (m *Model) Complete(s Settings) (Config, string, error) {
	if problems := m.check(); !problems.empty() {
		return Config{}, "", problems
	}
	return m.complete(s)
}

// complete is Complete for a model whose tensors are as they should be.
func (m *Model) complete(s Settings) (Config, string, error) {
	c := m.Config
	if m.Layout == HuggingFace {
		h, path, err := m.hfConfig()
		if err != nil {
			return Config{}, "", err
		}
		if h != nil {
			err := m.settleHF(s, &c, h, path)
			return c, "", err
		}
	} else {
		s = m.recorded(s)
	}
	preset, err := s.settle(&c)
	return c, preset, err
}

// settle completes c: settings win over the preset, which is the one that s names or else the one
// that c has the shapes of. It returns the preset's name, or "".
func (s *Settings) settle(c *Config) (string, error) {
	p := presetByShape(c)
	if s.Preset != "" {
		p = presetByName(s.Preset)
		if p == nil {
			return "", &SettingsError{Problem: fmt.Sprintf("no preset %q", s.Preset), Hint: "the presets are " + strings.Join(PresetNames(), ", ")}
		}
		if d := p.differences(c); len(d) > 0 {
			return "", &SettingsError{
				Problem: fmt.Sprintf("the checkpoint is not of preset %s: %s", p.name, strings.Join(d, "; ")),
				Hint:    "give the settings one by one: --attention-window N --logits-soft-cap X --embedding-scale=true|false",
			}
		}
	}
	if err := s.check(); err != nil {
		return "", err
	}
	name := ""
	if p != nil {
		name = p.name
		c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale = p.config.AttentionWindow, p.config.LogitsSoftCap, p.config.EmbeddingScale
	}
	var missing []string
	switch {
	case s.AttentionWindow != nil:
		c.AttentionWindow = *s.AttentionWindow
	case p == nil && c.Has(Attention):
		missing = append(missing, "--attention-window N")
	case p == nil:
		c.AttentionWindow = defaultWindow
	}
	switch {
	case s.LogitsSoftCap != nil:
		c.LogitsSoftCap = *s.LogitsSoftCap
	case p == nil:
		missing = append(missing, "--logits-soft-cap X")
	}
	switch {
	case s.EmbeddingScale != nil:
		c.EmbeddingScale = *s.EmbeddingScale
	case p == nil:
		missing = append(missing, "--embedding-scale=true|false")
	}
	if len(missing) > 0 {
		return "", &unsettled{SettingsError{
			Problem: "the model is none of the presets, and its shapes do not tell all settings: give " + strings.Join(missing, " "),
			Hint:    "RecurrentGemma has a window of 2048, a soft cap of 30 and scaled embeddings; the paper's models a window of 1024 and neither cap nor scale",
		}}
	}
	return name, nil
}

func (s *Settings) check() error {
	if w := s.AttentionWindow; w != nil && (*w < 1 || *w > math.MaxInt32) {
		return &SettingsError{Problem: fmt.Sprintf("attention window %d: it is at least 1 token and at most %d", *w, math.MaxInt32)}
	}
	if x := s.LogitsSoftCap; x != nil && !(*x >= 0 && *x <= math.MaxFloat32) {
		return &SettingsError{Problem: fmt.Sprintf("logits soft cap %v: it is a positive number, or 0 for none", *x)}
	}
	return nil
}
