package golden_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func open(t *testing.T, path string) *golden.Fixture {
	t.Helper()
	f, err := golden.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// record writes a fixture with a checkpoint for a recording's tokens, under its semantics, and opens it.
func record(t *testing.T, m *runtime.Model, like *golden.Fixture) *golden.Fixture {
	t.Helper()
	tokens, err := golden.ReadTokens(like.Path)
	if err != nil {
		t.Fatal(err)
	}
	var o golden.RecordOptions
	if like.Decode != nil {
		o.DecodeFrom = like.Decode.Start
	}
	path := filepath.Join(t.TempDir(), "golden.safetensors")
	run := m.Reference(like.Meta.Semantics, reference.Arithmetic{Precision: like.Meta.Precision})
	if _, err := golden.Record(context.Background(), path, run, tokens, o); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

// Fixtures recorded from every checkpoint of a model agree with what all implementations computed with the same
// weights: hidden states and logits, plain, packed and decoded.
func TestRecordAgrees(t *testing.T) {
	// of the largest value; as close as half precision allows
	tolerance := map[string]float64{"float32": 2e-5, "float16": 4e-3, "bfloat16": 4e-2}
	for _, name := range cases.Names {
		c := cases.Open(t, name)
		for _, path := range c.Recordings(t) {
			want := open(t, path)
			for _, checkpoint := range c.Checkpoints(t) {
				got := record(t, c.Model(t, checkpoint), want)
				if d := compareFixtures(t, got, want); !(d <= tolerance[c.DType]) {
					t.Errorf("%s of %s differs from %s by %.2g", checkpoint, want.Meta.Implementation, path, d)
				}
			}
		}
	}
}

// compareFixtures returns the worst difference between the results of want and those of got.
func compareFixtures(t *testing.T, got, want *golden.Fixture) float64 {
	t.Helper()
	most := 0.0
	compare := func(name string, g, w []float32) {
		d := worst(g, w)
		t.Logf("%s %s: %.2g", filepath.Base(want.Path), name, d)
		most = max(most, d)
		if math.IsNaN(d) {
			most = d
		}
	}
	for _, p := range want.Passes {
		for _, name := range p.Names() {
			w, err := p.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			g, err := got.Pass(p.Name).Read(name)
			if err != nil {
				t.Fatal(err)
			}
			compare(p.FullName(name), g.Float32, w.Float32)
		}
	}
	if want.Decode != nil {
		n := want.Passes[0].Batch * want.Decode.Length * want.Decode.Vocabulary()
		g, w := make([]float32, n), make([]float32, n)
		if err := want.Decode.ReadAt(w, 0); err != nil {
			t.Fatal(err)
		}
		if err := got.Decode.ReadAt(g, 0); err != nil {
			t.Fatal(err)
		}
		compare("decode.logits", g, w)
	}
	return most
}

// worst returns the largest difference, over the largest value.
func worst(got, want []float32) float64 {
	var most, largest float64
	if len(got) != len(want) {
		return math.Inf(1)
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= most) {
			most = d
		}
		largest = max(largest, math.Abs(float64(w)))
	}
	return most / largest
}

// A recording that fails or is interrupted leaves what was there before.
func TestRecordIsAtomic(t *testing.T) {
	c := cases.Open(t, "micro-hawk")
	m := c.Model(t, c.Checkpoints(t)[0])
	dir := t.TempDir()
	path := filepath.Join(dir, "g.safetensors")
	if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	tokens, err := golden.RandomTokens(9, m.Config.VocabSize, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.OnRead = func(int64) { cancel() }
	run := m.Reference(reference.Original, reference.Arithmetic{})
	if _, err := golden.Record(ctx, path, run, tokens, golden.RecordOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	tokens.IDs[3] = int32(m.Config.VocabSize)
	var bad *tensor.FormatError
	if _, err := golden.Record(context.Background(), path, run, tokens, golden.RecordOptions{}); !errors.As(err, &bad) {
		t.Errorf("a token outside the vocabulary: %v", err)
	}
	if left, err := os.ReadFile(path); err != nil || string(left) != "before" {
		t.Errorf("left %q, %v", left, err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left %v, %v", all, err)
	}
}
