package runtime_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// A runtime loads a directory if its weights have the names that it looks for. Transformers 4.57 and 5.23 were given each of these.
func TestNamesOfWeights(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	weights, err := os.ReadFile(filepath.Join(c.Dir, "hf", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	const unlisted = "there is no model.safetensors, and no model.safetensors.index.json that lists the shards"
	for _, tt := range []struct {
		files        []string // that have the weights
		fields       map[string]any
		transformers string // why it does not load them
		mlx, candle  string
	}{
		{files: []string{"model.safetensors"}},
		{files: []string{"model.safetensors", "other.safetensors"}},
		{files: []string{"model.safetensors.index.json", "weights-1.safetensors"}, mlx: "there is no file named model*.safetensors"},
		{files: []string{"model.safetensors.index.json", "model-1.safetensors"}},
		{files: []string{"weights.safetensors.index.json", "model-1.safetensors"}, transformers: unlisted, candle: unlisted},
		{files: []string{"model-00001-of-00001.safetensors"}, transformers: unlisted, candle: unlisted},
		{files: []string{"model.fp16.safetensors"}, transformers: unlisted, candle: unlisted},
		{files: []string{"weights.safetensors"}, transformers: unlisted, candle: unlisted, mlx: "there is no file named model*.safetensors"},
		{files: []string{"weights.safetensors"}, fields: map[string]any{"transformers_weights": "weights.safetensors"}, candle: unlisted, mlx: "there is no file named model*.safetensors"},
		{files: []string{"weights.safetensors.index.json", "pytorch_model.bin", "model-1.safetensors"}, transformers: "it loads pytorch_model.bin, and griffin has read other files of the directory", candle: unlisted},
	} {
		dir := changed(t, tt.fields).Checkpoint.Path
		if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
		for _, name := range tt.files {
			content := weights
			if strings.HasSuffix(name, ".json") {
				content = indexOf(t, filepath.Join(c.Dir, "hf"), tt.files[len(tt.files)-1])
			}
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		m := c.Model(t, dir)
		if got, err := runtime.WeightsNotFound(m.Checkpoint); err != nil || got != tt.transformers {
			t.Errorf("%s: %q, %v", tt.files, got, err)
		}
		all, err := m.Explain()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			want := map[string]string{"transformers4": tt.transformers, "transformers5": tt.transformers, "mlx-lm": tt.mlx, "candle": tt.candle}[e.Runtime]
			said := strings.Join(e.Reasons, "; ")
			if strings.HasPrefix(e.Runtime, "transformers") && e.Loads != (want == "") || want != "" && (e.Loads || !strings.HasPrefix(said, want)) || want == "" && strings.Contains(said, "model.safetensors") {
				t.Errorf("%s: %s: loads %t: %s", tt.files, e.Runtime, e.Loads, said)
			}
		}
	}
	// What is no Hugging Face directory is not judged by its names.
	for _, path := range append(c.Checkpoints(t), filepath.Join(c.Dir, "hf", "model.safetensors")) {
		m := c.Model(t, path)
		if got, err := runtime.WeightsNotFound(m.Checkpoint); err != nil || got != "" {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// indexOf returns an index with which all tensors of a checkpoint are in one file.
func indexOf(t *testing.T, path, file string) []byte {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var entries []string
	for _, tensor := range c.Tensors() {
		entries = append(entries, `"`+tensor.Name+`": "`+file+`"`)
	}
	return []byte(`{"metadata": {}, "weight_map": {` + strings.Join(entries, ", ") + "}}")
}

// A file of PyTorch is judged if its directory was opened, and not if it was.
func TestNamesOfPyTorch(t *testing.T) {
	data := cases.Open(t, "tiny-griffin").Dir
	weights, err := os.ReadFile(filepath.Join(data, "original", "torch.pt"))
	if err != nil {
		t.Fatal(err)
	}
	for name, found := range map[string]bool{"model.pt": false, "model.bin": false, "pytorch_model.pt": false, "pytorch_model.bin": true} {
		dir := t.TempDir()
		for file, content := range map[string][]byte{name: weights, "config.json": []byte("{}")} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{dir, filepath.Join(dir, name)} {
			c, err := formats.Open(path, formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got, err := runtime.WeightsNotFound(c); err != nil || (got == "") != (found || path != dir) {
				t.Errorf("%s: %q, %v", path, got, err)
			}
		}
	}
}

// Of pytorch_model.bin and a file of another name, griffin reads the first, as transformers does.
func TestNamesBesidePyTorch(t *testing.T) {
	data, dir := cases.Open(t, "tiny-griffin").Dir, t.TempDir()
	for to, from := range map[string]string{"pytorch_model.bin": "original/torch.pt", "weights.safetensors": "hf/model.safetensors", "config.json": "hf/config.json"} {
		content, err := os.ReadFile(filepath.Join(data, from))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), content, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := formats.Open(dir, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := runtime.WeightsNotFound(c); err != nil || got != "" || c.Format != "torch-zip" {
		t.Errorf("%s: %q, %v", c.Format, got, err)
	}
}

// A directory with a config.json of transformers, whose weights transformers loads, has to have the names of transformers. Anything else with the names of
// an original is one.
func TestNamesOfTensors(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	original, config := read("original/torch.pt"), string(read("hf/config.json"))
	for _, tt := range []struct {
		file, config string // "" for no config.json
		found        bool
	}{
		{"pytorch_model.bin", config, false},
		{"pytorch_model.bin", `{"architectures": ["RecurrentGemmaForCausalLM"]}`, false},
		{"pytorch_model.bin", `{"learning_rate": 0.1}`, true},
		{"pytorch_model.bin", "{", true},
		{"pytorch_model.bin", "", true},
		{"torch.pt", config, true},
	} {
		dir := t.TempDir()
		for file, content := range map[string]string{tt.file: string(original), "config.json": tt.config} {
			if content == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{dir, filepath.Join(dir, tt.file)} {
			m := c.Model(t, path)
			found := tt.found || path != dir // a file that was opened is no directory
			if got, err := runtime.NamesNotFound(m.Found); err != nil || (got == "") != found {
				t.Errorf("%s, %.20s: %q, %v", path, tt.config, got, err)
			}
			all, err := m.Explain()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				said := strings.Contains(strings.Join(e.Reasons, "; "), "it does not find these names")
				if said == found && e.Runtime != runtime.Original.Name || said && e.Loads {
					t.Errorf("%s, %.20s: %s: loads %t: %s", path, tt.config, e.Runtime, e.Loads, e.Reasons)
				}
			}
		}
	}
	for _, path := range c.Checkpoints(t) {
		if got, err := runtime.NamesNotFound(c.Model(t, path).Found); err != nil || got != "" {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}
