package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// trust says which settings a run takes for a source that states none, if those that were given are not those of the conversion.
type trust uint8

const (
	trustConversion trust = iota // those of the conversion
	trustGiven                   // those that were given
	trustWritten                 // those of the conversion, also an attention window that is one more than the given one, as if to match transformers 5
)

// contradiction is a setting that was given, and that is another one in the conversion, or in the source, with which the run was made.
type contradiction struct {
	name         logits.SettingName
	given, found string
	of           string   // what has it: "conversion", "source", "checkpoint" or "recording"
	files        []string // of that checkpoint that have it
}

// takeRecorded completes the settings of a source that does not have them, and for which none are given, with those that the
// conversion.json of the converted checkpoint records. It also says whether the window of the source's config.json is one more than the original's, if
// nothing else does. Nothing proves that they are the source's.
func (r *run) takeRecorded() {
	known := statement.Recorded(r.record.Record)
	if r.converted == nil || known == nil {
		return
	}
	configured, err := r.sourceModel.Configure(r.options.Settings)
	if err == nil && r.sourceModel.Layout == model.HuggingFace && configured.WindowAssumed && !r.record.Settings.WindowAssumed && configured.Original.AttentionWindow == *known.AttentionWindow+1 {
		r.options.Settings.AttentionWindow, r.recorded = known.AttentionWindow, []string{string(logits.WindowSetting)}
	}
	var missing *model.OptionError
	if !errors.As(err, &missing) {
		return
	}
	r.recorded = append(r.recorded, completeSettings(&r.options.Settings, missing, known)...)
}

// completeSettings takes the settings that are missing from others, and returns their names.
func completeSettings(s *model.Settings, missing *model.OptionError, from *model.Settings) (taken []string) {
	for _, name := range missing.Missing {
		switch name {
		case "AttentionWindow":
			s.AttentionWindow = from.AttentionWindow
			taken = append(taken, string(logits.WindowSetting))
		case "LogitsSoftCap":
			s.LogitsSoftCap = from.LogitsSoftCap
			taken = append(taken, string(logits.SoftCapSetting))
		case "EmbeddingScale":
			s.EmbeddingScale = from.EmbeddingScale
			taken = append(taken, string(logits.ScaleSetting))
		}
	}
	return taken
}

// withStated adds the settings that the config.json of the converted model states to an error about settings that are missing.
// They cannot be taken for those of the source, because they are what is to be verified. unreadable says why its conversion.json cannot be
// read, if it cannot.
func withStated(err error, m *model.Model, unreadable error) error {
	var missing *model.OptionError
	if !errors.As(err, &missing) || len(missing.Missing) == 0 {
		return err
	}
	stated := *missing
	if unreadable != nil {
		stated.Problem += fmt.Sprintf("; %s of the conversion cannot be used: %v", manifest.Name, unreadable)
	}
	if m != nil && m.Layout == model.HuggingFace {
		if found, err := m.Configure(model.Settings{}); err == nil {
			stated.Stated = model.SettingsOf(&found.Original)
		}
	}
	return &stated
}

// replaceStated leaves out settings that were given, and that contradict the config.json of the source. A preset that does is refused.
func replaceStated(r *run) {
	var refused *model.OptionError
	if _, err := r.sourceModel.Configure(r.options.Settings); !errors.As(err, &refused) || !refused.Contradicted || r.given.Preset != "" {
		return
	}
	kept := model.Settings{AttentionWindow: r.options.Settings.AttentionWindow}
	stated, err := r.sourceModel.Configure(kept)
	if err != nil {
		kept = model.Settings{}
		stated, err = r.sourceModel.Configure(kept)
	}
	if err != nil {
		return
	}
	of := "checkpoint"
	if r.converted != nil {
		of = "source"
	}
	own, original, s := &stated.Config, &stated.Original, &r.options.Settings
	shownBy := map[string]string{model.FromRecord: manifest.Name, model.FromHead: "the output head"}
	add := func(name logits.SettingName, given, found any, origin string) {
		r.contradicted = append(r.contradicted, contradiction{name, fmt.Sprint(given), fmt.Sprint(found), of, []string{cmp.Or(shownBy[origin], origin)}})
	}
	if w := s.AttentionWindow; w != nil && *w != original.AttentionWindow {
		add(logits.WindowSetting, *w, original.AttentionWindow, stated.Origins.AttentionWindow)
	}
	if x := s.LogitsSoftCap; x != nil && *x != own.LogitsSoftCap && *x != original.LogitsSoftCap {
		add(logits.SoftCapSetting, *x, original.LogitsSoftCap, stated.Origins.LogitsSoftCap)
	}
	if x := s.EmbeddingScale; x != nil && *x != original.EmbeddingScale {
		add(logits.ScaleSetting, *x, original.EmbeddingScale, stated.Origins.EmbeddingScale)
	}
	r.options.Settings, r.given = kept, kept
}

// replaceGiven takes the settings of the conversion, or of the config.json of the source, in place of those that were given, where they contradict each
// other. What is compared then is not also wrong because of what was given.
func replaceGiven(ctx context.Context, r *run) error {
	if stated, err := r.sourceModel.StatedConfig(); err != nil {
		return nil
	} else if stated != nil {
		replaceStated(r)
		return nil
	}
	if r.converted == nil || r.convertedModel == nil || r.trust == trustGiven {
		return nil
	}
	configured, err := r.sourceModel.Configure(r.options.Settings)
	if err != nil {
		return nil // settings are missing, as planning says
	}
	given, preset, s := configured.Original, r.given.Preset != "", model.SettingsOf(&configured.Original)
	found, err := statement.Of(ctx, r.convertedModel, &given, r.trust == trustWritten)
	if err != nil {
		return err
	}
	replace := func(name logits.SettingName, was, is any, files []string, take func()) {
		r.contradicted = append(r.contradicted, contradiction{name, fmt.Sprint(was), fmt.Sprint(is), "conversion", files})
		take()
	}
	if w := found.AttentionWindow; w != nil && *w != given.AttentionWindow && (preset || r.given.AttentionWindow != nil) && given.Has(model.Attention) {
		replace(logits.WindowSetting, given.AttentionWindow, *w, found.Window, func() { s.AttentionWindow, r.given.AttentionWindow = w, nil })
	}
	if x := found.LogitsSoftCap; x != nil && *x != given.LogitsSoftCap && (preset || r.given.LogitsSoftCap != nil) {
		replace(logits.SoftCapSetting, given.LogitsSoftCap, *x, found.SoftCap, func() { s.LogitsSoftCap, r.given.LogitsSoftCap = x, nil })
	}
	if x := found.EmbeddingScale; x != nil && *x != given.EmbeddingScale && (preset || r.given.EmbeddingScale != nil) {
		replace(logits.ScaleSetting, given.EmbeddingScale, *x, found.Scale, func() { s.EmbeddingScale, r.given.EmbeddingScale = x, nil })
	}
	if len(r.contradicted) > 0 {
		r.options.Settings, r.given.Preset = s, ""
	}
	return nil
}

// nextTrust returns what another run should trust, because the recording shows that this one trusted what is wrong.
func nextTrust(r *run) trust {
	blames := func(l *logits.Result, names func(s *logits.Setting) bool) bool {
		return slices.ContainsFunc(l.Faults, func(f *logits.Fault) bool { return f.Setting != nil && names(f.Setting) })
	}
	replaced := func(s *logits.Setting) bool {
		return slices.ContainsFunc(r.contradicted, func(c contradiction) bool { return c.name == s.Name && c.of == "conversion" })
	}
	if r.contradicted != nil && slices.ContainsFunc(r.verdict.Logits, func(l *logits.Result) bool {
		return blames(l, func(s *logits.Setting) bool { return replaced(s) && !windowAgrees(r, l, s) })
	}) {
		return trustGiven
	}
	written := func(s *logits.Setting) bool {
		return s.Name == logits.WindowSetting && s.Given && s.Recorded == fmt.Sprint(statement.Window(r.converted))
	}
	if r.trust == trustConversion && r.converted != nil && r.record.Record == nil && slices.ContainsFunc(r.verdict.Logits, func(l *logits.Result) bool { return blames(l, written) }) {
		return trustWritten
	}
	return r.trust
}

// settingsBy returns the settings that a model is judged by.
func settingsBy(c *model.Config, preset string, recorded []string) *Settings {
	return &Settings{Preset: preset, AttentionWindow: c.AttentionWindow, LogitsSoftCap: Number(c.LogitsSoftCap), EmbeddingScale: c.EmbeddingScale, Recorded: recorded}
}
