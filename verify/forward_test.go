package verify

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
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
	m, err := OpenModel(path, f.settings, nil)
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
