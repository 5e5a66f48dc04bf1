package verify

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
)

// recordings are the committed ones of the real implementations.
func recordings(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "testdata", "*", "golden", "*.safetensors"))
	if err != nil || len(found) < 10 {
		t.Fatal(err, len(found), "recordings")
	}
	return found
}

// Recordings of the real implementations open, whatever they lack.
func TestOpenGolden(t *testing.T) {
	want := map[string]reference.Semantics{"jax": reference.Original, "torch": reference.Original,
		"hf4": reference.Transformers4, "hf5": reference.Transformers5}
	for _, path := range recordings(t) {
		g, err := OpenGolden(path)
		if err != nil {
			t.Error(err)
			continue
		}
		name := filepath.Base(path[:len(path)-len(".safetensors")])
		if g.Meta.Semantics != want[name] || g.Meta.Implementation == "" || len(g.Meta.Versions) < 2 {
			t.Errorf("%s: metadata are %+v", path, g.Meta)
		}
		if (g.Decode != nil) != (name == "jax") || (g.Pass("packed") != nil) != (name != "torch") {
			t.Errorf("%s: passes are %v, decoding %v", path, g.Passes, g.Decode)
		}
		p := g.Pass("")
		names := p.Names()
		if names[0] != "hidden.0" || !slices.Equal(names[len(names)-2:], []string{"final_norm", "logits"}) {
			t.Errorf("%s: results are %v", path, names)
		}
		if p.Positions[p.Length] != 0 || p.Positions[p.Length-1] != int32(p.Length-1) {
			t.Errorf("%s: positions are %v", path, p.Positions)
		}
		whole, err := p.Read("logits")
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float32, p.Width("logits"))
		if err := p.ReadAt(row, "logits", 3*len(row)); err != nil || !slices.Equal(row, whole.Float32[3*len(row):][:len(row)]) {
			t.Errorf("%s: the logits of token 3 are %v, %v", path, row, err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is no fixture is refused by name.
func TestOpenGoldenRefuses(t *testing.T) {
	if _, err := OpenGolden(filepath.Join("..", "testdata", "odd-griffin", "hf", "model.safetensors")); err == nil {
		t.Error("weights were taken for a fixture")
	}
	if _, err := OpenGolden(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Error(err)
	}
}
