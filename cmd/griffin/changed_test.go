package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// changedSource is a directory whose files are changed as soon as they were read.
type changedSource struct{ fs.FS }

func (changedSource) Unchanged() error { return tensor.Bad("the file was changed meanwhile") }

// No command prints or publishes what it made of files that changed while it read them: each asks storage.Unchanged.
func TestSourcesThatChange(t *testing.T) {
	storage.Register("changed", func(address string) (fs.FS, string, error) {
		return changedSource{os.DirFS(filepath.Dir(strings.TrimPrefix(address, "changed://")))}, filepath.Base(address), nil
	})
	storage.Register("same", func(address string) (fs.FS, string, error) {
		return os.DirFS(filepath.Dir(strings.TrimPrefix(address, "same://"))), filepath.Base(address), nil
	})
	data, err := filepath.Abs("../../testdata")
	check(t, err)
	dir := t.TempDir()
	model := filepath.Join(dir, "hf")
	writeTextModel(t, data, model)
	base, adapter := filepath.Join(data, "finetune", "base"), filepath.Join(data, "finetune", "adapter")
	in := func(name string) string { return filepath.Join(dir, name) }
	var stdout, stderr bytes.Buffer
	if code := runCommand(t.Context(), []string{"griffin", "golden", model, "--random", "4", "--out", in("golden.safetensors")}, &stdout, &stderr); code != exitOK {
		t.Fatal(stderr.String())
	}
	check(t, os.WriteFile(in("text"), []byte("a text"), 0o644))
	for _, args := range [][]string{
		{"inspect", "SCHEME://" + model, "--digest"},
		{"inspect", "SCHEME://" + model, "--digest=blake3", "--json"},
		{"inspect", "SCHEME://" + model, "--stats"},
		{"inspect", "SCHEME://" + model, "--stats", "--report", "OUT"},
		{"inspect", "SCHEME://" + model, "--dump", "model.final_norm.weight", "--out", "OUT"},
		{"inspect", "SCHEME://" + model, "--dump", "model.final_norm.weight"},
		{"convert", "SCHEME://" + model, "OUT"},
		{"convert", "SCHEME://" + model, "OUT", "--to", "torch", "--verify"},
		{"convert", "SCHEME://" + model, "OUT", "--to", "orbax"},
		{"convert", "SCHEME://" + model, "OUT", "--to", "safetensors"},
		{"convert", base, "OUT", "--adapter", "SCHEME://" + adapter},
		{"verify", "SCHEME://" + model, model, "--report", "OUT"},
		{"verify", model, "SCHEME://" + model, "--card", "OUT"},
		{"verify", model, "--golden", "SCHEME://" + in("golden.safetensors")},
		{"verify", "SCHEME://" + model, "--golden", in("golden.safetensors")},
		{"diff", "SCHEME://" + model, model, "--report", "OUT"},
		{"diff", model, "SCHEME://" + model},
		{"golden", "SCHEME://" + model, "--random", "4", "--out", "OUT"},
		{"golden", model, "--tokens", "SCHEME://" + in("golden.safetensors"), "--out", "OUT"},
		{"golden", "SCHEME://" + model, "--random", "4", "--decode-from", "2", "--out", "OUT"},
		{"generate", "SCHEME://" + model, "--tokens", "2,3", "--max-tokens", "2", "--state-out", "OUT"},
		{"perplexity", "SCHEME://" + model, "--text", in("text")},
		{"perplexity", model, "SCHEME://" + model, "--tokens", in("golden.safetensors")},
	} {
		for scheme, want := range map[string]int{"same": exitOK, "changed": exitBadInput} {
			out := in("out-" + scheme)
			var full []string
			for _, arg := range args {
				full = append(full, strings.NewReplacer("SCHEME", scheme, "OUT", out).Replace(arg))
			}
			var stdout, stderr bytes.Buffer
			code := runCommand(t.Context(), append([]string{"griffin"}, full...), &stdout, &stderr)
			_, absent := os.Stat(out)
			if code != want || want != exitOK && !strings.Contains(stderr.String(), "changed meanwhile") {
				t.Errorf("%v: exit status %d, want %d: %s", full, code, want, &stderr)
			}
			if want != exitOK && absent == nil {
				t.Errorf("%v: wrote its output", full)
			}
			check(t, os.RemoveAll(out))
		}
	}
}
