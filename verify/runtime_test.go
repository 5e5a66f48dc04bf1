package verify

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// The token where runtimes part is where their recordings part.
func TestRuntimesPart(t *testing.T) {
	for name, window := range map[string]int{"tiny-griffin": 8, "odd-griffin": 5} {
		f := openFixture(t, name)
		source := f.open(t, f.checkpoints(t)[0])
		hf, err := OpenModel(t.Context(), filepath.Join(f.dir, "hf"), ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer hf.Close()
		jax, err := golden.Open(filepath.Join(f.dir, "golden", "jax.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer jax.Close()
		for runtime, want := range map[reference.Semantics]int{reference.Transformers5: window, reference.Transformers4: window + 1, reference.Original: -1} {
			plain, packed := jax.Passes[:1], jax.Passes[1:]
			r, err := CompareRuntime(t.Context(), source, hf, runtime, plain, true)
			if err != nil {
				t.Fatal(err)
			}
			if r.From != want || r.Part != (want >= 0) || r.Part && (int(r.First.Position) != want || r.First.Row != 0 || r.Metrics == nil || !(r.Metrics.Largest > 0)) {
				t.Errorf("%s, %s: %+v", name, runtime, r)
			}
			if r, err = CompareRuntime(t.Context(), source, hf, runtime, packed, true); err != nil {
				t.Fatal(err)
			}
			if r.Part != (runtime != reference.Original) || r.Part && r.Pass != "packed" {
				t.Errorf("%s, %s, packed: %+v", name, runtime, r)
			}
			short := []golden.Pass{{Batch: 1, Length: window, Tokens: jax.Passes[0].Tokens[:window], Positions: jax.Passes[0].Positions[:window]}}
			if r, err = CompareRuntime(t.Context(), source, hf, runtime, short, true); err != nil {
				t.Fatal(err)
			}
			if r.Part || want >= 0 && !strings.Contains(r.Summary, "was not reached") || r.Metrics != nil {
				t.Errorf("%s, %s, short: %+v", name, runtime, r)
			}
		}
		recordedPart(t, f, window)
	}
}

// recordedPart checks that the recordings of the original and of transformers 5 part at the window.
func recordedPart(t *testing.T, f *fixture, window int) {
	t.Helper()
	var logits [2]*reference.Activations
	for i, name := range []string{"jax", "hf5"} {
		g, err := golden.Open(filepath.Join(f.dir, "golden", name+".safetensors"))
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

// With a window that is one larger, transformers 5 sees what the original sees.
func TestRuntimeWithLargerWindow(t *testing.T) {
	a := convert.Config{BlockTypes: []convert.BlockType{convert.Attention}, AttentionWindow: 8, LogitsSoftCap: 30}
	b := a
	b.AttentionWindow = 9
	if got := partFrom(&a, reference.Original, &b, reference.Transformers5); got != -1 {
		t.Errorf("they part at %d", got)
	}
	b.LogitsSoftCap = 0
	if got := partFrom(&a, reference.Original, &b, reference.Transformers5); got != 0 {
		t.Errorf("with a soft cap of 0 they part at %d", got)
	}
}

func TestExplainRuntime(t *testing.T) {
	config := convert.Config{Width: 32, LRUWidth: 32, BlockTypes: []convert.BlockType{convert.Recurrent, convert.Attention}, AttentionWindow: 8, LogitsSoftCap: 30}
	find := func(c convert.Config, runtime, prompt, cache string) string {
		for _, f := range ExplainRuntime(&c, &c) {
			if f.Runtime == runtime && f.Prompt == prompt && f.Cache == cache {
				return f.Does
			}
		}
		return ""
	}
	narrow, hawk, capless := config, config, config
	narrow.LRUWidth = 48
	hawk.BlockTypes = hawk.BlockTypes[:1]
	capless.LogitsSoftCap = 0
	for _, tt := range []struct {
		config                        convert.Config
		runtime, prompt, cache, wants string
	}{
		{config, "original", "any", "either", "sees 9 tokens"},
		{config, "transformers4", "1 token", "with", "crashes"},
		{config, "transformers4", "more than 8 tokens", "with", "from position 0"},
		{config, "transformers4", "2 to 7 tokens", "with", "position 7"},
		{config, "transformers4", "more than 9 tokens", "without", "position 9"},
		{config, "transformers5", "1 token", "with", "previous call"},
		{narrow, "transformers5", "1 token", "with", "crashes"},
		{hawk, "transformers5", "any", "with", "cannot use the cache"},
		{config, "transformers5", "more than 8 tokens", "either", "position 8"},
		{capless, "transformers5", "any", "either", "zero"},
		{capless, "transformers4", "any", "either", "zero"},
	} {
		if got := find(tt.config, tt.runtime, tt.prompt, tt.cache); !strings.Contains(got, tt.wants) {
			t.Errorf("%s, %s, %s cache: %q, want %q", tt.runtime, tt.prompt, tt.cache, got, tt.wants)
		}
	}
}

// Metrics of logits whose distances are known.
func TestMetrics(t *testing.T) {
	var m meter
	add(&m, 0, 0, []float32{1, 2, 3}, []float64{1, 2, 3})
	add(&m, 0, 1, []float32{0, 0, 1}, []float64{0, 2, 1})
	got := m.metrics()
	p := []float64{1, math.E * math.E, math.E}
	q := []float64{1, 1, math.E}
	total, other := p[0]+p[1]+p[2], q[0]+q[1]+q[2]
	kl := 0.0
	for i := range p {
		kl += p[i] / total * math.Log(p[i]/total*other/q[i])
	}
	if math.Abs(float64(got.KLMax)-kl) > 1e-12 || math.Abs(float64(got.KLMean)-kl/2) > 1e-12 || got.Largest != 2 || math.Abs(float64(got.Mean)-2.0/6) > 1e-12 ||
		math.Abs(float64(got.NMSE)-10*math.Log10(4.0/19)) > 1e-12 || got.Top1 != 0.5 || got.Differ != 1 || got.Top10 != 1 {
		t.Errorf("%+v, KL %g", got, kl)
	}
	if best := highest([]float32{1, 5, 5, 2, 7}, 3); !slices.Equal(best, []int{4, 1, 2}) {
		t.Errorf("highest are %v", best)
	}
}

// A fixture of logits alone is judged by them, and says that it cannot tell more; decoding that goes wrong is
// told by name; and what is not a number is never inside.
func TestPartsOfFixtures(t *testing.T) {
	f := openFixture(t, "tiny-griffin")
	m := f.open(t, f.checkpoints(t)[0])
	tokens, positions, _, batch := trialTokens(m)
	length := len(tokens) / batch
	meta := map[string]string{"implementation": string(golden.JAX), "recurrentgemma": "1.0.1", "jax": "0", "dtype": "float32", "decode_start": "4"}
	inputs := map[string]naiveTensor{"tokens": naiveInts(tokens, batch, length), "positions": naiveInts(positions, batch, length)}
	for _, tt := range []struct {
		name   string
		broken breakage
		names  []string
		spoil  func(map[string][][]float64)
		wants  string
	}{
		{"logits alone", breakage{block: -2}, []string{"logits"}, nil, ""},
		{"logits alone, broken", breakage{1, "minus 8", 0.1}, []string{"logits"}, nil, "no hidden states"},
		{"hidden states of some blocks", breakage{1, "minus 8", 0.1}, []string{"hidden.1", "hidden.2", "logits"}, nil, "block 1"},
		{"decoding", breakage{block: -2}, []string{"logits", "decode.logits"}, func(x map[string][][]float64) { x["decode.logits"][9] = x["decode.logits"][8] }, "only decoding"},
		{"no number", breakage{block: -2}, []string{"hidden.1"}, func(x map[string][][]float64) { x["hidden.1"][3][2] = math.NaN() }, "block 0"},
	} {
		n := newNaive(t, m, reference.Float32, tt.broken)
		got := n.run(tokens, positions, batch)
		for row := range batch {
			got["decode.logits"] = append(got["decode.logits"], got["logits"][row*length+3:(row+1)*length]...)
		}
		if tt.spoil != nil {
			tt.spoil(got)
		}
		tensors := maps.Clone(inputs)
		for _, name := range tt.names {
			width := length
			if name == "decode.logits" {
				width -= 3
			}
			tensors[name] = naiveFloats(got[name], batch, width)
		}
		r := compareWith(t, m, naiveFixture(t, tensors, meta))
		if r.OK != (tt.wants == "") || !strings.Contains(r.Summary, tt.wants) && !r.OK {
			t.Errorf("%s: %s", tt.name, r.Summary)
		}
	}
}
