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
