package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// writeTextModel writes odd-griffin with a vocabulary of 1,000 tokens, and the tokenizer of that size, as a Hugging Face
// directory.
func writeTextModel(t testing.TB, data, dir string) {
	t.Helper()
	writeModel(t, data, dir, 1000)
	tokenizer, err := os.ReadFile(filepath.Join(data, "..", "convert", "testdata", "tokenizer.model"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "tokenizer.model"), tokenizer, 0o644))
}

// writeModel writes odd-griffin with a vocabulary of that size as a Hugging Face directory.
func writeModel(t testing.TB, data, dir string, vocabulary int) {
	t.Helper()
	source := filepath.Join(data, "odd-griffin", "hf")
	var weights []weight
	for _, x := range weightsOf(t, source) {
		if x.Name == "model.embed_tokens.weight" {
			x.Shape = []int64{int64(vocabulary), x.Shape[1]}
			x.content = randomFloats(vocabulary * int(x.Shape[1]))
		}
		weights = append(weights, x)
	}
	check(t, os.MkdirAll(dir, 0o755))
	writeWeights(t, dir, weights, 0)
	config, err := os.ReadFile(filepath.Join(source, "config.json"))
	check(t, err)
	config = bytes.Replace(config, []byte(`"vocab_size": 61`), fmt.Appendf(nil, `"vocab_size": %d`, vocabulary), 1)
	check(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644))
}

// weight is a tensor with its elements.
type weight struct {
	tensor.Spec
	content []byte
}

// weightsOf returns the tensors of a checkpoint.
func weightsOf(t testing.TB, path string) []weight {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	check(t, err)
	defer c.Close()
	var weights []weight
	for _, x := range c.Tensors() {
		content := make([]byte, x.Bytes())
		check(t, tensor.ReadFullAt(x, content, 0))
		weights = append(weights, weight{tensor.Spec{Name: x.Name, DType: x.DType, Shape: x.Shape}, content})
	}
	return weights
}

// writeWeights writes the safetensors files of a directory, with at most that many bytes of tensors in each, and their index if there
// are several. 0 is no limit.
func writeWeights(t testing.TB, dir string, weights []weight, limit int64) {
	t.Helper()
	var specs []tensor.Spec
	for _, w := range weights {
		specs = append(specs, w.Spec)
	}
	layout, err := safetensors.NewLayout(specs, limit, map[string]string{"format": "pt"})
	check(t, err)
	files := make([][]byte, len(layout.Files))
	for i, f := range layout.Files {
		files[i] = make([]byte, f.Size)
		copy(files[i], layout.Header(i))
	}
	for i, w := range weights {
		copy(files[layout.Ranges[i].File][layout.Ranges[i].Offset:], w.content)
	}
	for i, f := range layout.Files {
		check(t, os.WriteFile(filepath.Join(dir, f.Name), files[i], 0o644))
	}
	if layout.Index != nil {
		check(t, os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), layout.Index, 0o644))
	}
}

// randomFloats returns float32 numbers that are always the same.
func randomFloats(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var content []byte
	for range n {
		content = binary.LittleEndian.AppendUint32(content, math.Float32bits(float32(random.NormFloat64()*0.03)))
	}
	return content
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
