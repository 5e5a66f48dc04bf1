package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// openFixture opens the fixture, if models are to be compared with one. A fixture whose sizes are neither those of the source nor those of the
// conversion is not of this pair, or not of a checkpoint alone, and says nothing about it.
func openFixture(r *run) (*golden.Fixture, error) {
	if r.options.Golden == "" || r.options.WeightsOnly {
		return nil, nil
	}
	f, err := golden.Open(r.options.Golden)
	if err != nil {
		return nil, err
	}
	sizes := logits.Mismatch(&r.sourceModel.Config, f)
	if sizes == "" || r.convertedModel != nil && logits.Mismatch(&r.convertedModel.Config, f) == "" {
		return f, nil
	}
	f.Close()
	return nil, wrongFixture(r, f, "another model", ": "+sizes)
}

// wrongFixture says of what a fixture is, which is not what the source is.
func wrongFixture(r *run, f *golden.Fixture, of, why string) error {
	which, hint := "source", "give the recording of this source, or leave it out"
	if r.converted == nil {
		which, hint = "checkpoint", "give the recording of this checkpoint"
	}
	return &model.OptionError{Option: "Golden", Problem: fmt.Sprintf("%s is of %s than the %s%s", f.Path, of, which, why), Hint: hint}
}

// checkRecorded finds out whether the fixture is of other weights than those of the models, if the source fails. Where no digest says so, the values may.
func (c *computation) checkRecorded(ctx context.Context) error {
	if !c.sourceFails() {
		return nil
	}
	if err := c.compareDigests(ctx); err != nil {
		return err
	}
	results := c.run.verdict.Logits
	for _, l := range results {
		c.excuseRecorded(l)
	}
	if !slices.ContainsFunc(results, func(l *logits.Result) bool { return l.OK }) {
		for _, l := range results {
			l.Suspect()
		}
	}
	return nil
}

// compareDigests compares the digest of the weights that the fixture records, if it does, with those of the models that fail. Only digests of one
// layout can be compared; where a conversion is the source bit for bit, its digest is that of both. A fixture of the conversion's weights, or of its config.json, is said to be. It
// returns an error if the fixture is of other weights than both checkpoints, and the source fails.
func (c *computation) compareDigests(ctx context.Context) error {
	recorded := c.fixture.Meta.ModelDigest
	layout, _, _ := strings.Cut(recorded, " ")
	algorithm := runtime.DigestAlgorithm(recorded)
	first, last := c.run.verdict.Logits[0], c.run.verdict.Logits[len(c.run.verdict.Logits)-1]
	if reproduced := last.OK; reproduced {
		first.Beside = "the conversion computes what was recorded"
	}
	if algorithm == 0 {
		return nil
	}
	of := []*runtime.Model{c.converted, c.source}
	of = slices.DeleteFunc(of, func(m *runtime.Model) bool { return m == nil || m.Found.Layout.String() != layout })
	if len(of) == 0 && !last.OK {
		c.run.verdict.Notes = append(c.run.verdict.Notes, fmt.Sprintf("the fixture may be of other weights: it records a digest of weights in the %s layout, and only those of a checkpoint in that layout can be compared with it", layout))
	}
	equal := c.run.proven() && c.run.verdict.Weights.Rounded == 0
	otherConfig := !equal && sameWeights(c.run.verdict)
	same, ofSource := false, ""
	for _, m := range of {
		found, err := m.Digest(ctx, algorithm, digestsOf(c.run, m == c.source), nil)
		if err != nil {
			return err
		}
		same = same || found == recorded
		switch {
		case found != recorded || m != c.converted || equal:
		case !otherConfig:
			first.Beside = "the recording is of the conversion's weights"
		case last.OK:
			first.Beside = "the recording is of these weights with the conversion's config.json"
		}
		if m == c.source {
			ofSource = found
		}
		for _, l := range c.run.verdict.Logits {
			if l.Weights == "" && (l.Checkpoint == m.Checkpoint.Path || equal) {
				l.SetWeights(recorded, found)
			}
		}
	}
	if c.converted == nil || same || ofSource == "" || last.OK {
		return nil
	}
	return wrongFixture(c.run, c.fixture, "other weights", fmt.Sprintf(": it records %s, and those of the source are %s", recorded, ofSource))
}

// sameWeights reports whether the conversion has the weights of the source bit for bit, whatever its configuration is.
func sameWeights(v *Verdict) bool {
	return v.Structure != nil && v.Structure.OK && v.Weights != nil && v.Weights.OK && v.Weights.Rounded == 0 && v.Quantized == nil
}

// sourceFails reports whether the source, or a conversion that is the same, computes something else than what was recorded.
func (c *computation) sourceFails() bool {
	results := c.run.verdict.Logits
	return len(results) > 0 && !results[0].OK && (c.run.proven() || results[0].Checkpoint == c.source.Checkpoint.Path)
}

// given returns the settings of a model that the caller gave, because nothing beside its weights or those of the source states them.
func (c *computation) given(m *runtime.Model) model.Settings {
	for _, m := range []*runtime.Model{m, c.source} {
		if stated, err := m.Found.StatedConfig(); stated != nil || err != nil {
			return model.Settings{}
		}
	}
	return c.run.given
}

// noteGiven notes which settings of a model that fails were given, but for those that the recording shows to be wrong.
func (c *computation) noteGiven(result *logits.Result, given model.Settings) {
	if s := result.Site("", "hidden.0", false); s != nil && s.OK { // the embedding shows the scale
		given.EmbeddingScale = nil
	}
	var unproven []string
	for _, name := range model.SettingNames {
		disproves := func(f *logits.Fault) bool { return f.Setting != nil && string(f.Setting.Name) == name }
		if value := given.Value(name); value != "" && !slices.ContainsFunc(result.Faults, disproves) {
			unproven = append(unproven, words(name)+" "+value)
		}
	}
	if result.OK || len(result.Faults) == 0 || unproven == nil {
		return
	}
	note := fmt.Sprintf("given, not proven: %s; if what was given is wrong, the checkpoint need not be", strings.Join(unproven, ", "))
	if v := c.run.verdict; !slices.Contains(v.Notes, note) {
		v.Notes = append(v.Notes, note)
	}
}

// excuseWindow finds the faults of a result that only show that the recording was made of a directory in which the same attention window is written
// otherwise: the original's, or one more to match transformers 5.
func (c *computation) excuseWindow(l *logits.Result, m *runtime.Model) {
	if l.Semantics == reference.Original.String() {
		return
	}
	v, w := c.run.verdict, m.Window()
	if m == c.converted && c.wrongWindow(w) {
		return
	}
	other, todo := m.Original.AttentionWindow+1, "convert it to match transformers 5"
	if w != nil && w.Matches != "" {
		other, todo = w.Original, "convert it without matching a runtime"
	}
	side := map[string]string{"model": "the checkpoint", "source": "the source", "converted": "the conversion"}[v.sideOf(l)]
	for _, f := range l.Faults {
		if s := f.Setting; s == nil || s.Name != logits.WindowSetting || s.Recorded != fmt.Sprint(other) {
			continue
		}
		var say string
		switch {
		case w == nil:
			say = "a conversion that is written to match transformers 5 has one more than the original's window: if the recording is of one, the window is right, and that conversion has to be verified"
		case w.Matches == "" && (w.Source == runtime.Assumed || w.Source == runtime.Contradicted):
			continue // nothing says which is the original's
		default:
			v.excuses[f] = fmt.Sprintf("the recording was made with attention_window_size %d, and %s has %d", other, side, w.Written)
			if slices.ContainsFunc(c.run.contradicted, func(x contradiction) bool { return x.name == logits.WindowSetting }) {
				continue // what was given says otherwise of the original's
			}
			say = fmt.Sprintf("attention_window_size %d and %d both stand for the original's window of %d, but %s attends to other tokens with each: record %s itself, or %s", other, w.Written, w.Original, l.Semantics, side, todo)
		}
		if !slices.Contains(v.Notes, say) {
			v.Notes = append(v.Notes, say)
		}
	}
}

// wrongWindow reports whether config.json of the conversion does not express the window of the source, or that of its record.
func (c *computation) wrongWindow(w *runtime.Window) bool {
	r, known := c.run, c.run.record.Record
	if w == nil {
		return false
	}
	return r.plan.SettingsKnown && w.For(r.plan.Config.AttentionWindow) != w || known != nil && known.Settings != nil && w.For(known.Settings.AttentionWindow) != w
}

// excuseConfig finds the faults of a result that only show that the recording was made under another config.json than that in which both checkpoints
// agree: nothing shows then that they differ. What an original does not state is given or recorded, and may be wrong in the conversion too, but for
// the numbers and functions that are in its code.
func (c *computation) excuseConfig(l *logits.Result) {
	if c.run.converted == nil || !c.run.proven() {
		return
	}
	v, isStated := c.run.verdict, isStated(c.run.sourceModel)
	for _, f := range l.Faults {
		s := f.Setting
		if s == nil || s.Given || v.excuses[f] != "" || !s.IsNumeric() && !(isStated && slices.Contains([]logits.SettingName{logits.SoftCapSetting, logits.WindowSetting}, s.Name)) {
			continue
		}
		name, of := string(s.Name), "directory whose config.json has"
		switch isOriginal := l.Semantics == reference.Original.String(); { // then the recording was made without a config.json
		case s.Name == logits.WindowSetting && isOriginal: // it may be written as one more
			name, of = "an attention window of", "model that has"
		case s.Name == logits.WindowSetting:
			name = "attention_window_size"
		case s.Name == logits.SoftCapSetting && isOriginal:
			name, of = "a soft cap of", "model that has"
		}
		has := "both checkpoints have " + s.Value
		if s.Name == logits.WindowSetting && !c.attendAlike() {
			has = "neither checkpoint has that"
		}
		v.excuses[f] = fmt.Sprintf("the recording was made with %s %s, and %s", name, s.Recorded, has)
		advise(c.run.verdict, fmt.Sprintf("the recording is of a %s %s %s", of, name, s.Recorded))
	}
}

// excuseRecorded finds the faults of a result that no setting explains, and that show no difference either: the recording is of the weights that both
// checkpoints have, so that it was made with another configuration than that in which they agree, or is wrong.
func (c *computation) excuseRecorded(l *logits.Result) {
	if l.Weights != logits.SameWeights || !c.run.proven() || !isStated(c.run.sourceModel) {
		return
	}
	for _, f := range l.Faults {
		if v := c.run.verdict; f.Setting == nil && v.excuses[f] == "" && f.InCheckpoint() {
			v.excuses[f] = "the recording is of the weights that both checkpoints have, and was made with another configuration or is wrong"
			advise(c.run.verdict, "the weights are those that were recorded, and what is computed with them is not")
		}
	}
}

// isStated reports whether a config.json of a source states all settings.
func isStated(source *model.Model) bool {
	stated, err := source.StatedConfig()
	return stated != nil && err == nil && source.Layout == model.HuggingFace
}

// advise notes what a recording is of, and what to do.
func advise(v *Verdict, recordingOf string) {
	say := recordingOf + ": give a recording of this model, or verify what was recorded"
	if !slices.Contains(v.Notes, say) {
		v.Notes = append(v.Notes, say)
	}
}
