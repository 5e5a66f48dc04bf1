package reference

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

// TestRunTogether: passes that share the reading of the weights give the bits of passes alone, and each
// parameter is read once, but for the rows of the embedding.
func TestRunTogether(t *testing.T) {
	m, p := oddGriffin(t)
	var models []*Model
	var passes []Pass
	var want, got []map[string]Activations
	for i, a := range []Arithmetic{{Precision: Float64}, {}, {Order: 3}, {Precision: BFloat16}, {Precision: BFloat16, Fused: true, Order: 1}, {Precision: Fast}} {
		model, pass := *m, p
		model.Arithmetic = a
		if i%2 == 1 { // other inputs and another number of tokens
			pass.Tokens, pass.Positions, pass.Batch = p.Tokens[:7], nil, 1
		}
		want = append(want, results(t, &model, pass))
		got = append(got, map[string]Activations{})
		pass.Observe = func(o Observation) error {
			got[i][o.Name()] = o.Activations
			return nil
		}
		models, passes = append(models, &model), append(passes, pass)
	}
	asked := &tally{Weights: m.Weights, of: map[place]int{}}
	for _, model := range models {
		model.Weights = asked
	}
	if err := RunTogether(context.Background(), models, passes); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		sameBits(t, want[i], got[i])
	}
	for name, n := range asked.of {
		if name.name != Embedding && n != 1 {
			t.Errorf("block %d: %s was read %d times", name.block, name.name, n)
		}
	}
}

// tally counts how often parameters are asked for.
type tally struct {
	Weights
	mu sync.Mutex
	of map[place]int
}

// place names a parameter.
type place struct {
	block int
	name  string
}

func (w *tally) Parameter(block int, name string) (*Parameter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[place{block, name}]++
	return w.Weights.Parameter(block, name)
}

// TestRunTogetherRefuses: passes through different blocks, and models of different configurations.
func TestRunTogetherRefuses(t *testing.T) {
	m, p := oddGriffin(t)
	other := *m
	other.Config.LogitsSoftCap++
	for name, c := range map[string]struct {
		models []*Model
		passes []Pass
	}{
		"nothing":       {nil, nil},
		"numbers":       {[]*Model{m}, []Pass{p, p}},
		"configuration": {[]*Model{m, &other}, []Pass{p, p}},
		"blocks":        {[]*Model{m, m}, []Pass{p, {Tokens: p.Tokens, Batch: p.Batch, End: 1}}},
		"logits":        {[]*Model{m, m}, []Pass{p, {Tokens: p.Tokens, Batch: p.Batch, SkipLogits: true}}},
	} {
		if err := RunTogether(context.Background(), c.models, c.passes); err == nil || !strings.Contains(err.Error(), "passes") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestRunTogetherStops: an error of one pass ends all of them, and is the one that is returned.
func TestRunTogetherStops(t *testing.T) {
	m, p := oddGriffin(t)
	stop := errors.New("enough")
	q := p
	q.Observe = func(o Observation) error {
		if o.Site == Temporal {
			return stop
		}
		return nil
	}
	if err := RunTogether(context.Background(), []*Model{m, m}, []Pass{p, q}); err != stop {
		t.Errorf("got %v", err)
	}
}
