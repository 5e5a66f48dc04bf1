package verify

import (
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// A directory without scale and cap, and one that matches transformers 5, computes under transformers 5 bit for bit what
// its source computes under the original, at every position of a document of several windows, in float32 and in
// bfloat16; and so it does under the original, as which it is run with the source's window and cap.
func TestFormsComputeTheSame(t *testing.T) {
	for _, b := range slices.Concat(dividedBases(t)[:1], matchedBases(t)) {
		source := openModel(t, b.source, b.settings)
		b.made.keeps = true
		made := openModel(t, b.made.write(t), model.Settings{})
		if made.Original.AttentionWindow != source.Config.AttentionWindow || made.Original.LogitsSoftCap != source.Config.LogitsSoftCap || made.Evidence != runtime.FromManifest {
			t.Errorf("%s: %+v from %s", b.name, made.Original, made.Evidence)
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
			if b.match != convert.NoRuntime {
				plain := logitsOf(t, source, reference.Transformers5, a)
				if slices.Equal(plain, want) {
					t.Errorf("%s: the tokens do not reach the window", b.name)
				}
			}
		}
	}
}

func logitsOf(t *testing.T, m *runtime.Model, s reference.Semantics, a reference.Arithmetic) (out []float32) {
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
