package convert

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// caseConfig is the configuration in the case.json of a directory of ../testdata.
type caseConfig struct {
	DType  string `json:"dtype"`
	Config struct {
		Vocab   int64             `json:"vocab_size"`
		Width   int64             `json:"width"`
		MLP     int64             `json:"mlp_expanded_width"`
		Heads   int64             `json:"num_heads"`
		LRU     int64             `json:"lru_width"`
		Blocks  []model.BlockType `json:"block_types"`
		Window  int64             `json:"attention_window_size"`
		Scale   bool              `json:"embeddings_scale_by_sqrt_dim"`
		SoftCap float64           `json:"logits_soft_cap"`
	} `json:"config"`
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func readAll(t *testing.T, x *tensor.Tensor) []byte {
	t.Helper()
	r, err := x.Data.Stream(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// moved carries out a plan element by element.
func moved(t *testing.T, p *Plan) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, m := range p.Moves {
		d := &p.Dests[m.Dest]
		size := d.DType.Size()
		if out[d.Name] == nil {
			out[d.Name] = make([]byte, (&tensor.Tensor{DType: d.DType, Shape: d.Shape}).Bytes())
		}
		src := readAll(t, m.Source)
		for i, e := range elements(m.View) {
			copy(out[d.Name][(m.Offset+int64(i))*size:][:size], src[e*size:])
		}
	}
	return out
}

// TestPlanMakesWhatTheLibrariesSave carries out plans between all pairs of layouts in which the real
// libraries saved the same weights, and compares the result with what they saved.
func TestPlanMakesWhatTheLibrariesSave(t *testing.T) {
	cases, err := filepath.Glob("../testdata/*/hf/model.safetensors")
	if err != nil || len(cases) == 0 {
		t.Skip("no cases")
	}
	saved := map[Target]string{ToHF: "hf", ToTorch: "original/torch.pt", ToOrbax: "original/orbax-*"}
	for _, path := range cases {
		dir := filepath.Dir(filepath.Dir(path))
		if filepath.Base(dir) == "micro-variant" {
			continue // a model that the original does not compute
		}
		var c caseConfig
		readJSON(t, filepath.Join(dir, "case.json"), &c)
		settings := model.Settings{AttentionWindow: &c.Config.Window, LogitsSoftCap: &c.Config.SoftCap, EmbeddingScale: &c.Config.Scale}
		sources, err := filepath.Glob(filepath.Join(dir, "original", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for to, name := range saved {
			found, err := filepath.Glob(filepath.Join(dir, name))
			if err != nil || len(found) == 0 {
				t.Fatal("nothing in ", dir, err)
			}
			want, err := formats.Open(found[len(found)-1], formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, source := range append(sources, filepath.Join(dir, "hf")) {
				o := PlanOptions{To: to}
				if to == ToHF && filepath.Base(source) != "hf" {
					o.Settings = settings
				}
				checkPlan(t, source, o, want, &c)
			}
			want.Close()
		}
	}
}

func checkPlan(t *testing.T, source string, o PlanOptions, want *tensor.Checkpoint, c *caseConfig) {
	t.Helper()
	src, err := formats.Open(source, formats.Options{})
	if err != nil {
		t.Errorf("%s: %v", source, err)
		return
	}
	defer src.Close()
	m, err := model.Open(t.Context(), src, model.Options{})
	if err != nil {
		t.Errorf("%s: %v", source, err)
		return
	}
	p, err := NewPlan(m, o)
	if err != nil {
		t.Errorf("%s to %s: %v", source, o.To, err)
		return
	}
	checkConfig(t, source, &p.Config, c)
	compare(t, source+" to "+o.To.String(), p, want)
}

func checkConfig(t *testing.T, path string, got *model.Config, c *caseConfig) {
	t.Helper()
	w := &c.Config
	if got.VocabSize != w.Vocab || got.Width != w.Width || got.MLPExpandedWidth != w.MLP || got.NumHeads != w.Heads || got.LRUWidth != w.LRU || !slices.Equal(got.BlockTypes, w.Blocks) {
		t.Errorf("%s: %+v, want %+v", path, got, w)
	}
}

func compare(t *testing.T, path string, p *Plan, want *tensor.Checkpoint) {
	t.Helper()
	if len(p.Dests) != len(want.Tensors()) {
		t.Errorf("%s: %d tensors, the library saved %d", path, len(p.Dests), len(want.Tensors()))
	}
	got := moved(t, p)
	for _, d := range p.Dests {
		w := want.Tensor(d.Name)
		if w == nil || w.DType != d.DType || !slices.Equal(w.Shape, d.Shape) {
			t.Errorf("%s: %+v, the library saved %+v", path, d, w)
			continue
		}
		if !bytes.Equal(got[d.Name], readAll(t, w)) {
			t.Errorf("%s: %s is not what the library saved", path, d.Name)
		}
	}
}

// TestConfigMeansWhatTransformersSaves compares config.json with that of transformers 5.23: every field,
// and the blocks that the pattern gives.
func TestConfigMeansWhatTransformersSaves(t *testing.T) {
	saved, err := filepath.Glob("../testdata/*/hf/config.json")
	if err != nil || len(saved) == 0 {
		t.Skip("no cases")
	}
	for _, path := range saved {
		dir := filepath.Dir(filepath.Dir(path))
		if filepath.Base(dir) == "micro-variant" {
			continue // a model that the original does not compute
		}
		var c caseConfig
		readJSON(t, filepath.Join(dir, "case.json"), &c)
		config := model.Config{VocabSize: c.Config.Vocab, Width: c.Config.Width, MLPExpandedWidth: c.Config.MLP, NumHeads: c.Config.Heads, LRUWidth: c.Config.LRU,
			ConvWidth: 4, BlockTypes: c.Config.Blocks, AttentionWindow: c.Config.Window, LogitsSoftCap: c.Config.SoftCap, EmbeddingScale: c.Config.Scale}
		tensors := modelTensors(&config, model.Flax, "")
		for _, x := range tensors {
			x.DType = tensor.DTypeByName(c.DType)
		}
		p, err := plan(t, model.Settings{AttentionWindow: &config.AttentionWindow, LogitsSoftCap: &config.LogitsSoftCap, EmbeddingScale: &config.EmbeddingScale}, tensor.Invalid, tensors...)
		if err != nil {
			t.Fatal(err)
		}
		files, err := filesOf(p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			var want, got map[string]json.RawMessage
			readJSON(t, filepath.Join(dir, "hf", f.Name), &want)
			if err := json.Unmarshal(f.Content, &got); err != nil {
				t.Fatal(err)
			}
			for key, w := range want {
				if key == "block_types" || key == "_from_model_config" {
					continue
				}
				var a, b bytes.Buffer
				if err := json.Compact(&a, w); err != nil {
					t.Fatal(err)
				}
				if got[key] == nil || json.Compact(&b, got[key]) != nil || a.String() != b.String() {
					t.Errorf("%s of %s: %s is %s, transformers saved %s", f.Name, dir, key, got[key], w)
				}
			}
		}
		pattern := model.Repeat(len(config.BlockTypes), config.Pattern()...)
		if !slices.Equal(pattern, config.BlockTypes) {
			t.Errorf("%s: pattern %v makes %v", dir, config.Pattern(), pattern)
		}
	}
}

// TestShards checks that the plan's order gives the shards that transformers 5.23 makes of the tiny
// model at 64 kB, float32.
func TestShards(t *testing.T) {
	var want struct {
		Map map[string]string `json:"weight_map"`
	}
	readJSON(t, "testdata/tiny-griffin.index.json", &want)
	p, err := plan(t, tinySettings, tensor.Invalid, modelTensors(&tinyConfig, model.Flax, "params.")...)
	if err != nil {
		t.Fatal(err)
	}
	specs := make([]tensor.Spec, len(p.Dests))
	for i, d := range p.Dests {
		specs[i] = tensor.Spec{Name: d.Name, DType: d.DType, Shape: d.Shape}
	}
	l, err := safetensors.NewLayout(specs, 64_000, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range p.Dests {
		if got := l.Files[l.Ranges[i].File].Name; got != want.Map[d.Name] {
			t.Errorf("%s is in %s, transformers puts it in %s", d.Name, got, want.Map[d.Name])
		}
	}
}

// TestPlanFillsEachElementOnce plans between all pairs of layouts, in memory.
func TestPlanFillsEachElementOnce(t *testing.T) {
	for from := model.Flax; from <= model.HuggingFace; from++ {
		for _, target := range modelTargets {
			to := target.Layout()
			m := open(t, model.Options{}, modelTensors(&tinyConfig, from, "x.")...)
			p, err := NewPlan(m, PlanOptions{Settings: tinySettings, To: target, DType: tensor.BF16})
			if err != nil {
				t.Fatal(err)
			}
			want := written(&tinyConfig, to)
			filled := make([][]int, len(p.Dests))
			for i, d := range p.Dests {
				if len(want) != len(p.Dests) || d.Name != want[i].Name || !slices.Equal(d.Shape, want[i].Shape) {
					t.Fatalf("%s to %s: tensor %d is %+v", from, to, i, d)
				}
				filled[i] = make([]int, (&tensor.Tensor{Shape: d.Shape}).Elements())
			}
			for _, move := range p.Moves {
				for i := range move.View.Elements() {
					filled[move.Dest][move.Offset+i]++
				}
			}
			for i, f := range filled {
				if slices.Min(f) != 1 || slices.Max(f) != 1 {
					t.Errorf("%s to %s: elements of %s are filled %d to %d times", from, to, p.Dests[i].Name, slices.Min(f), slices.Max(f))
				}
			}
		}
	}
}
