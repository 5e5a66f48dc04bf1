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
	c, err := formats.Open(source, formats.Options{})
	check(t, err)
	defer c.Close()
	var specs []tensor.Spec
	var contents [][]byte
	for _, x := range c.Tensors() {
		content := make([]byte, x.Bytes())
		check(t, tensor.ReadFullAt(x, content, 0))
		spec := tensor.Spec{Name: x.Name, DType: x.DType, Shape: x.Shape}
		if x.Name == "model.embed_tokens.weight" {
			spec.Shape = []int64{int64(vocabulary), x.Shape[1]}
			content = randomFloats(vocabulary * int(x.Shape[1]))
		}
		specs, contents = append(specs, spec), append(contents, content)
	}
	layout, err := safetensors.NewLayout(specs, 0, map[string]string{"format": "pt"})
	check(t, err)
	file := make([]byte, layout.Files[0].Size)
	copy(file, layout.Files[0].Header)
	for i, content := range contents {
		copy(file[layout.Ranges[i].Offset:], content)
	}
	config, err := os.ReadFile(filepath.Join(source, "config.json"))
	check(t, err)
	check(t, os.MkdirAll(dir, 0o755))
	for name, content := range map[string][]byte{
		"model.safetensors": file,
		"config.json":       bytes.Replace(config, []byte(`"vocab_size": 61`), fmt.Appendf(nil, `"vocab_size": %d`, vocabulary), 1),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
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
