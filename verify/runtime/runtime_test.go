package runtime_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Runtimes diverge at the token where their recordings diverge.
func TestCompare(t *testing.T) {
	for name, window := range map[string]int{"tiny-griffin": 8, "odd-griffin": 5} {
		c := cases.Open(t, name)
		source, hf := c.Model(t, c.Checkpoints(t)[0]), c.Model(t, filepath.Join(c.Dir, "hf"))
		jax, err := golden.Open(c.Recording("jax"))
		if err != nil {
			t.Fatal(err)
		}
		defer jax.Close()
		for r, want := range map[*runtime.Runtime]int{runtime.Transformers5: window, runtime.Transformers4: window + 1, runtime.Original: -1} {
			plain, packed := jax.Passes[:1], jax.Passes[1:]
			a, b := source.RunBy(r), hf.RunBy(r)
			d := compare(t, a, b, plain)
			if d.From != want || (d.First != nil) != (want >= 0) || d.First != nil && (int(d.First.Position) != want || d.First.Row != 0) {
				t.Errorf("%s, %s: %+v", name, r.Name, d)
			}
			if d.First != nil {
				m, err := logits.Distance(t.Context(), a.Reference(), b.Reference(), plain, d.First.Index)
				if err != nil || m == nil || !(m.Largest > 0) {
					t.Errorf("%s, %s: logits differ by %+v, %v", name, r.Name, m, err)
				}
			}
			if d = compare(t, a, b, packed); (d.First != nil) != (r != runtime.Original) || d.First != nil && d.Pass != "packed" {
				t.Errorf("%s, %s, packed: %+v", name, r.Name, d)
			}
			short := []golden.Pass{{Batch: 1, Length: window, Tokens: jax.Passes[0].Tokens[:window], Positions: jax.Passes[0].Positions[:window]}}
			if d = compare(t, a, b, short); d.First != nil || want >= 0 && !strings.Contains(d.Summary, "was not reached") {
				t.Errorf("%s, %s, short: %+v", name, r.Name, d)
			}
		}
		recordingsDiverge(t, c, window)
	}
}

func compare(t *testing.T, a, b runtime.Side, passes []golden.Pass) *runtime.Divergence {
	t.Helper()
	d, err := runtime.Compare(a, b, passes)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// recordingsDiverge checks that the recordings of the original and of transformers 5 diverge at the window.
func recordingsDiverge(t *testing.T, c *cases.Case, window int) {
	t.Helper()
	var logits [2]*reference.Activations
	for i, name := range []string{"jax", "hf5"} {
		g, err := golden.Open(c.Recording(name))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if logits[i], err = g.Passes[0].Read("logits"); err != nil {
			t.Fatal(err)
		}
	}
	at := func(token int) float64 {
		worst := 0.0
		for i := range logits[0].Width {
			worst = math.Max(worst, math.Abs(logits[0].At(token*logits[0].Width+i)-logits[1].At(token*logits[0].Width+i)))
		}
		return worst
	}
	before := 0.0
	for i := range window {
		before = math.Max(before, at(i))
	}
	if after := at(window); after < 2*before {
		t.Errorf("recordings differ by %g at the window and by %g before it", after, before)
	}
}

// With a window that is one larger, transformers 5 and mlx-lm see what the original sees; a soft cap of 0 makes logits of transformers zero.
func TestCompareWithLargerWindow(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	source, hf := c.Model(t, c.Checkpoints(t)[0]), c.Model(t, filepath.Join(c.Dir, "hf"))
	larger := *hf
	larger.Config.AttentionWindow++
	capless := larger
	capless.Config.LogitsSoftCap = 0
	for _, tt := range []struct {
		name    string
		hf      *runtime.Model
		runtime *runtime.Runtime
		want    int
	}{
		{"plain", hf, runtime.Transformers5, 8},
		{"larger", &larger, runtime.Transformers5, -1},
		{"larger", &larger, runtime.Transformers4, 9},
		{"without cap", &capless, runtime.Transformers5, 0},
	} {
		d := compare(t, source.RunBy(tt.runtime), tt.hf.RunBy(tt.runtime), nil)
		if d.From != tt.want {
			t.Errorf("%s: %s diverges from %d on, want %d: %s", tt.name, tt.runtime.Name, d.From, tt.want, d.Summary)
		}
	}
	for _, r := range []*runtime.Runtime{runtime.MLX, runtime.Candle} { // the recurrence is wider than the model; rope_theta lacks
		if d := compare(t, source.RunBy(r), larger.RunBy(r), nil); d.From != -1 || !strings.Contains(d.Summary, r.Name+" does not load the directory: it needs") {
			t.Errorf("%s: %+v", r.Name, d)
		}
		if d := compare(t, hf.RunBy(r), hf.RunBy(r), nil); d.From != -1 || !strings.Contains(d.Summary, r.Name+" does not load the directory: it needs") {
			t.Errorf("%s on both sides: %+v", r.Name, d)
		}
	}
}
