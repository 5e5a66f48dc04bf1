package verify

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// windowAgrees reports whether a setting is the attention window, and one window of the original explains both the recording and the files of the
// conversion. A recording made by a runtime may have one more than the original, and so may a config.json that no conversion.json describes.
func windowAgrees(r *run, l *logits.Result, s *logits.Setting) bool {
	recorded, err := strconv.ParseInt(s.Recorded, 10, 64)
	if err != nil || s.Name != logits.WindowSetting || r.convertedModel == nil {
		return false
	}
	stated := []int64{}
	if r.record.settings() != nil {
		stated = append(stated, r.record.Settings.AttentionWindow)
	} else if w := statement.Window(r.converted); w > 0 {
		stated = append(stated, w, w-1)
	}
	return slices.Contains(stated, recorded) || l.Semantics != reference.Original.String() && slices.Contains(stated, recorded-1)
}

// excuseGiven finds the faults of a result that a wrong attention window that was given explains, because the conversion may be right.
func excuseGiven(c *computation, l *logits.Result) {
	r, v := c.run, c.run.verdict
	if stated, err := r.sourceModel.StatedConfig(); stated != nil || err != nil || r.converted == nil || !r.proven() {
		return
	}
	isStated := conversionStates(r)
	for _, f := range l.Faults {
		if s := f.Setting; s != nil && v.excuses[f] == "" && !(s.Given && !isStated(s)) && windowAgrees(r, l, s) {
			name := "attention_window_size"
			if l.Semantics == reference.Original.String() {
				name = "an attention window of"
			}
			v.excuses[f] = fmt.Sprintf("the recording was made with %s %s, and the conversion has %s, which may stand for the same window", name, s.Recorded, s.Value)
		}
	}
}

// noteDoubted notes which settings that were given conversion.json does not record, unless the recording shows that they are right.
func noteDoubted(r *run) {
	if r.plan == nil || r.record.settings() == nil || r.trust == trustGiven || matchesOriginals(r.verdict) {
		return
	}
	var doubted []string
	run, known := model.SettingsOf(&r.plan.Config), statement.SettingsOf(r.record.Settings)
	for _, name := range model.SettingNames {
		isGiven := r.given.Value(name) != "" && (name != model.WindowSetting || r.plan.Config.Has(model.Attention))
		if was, records := run.Value(name), known.Value(name); isGiven && was != records {
			doubted = append(doubted, fmt.Sprintf("%s %s was given, and conversion.json records %s", words(name), was, records))
		}
	}
	if doubted != nil {
		r.verdict.Notes = append(r.verdict.Notes, strings.Join(doubted, "; ")+": if what was given is wrong, the checkpoint need not be")
	}
}

// conversionStates returns a function that reports whether files of the conversion state a setting, with which it was run. A window of config.json may
// be one more than the recording's, to match transformers 5.
func conversionStates(r *run) func(*logits.Setting) bool {
	return func(s *logits.Setting) bool {
		if r.convertedModel == nil || s.Name == logits.SemanticsSetting {
			return false
		}
		if r.record.settings() != nil {
			return true
		}
		stated, err := r.convertedModel.StatedConfig()
		if stated != nil && s.Name == logits.WindowSetting && fmt.Sprint(statement.Window(r.converted)-1) == s.Recorded {
			return false
		}
		return stated != nil || err != nil
	}
}

// addContradicted makes the settings that were given, and that are not those of the conversion, findings of the configuration.
func addContradicted(r *run) {
	if len(r.contradicted) == 0 {
		return
	}
	if r.verdict.Config == nil {
		r.verdict.Config = &Section{Skipped: true}
	}
	s := r.verdict.Config
	var said []string
	for _, c := range r.contradicted {
		f := Finding{Kind: GivenSetting, Field: string(c.name), Want: c.found, Got: c.given, Of: c.of, Detail: whereFound(&c) + consequence(r.verdict, &c)}
		s.add(f)
		if settings := r.verdict.Settings; settings != nil && c.of == "conversion" {
			settings.Contradicted = append(settings.Contradicted, words(c.name)+" "+c.given)
		}
		said = append(said, fmt.Sprintf("%s %s instead of %s", words(c.name), c.given, c.found))
	}
	said = []string{"given " + strings.Join(said, ", ")}
	if !s.Skipped {
		said = append(said, s.Summary)
	}
	s.OK, s.Skipped, s.Summary = false, false, strings.Join(said, "; ")
}

// whereFound says what has another setting than the one that was given.
func whereFound(c *contradiction) string {
	isImplied := c.name == logits.ScaleSetting && slices.Equal(c.files, []string{hfconfig.Name}) // no field of it has the setting
	switch {
	case c.why != "":
		return c.why
	case c.of == "recording":
		return "the recording matches with " + c.found
	case isImplied && c.of == "conversion":
		return "the conversion is written for " + c.found
	case isImplied:
		return fmt.Sprintf("transformers always multiplies embeddings by sqrt(hidden_size), so that the %s has %s", c.of, c.found)
	}
	return fmt.Sprintf("%s of the %s %s %s", strings.Join(c.files, " and "), c.of, map[bool]string{true: "has", false: "have"}[len(c.files) == 1], c.found)
}

// consequence says what follows from a setting that was given and is another one in what was verified: with which value the model was run, or what
// may be wrong.
func consequence(v *Verdict, c *contradiction) string {
	all := v.Logits
	switch {
	case c.of == "conversion" && len(all) > 0 && !isRefuted(all):
		return "; with " + c.found + " the model computes what was recorded, so that the conversion need not be wrong"
	case c.of == "conversion":
		return "; what was given is wrong, or the conversion was made with a wrong one; the weights do not show which"
	case c.name == logits.WindowSetting && len(all) > 0 && fmt.Sprint(all[0].Window) != c.found && all[0].Semantics == reference.Original.String():
		return fmt.Sprintf("; it was run with %d, with which the recording matches", all[0].Window)
	case c.name == logits.WindowSetting && len(all) > 0 && fmt.Sprint(all[0].Window) != c.found:
		return fmt.Sprintf("; it was run with attention_window_size %d", all[0].Window)
	}
	return ", with which it was run"
}

// doubtWindow takes back that the window of the Hugging Face side is the original's, where another was given, unless a recording of an original
// shows that the given one is wrong, or where a recording was made with another. One that only was given is not called the original's either.
func doubtWindow(r *run) {
	w := r.verdict.Window
	if w == nil {
		return
	}
	say := func(rest string) {
		changed := *w
		changed.Source, changed.Matches = runtime.Contradicted, ""
		changed.Summary = fmt.Sprintf("attention_window_size is %d; %s", w.Written, rest)
		r.verdict.Window = &changed
	}
	shown := false
	for _, l := range r.verdict.Logits {
		isOriginal := l.Semantics == reference.Original.String()
		shown = shown || isOriginal && l.OK
		for _, f := range l.Faults {
			s := f.Setting
			if s == nil || s.Name != logits.WindowSetting {
				continue
			}
			if isOriginal && s.Value == fmt.Sprint(w.Original) {
				say("the recording was made with an attention window of " + s.Recorded)
				return
			}
			if !isOriginal && w.Source != runtime.Assumed && s.Value == fmt.Sprint(w.Written) && r.verdict.excuses[f] == "" {
				say("the recording was made with attention_window_size " + s.Recorded)
				return
			}
		}
	}
	for _, c := range r.contradicted {
		if c.name == logits.WindowSetting && c.of == "conversion" && !shown {
			say(fmt.Sprintf("%s was given for the original's window, and the conversion has %s", c.given, c.found))
		}
	}
	if r.converted != nil && r.verdict.Given != nil && !shown {
		given := *w
		given.Summary = fmt.Sprintf("attention_window_size is %d, one more than the window of %d that was given: if that is the original's, transformers 5 attends to the same tokens as the original", w.Written, w.Original)
		r.verdict.Window = &given
	}
}

// noteMadeWith notes that the conversion was made with settings that were given, and that the recording shows to be wrong, unless its record has those
// of the recording.
func noteMadeWith(r *run) {
	isStated := conversionStates(r)
	isRecorded := func(l *logits.Result, s *logits.Setting) bool {
		return r.record.settings() != nil && agrees(l, s, r.record.Settings)
	}
	for _, l := range r.verdict.Logits {
		for _, f := range l.Faults {
			if s := f.Setting; s != nil && s.Given && isStated(s) && !isRecorded(l, s) && r.verdict.excuses[f] == "" {
				note := fmt.Sprintf("the conversion was made with another %s than the recording too: it has to be made again with %s", words(s.Name), s.Recorded)
				if !slices.Contains(r.verdict.Notes, note) {
					r.verdict.Notes = append(r.verdict.Notes, note)
				}
			}
		}
	}
}

// noteRecorded notes which settings were taken from the record of the source, of the conversion, or of a checkpoint alone. Only a recording proves or
// disproves them.
func noteRecorded(r *run) {
	if r.recorded != nil {
		noteRecordedBy(r, r.recorded, filepath.Base(r.record.path)+ofConversion(r), r.record.Settings, "the source does not state", "the conversion has to be made again")
	}
	of, given := "", model.WasGiven
	if r.converted != nil {
		of = " of the source"
	}
	if r.recorded != nil {
		given = filepath.Base(r.record.path) + ofConversion(r) + " records"
	}
	if c, err := r.sourceModel.Configure(r.options.Settings); err == nil {
		if note := c.Overruled(of, given); note != "" {
			r.verdict.Notes = append(r.verdict.Notes, note)
		}
	}
	s := r.verdict.Settings
	if s == nil {
		return
	}
	names, of := s.Recorded, "checkpoint"
	if r.plan != nil {
		names, of = r.plan.SettingsRecorded, "source"
	}
	if len(names) > 0 {
		known := &manifest.Settings{AttentionWindow: s.AttentionWindow, LogitsSoftCap: manifest.Float(s.LogitsSoftCap), EmbeddingScale: s.EmbeddingScale}
		file := filepath.Base(recordOf(r.sourceModel).path) + " of the " + of
		noteRecordedBy(r, names, file, known, "its tensors do not show", "that file does not state what the model was made with")
	}
}

// ofConversion follows the name of the record of the conversion where the source has one too.
func ofConversion(r *run) string {
	if recordOf(r.sourceModel).Record == nil {
		return ""
	}
	return " of the conversion"
}

// noteRecordedBy notes the settings that a file records. lack is what the source does not do with them, and wrong what follows if the recording is right.
func noteRecordedBy(r *run, names []string, file string, known *manifest.Settings, lack, wrong string) {
	v := r.verdict
	values := statement.SettingsOf(known)
	made := map[logits.SettingName]string{} // how the recording was, by the settings that it disproves
	for _, l := range v.Logits {
		for _, f := range l.Faults {
			if f.Setting != nil && v.excuses[f] == "" && !agrees(l, f.Setting, known) {
				made[f.Setting.Name] = f.Setting.Made()
			}
		}
	}
	var unproven []string
	for _, recorded := range names {
		name := logits.SettingName(recorded)
		shown := fmt.Sprintf("%s %s", words(name), values.Value(recorded))
		if made[name] == "" {
			unproven = append(unproven, shown)
			continue
		}
		v.Notes = append(v.Notes, fmt.Sprintf("%s: as %s records, but the recording was made %s: if it is of this model, %s", shown, file, made[name], wrong))
	}
	if unproven != nil {
		said := map[bool]string{false: ", not proven"}[showsRecorded(v, names)]
		v.Notes = append(v.Notes, fmt.Sprintf("%s: as %s records%s, because %s %s", strings.Join(unproven, ", "), file, said, lack, them(len(unproven)))+matchedWith(v, names))
	}
}

// agrees reports whether a recording with which a model does not agree was made with what a file records of a setting: the model was run with another.
func agrees(l *logits.Result, s *logits.Setting, known *manifest.Settings) bool {
	if s.Name == logits.WindowSetting && l.Semantics != reference.Original.String() && s.Recorded == fmt.Sprint(known.AttentionWindow+1) {
		return true
	}
	recorded := statement.SettingsOf(known)
	return s.Recorded == recorded.Value(string(s.Name))
}

// matchedWith says what a recording of an original shows of settings with which the model matches it, and what it does not: values that are close
// change less than rounding does, and a window that no document reaches beyond changes nothing. It is "" if the source does not match all recordings.
func matchedWith(v *Verdict, names []string) string {
	if !matchesOriginals(v) {
		return ""
	}
	l, which := v.Logits[0], map[bool]string{false: "model", true: "source"}[LogitsOfSide(v)]
	said := fmt.Sprintf("; with %s, the %s matches what %s recorded, as it would with values that change every output by less than rounding", them(len(names)), which, l.Implementation)
	if endsWithinWindow(l, names) {
		said += ", or with another attention window, because no recorded document is longer than it"
	}
	return said
}

// showsRecorded reports whether recordings of originals, which the source matches, show the settings of these names.
func showsRecorded(v *Verdict, names []string) bool {
	isNamed := func(s *logits.Setting) bool { return slices.Contains(names, string(s.Name)) }
	isSilent := func(l *logits.Result) bool {
		return slices.ContainsFunc(l.Untold, isNamed) || endsWithinWindow(l, names)
	}
	return matchesOriginals(v) && !slices.ContainsFunc(ofSource(v), isSilent)
}

// matchesOriginals reports whether there are recordings, all of originals, and the source matches them.
func matchesOriginals(v *Verdict) bool {
	all := ofSource(v)
	return len(all) > 0 && !slices.ContainsFunc(all, func(l *logits.Result) bool {
		return !l.OK || l.Semantics != reference.Original.String() || !l.Implementation.IsOriginal()
	})
}

// ofSource returns the results of the source, of a checkpoint alone, or of one of two that serves both.
func ofSource(v *Verdict) []*logits.Result {
	if len(v.Logits) < 2 {
		return v.Logits
	}
	return slices.DeleteFunc(slices.Clone(v.Logits), func(l *logits.Result) bool { return v.sideOf(l) == "converted" })
}

// endsWithinWindow reports whether the window is one of the settings, and no recorded document is longer than it.
func endsWithinWindow(l *logits.Result, names []string) bool {
	return slices.Contains(names, string(logits.WindowSetting)) && l.Window > 0 && runtime.LongestDocument(l.Passes) <= l.Window
}

// words is the name of a setting in a sentence.
func words[S ~string](name S) string { return strings.ReplaceAll(string(name), "_", " ") }

// onlyGivenWindow returns the attention window that was given, in a list, if the config.json of the conversion has one more, and nothing says that it
// was written to match transformers 5. What else config.json has agrees with what was given, or fails.
func onlyGivenWindow(r *run) []string {
	if r.plan == nil || r.plan.Layout != model.HuggingFace || r.record.settings() != nil {
		return nil
	}
	if r.given.AttentionWindow == nil && r.given.Preset == "" {
		return nil
	}
	given := r.plan.Config.AttentionWindow
	if statement.Window(r.converted) != given+1 {
		return nil
	}
	if stated, err := r.sourceModel.Configure(model.Settings{}); err == nil && stated.WindowAssumed && r.proved != given {
		return []string{fmt.Sprintf("%s %d", words(logits.WindowSetting), given)}
	}
	return onlyGiven(r.sourceModel, model.Settings{AttentionWindow: &given})
}

// onlyGiven lists the settings of a checkpoint alone that were given, and that nothing beside it states.
func onlyGiven(m *model.Model, given model.Settings) []string {
	if stated, err := m.Configure(model.Settings{}); err == nil {
		leaveOut(&given, model.SettingsOf(&stated.Original), given)
	}
	var all []string
	if given.Preset != "" {
		all = append(all, "the settings of preset "+given.Preset)
	}
	for _, name := range model.SettingNames {
		if value := given.Value(name); value != "" && (name != model.WindowSetting || m.Config.Has(model.Attention)) {
			all = append(all, words(name)+" "+value)
		}
	}
	return all
}
