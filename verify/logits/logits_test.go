package logits

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// Metrics of logits whose distances are known.
func TestMetrics(t *testing.T) {
	var m meter
	addLogits(&m, 0, 0, []float32{1, 2, 3}, []float64{1, 2, 3})
	addLogits(&m, 0, 1, []float32{0, 0, 1}, []float64{0, 2, 1})
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

// Metrics of many tokens, computed again from their definitions.
func TestMetricsOfManyTokens(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const vocabulary = 25
	for _, tokens := range []int{1, 2, 19, 20, 21, 40, 101} {
		var m meter
		var sum, squares, norm, largest float64
		var kl []float64
		same, shared := 0, 0
		for token := range tokens {
			x, y := make([]float64, vocabulary), make([]float64, vocabulary)
			for i := range x {
				y[i] = random.NormFloat64() * 3
				x[i] = y[i] + random.NormFloat64()
			}
			addLogits(&m, 0, token, x, y)
			order := func(v []float64) []int {
				all := make([]int, len(v))
				for i := range all {
					all[i] = i
				}
				slices.SortFunc(all, func(i, j int) int { return cmp.Compare(v[j], v[i]) })
				return all[:10]
			}
			a, b := order(x), order(y)
			if a[0] == b[0] {
				same++
			}
			for _, i := range a {
				if slices.Contains(b, i) {
					shared++
				}
			}
			var totalX, totalY, divergence float64
			for i := range x {
				totalX, totalY = totalX+math.Exp(x[i]), totalY+math.Exp(y[i])
				d := math.Abs(x[i] - y[i])
				sum, squares, norm, largest = sum+d, squares+d*d, norm+y[i]*y[i], max(largest, d)
			}
			for i := range x {
				divergence += math.Exp(y[i]) / totalY * math.Log(math.Exp(y[i])/totalY/(math.Exp(x[i])/totalX))
			}
			kl = append(kl, divergence)
		}
		slices.Sort(kl)
		mean := 0.0
		for _, x := range kl {
			mean += x / float64(tokens)
		}
		p95 := slices.IndexFunc(kl, func(x float64) bool { // the first that 95% do not exceed
			return 100*len(slices.DeleteFunc(slices.Clone(kl), func(y float64) bool { return y > x })) >= 95*tokens
		})
		n, got := float64(tokens), m.metrics()
		for name, pair := range map[string][2]float64{
			"largest": {float64(got.Largest), largest}, "mean": {float64(got.Mean), sum / n / vocabulary}, "NMSE": {float64(got.NMSE), 10 * math.Log10(squares/norm)},
			"mean KL": {float64(got.KLMean), mean}, "95% KL": {float64(got.KLP95), kl[p95]}, "largest KL": {float64(got.KLMax), kl[tokens-1]},
			"top 1": {float64(got.Top1), float64(same) / n}, "top 10": {float64(got.Top10), float64(shared) / n / 10}, "others": {float64(got.Differ), float64(tokens - same)},
		} {
			if math.Abs(pair[0]-pair[1]) > 1e-9 {
				t.Errorf("%d tokens: %s is %v, not %v", tokens, name, pair[0], pair[1])
			}
		}
	}
	if none := (&meter{}).metrics(); none != (Metrics{}) {
		t.Error("metrics of no token")
	}
}

// worse takes the worse of each figure; metrics of no token are not worse than any.
func TestWorse(t *testing.T) {
	a := Metrics{Tokens: 3, Largest: 1, Mean: 2, NMSE: -3, KLMean: 4, KLP95: 5, KLMax: 6, Top1: 0.5, Top10: 0.9, Differ: 2}
	b := Metrics{Tokens: 3, Largest: 2, Mean: 1, NMSE: -4, KLMean: 5, KLP95: 4, KLMax: 7, Top1: 0.6, Top10: 0.8, Differ: 1}
	want := Metrics{Tokens: 3, Largest: 2, Mean: 2, NMSE: -3, KLMean: 5, KLP95: 5, KLMax: 7, Top1: 0.5, Top10: 0.8, Differ: 2}
	if a.worse(b) != want || b.worse(a) != want || (Metrics{}).worse(a) != a {
		t.Errorf("%+v, %+v, %+v", a.worse(b), b.worse(a), (Metrics{}).worse(a))
	}
}

// Distance is between the logits of whole runs, from a token of each row on.
func TestDistance(t *testing.T) {
	c := cases.Open(t, "tiny-griffin") // with a window of 8
	m := c.Model(t, c.Checkpoints(t)[0])
	a, b := m.Reference(reference.Original, reference.Arithmetic{}), m.Reference(reference.Transformers5, reference.Arithmetic{})
	var passes []golden.Pass
	for _, batch := range []int{2, 1} {
		p := golden.Pass{Batch: batch, Length: 12}
		for i := range batch * p.Length {
			p.Tokens, p.Positions = append(p.Tokens, int32(5*i%61)), append(p.Positions, int32(i%p.Length))
		}
		passes = append(passes, p)
	}
	run := func(m *reference.Model, p *golden.Pass) (logits *reference.Activations) {
		err := m.Run(t.Context(), reference.Pass{Tokens: p.Tokens, Positions: p.Positions, Batch: p.Batch, Observe: func(o reference.Observation) error {
			if o.Site == reference.Logits {
				logits = &o.Activations
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return logits
	}
	for first, tokens := range map[int]int{0: 36, 7: 15, 11: 3, 12: 0} {
		var want meter
		for i := range passes {
			x, y := run(a, &passes[i]), run(b, &passes[i])
			for row := range passes[i].Batch {
				for column := first; column < passes[i].Length; column++ {
					at := (row*passes[i].Length + column) * x.Width
					addLogits(&want, row, column, y.Float32[at:][:x.Width], x.Float32[at:][:x.Width])
				}
			}
		}
		got, err := Distance(t.Context(), a, b, passes, first)
		if err != nil || (got == nil) != (tokens == 0) || got != nil && (got.Tokens != tokens || *got != want.metrics() || !(got.Largest > 0)) {
			t.Errorf("from %d: %+v, %v", first, got, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Distance(ended, a, b, passes, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// NaN makes all figures NaN, whichever side has it, and whatever comes after it.
func TestMetricsOfNaN(t *testing.T) {
	nan := math.NaN()
	for _, logits := range [][2]float64{{nan, 1}, {1, nan}, {nan, nan}} {
		var m meter
		addLogits(&m, 0, 0, []float32{float32(logits[0]), 2, 1}, []float64{logits[1], 2, 1})
		addLogits(&m, 0, 1, []float32{0, 5, 1}, []float64{0, 4, 1})
		addLogits(&m, 0, 2, []float32{0, 2, 1}, []float64{0, 2, 1})
		got := m.metrics()
		for i, x := range []Number{got.Largest, got.Mean, got.NMSE, got.KLMean, got.KLP95, got.KLMax, got.Top1, got.Top10} {
			if !math.IsNaN(float64(x)) {
				t.Errorf("%v: figure %d is %v", logits, i, x)
			}
		}
		if got.Tokens != 3 || got.Differ != 1 {
			t.Errorf("%v: %d of %d tokens differ", logits, got.Differ, got.Tokens)
		}
		for i, x := range []float64{logits[1], logits[0]} {
			if top := m.tokens[0].Top[i]; math.IsNaN(x) != (top < 0) {
				t.Errorf("%v: token %d of the logits %d is said to be the most likely", logits, top, i)
			}
		}
	}
}

// A fixture of logits alone is judged, and the result says that any part of the model may be at fault. Wrong decoding is named.
// NaN is never inside.
func TestPartsOfFixtures(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
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
		{"attention of some blocks", breakage{2, "softmax scale", 0.5}, []string{"hidden.2", "hidden.3", "logits"}, nil, "block 2 (attention)"},
		{"half of a block", breakage{2, "softmax scale", 0.5}, []string{"temporal.2", "logits"}, nil, "block 2, temporal half (attention)"},
		{"half of a block, in the second half", breakage{3, "gate and up exchanged", 0}, []string{"temporal.3", "hidden.4"}, nil, "block 3 (recurrent)"},
		{"final norm", breakage{-1, "weights:" + reference.FinalNorm, 0.1}, []string{"hidden.5", "final_norm"}, nil, "final norm: first"},
		{"decoding", breakage{block: -2}, []string{"logits", "decode.logits"}, func(x map[string][][]float64) { x["decode.logits"][9] = x["decode.logits"][8] }, "only decoding"},
		{"no number", breakage{block: -2}, []string{"hidden.1"}, func(x map[string][][]float64) { x["hidden.1"][3][2] = math.NaN() }, "the recording itself is not finite"},
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
