package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// filesOf returns the files beside the weights of a plan.
func filesOf(p *Plan, o Options) ([]huggingface.File, error) {
	c := &conversion{outline: p.outline(), plan: p, options: o}
	err := c.planFiles()
	return c.files, err
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; -update rewrites it. Got:\n%s", name, got)
	}
}

func TestFilesGolden(t *testing.T) {
	two := model.Griffin.Preset("2b").Config
	two.VocabSize = 256000
	hawk := tinyConfig
	hawk.BlockTypes = model.Repeat(4, model.Recurrent)
	wide := tinyConfig
	wide.VocabSize = 1000
	for _, tt := range []struct {
		name   string
		config model.Config
		s      model.Settings
		dtype  tensor.DType
		o      Options
	}{
		{"2b", two, model.Settings{}, tensor.BF16, Options{}},
		{"2b-it", two, model.Settings{}, tensor.BF16, Options{InstructionTuned: true}},
		{"tiny", tinyConfig, tinySettings, tensor.Invalid, Options{}},
		{"hawk", hawk, model.Settings{LogitsSoftCap: ptr(1e-5), EmbeddingScale: ptr(true)}, tensor.F16, Options{}},
		{"tokenizer", wide, tinySettings, tensor.F32, Options{Tokenizer: "testdata/tokenizer.model"}},
		{"tokenizer-it", wide, tinySettings, tensor.F32, Options{Tokenizer: "testdata/tokenizer.model", InstructionTuned: true}},
	} {
		p, err := plan(t, tt.s, tt.dtype, modelTensors(&tt.config, model.Flax, "params.")...)
		if err != nil {
			t.Fatal(err)
		}
		files, err := filesOf(p, tt.o)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, f := range files {
			if f.Name == "tokenizer.model" {
				if want, _ := os.ReadFile(tt.o.Tokenizer); !bytes.Equal(f.Content, want) {
					t.Errorf("%s: tokenizer.model is not the one that was given", tt.name)
				}
				continue
			}
			if !json.Valid(f.Content) || !bytes.HasSuffix(f.Content, []byte("}\n")) {
				t.Errorf("%s: %s is not JSON with a newline at its end", tt.name, f.Name)
			}
			golden(t, tt.name+"/"+f.Name, f.Content)
		}
	}
}

func TestInstructionTunedNeedsTurns(t *testing.T) {
	p, err := plan(t, tinySettings, tensor.Invalid, modelTensors(&tinyConfig, model.Flax, "")...)
	if err != nil {
		t.Fatal(err)
	}
	var chat *huggingface.ChatError
	if _, err := filesOf(p, Options{InstructionTuned: true}); !errors.As(err, &chat) || chat.Tokenizer != "" {
		t.Errorf("without a tokenizer: %v", err)
	}
}

func TestManifest(t *testing.T) {
	c := tinyConfig
	c.BlockTypes = []model.BlockType{model.Recurrent, model.Attention}
	tensors := append(modelTensors(&c, model.Flax, "params."), named("opt_state.0.mu.x", 3), named("step"))
	p, err := plan(t, tinySettings, tensor.BF16, tensors...)
	if err != nil {
		t.Fatal(err)
	}
	digests := moves.NewDigests(p.List)
	for i, d := range p.Dests {
		digests.SetDest(i, digest.Of(digest.BLAKE3|digest.SHA256, []byte(d.Name)))
	}
	var texts [2][]byte
	for i, path := range []string{"/home/somebody/model.ckpt", "model.ckpt"} {
		p.Source.Checkpoint.Path = path
		if texts[i], err = contentOf(newRecorder(p.outline(), "v1.2.3", "safetensors", digests, digests, digest.Default, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("the path of the source is in the manifest")
	}
	golden(t, "manifest/conversion.json", texts[0])
}
