package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Settings are the parts of a configuration that shapes do not show. A nil field is taken from the
// checkpoint's files or the preset.
type Settings struct {
	Preset          string   // one of Family.PresetNames; "" for the one that has the model's shapes, if any
	AttentionWindow *int64   // tokens
	LogitsSoftCap   *float64 // 0 for none
	EmbeddingScale  *bool    // whether embeddings are multiplied by sqrt(width)
}

// SettingsOf returns the settings of a configuration.
func SettingsOf(c *Config) Settings {
	return Settings{AttentionWindow: &c.AttentionWindow, LogitsSoftCap: &c.LogitsSoftCap, EmbeddingScale: &c.EmbeddingScale}
}

// The names of the settings, as conversion.json has them.
const (
	WindowSetting  = "attention_window"
	SoftCapSetting = "logits_soft_cap"
	ScaleSetting   = "embedding_scale"
)

// SettingNames are the names of all settings.
var SettingNames = [...]string{WindowSetting, SoftCapSetting, ScaleSetting}

// Value writes a setting, "2048", "30" or "true"; "" if it is nil.
func (s *Settings) Value(name string) string {
	switch {
	case name == WindowSetting && s.AttentionWindow != nil:
		return strconv.FormatInt(*s.AttentionWindow, 10)
	case name == SoftCapSetting && s.LogitsSoftCap != nil:
		return hfconfig.Decimal(*s.LogitsSoftCap)
	case name == ScaleSetting && s.EmbeddingScale != nil:
		return strconv.FormatBool(*s.EmbeddingScale)
	}
	return ""
}

// Parse sets a setting to what Value writes.
func (s *Settings) Parse(name string, value string) (err error) {
	var window int64
	var softCap float64
	var scale bool
	switch name {
	case WindowSetting:
		window, err = strconv.ParseInt(value, 10, 64)
	case SoftCapSetting:
		softCap, err = strconv.ParseFloat(value, 64)
	case ScaleSetting:
		scale, err = strconv.ParseBool(value)
	}
	if err == nil {
		s.Take(name, &Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale})
	}
	return err
}

// Clear makes a setting nil.
func (s *Settings) Clear(name string) { s.Take(name, &Settings{}) }

// Take takes a setting from others, which may be nil there.
func (s *Settings) Take(name string, from *Settings) {
	switch name {
	case WindowSetting:
		s.AttentionWindow = from.AttentionWindow
	case SoftCapSetting:
		s.LogitsSoftCap = from.LogitsSoftCap
	case ScaleSetting:
		s.EmbeddingScale = from.EmbeddingScale
	}
}

// complete sets the settings of c, a configuration of m, and returns the name of the preset that gave any, or "". Settings
// that are given take precedence over the preset, which is the one that s names or else the one that
// has the shapes of c.
func (s *Settings) complete(c *Config, m *Model) (string, error) {
	f := m.Family
	p := f.PresetByShape(c)
	if s.Preset != "" {
		right := p
		p = f.Preset(s.Preset)
		if p == nil {
			return "", &OptionError{Option: "Preset", Problem: fmt.Sprintf("no preset %q", s.Preset), Given: s.Preset, Accepted: f.PresetNames()}
		}
		if d := p.differences(c); len(d) > 0 {
			hint := ""
			switch {
			case m.Layout == HuggingFace && m.files.config != nil:
				hint = needsNoSettings
			case right != nil:
				hint = fmt.Sprintf("its shapes are those of preset %s, which is taken if none is given", right.Name)
			case s.AttentionWindow != nil && s.LogitsSoftCap != nil && s.EmbeddingScale != nil:
				hint = "leave the preset out: all settings are given without it"
			}
			return "", &OptionError{Option: "Preset", Problem: fmt.Sprintf("%s is not of preset %s: %s", m.Checkpoint.Path, p.Name, strings.Join(d, "; ")), Hint: hint}
		}
	}
	if err := s.checkRange(); err != nil {
		return "", err
	}
	name := ""
	if p != nil {
		name = p.Name
		c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale = p.Config.AttentionWindow, p.Config.LogitsSoftCap, p.Config.EmbeddingScale
	}
	var missing, words []string
	switch {
	case s.AttentionWindow != nil:
		c.AttentionWindow = *s.AttentionWindow
	case p == nil && c.Has(Attention):
		missing, words = append(missing, "AttentionWindow"), append(words, "attention window")
	case p == nil:
		c.AttentionWindow = f.DefaultWindow
	}
	switch {
	case s.LogitsSoftCap != nil:
		c.LogitsSoftCap = *s.LogitsSoftCap
	case p == nil:
		missing, words = append(missing, "LogitsSoftCap"), append(words, "logits soft cap")
	}
	switch {
	case s.EmbeddingScale != nil:
		c.EmbeddingScale = *s.EmbeddingScale
	case p == nil:
		missing, words = append(missing, "EmbeddingScale"), append(words, "embedding scale")
	}
	if len(missing) > 0 {
		return "", &OptionError{Missing: missing,
			Problem: "the model is none of the presets, and shapes do not show all settings; unknown: " + strings.Join(words, ", ")}
	}
	return name, nil
}

// check refuses settings that a user should not give.
func (s *Settings) check() error {
	if x := s.LogitsSoftCap; x != nil && *x < 0 {
		return softCapError(*x)
	}
	return s.checkRange()
}

// checkRange refuses settings that no model has. A config.json may state a negative soft cap, which computes what its opposite does.
func (s *Settings) checkRange() error {
	if w := s.AttentionWindow; w != nil && (*w < 1 || *w > math.MaxInt32) {
		return &OptionError{Option: "AttentionWindow", Problem: fmt.Sprintf("attention window %d is not between 1 and %d", *w, math.MaxInt32)}
	}
	if x := s.LogitsSoftCap; x != nil && !(math.Abs(*x) <= math.MaxFloat32) {
		return softCapError(*x)
	}
	return nil
}

func softCapError(x float64) error {
	return &OptionError{Option: "LogitsSoftCap", Problem: fmt.Sprintf("logits soft cap %v is neither a positive number nor 0, which stands for none", x)}
}

// settingsFromConfig sets the settings of r.Config from a config.json.
func (r *Configured) settingsFromConfig(stated *hfconfig.Config, path string) error {
	m, c := r.Model, &r.Config
	fitting := *stated
	if m.resized {
		fitting.VocabSize = c.VocabSize
	}
	if problems := m.Family.HuggingFace.Check(&fitting, c); len(problems) > 0 {
		return tensor.Bad("%s", strings.Join(problems, "; ")).In(path)
	}
	c.AttentionWindow, c.LogitsSoftCap, c.EmbeddingScale = stated.AttentionWindowSize, stated.LogitsSoftCap, true
	c.Numerics = Numerics{stated.HiddenActivation, stated.RMSNormEps, stated.Rope.Theta, stated.Rope.PartialFactor}
	if !m.headChanged {
		c.SeparateHead = !stated.TieWordEmbeddings
	}
	if c.SeparateHead && len(m.Heads) == 0 {
		return tensor.Bad("tie_word_embeddings is false, and there is no %s", m.Family.HeadName()).In(path).
			Advise("if the output head is the embedding, write true; otherwise the weights of the head are missing")
	}
	return nil
}

// checkGiven refuses settings that are not those of the original that a config.json expresses.
func (r *Configured) checkGiven(s Settings, path string) error {
	stated, original := &r.Config, &r.Original
	window, softCap, scale := r.expressed()
	given := *stated
	if s.Preset == "" { // what is not given agrees
		s = Settings{AttentionWindow: cmp.Or(s.AttentionWindow, &original.AttentionWindow), LogitsSoftCap: cmp.Or(s.LogitsSoftCap, &stated.LogitsSoftCap),
			EmbeddingScale: cmp.Or(s.EmbeddingScale, &original.EmbeddingScale)}
	}
	if _, err := s.complete(&given, r.Model); err != nil {
		return err
	}
	var wrong, options []string
	add := func(option string, byPreset bool, format string, values ...any) {
		if byPreset && s.Preset != "" {
			option = "Preset"
		}
		wrong, options = append(wrong, fmt.Sprintf(format, values...)), append(options, option)
	}
	if x := given.AttentionWindow; x != original.AttentionWindow {
		add("AttentionWindow", s.AttentionWindow == nil, "attention window %d%s, not %d", original.AttentionWindow, window, x)
	}
	if x := given.LogitsSoftCap; x != stated.LogitsSoftCap && x != original.LogitsSoftCap {
		add("LogitsSoftCap", s.LogitsSoftCap == nil, "logits soft cap %s%s, not %s", hfconfig.Decimal(original.LogitsSoftCap), softCap, hfconfig.Decimal(x))
	}
	if x := given.EmbeddingScale; x != original.EmbeddingScale {
		add("EmbeddingScale", s.EmbeddingScale == nil, "embedding scale %t%s, not %t", original.EmbeddingScale, scale, x)
	}
	if wrong == nil {
		return nil
	}
	bad := &OptionError{Problem: fmt.Sprintf("the settings contradict %s: %s", path, strings.Join(wrong, "; ")), Hint: needsNoSettings, Contradicted: true}
	if options = slices.Compact(options); len(options) == 1 {
		bad.Option = options[0]
	}
	if bad.Option == "Preset" {
		bad.Problem = fmt.Sprintf("preset %s contradicts %s: %s", s.Preset, path, strings.Join(wrong, "; "))
	}
	return bad
}

// expressed says of each setting of the original how a Hugging Face directory expresses it, if its config.json does not just have the value.
func (r *Configured) expressed() (window, softCap, scale string) {
	if n := r.Config.AttentionWindow; n != r.Original.AttentionWindow {
		window = fmt.Sprintf(" (config.json has %d, one more, as conversion.json records)", n)
	}
	if x := r.Config.LogitsSoftCap; x != r.Original.LogitsSoftCap {
		softCap = fmt.Sprintf(" (for which %s in config.json stands)", hfconfig.Decimal(x))
	}
	if r.Config.EmbeddingScale != r.Original.EmbeddingScale {
		scale = " (" + r.Origins.EmbeddingScale + ")"
	}
	return window, softCap, scale
}

const needsNoSettings = "a Hugging Face directory needs no settings: its own files have them"

// OptionError reports options that are missing or invalid, or that contradict the checkpoint or each
// other: something that the caller has to decide. The checkpoint is not at fault.
type OptionError struct {
	Problem  string   // what is wrong: lower case, no full stop
	Option   string   // name of the field that is wrong, "" if it is none or several
	Given    string   // the value that Option does not accept, "" if it is not a name
	Accepted []string // values that Option accepts, if they can be listed
	Targets  []string // names of the targets that take Option, if the one that is asked for does not
	Missing  []string // names of the fields of Settings that have to be set
	Stated   Settings // values for Missing that another checkpoint states, which the caller may know to be the same model
	Hint     string   // what else to do, "" for nothing

	StatedAssumed bool // the window of Stated may be one more than the original's, as Configured.WindowAssumed says

	Contradicted bool // the settings contradict those that the checkpoint states, with which it can be opened
}

func (e *OptionError) Error() string { return e.Problem }

// Reasons of a *tensor.FormatError.
const (
	ReasonAdapter       tensor.Reason = "adapter"        // the checkpoint is an adapter, which has to be merged into its base
	ReasonSeveralModels tensor.Reason = "several models" // Options.Name has to select one
	ReasonNotOfFamily   tensor.Reason = "not of family"  // no tensor has the name of a parameter
	ReasonExtraTensors  tensor.Reason = "extra tensors"  // Options.KeepExtra would accept them
)
