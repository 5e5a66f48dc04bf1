package verify

import (
	"context"
	"sync"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/reference"
)

// checkLogits holds the models against the fixture, and source against converted.
func (r *run) checkLogits(ctx context.Context) error {
	source, err := r.model(false)
	if err != nil {
		return err
	}
	var converted *Model
	if r.converted != nil && r.plan != nil {
		if converted, err = r.model(true); err != nil {
			return r.skipConverted(err)
		}
	}
	var passes []GoldenPass
	if r.options.Golden != "" {
		g, err := OpenGolden(r.options.Golden)
		if err != nil {
			return err
		}
		defer g.Close()
		passes = g.Passes
		if err := r.holdAgainst(ctx, g, source, converted); err != nil {
			return err
		}
	}
	if converted == nil {
		return nil
	}
	runtime := reference.Transformers5
	if r.options.Runtime != nil {
		runtime = *r.options.Runtime
	}
	r.verdict.Runtime, err = CompareRuntime(ctx, source, converted, runtime, fitting(passes, source), r.proven() && r.verdict.Weights.Rounded == 0)
	if err != nil && ctx.Err() == nil {
		return r.skipConverted(err)
	}
	return err
}

// model returns the source or the converted checkpoint as a model to run.
func (r *run) model(converted bool) (*Model, error) {
	checkpoint, settings := r.source, r.options.Settings
	if converted {
		checkpoint, settings = r.converted, convert.Settings{}
	}
	m, err := NewModel(checkpoint, settings)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// skipConverted says that the converted checkpoint could not be run, where the checks before have said why;
// otherwise the error stands.
func (r *run) skipConverted(err error) error {
	if r.proven() {
		return err
	}
	r.verdict.Notes = append(r.verdict.Notes, "logits were left out: "+err.Error())
	return nil
}

// holdAgainst holds the models against a fixture. Where they are proven to be the same, one pass serves both: of
// the one that the fixture's implementation would have run.
func (r *run) holdAgainst(ctx context.Context, g *Golden, source, converted *Model) error {
	models := []*Model{source}
	if converted != nil {
		models = append(models, converted)
		switch {
		case !r.proven():
		case g.Meta.Semantics == reference.Original:
			models = models[:1]
		default:
			models = models[1:]
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
		r.verdict.Logits = append(r.verdict.Logits, result)
	}
	return nil
}

// reading returns what counts the weights that runs of a model read, as progress.
func (r *run) reading(g *Golden, m *Model) func(int64) {
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
func fitting(passes []GoldenPass, m *Model) []GoldenPass {
	for i := range passes {
		for _, token := range passes[i].Tokens {
			if int64(token) >= m.Config.VocabSize {
				return nil
			}
		}
	}
	return passes
}
