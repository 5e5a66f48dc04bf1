package verify

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// checkLogits holds the models against the fixture, and source against converted.
func (r *run) checkLogits(ctx context.Context) error {
	g, err := r.golden()
	if err != nil {
		return err
	}
	if g != nil {
		defer g.Close()
	}
	if g == nil && r.bothOriginal() {
		return nil // the original runs both, and weights were compared
	}
	source, err := runtime.New(r.found, r.options.Settings)
	if err != nil {
		return err
	}
	var converted *runtime.Model
	if r.converted != nil {
		if converted, err = r.convertedModel(source); err != nil {
			return r.skipConverted(err)
		}
	}
	var passes []golden.Pass
	if g != nil {
		passes = g.Passes
		if err := r.holdAgainst(ctx, g, source, converted); err != nil {
			return err
		}
	}
	if converted == nil {
		r.verdict.Window = source.Window()
		return nil
	}
	return r.compareRuntimes(ctx, source, converted, fitting(passes, source))
}

func (r *run) golden() (*golden.Fixture, error) {
	if r.options.Golden == "" || r.options.WeightsOnly {
		return nil, nil
	}
	return golden.Open(r.options.Golden)
}

// bothOriginal reports whether there are two checkpoints, and the original implementation runs both.
func (r *run) bothOriginal() bool {
	return r.converted != nil && r.found.Layout != model.HuggingFace && r.plan.Layout != model.HuggingFace
}

// convertedModel returns the converted checkpoint as a model to run. What an original does not say is what the
// source says.
func (r *run) convertedModel(source *runtime.Model) (*runtime.Model, error) {
	if r.made == nil {
		_, err := model.Recognize(r.converted, model.Options{})
		return nil, err
	}
	settings := model.Settings{}
	if c := &r.plan.Config; r.plan.Layout != model.HuggingFace && r.plan.SettingsKnown {
		settings = model.SettingsOf(c)
	}
	m, err := runtime.New(r.made, settings)
	if err != nil {
		return nil, err
	}
	if m.Found.Layout == model.HuggingFace && r.plan.SettingsKnown {
		evidence := runtime.FromSource
		if source.Found.Layout == model.HuggingFace {
			evidence = source.Evidence // it knows no more than that
		}
		window, softCap := r.plan.Config.AttentionWindow, r.plan.Config.LogitsSoftCap
		if m.Config.AttentionWindow != window+1 {
			window = m.Config.AttentionWindow // of no convention, if it is not the window: the configuration says so
		}
		if softCap != 0 || !huggingface.IsNoSoftCap(m.Config.LogitsSoftCap, r.plan.DType) {
			softCap = m.Config.LogitsSoftCap
		}
		m = m.WithOriginal(window, softCap, evidence)
	}
	return m, nil
}

// RuntimeResult says where the source and the converted checkpoint diverge when each is run by a runtime of its layout:
// the original implementation, or for a Hugging Face directory another runtime. It is a fact about runtimes, not a
// failure.
type RuntimeResult struct {
	Runtime string `json:"runtime"` // name of the runtime that runs the Hugging Face side
	Summary string `json:"summary"` // one sentence
	Reason  string `json:"reason,omitempty"`

	// Part says that they diverge within the tokens, from First on (Share and Channel do not apply).
	Part  bool             `json:"part"`
	First *logits.Location `json:"first,omitempty"`
	Pass  string           `json:"pass,omitempty"` // of First: "" or "packed"

	// From is the position from which on they diverge in a document that is long enough; -1 if they never do.
	From int `json:"from"`

	// logits.Metrics compare the logits of both: those of the tokens from First on in each row if they diverge, or of all
	// tokens if the weights are not the same bit for bit. nil if nothing had to be run.
	Metrics *logits.Metrics `json:"metrics,omitempty"`

	Facts []runtime.Fact `json:"facts,omitempty"` // what each runtime does with the Hugging Face side
}

// compareRuntimes finds where the checkpoints diverge when each is run by a runtime of its layout.
func (r *run) compareRuntimes(ctx context.Context, source, converted *runtime.Model, passes []golden.Pass) error {
	if r.verdict.Window = converted.Window(); r.verdict.Window == nil {
		r.verdict.Window = source.Window()
	}
	if r.bothOriginal() {
		return nil
	}
	hf := r.options.Runtime
	if hf == nil {
		hf = runtime.Transformers5
	}
	a, b := source.RunBy(hf), converted.RunBy(hf)
	d := runtime.Compare(a, b, passes)
	metrics, err := r.runtimeMetrics(ctx, &a, &b, d, passes)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		r.verdict.Window = nil
		return r.skipConverted(err)
	}
	result := &RuntimeResult{Runtime: hf.Name, Summary: d.Summary, Reason: d.Reason, Part: d.First != nil, Pass: d.Pass, From: d.From, Metrics: metrics}
	if t := d.First; t != nil {
		result.First = &logits.Location{Row: t.Row, Token: t.Index, Position: t.Position}
	}
	if result.Facts = converted.Facts(); converted.Found.Layout != model.HuggingFace {
		result.Facts = source.Facts()
	}
	r.verdict.Runtime = result
	return nil
}

// runtimeMetrics compares the logits of both sides, unless it is known that they are the same.
func (r *run) runtimeMetrics(ctx context.Context, a, b *runtime.Side, d *runtime.Divergence, passes []golden.Pass) (*logits.Metrics, error) {
	same := r.proven() && r.verdict.Weights.Rounded == 0
	if same && d.First == nil || a.Config.VocabSize != b.Config.VocabSize || a.Config.Width != b.Config.Width || len(a.Config.BlockTypes) != len(b.Config.BlockTypes) {
		return nil, nil
	}
	from := 0
	if d.First != nil {
		passes = slices.DeleteFunc(slices.Clone(passes), func(p golden.Pass) bool { return p.Name != d.Pass })
		if same {
			from = d.First.Index
		}
	}
	return logits.Distance(ctx, a.Reference(), b.Reference(), passes, from)
}

// skipConverted says that the converted checkpoint could not be run, where the checks before have said why;
// otherwise the error stands.
func (r *run) skipConverted(err error) error {
	if r.proven() {
		return err
	}
	if !r.options.WeightsOnly {
		r.verdict.Notes = append(r.verdict.Notes, "logits were left out: "+err.Error())
	}
	return nil
}

// holdAgainst holds the models against a fixture. Where they are proven to be the same, one pass serves both: of
// the one that the fixture's implementation would have run.
func (r *run) holdAgainst(ctx context.Context, g *golden.Fixture, source, converted *runtime.Model) error {
	models := []*runtime.Model{source}
	if converted != nil {
		models = append(models, converted)
		switch wants := g.Meta.Semantics == reference.Original; {
		case !r.proven():
		case (source.Semantics() == reference.Original) == wants:
			models = models[:1]
		case (converted.Semantics() == reference.Original) == wants || !wants:
			models = models[1:]
		default:
			models = models[:1]
		}
	}
	for _, m := range models {
		o := logits.Options{Semantics: r.options.Semantics}
		if len(models) == 2 {
			o.Other = models[0]
			if m == models[0] {
				o.Other = models[1]
			}
		}
		m.OnRead = r.reading(g, m)
		result, err := logits.Compare(ctx, m, g, o)
		if err != nil && m == converted && ctx.Err() == nil {
			if err := r.skipConverted(err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if mayMatch(m, result) {
			matching := m.WithOriginal(m.Config.AttentionWindow-1, m.Original.LogitsSoftCap, m.Evidence)
			again, err := logits.Compare(ctx, matching, g, o)
			if err != nil {
				return err
			}
			if again.OK {
				result, *m = again, *matching
			}
		}
		if result.OK && m.Evidence == runtime.Assumed && result.Semantics == reference.Original.String() && runtime.LongestDocument(g.Passes) > int(m.Original.AttentionWindow) {
			m.Evidence = runtime.FromFixture
		}
		r.verdict.Logits = append(r.verdict.Logits, result)
	}
	return nil
}

// mayMatch reports whether a Hugging Face directory, of which nothing says how its window is written, may have one
// that matches transformers 5: as it is read, the original's results lie outside.
func mayMatch(m *runtime.Model, l *logits.Result) bool {
	return !l.OK && len(l.Faults) > 0 && l.Semantics == reference.Original.String() && m.Evidence == runtime.Assumed &&
		m.Found.Layout == model.HuggingFace && m.Config.Has(model.Attention) && m.Config.AttentionWindow > 1
}

// reading returns what counts the weights that runs of a model read, as progress.
func (r *run) reading(g *golden.Fixture, m *runtime.Model) func(int64) {
	if r.options.Progress == nil {
		return nil
	}
	var done atomic.Int64
	total := logits.BytesRead(m, g)
	return func(n int64) { r.progress("running", min(done.Add(n), total), total) }
}

// fitting returns the passes whose tokens a model has.
func fitting(passes []golden.Pass, m *runtime.Model) []golden.Pass {
	for i := range passes {
		for _, token := range passes[i].Tokens {
			if int64(token) >= m.Config.VocabSize {
				return nil
			}
		}
	}
	return passes
}
