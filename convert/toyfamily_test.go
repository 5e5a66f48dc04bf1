package convert_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// toy is a family that has nothing in common with Griffin: blocks of a norm and a gated MLP, and an
// output head of its own. It exists only here.
var toy = &model.Family{
	Name: "Toy",
	Rules: []model.Rule{
		model.NewRule(model.Once, "table", "VW", "tokens.table", nil, "tokens.table", nil, "words.weight"),
		model.NewRule(model.EveryBlock, "norm", "W", "norm.gain", nil, "norm.gain", nil, "ln.weight"),
		model.NewRule(model.EveryBlock, "up", "EW", "up.kernel", toyTranspose, "up.weight", nil, "fc_in.weight"),
		model.NewRule(model.EveryBlock, "left", "WE", "down.w", toyHalf(0), "down.w", toyHalf(0), "fc_left.weight"),
		model.NewRule(model.EveryBlock, "right", "WE", "down.w", toyHalf(1), "down.w", toyHalf(1), "fc_right.weight"),
		model.NewRule(model.Once, "last", "W", "last.gain", nil, "last.gain", nil, "ln_f.weight"),
	},
	Roots:     model.PerLayout{model.Flax: "weights.", model.HuggingFace: "net."},
	Blocks:    model.PerLayout{model.Flax: "stack.", model.Torch: "stack.", model.HuggingFace: "h."},
	Embedding: "table",
	Heads:     []model.HeadName{{Name: "out.weight", Always: true}, {Name: "out.kernel", Op: toyTranspose, Always: true}},
	Kinds:     []model.BlockType{"mlp"},
	Axes:      "VWE",
	Sizes: func(c *model.Config) model.Sizes {
		return model.Sizes{'V': c.VocabSize, 'W': c.Width, 'E': c.MLPExpandedWidth}
	},
	Resolve: func(*model.Sizes, model.Layout, *hfconfig.Config) string { return "" },
	Config: func(s *model.Sizes, blocks []model.BlockType, _ func(string) bool) model.Config {
		return model.Config{VocabSize: s['V'], Width: s['W'], MLPExpandedWidth: s['E'], BlockTypes: blocks}
	},
	BeyondOriginal: func(*model.Config) []string { return nil },
	Presets: []model.Preset{{Name: "toy-small", Config: model.Config{Width: 6, MLPExpandedWidth: 10, BlockTypes: []model.BlockType{"mlp", "mlp"},
		AttentionWindow: 1, LogitsSoftCap: 5, EmbeddingScale: true}}},
	HuggingFace: model.ConfigFile{
		Tokens: huggingface.TokenIDs{Pad: 0, EOS: 1, BOS: 2},
		Read:   readToyConfig,
		Fields: func(c *model.Config, form *manifest.HuggingFace, dtype tensor.DType) map[string]any {
			return map[string]any{"model_type": "toy", "n_embd": c.Width, "n_layer": len(c.BlockTypes), "n_inner": c.MLPExpandedWidth, "vocab_size": c.VocabSize,
				"final_cap": form.LogitsSoftCap, "tied": form.TieWordEmbeddings, "dtype": dtype.String()}
		},
		Changed: func(*hfconfig.Config, *model.Config, *manifest.HuggingFace) []huggingface.Field { return nil },
		Check: func(stated *hfconfig.Config, c *model.Config) []string {
			if stated.ModelType != "toy" || stated.HiddenSize != c.Width || stated.VocabSize != c.VocabSize || stated.NumHiddenLayers != int64(len(c.BlockTypes)) {
				return []string{"it is the configuration of another model"}
			}
			return nil
		},
		Refuse:   func(*model.Config) string { return "" },
		UseCache: func(*model.Config) bool { return true },
	},
}

var toyTranspose = model.Op{model.Permute(1, 0)}

// toyHalf is one of the two matrices of a tensor [2, in, out].
func toyHalf(i int64) model.Op { return model.Op{model.Take(i, 2), model.Permute(1, 0)} }

// readToyConfig reads the names that Fields writes.
func readToyConfig(source fs.FS, name string) (*hfconfig.Config, error) {
	fields, err := hfconfig.Fields(source, name)
	if err != nil {
		return nil, err
	}
	c := &hfconfig.Config{ModelType: fmt.Sprint(fields["model_type"]), TieWordEmbeddings: fields["tied"] == true, AttentionWindowSize: 1}
	for key, to := range map[string]any{"n_embd": &c.HiddenSize, "n_layer": &c.NumHiddenLayers, "vocab_size": &c.VocabSize, "final_cap": &c.LogitsSoftCap} {
		if _, err := fmt.Sscan(fmt.Sprint(fields[key]), to); err != nil {
			return nil, fmt.Errorf("%s: %v", key, err)
		}
	}
	return c, nil
}

// toyCheckpoint is a torch checkpoint of a toy model under a wrapper, beside optimizer state.
func toyCheckpoint(t *testing.T, head bool) *tensor.Checkpoint {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	const vocab, width, inner = 9, 6, 10
	shapes := []tensor.Spec{{Name: "tokens.table", Shape: []int64{vocab, width}}, {Name: "last.gain", Shape: []int64{width}}}
	for b := range 2 {
		block := fmt.Sprintf("stack.%d.", b)
		shapes = append(shapes, tensor.Spec{Name: block + "norm.gain", Shape: []int64{width}}, tensor.Spec{Name: block + "up.weight", Shape: []int64{inner, width}},
			tensor.Spec{Name: block + "down.w", Shape: []int64{2, inner, width}})
	}
	if head {
		shapes = append(shapes, tensor.Spec{Name: "out.weight", Shape: []int64{vocab, width}})
	}
	var tensors []*tensor.Tensor
	for _, s := range shapes {
		content := make([]byte, 4*tensor.RowMajor(s.Shape...).Elements())
		for i := range content {
			content[i] = byte(rng.Uint32()) & 0x3f
		}
		tensors = append(tensors, tensortest.Stored("trainer."+s.Name, tensor.F32, s.Shape, content))
	}
	tensors = append(tensors, tensortest.Stored("trainer.opt_state.mu", tensor.F32, []int64{1}, make([]byte, 4)))
	c, err := tensor.NewCheckpoint("toy", "test", tensors)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAnotherFamily converts a model of the toy family to every layout and back, and proves each
// conversion. Nothing but the value toy knows the family.
func TestAnotherFamily(t *testing.T) {
	for _, head := range []bool{false, true} {
		dir := t.TempDir()
		o := convert.Options{Family: toy, Verify: true, Extra: convert.KeepExtra}
		source := toyCheckpoint(t, head)
		step := func(from *tensor.Checkpoint, to convert.Target, name string) *tensor.Checkpoint {
			t.Helper()
			o := o
			o.To = to
			path := filepath.Join(dir, name)
			r, err := convert.Convert(context.Background(), from, path, o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if r.Proof.Tensors != r.Tensors.Len() || r.Settings == nil || r.Settings.LogitsSoftCap != 5 || r.Left != nil && name != "first" && name != "torch" {
				t.Errorf("%s: %+v", name, r)
			}
			c, err := formats.Open(path, formats.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		torch := step(source, convert.ToTorch, "torch")
		hf := step(source, convert.ToHF, "first")
		for _, name := range []string{"net.words.weight", "net.h.1.fc_right.weight", "net.ln_f.weight"} {
			if hf.Tensor(name) == nil {
				t.Errorf("no %s", name)
			}
		}
		if (hf.Tensor("out.weight") != nil) != head {
			t.Error("the head is not where it was")
		}
		flax := step(hf, convert.ToOrbax, "orbax")
		if up := flax.Tensor("weights.stack.0.up.kernel"); up == nil || !slices.Equal(up.Shape, []int64{6, 10}) {
			t.Errorf("up is %v", up)
		}
		sameElements(t, "through Hugging Face", torch, step(hf, convert.ToTorch, "torch2"))
		sameElements(t, "through Orbax", torch, step(flax, convert.ToTorch, "torch3"))
		sameElements(t, "and there again", hf, step(flax, convert.ToHF, "hf2"))

		m, err := model.Open(context.Background(), hf, model.Options{Family: toy})
		if err != nil {
			t.Fatal(err)
		}
		configured, err := m.Configure(model.Settings{})
		if err != nil || configured.Config.SeparateHead != head || m.Preset != "toy-small" {
			t.Errorf("%+v, %v", configured, err)
		}
		if _, err := model.Recognize(hf, model.Options{}); err == nil {
			t.Error("it was taken for a Griffin")
		}
	}
}

func sameElements(t *testing.T, what string, a, b *tensor.Checkpoint) {
	t.Helper()
	if len(a.Tensors()) != len(b.Tensors()) {
		t.Errorf("%s: %d tensors, not %d", what, len(b.Tensors()), len(a.Tensors()))
	}
	for _, x := range a.Tensors() {
		y := b.Tensor(x.Name)
		if y == nil || y.DType != x.DType || !slices.Equal(y.Shape, x.Shape) || !bytes.Equal(content(t, x), content(t, y)) {
			t.Errorf("%s: %s changed", what, x.Name)
		}
	}
}

func content(t *testing.T, x *tensor.Tensor) []byte {
	t.Helper()
	p := make([]byte, x.Bytes())
	if _, err := x.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}
