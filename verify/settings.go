package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/recordcheck"
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

// shown are the values of settings that the recording shows, with which another run is made.
type shown map[logits.SettingName]string

// set sets a setting to the value that the recording shows, and reports whether it shows one.
func (s shown) set(name logits.SettingName, settings *model.Settings) bool {
	value, is := s[name]
	return is && settings.Parse(string(name), value) == nil
}

// contradiction is a setting that was given, and that is another one in the conversion, or in the source, with which the run was made.
type contradiction struct {
	name         logits.SettingName
	given, found string
	of           string   // what has it: "conversion", "source", "checkpoint" or "recording"
	files        []string // of that checkpoint that have it; nil if it follows from several
	why          string   // what it follows from
}

// takeRecorded completes the settings of a source that does not have them, and for which none are given, with those that the
// conversion.json of the converted checkpoint records, unless the recording shows others, or the conversion's tensors another embedding scale. Nothing
// proves that they are the source's.
func (r *run) takeRecorded(ctx context.Context) error {
	known := statement.Recorded(r.record.Record)
	if r.converted == nil || known == nil {
		return nil
	}
	_, err := r.sourceModel.Configure(r.options.Settings)
	var missing *model.OptionError
	if !errors.As(err, &missing) {
		return nil
	}
	s := &r.options.Settings
	r.recorded = completeSettings(s, missing, known)
	if slices.Contains(r.recorded, string(logits.ScaleSetting)) && r.convertedModel != nil && r.convertedModel.Layout == model.HuggingFace {
		stated, err := statement.OfConfig(ctx, r.convertedModel, &model.Config{EmbeddingScale: true}, true)
		if err != nil {
			return err
		}
		if is := stated.EmbeddingScale; is != nil && *is != *known.EmbeddingScale {
			r.scaled = is
			s.EmbeddingScale = is
		}
	}
	r.recorded = slices.DeleteFunc(r.recorded, func(name string) bool {
		return r.shown.set(logits.SettingName(name), s) || name == string(logits.ScaleSetting) && r.scaled != nil
	})
	return nil
}

// settleWindow decides which attention window the original of a source has whose config.json may have one more, to match transformers 5, by what the
// config.json or the conversion.json of the conversion leaves open. It takes the place of one that was given and that cannot be that of both. If no
// file proves it, it is what the window is if the models are the same.
func settleWindow(r *run) {
	stated, err := r.sourceModel.Configure(model.Settings{})
	if err != nil || !stated.WindowAssumed || r.convertedModel == nil || r.given.Preset != "" || len(r.sourceModel.Family.BeyondOriginal(&stated.Config)) > 0 {
		return
	}
	s, own := &r.options.Settings, stated.Config.AttentionWindow
	if s.AttentionWindow == nil && r.shown.set(logits.WindowSetting, s) {
		return
	}
	windows, isRecorded := statement.Windows(r.convertedModel, func(w int64) bool { return w == own || w == own-1 })
	if windows == nil || r.trust == trustGiven {
		return
	}
	window := windows[0]
	if given := s.AttentionWindow; given != nil && !slices.Contains(windows, *given) {
		c := contradiction{name: logits.WindowSetting, given: fmt.Sprint(*given), found: fmt.Sprint(window), of: "conversion"}
		if written := statement.Window(r.converted); !isRecorded {
			c.why = fmt.Sprintf("config.json of the conversion has %d, and that of the source %d", written, own)
		} else if c.files = []string{manifest.Name}; written == window {
			c.files = append(c.files, hfconfig.Name)
		}
		r.contradicted = append(r.contradicted, c)
		s.AttentionWindow, r.given.AttentionWindow = nil, nil
	}
	if s.AttentionWindow != nil || len(windows) > 1 {
		return
	}
	switch {
	case !isRecorded:
		s.AttentionWindow, r.open = &window, true
	case window != own:
		s.AttentionWindow, r.recorded = &window, []string{string(logits.WindowSetting)}
	}
}

// settingOptions are the settings by the fields of model.Settings.
var settingOptions = map[string]string{"AttentionWindow": model.WindowSetting, "LogitsSoftCap": model.SoftCapSetting, "EmbeddingScale": model.ScaleSetting}

// completeSettings takes the settings that are missing from others, and returns their names.
func completeSettings(s *model.Settings, missing *model.OptionError, from *model.Settings) (taken []string) {
	for _, option := range missing.Missing {
		if name, isSetting := settingOptions[option]; isSetting {
			s.Take(name, from)
			taken = append(taken, name)
		}
	}
	return taken
}

// withStated adds the settings that are missing, as files of the conversion state them, to an error about that. They cannot be taken for those of the
// source, because they are what is to be verified.
func withStated(ctx context.Context, err error, r *run) error {
	var missing *model.OptionError
	if !errors.As(err, &missing) || len(missing.Missing) == 0 {
		return err
	}
	stated, m := *missing, r.convertedModel
	if unreadable := r.record.err; unreadable != nil {
		stated.Problem += fmt.Sprintf("; %s of the conversion cannot be used: %v", manifest.Name, unreadable)
	}
	if m == nil || m.Layout != model.HuggingFace {
		return &stated
	}
	all, err := statement.OfConfig(ctx, m, &model.Config{EmbeddingScale: true}, true)
	if err != nil {
		return err
	}
	completeSettings(&stated.Stated, missing, &all.Settings)
	if found, err := m.Configure(model.Settings{}); err == nil {
		stated.StatedAssumed = found.WindowAssumed
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
	own, original, origins := model.SettingsOf(&stated.Config), model.SettingsOf(&stated.Original), stated.Origins.ByName()
	shownBy := map[string]string{model.FromRecord: manifest.Name, model.FromHead: "the output head"}
	for _, name := range model.SettingNames {
		given, found := r.options.Settings.Value(name), original.Value(name)
		isAsWritten := name == model.SoftCapSetting && given == own.Value(name) // the number of config.json that stands for no soft cap
		if given == "" || given == found || isAsWritten {
			continue
		}
		r.contradicted = append(r.contradicted, contradiction{name: logits.SettingName(name), given: given, found: found, of: of, files: []string{cmp.Or(shownBy[origins[name]], origins[name])}})
	}
	r.options.Settings, r.given = kept, kept
}

// dropRefuted leaves out settings that were given, and in place of which the recording shows others, which takeRecorded takes.
func dropRefuted(r *run) {
	for _, name := range model.SettingNames {
		given := r.options.Settings.Value(name)
		if found, is := r.shown[logits.SettingName(name)]; given != "" && is && found != given {
			r.contradicted = append(r.contradicted, contradiction{name: logits.SettingName(name), given: given, found: found, of: "recording"})
			r.options.Settings.Clear(name)
			r.given.Clear(name)
		}
	}
}

// replaceGiven takes the settings of the conversion, or of the config.json of the source, in place of those that were given, where they contradict each
// other. What is compared then is not also wrong because of what was given.
func replaceGiven(ctx context.Context, r *run) error {
	if stated, err := r.sourceModel.StatedConfig(); err != nil {
		return nil
	} else if stated != nil {
		replaceStated(r)
		if r.converted != nil {
			settleWindow(r)
		}
		return nil
	}
	if r.converted == nil || r.convertedModel == nil || r.trust == trustGiven {
		return nil
	}
	configured, err := r.sourceModel.Configure(r.options.Settings)
	if err != nil {
		return nil // settings are missing, as planning says
	}
	s := model.SettingsOf(&configured.Original)
	found, err := statement.Of(ctx, r.convertedModel, &configured.Original, r.trust == trustWritten)
	if err != nil {
		return err
	}
	if recorded, err := r.sourceModel.Configure(model.Settings{}); err == nil {
		leaveOut(&found.Settings, model.SettingsOf(&recorded.Original), s)
	}
	for _, name := range model.SettingNames {
		was, is := s.Value(name), found.Value(name)
		isGiven := r.given.Preset != "" || r.given.Value(name) != ""
		if is == "" || is == was || !isGiven || name == model.WindowSetting && !configured.Original.Has(model.Attention) {
			continue
		}
		r.contradicted = append(r.contradicted, contradiction{name: logits.SettingName(name), given: was, found: is, of: "conversion", files: found.Files[name]})
		s.Take(name, &found.Settings)
		r.given.Clear(name)
	}
	if len(r.contradicted) > 0 {
		r.options.Settings, r.given.Preset = s, ""
	}
	return nil
}

// leaveOut leaves out of what files of the conversion state the settings in which those that were given are those that the source's own record has.
func leaveOut(stated *model.Settings, own, given model.Settings) {
	for _, name := range model.SettingNames {
		if own.Value(name) == given.Value(name) {
			stated.Clear(name)
		}
	}
}

// nextTrust returns what another run should trust, because the recording shows that this one trusted what is wrong.
func nextTrust(r *run) trust {
	blames := func(l *logits.Result, names func(s *logits.Setting) bool) bool {
		return slices.ContainsFunc(l.Faults, func(f *logits.Fault) bool { return f.Setting != nil && names(f.Setting) })
	}
	replaced := func(s *logits.Setting) bool {
		return slices.ContainsFunc(r.contradicted, func(c contradiction) bool { return c.name == s.Name && c.of == "conversion" })
	}
	if slices.ContainsFunc(r.contradicted, func(c contradiction) bool {
		return c.name == logits.WindowSetting && c.of == "conversion" && c.given == fmt.Sprint(r.proved)
	}) {
		return trustGiven
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

// nextShown returns what the recording shows of settings that only one of two files that disagree has, or that no file states.
func nextShown(r *run) shown {
	if r.plan == nil || !r.plan.SettingsKnown {
		return r.shown
	}
	next := shown{}
	if r.open && r.proved != 0 && r.proved != r.plan.Config.AttentionWindow {
		next[logits.WindowSetting] = fmt.Sprint(r.proved)
	}
	disputed := disputes(r)
	for _, l := range r.verdict.Logits {
		for _, f := range l.Faults {
			s := f.Setting
			isOf := func(d dispute) bool { return d.name == s.Name && slices.Contains(d.stated, s.Recorded) }
			onlyRecord := func() bool { // states the setting, beside an original
				return l.Semantics == reference.Original.String() && r.plan.Layout != model.HuggingFace && slices.Contains(r.recorded, string(s.Name))
			}
			switch {
			case s == nil:
			case s.Given && isRecorded(r, l, s): // by both, and another was given
				next[s.Name] = s.Recorded
			case !windowAgrees(r, l, s) && (slices.ContainsFunc(disputed, isOf) || onlyRecord()): // else the recording is of what conversion.json has
				next[s.Name] = s.Recorded
			}
		}
	}
	maps.Copy(next, r.shown) // what was shown stays, so that there are few runs
	return next
}

// rivals returns what the config.json of the conversion states of the settings that its conversion.json has otherwise, and that the source was run with,
// if the recording disproves them: the window as it is there, and as one that is one more.
func rivals(ctx context.Context, r *run) ([]shown, error) {
	if !isRefuted(ofSource(r.verdict)) || r.recorded == nil || r.plan == nil || r.plan.Layout != model.HuggingFace || r.convertedModel == nil {
		return nil, nil
	}
	stated, err := statement.OfConfig(ctx, r.convertedModel, &model.Config{}, true)
	if err != nil {
		return nil, err
	}
	known, one := r.record.Settings, shown{}
	if x := stated.LogitsSoftCap; x != nil && *x != float64(known.LogitsSoftCap) && slices.Contains(r.recorded, string(logits.SoftCapSetting)) {
		one[logits.SoftCapSetting] = hfconfig.Decimal(*x)
	}
	w := stated.AttentionWindow
	if w == nil || *w == statement.RecordedWindow(r.record.Record) || !slices.Contains(r.recorded, string(logits.WindowSetting)) {
		if len(one) == 0 {
			return nil, nil
		}
		return []shown{one}, nil
	}
	other := maps.Clone(one)
	one[logits.WindowSetting], other[logits.WindowSetting] = fmt.Sprint(*w), fmt.Sprint(*w-1)
	return []shown{one, other}, nil
}

// isRefuted reports whether one of some results is not as it was recorded.
func isRefuted(all []*logits.Result) bool {
	return slices.ContainsFunc(all, func(l *logits.Result) bool { return !l.OK })
}

// isRecorded reports whether the recording of an original and the conversion.json of the conversion agree in a setting that they have otherwise than a
// result of the source, whose settings were given one by one.
func isRecorded(r *run, l *logits.Result, s *logits.Setting) bool {
	return r.given.Preset == "" && l.Semantics == reference.Original.String() && r.record.settings() != nil && agrees(l, s, r.record.Settings)
}

// dispute is a setting of which nothing but files of the conversion that disagree say what the source's is.
type dispute struct {
	name     logits.SettingName
	recorded string
	stated   []string // otherwise, the number itself first
	by       string   // what states it so
	is       string   // what it does: "has 9"
	field    string   // of the finding that says so too
}

// disputes returns the settings that are taken from the conversion.json of the conversion, and that its config.json or its tensors have otherwise.
func disputes(r *run) (all []dispute) {
	if r.convertedModel == nil || r.convertedModel.Layout != model.HuggingFace || r.recorded == nil && r.scaled == nil || r.sourceModel.Layout == model.HuggingFace {
		return nil
	}
	stated, err := r.convertedModel.Configure(model.Settings{})
	if err != nil {
		return nil
	}
	fields, err := hfconfig.Fields(r.converted.Source, r.converted.Beside(hfconfig.Name))
	if err != nil {
		return nil
	}
	add := func(name logits.SettingName, field string, recorded, value any, more ...string) {
		is := fmt.Sprintf("has %v", value)
		if fields[field] == nil {
			is = fmt.Sprintf("has no %s, which stands for %v", field, value)
		}
		all = append(all, dispute{name, fmt.Sprint(recorded), append([]string{fmt.Sprint(value)}, more...), hfconfig.Name, is, field})
	}
	found, known := &stated.Original, r.record.Settings
	if w := found.AttentionWindow; w != known.AttentionWindow && slices.Contains(r.recorded, string(logits.WindowSetting)) && found.Has(model.Attention) {
		add(logits.WindowSetting, windowField(fields), known.AttentionWindow, w, fmt.Sprint(w-1))
	}
	if x := found.LogitsSoftCap; x != float64(known.LogitsSoftCap) && slices.Contains(r.recorded, string(logits.SoftCapSetting)) {
		add(logits.SoftCapSetting, "logits_soft_cap", hfconfig.Decimal(float64(known.LogitsSoftCap)), hfconfig.Decimal(x))
		if written := stated.Config.LogitsSoftCap; written != x {
			all[len(all)-1].is = fmt.Sprintf("has %s, which stands for none", hfconfig.Decimal(written))
		}
	}
	if r.scaled != nil {
		field := filepath.Base(r.record.path) + ": " + recordcheck.ScaleField
		all = append(all, dispute{logits.ScaleSetting, fmt.Sprint(known.EmbeddingScale), []string{fmt.Sprint(*r.scaled), fmt.Sprint(known.EmbeddingScale)}, "the tensors", fmt.Sprintf("are for %t", *r.scaled), field})
	}
	return all
}

// windowField is the name of the field of a config.json that has the attention window.
func windowField(fields map[string]any) string {
	for _, name := range hfconfig.WindowNames {
		if fields[name] != nil {
			return name
		}
	}
	return hfconfig.WindowNames[len(hfconfig.WindowNames)-1]
}

// addOpen makes findings of the configuration of settings on which files disagree, where nothing says which is right.
func addOpen(r *run) {
	s := r.verdict.Config
	if s == nil || r.plan == nil {
		return
	}
	var all []Finding
	if w := r.plan.Config.AttentionWindow; r.open && r.proved == 0 && r.contradicted == nil {
		own, written := statedWindow(r.sourceModel), statement.Window(r.converted)
		other := written
		if other == w {
			other = own
		}
		all = append(all, Finding{Kind: OpenSetting, Field: string(logits.WindowSetting), Want: fmt.Sprint(w), Got: fmt.Sprint(other), Of: "source",
			Detail: fmt.Sprintf("config.json of the source has %d, and that of the conversion %d: both are right if the original's window is %d and the larger is written to match transformers 5, and nothing says so", own, written, w),
			cause:  fmt.Sprintf("nothing says that the original's attention window is %d", w)})
	}
	refuted := isRefuted(r.verdict.Logits)
	for _, d := range disputes(r) {
		if refuted || showsRecorded(r.verdict, []string{string(d.name)}) { // the recording is of one of the two
			continue
		}
		s.Findings = strictjson.Items(slices.DeleteFunc(s.Findings.All(), func(f Finding) bool { return f.Field == d.field })...)
		all = append(all, Finding{Kind: OpenSetting, Field: string(d.name), Want: d.recorded, Got: d.stated[0], Of: "conversion",
			Detail: fmt.Sprintf("%s of the conversion %s, and its conversion.json has %s: the source does not say which is right", d.by, d.is, d.recorded),
			cause:  fmt.Sprintf("%s and conversion.json of the conversion disagree", d.by)})
	}
	var open []string
	for _, f := range all {
		s.add(f)
		open = append(open, fmt.Sprintf("%s is %s or %s", words(logits.SettingName(f.Field)), f.Got, f.Want))
	}
	if all != nil {
		s.OK, s.Skipped, s.Summary = false, false, strings.Join(append(open, s.Summary), "; ")
	}
}

// settingsBy returns the settings that a model is judged by.
func settingsBy(c *model.Config, preset string, recorded []string) *Settings {
	if !c.Has(model.Attention) {
		return &Settings{Preset: preset, LogitsSoftCap: Number(c.LogitsSoftCap), EmbeddingScale: c.EmbeddingScale, Recorded: recorded}
	}
	return &Settings{Preset: preset, AttentionWindow: c.AttentionWindow, LogitsSoftCap: Number(c.LogitsSoftCap), EmbeddingScale: c.EmbeddingScale, Recorded: recorded}
}
