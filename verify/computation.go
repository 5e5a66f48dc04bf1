package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// computation compares what the models compute.
type computation struct {
	run       *run
	source    *runtime.Model
	converted *runtime.Model  // nil if there is none, or none that can be run
	fixture   *golden.Fixture // nil if there is none
}

// checkComputation compares the models with the fixture, and the source with the converted checkpoint as runtimes compute
// them.
func (r *run) checkComputation(ctx context.Context) (err error) {
	c := &computation{run: r, fixture: r.fixture}
	bothOriginal := r.converted != nil && r.sourceModel.Layout != model.HuggingFace && r.plan.Layout != model.HuggingFace
	if c.fixture == nil && bothOriginal { // one runtime runs both, and the weights were compared
		return nil
	}
	if c.source, err = runtime.New(r.sourceModel, r.options.Settings); err != nil {
		return withStated(ctx, err, r)
	}
	c.source = r.recordedOriginal(c.source)
	if r.converted == nil {
		if err := c.source.CheckHead(ctx); err != nil {
			return err
		}
	} else {
		if c.converted, err = r.runnable(c.source); err != nil {
			if err := c.skipConverted(err); err != nil || c.fixture == nil {
				return err
			}
			c.converted = nil
		}
	}
	if c.fixture != nil {
		given := c.source
		if err := c.compareWithFixture(ctx); err != nil {
			return err
		}
		shareEvidence(c)
		if c.source.Evidence == runtime.FromFixture {
			r.proved = c.source.Original.AttentionWindow
		}
		if shown := c.source; given.Evidence == runtime.Given && shown.Evidence == runtime.FromFixture && shown.Original.AttentionWindow != given.Original.AttentionWindow {
			r.contradicted = append(r.contradicted, contradiction{name: logits.WindowSetting, given: fmt.Sprint(given.Original.AttentionWindow), found: fmt.Sprint(shown.Original.AttentionWindow), of: "recording"})
		}
	}
	if r.converted != nil && c.converted == nil { // nothing can be said of what it computes
		return c.fixture.Unchanged()
	}
	window := c.source.Window()
	if c.converted != nil {
		isOther := r.verdict.another || len(r.convertedModel.Config.BlockTypes) != len(r.plan.Config.BlockTypes) // how runtimes run it is beside the point
		if !bothOriginal && r.copy == nil && !isOther {                                                          // runtimes that run quantised copies round otherwise
			if r.verdict.Runtime, err = c.compareRuntimes(ctx); err != nil && ctx.Err() == nil {
				return c.skipConverted(err)
			} else if err != nil {
				return err
			}
		}
		if w := c.converted.Window(); w != nil {
			window = w
			if r.plan.SettingsKnown {
				window = w.For(r.plan.Config.AttentionWindow)
				if (window != w || r.open || w.Source == runtime.Assumed && w.Matches == "") && c.source.Evidence != runtime.FromManifest && r.sourceModel.Layout == model.HuggingFace {
					window = c.windowBeside(w)
				}
			}
		}
	}
	r.verdict.Window = window
	if c.fixture != nil {
		return c.fixture.Unchanged()
	}
	return nil
}

// recordedOriginal returns the source with what the record of a conversion to an original says of its window: the conversion has the original's, and
// states it nowhere else.
func (r *run) recordedOriginal(source *runtime.Model) *runtime.Model {
	if r.open {
		return source.WithOriginal(source.Original.AttentionWindow, source.Original.LogitsSoftCap, runtime.Assumed)
	}
	if slices.Contains(r.recorded, string(logits.WindowSetting)) && source.Evidence == runtime.Given {
		return source.WithOriginal(source.Original.AttentionWindow, source.Original.LogitsSoftCap, runtime.FromManifest)
	}
	if source.Evidence != runtime.Assumed || r.sourceModel.Layout != model.HuggingFace || r.converted == nil || r.plan.Layout == model.HuggingFace ||
		r.record.settings() == nil || r.record.Layout != r.plan.Layout.String() {
		return source
	}
	evidence := runtime.FromManifest
	if r.record.Settings.AttentionWindow != source.Original.AttentionWindow {
		evidence = runtime.Contradicted
	} else if r.record.Settings.WindowAssumed {
		return source
	}
	return source.WithOriginal(source.Original.AttentionWindow, source.Original.LogitsSoftCap, evidence)
}

// windowBeside returns the window of a conversion whose source is a Hugging Face directory, where nothing but a recording or the record of the
// conversion may say whether it is the original's, or that of the source, or one more.
func (c *computation) windowBeside(w *runtime.Window) *runtime.Window {
	own, record, source := w.For(c.run.plan.Config.AttentionWindow) == w, &c.run.record, c.source.Config.AttentionWindow
	beside := *w
	switch {
	case c.source.Evidence == runtime.FromFixture:
		return w.For(c.source.Original.AttentionWindow)
	case w.Source == runtime.FromFixture:
		return w
	case !c.run.open && record.settings() != nil && !record.Settings.WindowAssumed && record.Layout == c.run.plan.Layout.String() && statement.RecordedWindow(record.Record) == w.Written:
		beside.Source, beside.Original, beside.Matches = runtime.FromManifest, record.Settings.AttentionWindow, ""
		if beside.Original < w.Written {
			beside.Matches = runtime.Transformers5.Name
		}
		beside.Summary = fmt.Sprintf("attention_window_size is %d, and that of the source %d: %s records %d for the original's window", w.Written, source, manifest.Name, beside.Original)
	case own && !c.run.open:
		return w
	default:
		beside.Source, beside.Matches = runtime.Assumed, ""
		beside.Summary = fmt.Sprintf("attention_window_size is %d, and that of the source %d: nothing says which of them is the original's window, or one more", w.Written, source)
	}
	return &beside
}

// runnable returns the converted model with a complete configuration. Settings that an original does not have are those of
// the source.
func (r *run) runnable(source *runtime.Model) (*runtime.Model, error) {
	if r.convertedModel == nil {
		_, err := model.Recognize(r.converted, model.Options{})
		return nil, err
	}
	if r.tiesOther {
		return nil, errors.New(model.ComputedWith("the embedding", "the output head"))
	}
	known := &r.plan.Config
	m, err := runtime.New(r.convertedModel, unstatedSettings(r.plan, r.convertedModel, r.verdict.Config))
	if err != nil || r.convertedModel.Layout != model.HuggingFace || !r.plan.SettingsKnown {
		return m, err
	}
	evidence := runtime.FromSource
	switch {
	case source.Found.Layout == model.HuggingFace:
		evidence = source.Evidence
	case r.plan.WindowAssumed:
		evidence = runtime.Assumed
	}
	// What config.json has instead of the window, the window + 1 or a soft cap for none is a finding of the configuration;
	// the original is run with it too.
	window, softCap := m.Config.AttentionWindow, m.Config.LogitsSoftCap
	if window == known.AttentionWindow+1 && !(statedWindow(r.sourceModel) == known.AttentionWindow && r.plan.HF.MatchRuntime == "") {
		window = known.AttentionWindow
	}
	if hf := r.plan.HF; hf != nil && softCap == float64(hf.LogitsSoftCap) {
		softCap = known.LogitsSoftCap // the number that stands for no cap is so small in float16 that it changes logits
	}
	if known.LogitsSoftCap == 0 && huggingface.IsNoSoftCap(softCap, r.plan.DType) {
		softCap = 0
	}
	if evidence == runtime.Assumed && (m.Evidence == runtime.Contradicted || m.Evidence == runtime.FromManifest && m.Original.AttentionWindow == window) {
		evidence = m.Evidence // the record of the conversion says what the source does not
	}
	return m.WithOriginal(window, softCap, evidence), nil
}

// unstatedSettings returns the settings of a converted model of a plan, if nothing beside it states them and nothing should, as beside an original
// or a single file: those of the source. A file whose embedding was divided cannot be run without its config.json.
func unstatedSettings(p *convert.Plan, found *model.Model, config *Section) model.Settings {
	if found == nil || !p.SettingsKnown {
		return model.Settings{}
	}
	s := model.SettingsOf(&p.Config)
	if hf := p.HF; hf != nil {
		if stated, err := found.StatedConfig(); stated != nil || err != nil || !config.OK || hf.EmbeddingDividedBy != 0 {
			return model.Settings{}
		}
		softCap := float64(hf.LogitsSoftCap)
		s.AttentionWindow, s.LogitsSoftCap = &hf.AttentionWindowSize, &softCap
	}
	return s
}

// skipConverted leaves out what the converted model computes, since it cannot be run, if the other checks have said what is wrong with it,
// and notes that where logits were asked for; otherwise it returns the error.
func (c *computation) skipConverted(err error) error {
	if c.run.proven() {
		return err
	}
	if c.fixture != nil {
		why := "it cannot be run, because of what is wrong with it"
		if c.run.tiesOther {
			why = withoutDirectory(err)
		}
		c.run.verdict.Notes = append(c.run.verdict.Notes, "the logits of the converted checkpoint were not compared: "+why)
	}
	return nil
}

// compareWithFixture compares the models with the fixture. A model whose window the fixture shows is replaced.
func (c *computation) compareWithFixture(ctx context.Context) error {
	models := c.modelsForFixture()
	for i, m := range models {
		var other *runtime.Model
		if len(models) == 2 {
			other = *models[1-i]
		}
		result, known, err := c.compareModel(ctx, *m, other)
		if err != nil && m == &c.converted && ctx.Err() == nil {
			if err := c.skipConverted(err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		*m = known
		if c.run.converted == nil {
			c.run.verdict.Given = onlyGiven(c.run.sourceModel, c.given(known))
		}
		if how := c.run.verdict.Weights.altered(); how != "" && len(models) == 1 && m == &c.source && c.converted != nil {
			result.Notes = append(result.Notes, fmt.Sprintf("the conversion, %s, was not run against the recording", how))
		}
		if !result.OK && len(known.Inexact) > 0 && result.Semantics == reference.Original.String() {
			result.Notes = append(result.Notes, fmt.Sprintf("%s records that the directory does not compute exactly what its source does: %s", manifest.Name, strings.Join(known.Inexact, "; ")))
		}
		c.run.verdict.Logits = append(c.run.verdict.Logits, result)
		c.run.verdict.layers[result] = layersOf(known.Found.Checkpoint.Tensors())
		c.excuseWindow(result, known)
		c.excuseConfig(result)
		excuseGiven(c, result)
		c.noteGiven(result, c.given(known))
	}
	return c.checkRecorded(ctx)
}

// shareEvidence applies to both models what the fixture shows of the attention window of one, if they are proven to be the same and nothing else says
// which window the other has.
func shareEvidence(c *computation) {
	if c.converted == nil || !c.run.proven() {
		return
	}
	share := func(known *runtime.Model, other **runtime.Model) {
		m, window := *other, known.Original.AttentionWindow
		if known.Evidence == runtime.FromFixture && (m.Evidence == runtime.Assumed || m.Evidence == runtime.Given) && (m.Config.AttentionWindow == window || m.Config.AttentionWindow == window+1) {
			*other = m.WithOriginal(window, m.Original.LogitsSoftCap, runtime.FromFixture)
		}
	}
	share(c.source, &c.converted)
	share(c.converted, &c.source)
}

// modelsForFixture returns the models to compare with the fixture. If they are proven to be the same, it is the one whose
// layout the fixture's implementation runs, and of two that attend otherwise the conversion. If elements of the conversion were rounded, it
// is one of them as well, even if others are wrong: the rounding alone makes outputs of the other differ.
func (c *computation) modelsForFixture() []**runtime.Model {
	source, converted := &c.source, &c.converted
	if c.converted == nil {
		return []**runtime.Model{source}
	}
	proven, altered := c.run.proven(), c.run.verdict.Weights.altered() != "" && c.run.copy == nil
	if !proven && !altered {
		return []**runtime.Model{source, converted}
	}
	isOriginal := func(s reference.Semantics) bool { return s == reference.Original }
	recorded := isOriginal(c.fixture.Meta.Semantics)
	if recorded && c.source.Evidence == runtime.Given && rivalWindow(c.source) == c.source.Config.AttentionWindow { // which it may have, and not the one given
		return []**runtime.Model{source}
	}
	if isOriginal(c.source.Semantics()) != recorded && (isOriginal(c.converted.Semantics()) == recorded || !recorded) || proven && !c.attendAlike() && !isOriginal(c.converted.Semantics()) {
		return []**runtime.Model{converted}
	}
	return []**runtime.Model{source}
}

// attendAlike reports whether both models have the same attention window with the semantics that they are compared with: one may be written to match
// a runtime, and the other not.
func (c *computation) attendAlike() bool {
	s := c.fixture.Meta.Semantics
	if given := c.run.options.Semantics; given != nil {
		s = *given
	}
	return c.source.ConfigUnder(s).AttentionWindow == c.converted.ConfigUnder(s).AttentionWindow
}

// compareModel compares a model with the fixture, and returns the model with what the fixture shows of its window.
func (c *computation) compareModel(ctx context.Context, m, other *runtime.Model) (*logits.Result, *runtime.Model, error) {
	o := logits.Options{Semantics: c.run.options.Semantics, Other: other, Given: c.given(m)}
	m.OnRead = c.reading(m)
	if c.run.converted == nil { // no proof has computed them
		o.Digest = c.run.digestAlgorithms()
	}
	result, err := logits.Compare(ctx, m, c.fixture, o)
	if err != nil {
		return nil, nil, err
	}
	c.run.digests, o.Digest = result.Digests, 0
	if !slices.Contains([]runtime.Evidence{runtime.Assumed, runtime.Contradicted, runtime.Given}, m.Evidence) || result.Semantics != reference.Original.String() {
		return result, m, nil
	}
	// Nothing proves whether the directory has the original's window or one more. If results are outside with one of them, the
	// other may explain them.
	if other := rivalWindow(m); !result.OK && len(result.Faults) > 0 && m.Window() != nil && other > 0 {
		matching := m.WithOriginal(other, m.Original.LogitsSoftCap, m.Evidence)
		again, err := logits.Compare(ctx, matching, c.fixture, o)
		if err != nil {
			return nil, nil, err
		}
		if again.OK {
			result, m = again, matching
		}
	}
	if window := m.Original.AttentionWindow; result.OK && c.fixture.Meta.Implementation.IsOriginal() && runtime.LongestDocument(c.fixture.Passes) > int(window) {
		m = m.WithOriginal(window, m.Original.LogitsSoftCap, runtime.FromFixture)
	}
	return result, m, nil
}

// rivalWindow returns the window that the original may have instead of the one that is taken for its own: config.json has it, or one more.
func rivalWindow(m *runtime.Model) int64 {
	if written := m.Config.AttentionWindow; m.Original.AttentionWindow != written {
		return written
	}
	return m.Config.AttentionWindow - 1
}

// reading returns a function that reports the bytes of weights that runs of a model read as progress.
func (c *computation) reading(m *runtime.Model) func(int64) {
	if c.run.options.Progress == nil {
		return nil
	}
	var done atomic.Int64
	total := logits.BytesRead(m, c.fixture)
	return func(n int64) {
		read := done.Add(n)
		if over := read - total; over > total/10 { // the total is about what the comparison reads, without this
			c.run.progress("looking for the cause", over, -1)
			return
		}
		c.run.progress("running", min(read, total), total)
	}
}

// passes returns the passes of the fixture, unless they have tokens that the models do not have.
func (c *computation) passes() []golden.Pass {
	if c.fixture == nil {
		return nil
	}
	outside := func(token int32) bool { return int64(token) >= c.source.Config.VocabSize }
	if slices.ContainsFunc(c.fixture.Passes, func(p golden.Pass) bool { return slices.ContainsFunc(p.Tokens, outside) }) {
		return nil
	}
	return c.fixture.Passes
}
