package convert

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// sidecars are the files of a Hugging Face directory that hold true whatever happens to its weights, and
// so are copied. Patterns are those of path.Match.
var sidecars = []struct {
	pattern string
	of      sidecarKind
}{
	{"generation_config.json", generationFile},
	{"tokenizer.json", tokenizerFile},
	{"tokenizer.model", tokenizerFile},
	{"tokenizer_config.json", tokenizerFile},
	{"special_tokens_map.json", tokenizerFile},
	{"added_tokens.json", tokenizerFile},
	{"vocab.json", tokenizerFile},
	{"merges.txt", tokenizerFile},
	{"chat_template.json", templateFile},
	{"chat_template.jinja", templateFile},
	{"README*", documentFile},
	{"LICENSE*", documentFile},
	{"LICENCE*", documentFile},
	{"NOTICE*", documentFile},
	{"USE_POLICY*", documentFile},
	{".gitattributes", documentFile},
}

type sidecarKind uint8

const (
	noSidecar sidecarKind = iota
	generationFile
	tokenizerFile
	templateFile
	documentFile
)

// madeAnew are files of which the destination has its own.
var madeAnew = []string{hfconfig.Name, ManifestName, "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json"}

func sidecarOf(name string) sidecarKind {
	for _, s := range sidecars {
		if ok, _ := path.Match(s.pattern, name); ok {
			return s.of
		}
	}
	return noSidecar
}

// copySidecars returns the files beside a config.json that go along, and the names of those that do not.
func copySidecars(dir string, o FilesOptions) (files []File, left []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := e.Name()
		kind := sidecarOf(name)
		switch {
		case kind == noSidecar && (strings.HasPrefix(name, ".") || matchesAny(madeAnew, name)):
			continue
		case kind == generationFile && o.InstructionTuned, kind == tokenizerFile && o.Tokenizer != "",
			kind == templateFile && o.Tokenizer != "" && o.InstructionTuned:
			continue // written anew
		}
		info, err := os.Stat(filepath.Join(dir, name)) // what a link leads to
		if err != nil || kind == noSidecar || !info.Mode().IsRegular() {
			left = append(left, name)
			continue
		}
		files = append(files, File{Name: name, From: filepath.Join(dir, name), Bytes: info.Size()})
	}
	return files, left, nil
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// editConfig returns the config.json of the source with what the conversion changes, and every other byte
// as it is.
func editConfig(p *Plan) ([]byte, error) {
	text, err := readSmall(p.config.path)
	if err != nil {
		return nil, err
	}
	h := p.config.read
	var set []jsonField
	if h.AttentionWindowSize != p.HF.AttentionWindowSize {
		set = append(set, jsonField{"attention_window_size", p.HF.AttentionWindowSize})
	}
	if h.LogitsSoftCap != float64(p.HF.LogitsSoftCap) {
		set = append(set, jsonField{"logits_soft_cap", p.HF.LogitsSoftCap})
	}
	if h.TieWordEmbeddings != p.HF.TieWordEmbeddings {
		set = append(set, jsonField{"tie_word_embeddings", p.HF.TieWordEmbeddings})
	}
	if h.VocabSize != p.Config.VocabSize { // an adapter's
		set = append(set, jsonField{"vocab_size", p.Config.VocabSize})
	}
	if !p.Keep {
		for _, name := range []string{"dtype", "torch_dtype"} {
			if h.Has(name) || !h.Has("dtype") && !h.Has("torch_dtype") {
				set = append(set, jsonField{name, p.DType.String()})
			}
		}
	}
	edited, err := editJSON(text, set)
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) {
		bad.In(p.config.path)
	}
	return edited, err
}

// write puts a file into a directory.
func (f *File) write(dir string) error {
	to := filepath.Join(dir, f.Name)
	if f.From == "" {
		return storage.WriteFile(to, f.Content)
	}
	in, err := os.Open(f.From)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
