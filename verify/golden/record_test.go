package golden_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
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
	read := false
	m.OnRead = func(int64) { read = true; cancel() }
	run := m.Reference(reference.Original, reference.Arithmetic{})
	if _, err := golden.Record(ctx, path, run, tokens, golden.RecordOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	tokens.Batch, tokens.Length, read = 3, 3, false
	for _, from := range []int{-1, 4} {
		if _, err := golden.Record(context.Background(), path, run, tokens, golden.RecordOptions{DecodeFrom: from}); err == nil || !strings.Contains(err.Error(), "decoding cannot start") {
			t.Errorf("decoding from %d of 3: %v", from, err)
		}
	}
	if read {
		t.Error("the model was run although decoding cannot start")
	}
	failing := errors.New("the weights cannot be read")
	for _, digest := range []func(context.Context) (string, error){
		func(context.Context) (string, error) { return "sha256:00", nil },
		func(context.Context) (string, error) { return "sha256:0000", failing },
	} {
		_, err := golden.Record(context.Background(), path, run, tokens, golden.RecordOptions{Digest: digest, DigestLength: len("sha256:0000")})
		if err == nil || !errors.Is(err, failing) && !strings.Contains(err.Error(), "is not of the length 11") {
			t.Errorf("a digest of another length, or none: %v", err)
		}
	}
	tokens.IDs[4] = int32(m.Config.VocabSize)
	var bad *tensor.FormatError
	if _, err := golden.Record(context.Background(), path, run, tokens, golden.RecordOptions{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "token 1 of row 1 is") {
		t.Errorf("a token outside the vocabulary: %v", err)
	}
	if left, err := os.ReadFile(path); err != nil || string(left) != "before" {
		t.Errorf("left %q, %v", left, err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left %v, %v", all, err)
	}
}

// Record describes what it wrote: in its result, and in the metadata of the file.
func TestRecordDescribes(t *testing.T) {
	c := cases.Open(t, "micro-hawk")
	m := c.Model(t, c.Checkpoints(t)[0])
	run := m.Reference(reference.Original, reference.Arithmetic{Precision: reference.Float32})
	tokens := &golden.Tokens{Batch: 2, Length: 2, IDs: []int32{1, 2, 3, 4}, Positions: []int32{0, 1, 0, 1}}
	packed := *tokens
	packed.Packed = []int32{0, 0, 0, 1}
	const digest = "sha256:1234"
	named := golden.RecordOptions{Digest: func(context.Context) (string, error) { return digest, nil }, DigestLength: len(digest)}
	for _, tt := range []struct {
		tokens  *golden.Tokens
		options golden.RecordOptions
		want    golden.Recording
	}{
		{tokens, golden.RecordOptions{LogitsOnly: true}, golden.Recording{Tensors: 3}},
		{&packed, golden.RecordOptions{LogitsOnly: true}, golden.Recording{Tensors: 5, Packed: true}},
		{tokens, golden.RecordOptions{LogitsOnly: true, DecodeFrom: 2}, golden.Recording{Tensors: 4, DecodeStart: 2}},
		{tokens, golden.RecordOptions{LogitsOnly: true, DecodeFrom: 1}, golden.Recording{Tensors: 4, DecodeStart: 1}},
		{tokens, named, golden.Recording{Tensors: 5 + 2*len(run.Config.BlockTypes), ModelDigest: digest}},
	} {
		path := filepath.Join(t.TempDir(), "golden.safetensors")
		got, err := golden.Record(t.Context(), path, run, tt.tokens, tt.options)
		if err != nil {
			t.Error(err)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		tt.want.Path, tt.want.Bytes, tt.want.Batch, tt.want.Length, tt.want.Semantics, tt.want.Arithmetic = path, info.Size(), 2, 2, "original", "float32"
		if *got != tt.want {
			t.Errorf("%+v, not %+v", *got, tt.want)
		}
		f := open(t, path)
		if f.Meta.DecodeStart != tt.want.DecodeStart || f.Meta.ModelDigest != tt.want.ModelDigest || (f.Pass("packed") != nil) != tt.want.Packed {
			t.Errorf("the file says %+v", f.Meta)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]bool{"decode_start": tt.want.DecodeStart > 0, "model_digest": tt.want.ModelDigest != ""} {
			if bytes.Contains(content, []byte(key)) != want {
				t.Errorf("the metadata have %s: %v", key, !want)
			}
		}
	}
}
