package verify

import (
	"context"
	"sync"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
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
	source, err := completeModel(r.found, r.options.Settings)
	if err != nil {
		return err
	}
	var converted *Model
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
	return r.converted != nil && r.found.Layout != convert.HuggingFace && r.plan.Layout != convert.HuggingFace
}

// convertedModel returns the converted checkpoint as a model to run. What an original does not say is what the
// source says.
func (r *run) convertedModel(source *Model) (*Model, error) {
	if r.made == nil {
		_, err := convert.Recognize(r.converted)
		return nil, err
	}
	settings := convert.Settings{}
	if c := &r.plan.Config; r.plan.Layout != convert.HuggingFace && r.plan.Settled {
		settings = convert.Settings{AttentionWindow: &c.AttentionWindow, LogitsSoftCap: &c.LogitsSoftCap, EmbeddingScale: &c.EmbeddingScale}
	}
	m, err := completeModel(r.made, settings)
	if err != nil {
		return nil, err
	}
	if m.Found.Layout == convert.HuggingFace && r.plan.Settled {
		m.termsFrom = fromSource
		if source.Found.Layout == convert.HuggingFace {
			m.termsFrom = source.termsFrom // it knows no more than that
		}
		window, softCap := r.plan.Config.AttentionWindow, r.plan.Config.LogitsSoftCap
		if m.Config.AttentionWindow != window+1 {
			window = m.Config.AttentionWindow // of no convention, if it is not the window: the configuration says so
		}
		if softCap != 0 || !huggingface.IsNoSoftCap(m.Config.LogitsSoftCap, r.plan.DType) {
			softCap = m.Config.LogitsSoftCap
		}
		m.setTerms(window, softCap)
	}
	return m, nil
}

// compareRuntimes finds out where the checkpoints part when each is run by what runs its layout.
func (r *run) compareRuntimes(ctx context.Context, source, converted *Model, passes []golden.Pass) error {
	runtime := reference.Transformers5
	if r.options.Runtime != nil {
		runtime = *r.options.Runtime
	}
	result, err := CompareRuntime(ctx, source, converted, runtime, passes, r.proven() && r.verdict.Weights.Rounded == 0)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return r.skipConverted(err)
	}
	r.verdict.Runtime = result
	if r.verdict.Window = converted.Window(); r.verdict.Window == nil {
		r.verdict.Window = source.Window()
	}
	return nil
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
func (r *run) holdAgainst(ctx context.Context, g *golden.Fixture, source, converted *Model) error {
	models := []*Model{source}
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
		o := CompareOptions{Semantics: r.options.Semantics}
		if len(models) == 2 {
			o.Other = models[0]
			if m == models[0] {
				o.Other = models[1]
			}
		}
		m.OnRead = r.reading(g, m)
		result, err := CompareLogits(ctx, m, g, o)
		if err != nil && m == converted && ctx.Err() == nil {
			if err := r.skipConverted(err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if m.mayMatch(result) {
			matching := *m
			matching.setTerms(m.Config.AttentionWindow-1, m.Original.LogitsSoftCap)
			again, err := CompareLogits(ctx, &matching, g, o)
			if err != nil {
				return err
			}
			if again.OK {
				result, *m = again, matching
			}
		}
		if result.OK && m.termsFrom == assumed && result.Semantics == reference.Original.String() && longest(g.Passes) > int(m.Original.AttentionWindow) {
			m.termsFrom = fromFixture
		}
		r.verdict.Logits = append(r.verdict.Logits, result)
	}
	return nil
}

// longest returns the tokens of the longest document.
func longest(passes []golden.Pass) (tokens int) {
	for i := range passes {
		for _, position := range passes[i].Positions {
			tokens = max(tokens, int(position)+1)
		}
	}
	return tokens
}

// mayMatch reports whether a Hugging Face directory, of which nothing says how its window is written, may have one
// that matches transformers 5: as it is read, the original's results lie outside.
func (m *Model) mayMatch(l *LogitsResult) bool {
	return !l.OK && len(l.Faults) > 0 && l.Semantics == reference.Original.String() && m.termsFrom == assumed &&
		m.Found.Layout == convert.HuggingFace && m.Config.Has(convert.Attention) && m.Config.AttentionWindow > 1
}

// reading returns what counts the weights that runs of a model read, as progress.
func (r *run) reading(g *golden.Fixture, m *Model) func(int64) {
	if r.options.Progress == nil {
		return nil
	}
	var size, done int64
	for _, named := range m.Found.Named(&m.Config) {
		size += named.Tensor.Bytes()
	}
	c := newComparison(context.Background(), m, g, CompareOptions{})
	total := size * int64(1+len(c.runs))
	if c.feed {
		total *= 2
	}
	var mu sync.Mutex
	return func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		r.progress("running", min(done, total), total)
	}
}

// fitting returns the passes whose tokens a model has.
func fitting(passes []golden.Pass, m *Model) []golden.Pass {
	for i := range passes {
		for _, token := range passes[i].Tokens {
			if int64(token) >= m.Config.VocabSize {
				return nil
			}
		}
	}
	return passes
}
