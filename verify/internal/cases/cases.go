// Package cases gives tests the models of testdata: the same weights as several checkpoints, with what the real
// implementations computed with them.
package cases

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Names are the models that have recordings of implementations.
var Names = []string{"tiny-griffin", "odd-griffin", "micro-griffin", "micro-hawk"}

// Case is one model.
type Case struct {
	Dir      string
	DType    string         // of the weights
	Settings model.Settings // that its original checkpoints do not have
}

// Testdata returns the path of the directory testdata.
func Testdata(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata")
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// Open reads the description of a model. name is a directory of testdata, or a path relative to it.
func Open(t testing.TB, name string) *Case {
	t.Helper()
	c := &Case{Dir: filepath.Join(Testdata(t), filepath.FromSlash(name))}
	text, err := os.ReadFile(filepath.Join(c.Dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		DType  string
		Config struct {
			Window int64   `json:"attention_window_size"`
			Scale  bool    `json:"embeddings_scale_by_sqrt_dim"`
			Cap    float64 `json:"logits_soft_cap"`
		}
	}
	if err := json.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	c.DType = described.DType
	c.Settings = model.Settings{AttentionWindow: &described.Config.Window, LogitsSoftCap: &described.Config.Cap, EmbeddingScale: &described.Config.Scale}
	return c
}

// Checkpoints returns the paths of all checkpoints of the model, the Hugging Face directory last.
func (c *Case) Checkpoints(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.Dir, "original", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatal(err, "no originals")
	}
	hf := filepath.Join(c.Dir, "hf")
	if _, err := os.Stat(hf); err == nil {
		paths = append(paths, hf)
	}
	return paths
}

// Model opens the model in a checkpoint, which is closed when the test ends.
func (c *Case) Model(t testing.TB, path string) *runtime.Model {
	t.Helper()
	checkpoint, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	m, err := runtime.Open(t.Context(), checkpoint, runtime.Options{Settings: c.Settings})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Recordings returns the paths of the golden fixtures that implementations recorded with the model.
func (c *Case) Recordings(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.Dir, "golden", "*.safetensors"))
	if err != nil || len(paths) < 2 {
		t.Fatal(err, len(paths), "recordings")
	}
	return paths
}

// Recording returns the path of the golden fixture of one implementation: jax, torch, hf4 or hf5.
func (c *Case) Recording(name string) string {
	return filepath.Join(c.Dir, "golden", name+".safetensors")
}
