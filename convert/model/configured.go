package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Configured is a model with its complete configuration.
type Configured struct {
	Model *Model

	// Config is what the checkpoint states. For a Hugging Face directory it is what transformers takes
	// from config.json, and Original what the original implementation computes with the same model: a
	// directory may be written with a larger attention window, or a soft cap so large that it
	// changes no logits, so that transformers computes what the original does. Otherwise they are equal.
	Config, Original Config

	Preset string // that gave settings, or ""

	// Recorded are the names of the settings that were not given, and that the conversion.json of what has no config.json has. Nothing proves them.
	Recorded []string

	Origins Origins // of the settings

	// WindowAssumed reports whether Original.AttentionWindow is the window of a config.json, and nothing says whether that is one more, to match a
	// runtime.
	WindowAssumed bool

	// Form is how a Hugging Face directory expresses the model, as its conversion.json records it; nil
	// if there is no record.
	Form *manifest.HuggingFace

	// NoCapRecorded reports whether Form records that the model has no soft cap. Config.LogitsSoftCap is
	// then a number so large that it changes no logits.
	NoCapRecorded bool
}

// Origins say where the settings of a configuration come from, each in a few words: "given", "config.json", "preset 2b".
type Origins struct{ AttentionWindow, LogitsSoftCap, EmbeddingScale string }

// ByName returns them by the names of the settings.
func (o Origins) ByName() map[string]string {
	return map[string]string{WindowSetting: o.AttentionWindow, SoftCapSetting: o.LogitsSoftCap, ScaleSetting: o.EmbeddingScale}
}

// Origins of settings that config.json does not have itself.
const (
	WasGiven   = "given"
	FromRecord = "recorded in the source's conversion.json"
	FromHead   = "shown by the output head" // that the embedding is not scaled
)

// Configure completes the configuration with what shapes do not show. A Hugging Face directory has it
// in its config.json, perhaps expressed otherwise, as its conversion.json says. The settings may repeat
// those of the original, but not contradict them. What has no config.json may have them in a conversion.json.
//
// If tensors are missing, unexpected, misshapen or mistyped, the error is a *MismatchError; if
// settings are missing, an *OptionError whose Missing lists them; if config.json is corrupt,
// contradicts the tensors or asks for what the family does not compute, a *tensor.FormatError.
func (m *Model) Configure(s Settings) (*Configured, error) {
	if problems := m.Problems(); problems != nil {
		return nil, problems
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	r := &Configured{Model: m, Config: m.Config}
	if m.Layout == HuggingFace {
		if m.files.configErr != nil {
			return nil, m.files.configErr
		}
		if stated := m.files.config; stated != nil {
			if err := r.settingsFromConfig(stated, m.files.configPath); err != nil {
				return nil, err
			}
			if err := r.readForm(); err != nil {
				return nil, err
			}
			r.Origins = r.statedOrigins()
			r.takeGivenWindow(s)
			if err := r.checkGiven(s, m.files.configPath); err != nil {
				return nil, err
			}
			r.WindowAssumed = s.AttentionWindow == nil && s.Preset == "" && r.Config.Has(Attention) && !r.windowKnown()
			return r, nil
		}
	}
	var completed Settings
	completed, r.Recorded = recordedSettings(m, s)
	var err error
	if r.Preset, err = completed.complete(&r.Config, m); err != nil {
		return nil, m.withoutSettings(err)
	}
	r.Original, r.Origins = r.Config, r.completedOrigins(s)
	r.WindowAssumed = slices.Contains(r.Recorded, WindowSetting) && settingsRecord(m).WindowAssumed
	r.setScale()
	return r, nil
}

// takeGivenWindow takes the window that was given for the original's if config.json has one more, as it is written to match transformers 5, and nothing
// else says which is the original's.
func (r *Configured) takeGivenWindow(s Settings) {
	given := s.AttentionWindow
	if p := r.Model.Family.Preset(s.Preset); given == nil && p != nil {
		given = &p.Config.AttentionWindow
	}
	if given == nil || *given+1 != r.Original.AttentionWindow || r.windowKnown() || len(r.Model.Family.BeyondOriginal(&r.Config)) > 0 {
		return
	}
	r.Original.AttentionWindow, r.Origins.AttentionWindow = *given, WasGiven
}

// windowKnown reports whether the window of a config.json is known to be that of the original, or one more: the conversion.json beside it says it,
// or it is that of the preset with the model's shapes.
func (r *Configured) windowKnown() bool {
	record, _, err := r.Model.Manifest()
	if err == nil && record != nil && record.Settings != nil && record.Settings.AttentionWindow == r.Original.AttentionWindow {
		return !record.Settings.WindowAssumed
	}
	return r.HasPresetWindow()
}

// HasPresetWindow reports whether a preset has the model's shapes and the attention window that the checkpoint states.
func (r *Configured) HasPresetWindow() bool {
	p := r.Model.Family.PresetByShape(&r.Config)
	return p != nil && p.Config.AttentionWindow == r.Config.AttentionWindow
}

// ScaleAssumed reports whether nothing shows that Original.EmbeddingScale is right: config.json unties the output head, which was not compared with the
// embedding, and no conversion.json of the model records the same.
func (r *Configured) ScaleAssumed() bool {
	m := r.Model
	if m.HeadRelation != UnknownHead || m.files.config == nil || m.files.config.TieWordEmbeddings || UncomparedHead(m) == nil {
		return false
	}
	record, _, err := m.Manifest()
	return err != nil || record == nil || record.Settings == nil || record.Settings.EmbeddingScale != r.Original.EmbeddingScale || !Describes(record, m)
}

// WindowDoubt says why Original.AttentionWindow may not be the original's, "" if nothing speaks against it.
func (r *Configured) WindowDoubt() string {
	if !r.WindowAssumed {
		return ""
	}
	window := r.Original.AttentionWindow
	var why string
	switch record, _, err := r.Model.Manifest(); {
	case r.Model.Layout == HuggingFace && (err != nil || record == nil || record.Settings == nil):
		why = fmt.Sprintf("without its conversion.json, nothing says whether it is one more, to match transformers 5; if it is, give attention window %d", window-1)
	case r.Model.Layout == HuggingFace && record.Settings.AttentionWindow != window:
		why = fmt.Sprintf("config.json has it, and conversion.json records %d", record.Settings.AttentionWindow)
	default:
		why = fmt.Sprintf("its conversion.json has it from the config.json of its source, and nothing said whether that was one more, to match transformers 5; if it was, give attention window %d", window-1)
	}
	return fmt.Sprintf("attention window %d is taken for the original's: %s", window, why)
}

// statedOrigins returns the origins of settings that a config.json states, or the conversion.json beside it.
func (r *Configured) statedOrigins() Origins {
	o := Origins{hfconfig.Name, hfconfig.Name, hfconfig.Name}
	if r.Original.AttentionWindow != r.Config.AttentionWindow {
		o.AttentionWindow = FromRecord
	}
	if r.Model.HeadRelation == UnscaledHead {
		o.EmbeddingScale = FromHead
	} else if !r.Original.EmbeddingScale {
		o.EmbeddingScale = FromRecord
	}
	return o
}

// completedOrigins returns where each setting comes from where there is no config.json. given are those of the caller.
func (r *Configured) completedOrigins(given Settings) Origins {
	origin := func(name string, isGiven bool) string {
		switch {
		case slices.Contains(r.Recorded, name):
			return FromRecord
		case isGiven:
			return WasGiven
		case r.Preset != "":
			return "preset " + r.Preset
		}
		return "default"
	}
	return Origins{origin(WindowSetting, given.AttentionWindow != nil), origin(SoftCapSetting, given.LogitsSoftCap != nil),
		origin(ScaleSetting, given.EmbeddingScale != nil)}
}

// readForm sets r.Original and r.Form according to the conversion.json beside a config.json. A number
// in config.json that was changed since the conversion is taken as it is.
func (r *Configured) readForm() error {
	m, c := r.Model, &r.Config
	r.Original = *c
	if huggingface.IsNoSoftCap(c.LogitsSoftCap, m.Embedding().DType) {
		r.Original.LogitsSoftCap = 0
	}
	defer r.setScale()
	record, _, err := m.Manifest()
	if errors.As(err, new(*tensor.FormatError)) {
		return nil // ignored, as convert.Convert notes
	}
	if err != nil || record == nil || record.HuggingFace == nil || record.Settings == nil || record.Layout != HuggingFace.String() {
		return err
	}
	form := *record.HuggingFace
	form.Inexact = slices.DeleteFunc(slices.Clone(form.Inexact), func(s string) bool { return len(s) > 1000 })
	form.Inexact = form.Inexact[:min(len(form.Inexact), 4)]
	r.Form = &form
	if form.MatchRuntime != "" && form.AttentionWindowSize == c.AttentionWindow && form.AttentionWindowSize == record.Settings.AttentionWindow+1 {
		r.Original.AttentionWindow = record.Settings.AttentionWindow
	}
	if record.Settings.LogitsSoftCap == 0 && float64(form.LogitsSoftCap) == c.LogitsSoftCap {
		r.NoCapRecorded, r.Original.LogitsSoftCap = true, 0
	}
	if m.files.config.TieWordEmbeddings || record.Settings.EmbeddingScale {
		form.EmbeddingDividedBy = 0
	}
	return nil
}

// setScale sets r.Original.EmbeddingScale, which transformers' own is always.
func (r *Configured) setScale() {
	m := r.Model
	if m.HeadRelation == UnscaledHead || m.HeadRelation == UnknownHead && r.Form != nil && r.Form.EmbeddingDividedBy != 0 {
		r.Original.EmbeddingScale = false
	}
}

// Reference returns the configuration for package reference.
func (c *Config) Reference() reference.Config {
	r := reference.Config{
		VocabSize: int(c.VocabSize), Width: int(c.Width), MLPExpandedWidth: int(c.MLPExpandedWidth), NumHeads: int(c.NumHeads),
		LRUWidth: int(c.LRUWidth), AttentionWindow: int(c.AttentionWindow), LogitsSoftCap: c.LogitsSoftCap,
		EmbeddingScale: c.EmbeddingScale, SeparateHead: c.SeparateHead, Variant: c.variant(),
	}
	for _, b := range c.BlockTypes {
		kind := reference.Recurrent
		if b == Attention {
			kind = reference.Attention
		}
		r.BlockTypes = append(r.BlockTypes, kind)
	}
	return r
}
