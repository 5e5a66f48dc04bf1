// Package beside reads the files beside the weights of a Hugging Face directory that transformers acts on: the generation
// configuration, the tokenizer and its chat templates, an adapter, and code.
package beside

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Names of files.
const (
	Generation = "generation_config.json"
	Adapter    = "adapter_config.json"
	Generate   = "custom_generate/generate.py" // code that transformers 4.57 runs as generate()

	tokenizerConfig = "tokenizer_config.json"
	templates       = "additional_chat_templates"
)

// tokenizerFiles are the files from which AutoTokenizer makes a tokenizer. Which of them it reads depends on its version and
// on the others.
var tokenizerFiles = []string{"tokenizer.json", "tokenizer.model", tokenizerConfig, "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
	"chat_template.jinja", "chat_template.json", "processor_config.json", "preprocessor_config.json"}

// Files is what lies beside the weights.
type Files struct {
	Generation map[string]any // the fields of the generation configuration; nil if there is none
	Corrupt    string         // what is wrong with it; "" for nothing
	config     map[string]any // the fields of config.json; nil if it cannot be read

	Tokenizer map[string]string // SHA-256 of the files of the tokenizer and its chat templates, in hexadecimal, by name
	Adapter   bool              // there is an adapter, which transformers loads along with the model
	Code      []string          // names of files, and fields of files, for which transformers runs code of the directory
}

// Read reads the files in a directory of a source. Files that do not exist are left out.
func Read(ctx context.Context, source fs.FS, dir string) (*Files, error) {
	f := &Files{Tokenizer: map[string]string{}}
	if err := f.readGeneration(source, path.Join(dir, Generation)); err != nil {
		return nil, err
	}
	if fields, err := hfconfig.Fields(source, path.Join(dir, hfconfig.Name)); err == nil {
		f.config = fields
	}
	names := tokenizerFiles
	entries, err := fs.ReadDir(source, path.Join(dir, templates))
	if err == nil { // a server may not list directories
		for _, e := range entries {
			if path.Ext(e.Name()) == ".jinja" {
				names = append(slices.Clone(names), path.Join(templates, e.Name()))
			}
		}
	}
	for _, name := range names {
		sum, err := digest(ctx, source, path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if sum != "" {
			f.Tokenizer[name] = sum
		}
	}
	for _, name := range []string{Adapter, Generate} {
		exists, err := isFile(source, path.Join(dir, name))
		switch {
		case err != nil:
			return nil, err
		case exists && name == Adapter:
			f.Adapter = true
		case exists:
			f.Code = append(f.Code, name)
		}
	}
	return f, f.readCode(source, path.Join(dir, tokenizerConfig))
}

func (f *Files) readGeneration(source fs.FS, name string) error {
	fields, err := hfconfig.Fields(source, name)
	var bad *tensor.FormatError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, &bad):
		f.Generation, f.Corrupt = map[string]any{}, bad.Problem
		return nil
	}
	f.Generation = fields
	return err
}

// HasConfig reports whether there is a config.json that can be read.
func (f *Files) HasConfig() bool { return f.config != nil }

// readCode finds code that the tokenizer's configuration names.
func (f *Files) readCode(source fs.FS, name string) error {
	fields, err := hfconfig.Fields(source, name)
	var bad *tensor.FormatError
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &bad) {
		return nil
	}
	for field := range fields {
		if strings.HasPrefix(field, "auto_map.") {
			f.Code = append(f.Code, tokenizerConfig+": auto_map")
			break
		}
	}
	return err
}

func isFile(source fs.FS, name string) (bool, error) {
	info, err := fs.Stat(source, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// digest returns the SHA-256 of a file, or "" if there is none.
func digest(ctx context.Context, source fs.FS, name string) (string, error) {
	if exists, err := isFile(source, name); !exists {
		return "", err
	}
	file, size, err := storage.Open(source, name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	const step = 1 << 20
	for at := int64(0); at < size; at += step {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if _, err := io.Copy(h, io.NewSectionReader(file, at, min(step, size-at))); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// UsualGeneration returns what a generation configuration has that only repeats the tokens that config.json names, and leaves
// out what generation leaves out. A model that is tuned for chats ends its text with another token too.
func (f *Files) UsualGeneration(generation map[string]any) map[string]any {
	usual := map[string]any{"bos_token_id": json.Number("2"), "eos_token_id": json.Number("1"), "pad_token_id": json.Number("0")}
	for name := range usual {
		if value, ok := f.config[name]; ok {
			usual[name] = value
		}
		if generation[name] == nil {
			usual[name] = nil
		}
	}
	if list, ok := generation["eos_token_id"].([]any); ok && len(list) == 2 && Show(list[0]) == Show(usual["eos_token_id"]) {
		usual["eos_token_id"] = list
	}
	return usual
}

// ignored are fields of a generation configuration that do not change what generate() does.
var ignored = []string{"transformers_version", "_from_model_config", "output_attentions", "output_hidden_states", "use_cache"}

// GenerationDifferences returns the names of the fields in which two generation configurations differ, in order. A field that
// is missing is null.
func GenerationDifferences(a, b map[string]any) []string {
	var names []string
	for _, fields := range []map[string]any{a, b} {
		for name := range fields {
			if !slices.Contains(ignored, name) && !slices.Contains(names, name) && Show(a[name]) != Show(b[name]) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Show writes a value of a field as JSON, cut short. Numbers that are equal read the same.
func Show(value any) string {
	if n, ok := value.(json.Number); ok {
		if x, err := n.Float64(); err == nil {
			return fmt.Sprint(x)
		}
	}
	if list, ok := value.([]any); ok {
		var parts []string
		for _, item := range list {
			parts = append(parts, Show(item))
		}
		return tensor.Clip("[" + strings.Join(parts, ", ") + "]")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return tensor.Clip(fmt.Sprint(value))
	}
	return tensor.Clip(string(text))
}

// Differences returns the names of the files that differ or that only one side has, in order.
func Differences(a, b map[string]string) []string {
	var names []string
	for _, files := range []map[string]string{a, b} {
		for name := range files {
			if a[name] != b[name] && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}
