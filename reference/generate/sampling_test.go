package generate

import (
	"errors"
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
)

func logitsOf(x ...float32) *reference.Activations { return &reference.Activations{Float32: x} }

// counts draws n tokens and returns how often each came.
func counts(t *testing.T, s Sampling, n int, logits *reference.Activations) []int {
	t.Helper()
	sampler, err := newSampler(s)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int, logits.Len())
	for range n {
		token, err := sampler.next(logits)
		if err != nil {
			t.Fatal(err)
		}
		out[token]++
	}
	return out
}

// TestSampling: tokens come as often as their probabilities say, among those that top-k and top-p leave.
func TestSampling(t *testing.T) {
	// Probabilities 0.4, 0.1, 0.3, 0.2.
	logits := logitsOf(float32(math.Log(4)), 0, float32(math.Log(3)), float32(math.Log(2)))
	for _, tt := range []struct {
		name string
		s    Sampling
		want []float64
	}{
		{"greedy", Sampling{TopK: 3, TopP: 0.5}, []float64{1, 0, 0, 0}},
		{"all", Sampling{Temperature: 1}, []float64{0.4, 0.1, 0.3, 0.2}},
		{"half temperature", Sampling{Temperature: 0.5}, []float64{16. / 30, 1. / 30, 9. / 30, 4. / 30}},
		{"top k", Sampling{Temperature: 1, TopK: 2}, []float64{4. / 7, 0, 3. / 7, 0}},
		{"top k of all", Sampling{Temperature: 1, TopK: 9}, []float64{0.4, 0.1, 0.3, 0.2}},
		{"top p", Sampling{Temperature: 1, TopP: 0.8}, []float64{4. / 9, 0, 3. / 9, 2. / 9}},
		{"top p takes one at least", Sampling{Temperature: 1, TopP: 0.01}, []float64{1, 0, 0, 0}},
		{"top p 1", Sampling{Temperature: 1, TopP: 1}, []float64{0.4, 0.1, 0.3, 0.2}},
		{"top k, then top p of what is left", Sampling{Temperature: 1, TopK: 2, TopP: 0.5}, []float64{1, 0, 0, 0}},
		{"temperature, then top p", Sampling{Temperature: 0.5, TopP: 0.6}, []float64{16. / 25, 0, 9. / 25, 0}},
	} {
		const n = 40_000
		for token, got := range counts(t, tt.s, n, logits) {
			if share := float64(got) / n; math.Abs(share-tt.want[token]) > 0.015 {
				t.Errorf("%s: token %d came in %.3f of the cases, want %.3f", tt.name, token, share, tt.want[token])
			}
		}
	}
}

// TestSeed: a seed always gives the same tokens. These are an interface: scripts rely on them.
func TestSeed(t *testing.T) {
	logits := logitsOf(1, 1, 1, 1, 1, 1, 1, 1)
	draw := func(seed uint64) (out [8]int32) {
		s, err := newSampler(Sampling{Temperature: 0.7, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for i := range out {
			if out[i], err = s.next(logits); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	if draw(1) == draw(2) {
		t.Error("two seeds give the same tokens")
	}
	if got, want := draw(1), [8]int32{1, 4, 0, 3, 6, 4, 0, 0}; got != want {
		t.Errorf("seed 1 gives %v, want %v", got, want)
	}
}

// TestGreedyTies: the first of equal logits is taken.
func TestGreedyTies(t *testing.T) {
	if got := counts(t, Sampling{}, 1, logitsOf(-1, 3, 2, 3))[1]; got != 1 {
		t.Error("the second of two equal logits is taken")
	}
}

// TestNotFinite: no token is chosen by logits that are NaN or infinite.
func TestNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, temperature := range []float64{0, 1} {
			s, err := newSampler(Sampling{Temperature: temperature})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.next(logitsOf(1, bad, 2)); !errors.Is(err, ErrNotFinite) {
				t.Errorf("%g at temperature %g: %v", bad, temperature, err)
			}
		}
	}
}
