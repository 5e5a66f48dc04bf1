package verify

import (
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// A directory without scale and cap, and one that matches transformers 5, computes under transformers 5 bit for bit what
// its source computes under the original, at every position of a document of several windows, in float32 and in
// bfloat16; and so it does under the original, as which it is run with the source's window and cap.
func TestFormsComputeTheSame(t *testing.T) {
	for _, b := range slices.Concat(dividedBases(t)[:1], matchedBases(t)) {
		source, err := OpenModel(t.Context(), b.source, ModelOptions{Settings: b.settings})
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		b.made.keeps = true
		made, err := OpenModel(t.Context(), b.made.write(t), ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer made.Close()
		if made.Original.AttentionWindow != source.Config.AttentionWindow || made.Original.LogitsSoftCap != source.Config.LogitsSoftCap || made.termsFrom != fromRecord {
			t.Errorf("%s: %+v from %s", b.name, made.Original, made.termsFrom)
		}
		for _, precision := range []reference.Precision{reference.Float32, reference.BFloat16} {
			a := reference.Arithmetic{Precision: precision}
			want := logitsOf(t, source, reference.Original, a)
			for _, s := range []reference.Semantics{reference.Original, reference.Transformers5} {
				got := logitsOf(t, made, s, a)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s as %s: logits differ by up to %g", b.name, precision, s, farthest(got, want))
				}
			}
			if b.match != "" {
				plain := logitsOf(t, source, reference.Transformers5, a)
				if slices.Equal(plain, want) {
					t.Errorf("%s: the tokens do not reach the window", b.name)
				}
			}
		}
	}
}

func logitsOf(t *testing.T, m *Model, s reference.Semantics, a reference.Arithmetic) (out []float32) {
	t.Helper()
	tokens, err := golden.RandomTokens(24, m.Config.VocabSize, 7)
	if err != nil {
		t.Fatal(err)
	}
	err = m.Reference(s, a).Run(t.Context(), reference.Pass{Tokens: tokens.IDs, Batch: 1, Observe: func(o reference.Observation) error {
		if o.Site == reference.Logits {
			out = o.Float32
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func farthest(a, b []float32) float64 {
	most := 0.0
	for i := range a {
		most = math.Max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}

// What is said of runtimes fits how the window is written.
func TestExplainMatched(t *testing.T) {
	original := convert.Config{Width: 32, LRUWidth: 32, BlockTypes: []convert.BlockType{convert.Recurrent, convert.Attention}, AttentionWindow: 8, LogitsSoftCap: 0}
	written := original
	written.AttentionWindow, written.LogitsSoftCap = 9, 1<<20
	facts := map[string]RuntimeFact{}
	for _, f := range ExplainRuntime(&original, &written) {
		facts[f.Runtime+", "+f.Prompt+", "+f.Cache] = f
	}
	for key, does := range map[string]string{
		"original, any, either":                      "attention sees 9 tokens: its own and 8 before it",
		"transformers5, 2 tokens and more, with":     "as the original, decoding too: attention sees 9 tokens in both",
		"transformers5, any, without":                "as the original",
		"transformers5, any, in float16, either":     "logits lose digits: divided by the soft cap of 1048576, which stands for none, they leave float16's range",
		"transformers4, 2 to 8 tokens, with":         "as the original; decoding parts at position 8",
		"transformers4, 9 tokens, with":              "as the original, decoding too",
		"transformers4, more than 9 tokens, with":    "wrong logits from position 0 on",
		"transformers4, up to 9 tokens, without":     "as the original",
		"transformers4, more than 9 tokens, without": "attention has no window: parts at position 9, whatever attention_window_size says",
	} {
		if facts[key].Does != does {
			t.Errorf("%s: %q, want %q", key, facts[key].Does, does)
		}
	}
}
