package huggingface

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// TestCopySidecars: documents and the tokenizer are copied, weights and configurations replaced, and
// all others left. A tokenizer and a chat template that are given replace those of the source.
func TestCopySidecars(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "conversion.json",
		"chat_template.jinja", "README.md", "LICENSE", ".gitattributes", "notes.txt", "model.gguf", ".hidden", "model-00001-of-00001.bin", "model.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "runs"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("README.md", filepath.Join(dir, "README.link")); err != nil {
		t.Skip(err)
	}
	documents := []string{".gitattributes", "LICENSE", "README.link", "README.md"}
	for _, tt := range []struct {
		o    Options
		want []string
	}{
		{Options{}, slices.Concat(documents, []string{"chat_template.jinja", "generation_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"})},
		{Options{InstructionTuned: true}, slices.Concat(documents, []string{"chat_template.jinja", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"})},
		{Options{Tokenizer: "own.model"}, slices.Concat(documents, []string{"chat_template.jinja", "generation_config.json"})},
		{Options{Tokenizer: "own.model", InstructionTuned: true}, documents},
	} {
		tt.o.Source = storage.Local(dir)
		files, left, _, err := copySidecars(".", &tt.o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range files {
			names = append(names, f.Name)
			if f.Name == "README.link" && f.Bytes != int64(len("README.md")) {
				t.Errorf("%s has %d bytes", f.Name, f.Bytes)
			}
		}
		if !slices.Equal(names, tt.want) || strings.Join(left, " ") != "model.gguf notes.txt runs" {
			t.Errorf("%+v: copied %q, left %q", tt.o, names, left)
		}
	}
}
