package logits

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// recordFloat64 records a model in float64, in an order of sums that is not that of the model compared with it.
func recordFloat64(t *testing.T, m *runtime.Model, s reference.Semantics, length int, logitsOnly bool, change func(*reference.Model)) *golden.Fixture {
	t.Helper()
	tokens := &golden.Tokens{Batch: 1, Length: length}
	for i := range length {
		tokens.IDs = append(tokens.IDs, int32((i*i*5+i+4)%int(m.Config.VocabSize)))
		tokens.Positions = append(tokens.Positions, int32(i))
	}
	recorded := m.Reference(s, reference.Arithmetic{Precision: reference.Float64, Order: 1001})
	change(recorded)
	path := filepath.Join(t.TempDir(), "fixture.safetensors")
	if _, err := golden.Record(t.Context(), path, recorded, tokens, golden.RecordOptions{LogitsOnly: logitsOnly, DecodeFrom: (length + 1) / 2}); err != nil {
		t.Fatal(err)
	}
	g, err := golden.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// A right recording in float64 is inside, whatever it holds, and well inside: what is stored of it was rounded to float32 once. One that was made
// with another epsilon or soft cap is outside.
func TestFloat64RecordingsAreInside(t *testing.T) {
	for _, name := range []string{"tiny-griffin", "odd-griffin", "micro-griffin"} {
		f := cases.Open(t, name)
		m := f.Model(t, f.Checkpoints(t)[0])
		for _, s := range []reference.Semantics{reference.Original, reference.Transformers5} {
			for _, logitsOnly := range []bool{false, true} {
				label := fmt.Sprintf("%s, %v, logits only %t", name, s, logitsOnly)
				for _, length := range []int{1, 5, 24} {
					r := compareWith(t, m, recordFloat64(t, m, s, length, logitsOnly, func(*reference.Model) {}))
					if !r.OK || r.Worst() > 0.8 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "stored in float32") {
						t.Errorf("%s, %d tokens: %s, notes %q", label, length, r.Summary, r.Notes)
					}
					for _, p := range r.Metrics {
						if !(p.Legal.Largest > 2*p.Fixture.Largest) {
							t.Errorf("%s: %q differs by %v, legal runs by %v", label, p.Pass, p.Fixture.Largest, p.Legal.Largest)
						}
					}
				}
				epsilon := func(m *reference.Model) {
					v := variantOf(m.Config.Variant)
					v.NormEpsilon *= 10
					m.Config.Variant = &v
				}
				softCap := func(m *reference.Model) { m.Config.LogitsSoftCap = 5 }
				for what, change := range map[string]func(*reference.Model){"epsilon": epsilon, "soft cap": softCap} {
					if r := compareWith(t, m, recordFloat64(t, m, s, 24, logitsOnly, change)); r.OK || len(r.Faults) == 0 {
						t.Errorf("%s: another %s is inside: %s", label, what, r.Summary)
					}
				}
			}
		}
	}
}

// Wrong weights and other computations are found with a recording in float64, each in its block.
func TestFloat64RecordingsFindFaults(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	tokens, positions, packed, batch := trialTokens(m)
	const size = 1.0 / (1 << 12)
	for _, b := range []breakage{
		{1, "weights:" + reference.LinearX + reference.Kernel, size}, {1, "weights:" + reference.AParam, size}, {1, "erf:temporal", 0}, {1, "eps:" + reference.TemporalNorm, size},
		{2, "weights:" + reference.ProjV + reference.Kernel, size}, {2, "window one more", 0}, {2, "rope theta", 0.5},
		{3, "weights:" + reference.MLPDown + reference.Kernel, size}, {3, "gate and up exchanged", 0},
		{-1, "weights:" + reference.FinalNorm, size}, {-1, "soft cap", 0.01}, {-1, "embedding scale", size},
	} {
		n := newNaive(t, m, reference.Float64, b)
		r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float64", false))
		if r.OK || len(r.Faults) == 0 || b.block >= 0 && (r.Faults[0].Block != b.block || len(r.Faults) != 1) {
			t.Errorf("%+v: found %s", b, r.Summary)
		}
	}
}
