package verify

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// fixture is a directory of ../testdata.
type fixture struct {
	dir      string
	DType    string
	settings convert.Settings
}

func openFixture(t *testing.T, name string) *fixture {
	t.Helper()
	f := &fixture{dir: filepath.Join("..", "testdata", name)}
	text, err := os.ReadFile(filepath.Join(f.dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		DType  string
		Config struct {
			Window int64   `json:"attention_window_size"`
			Scale  bool    `json:"embeddings_scale_by_sqrt_dim"`
			Cap    float64 `json:"logits_soft_cap"`
		}
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	f.DType = c.DType
	f.settings = convert.Settings{AttentionWindow: &c.Config.Window, LogitsSoftCap: &c.Config.Cap, EmbeddingScale: &c.Config.Scale}
	return f
}

// checkpoints are the paths of all that a fixture holds, originals and Hugging Face.
func (f *fixture) checkpoints(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(f.dir, "original", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatal(err, "no originals")
	}
	if hf := filepath.Join(f.dir, "hf"); exists(hf) {
		paths = append(paths, hf)
	}
	return paths
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (f *fixture) open(t *testing.T, path string) *Model {
	t.Helper()
	m, err := OpenModel(t.Context(), path, ModelOptions{Settings: f.settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

var fixtures = []string{"tiny-griffin", "odd-griffin", "micro-griffin", "micro-hawk"}

// Checkpoints of every format and layout compute the same bits: those of the recorded weights,
// whichever way they lie.
func TestLayoutsAgree(t *testing.T) {
	for _, name := range fixtures {
		f := openFixture(t, name)
		var want map[string][]float32
		for _, path := range f.checkpoints(t) {
			m := f.open(t, path)
			got := map[string][]float32{}
			run := m.Reference(reference.Original, reference.Arithmetic{})
			err := run.Run(context.Background(), reference.Pass{Tokens: []int32{3, 1, 4, 1, 5, 9, 2, 6}, Batch: 2,
				Observe: func(o reference.Observation) error { got[o.Name()] = o.Float32; return nil }})
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if want == nil {
				want = got
			}
			for site, w := range want {
				for i := range w {
					if math.Float32bits(w[i]) != math.Float32bits(got[site][i]) {
						t.Fatalf("%s: %s is %v at %d, not %v", path, site, got[site][i], i, w[i])
					}
				}
			}
		}
	}
}

// record writes a fixture of a checkpoint for a recording's tokens, under its semantics, and opens it.
func record(t *testing.T, m *Model, like *Golden, o RecordOptions) *Golden {
	t.Helper()
	tokens, err := ReadTokens(like.Path)
	if err != nil {
		t.Fatal(err)
	}
	o.Semantics, o.Arithmetic.Precision = like.Meta.Semantics, like.Meta.Precision
	if like.Decode != nil {
		o.DecodeFrom = like.Decode.Start
	}
	path := filepath.Join(t.TempDir(), "golden.safetensors")
	if _, err := Record(context.Background(), m, tokens, o, path); err != nil {
		t.Fatal(err)
	}
	return openGolden(t, path)
}

func openGolden(t *testing.T, path string) *Golden {
	t.Helper()
	g, err := OpenGolden(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
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

// What `golden` records from every checkpoint of a fixture is what all the implementations computed
// from the same weights: hidden states and logits, plain, packed and decoded.
func TestRecordAgrees(t *testing.T) {
	// of the largest value; half precision as far as it reaches
	tolerance := map[string]float64{"float32": 2e-5, "float16": 4e-3, "bfloat16": 4e-2}
	for _, name := range fixtures {
		f := openFixture(t, name)
		recordings, err := filepath.Glob(filepath.Join(f.dir, "golden", "*.safetensors"))
		if err != nil || len(recordings) < 2 {
			t.Fatal(err, recordings)
		}
		for _, path := range recordings {
			want := openGolden(t, path)
			for _, checkpoint := range f.checkpoints(t) {
				got := record(t, f.open(t, checkpoint), want, RecordOptions{})
				if d := compareGoldens(t, got, want); !(d <= tolerance[f.DType]) {
					t.Errorf("%s of %s differs from %s by %.2g", checkpoint, want.Meta.Implementation, path, d)
				}
			}
		}
	}
}

// compareGoldens returns the worst difference between what two fixtures both have, which is all of what
// want has.
func compareGoldens(t *testing.T, got, want *Golden) float64 {
	t.Helper()
	most := 0.0
	compared := func(name string, g, w []float32) {
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
			compared(p.full(name), g.Float32, w.Float32)
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
		compared("decode.logits", g, w)
	}
	return most
}

// Logits that do not fit into memory at once have the same bits, and so has decoding.
func TestForwardInPieces(t *testing.T) {
	f := openFixture(t, "odd-griffin")
	m := f.open(t, f.checkpoints(t)[0])
	want := openGolden(t, filepath.Join(f.dir, "golden", "jax.safetensors"))
	for _, precision := range []reference.Precision{reference.Float32, reference.Float64, reference.BFloat16} {
		run := m.Reference(reference.Original, reference.Arithmetic{Precision: precision})
		pass := reference.Pass{Tokens: want.Passes[0].Tokens, Positions: want.Pass("packed").Positions, Batch: 2}
		whole := collect(t, run, pass)
		memory := logitsMemory
		logitsMemory = 7 * 8 * int(m.Config.VocabSize)
		pieces := collect(t, run, pass)
		var decoded []float64
		err := Decode(context.Background(), run, pass.Tokens, 2, 4, func(position int, logits *reference.Activations) error {
			for i := range logits.Len() {
				decoded = append(decoded, logits.At(i))
			}
			return nil
		})
		logitsMemory = memory
		if err != nil {
			t.Fatal(err)
		}
		if len(whole) != 9 || !reflect.DeepEqual(whole, pieces) {
			t.Errorf("%s: in pieces it is not the same", precision)
		}
		pass.Positions = nil
		plain := collect(t, run, pass)["logits"]
		vocabulary := int(m.Config.VocabSize)
		for i, got := range decoded {
			position, row, k := 3+i/(2*vocabulary), i/vocabulary%2, i%vocabulary
			if at := (row*15+position)*vocabulary + k; plain[at] != got {
				t.Fatalf("%s: decoding gives %v at position %d of row %d, the pass %v", precision, got, position, row, plain[at])
			}
		}
		if len(decoded) != 2*(15-3)*vocabulary {
			t.Errorf("%d numbers were decoded", len(decoded))
		}
	}
	if err := Decode(context.Background(), m.Reference(0, reference.Arithmetic{}), []int32{1, 2}, 1, 3, nil); err == nil {
		t.Error("decoding began after the end")
	}
}

// collect puts the results of a pass together.
func collect(t *testing.T, m *reference.Model, p reference.Pass) map[string][]float64 {
	t.Helper()
	out := map[string][]float64{}
	err := Forward(context.Background(), m, p, func(r Result) error {
		if r.First*r.Width != len(out[r.Name()]) {
			t.Errorf("%s: token %d comes after %d numbers", r.Name(), r.First, len(out[r.Name()]))
		}
		for i := range r.Len() {
			out[r.Name()] = append(out[r.Name()], r.At(i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A recording that fails or is interrupted leaves what was there before.
func TestRecordIsAtomic(t *testing.T) {
	f := openFixture(t, "micro-hawk")
	m := f.open(t, f.checkpoints(t)[0])
	dir := t.TempDir()
	path := filepath.Join(dir, "g.safetensors")
	if err := os.WriteFile(path, []byte("before"), 0o666); err != nil {
		t.Fatal(err)
	}
	tokens, _ := RandomTokens(9, m.Config.VocabSize, 1)
	ctx, cancel := context.WithCancel(context.Background())
	m.OnRead = func(int64) { cancel() }
	if _, err := Record(ctx, m, tokens, RecordOptions{}, path); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	tokens.Tokens[3] = int32(m.Config.VocabSize)
	var bad *tensor.FormatError
	if _, err := Record(context.Background(), m, tokens, RecordOptions{}, path); !errors.As(err, &bad) {
		t.Errorf("a token outside the vocabulary: %v", err)
	}
	if left, err := os.ReadFile(path); err != nil || string(left) != "before" {
		t.Errorf("left %q, %v", left, err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("left %v, %v", all, err)
	}
}

// The digest is of the parameters as they are stored: the same in every container of a layout, and
// with or without a copy of the embedding as output head.
func TestDigest(t *testing.T) {
	f := openFixture(t, "micro-griffin")
	seen := map[string]string{}
	for _, path := range f.checkpoints(t) {
		m := f.open(t, path)
		digest, err := m.Digest(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		layout := m.Found.Layout.String()
		if before := seen[layout]; before != "" && before != digest || !strings.HasPrefix(digest, layout+" sha256:") {
			t.Errorf("%s: %s, before %s", path, digest, before)
		}
		seen[layout] = digest
	}
	if len(seen) != 3 {
		t.Errorf("%d layouts", len(seen))
	}
	// As the capture scripts, which are Python, have them.
	f = openFixture(t, "odd-griffin")
	for path, want := range map[string]string{
		"original/orbax-zarr3": "flax sha256:4a35f74ab07ec053ab52703d2ef321f4019d531a463eb7022919b36e0c6167b0",
		"original/torch.pt":    "torch sha256:a6739a00d98e39afc5c794f10ad42a7c37354a0df02a1ba67b48b08316c758fe",
		"hf":                   "huggingface sha256:f9fbdabce46b0f33421df16a51c57dd9615b0ed3075f925833e88885ef7910f7",
	} {
		if got, err := f.open(t, filepath.Join(f.dir, path)).Digest(context.Background(), nil); err != nil || got != want {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}
