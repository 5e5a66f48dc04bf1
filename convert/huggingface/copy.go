package huggingface

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
)

// sidecars are the files of a Hugging Face directory that stay valid whatever happens to its
// weights, and so are copied. Patterns are those of path.Match.
var sidecars = []struct {
	pattern string
	kind    sidecar
}{
	{"generation_config.json", generation},
	{"tokenizer.json", tokenization},
	{"tokenizer.model", tokenization},
	{"tokenizer_config.json", tokenization},
	{"special_tokens_map.json", tokenization},
	{"added_tokens.json", tokenization},
	{"vocab.json", tokenization},
	{"vocab.txt", tokenization},
	{"merges.txt", tokenization},
	{"spiece.model", tokenization},
	{"sentencepiece.bpe.model", tokenization},
	{"*.tiktoken", tokenization},
	{"tokenization_*.py", tokenization},
	{"configuration_*.py", code},
	{"modeling_*.py", code},
	{"processing_*.py", code},
	{"image_processing_*.py", code},
	{"processor_config.json", processing},
	{"preprocessor_config.json", processing},
	{"video_preprocessor_config.json", processing},
	{"chat_template.json", chatTemplates},
	{"chat_template.jinja", chatTemplates},
	{"README*", document},
	{"LICENSE*", document},
	{"LICENCE*", document},
	{"NOTICE*", document},
	{"USE_POLICY*", document},
	{".gitattributes", document},
}

// sidecar is the purpose of a file beside the weights.
type sidecar uint8

const (
	unknown sidecar = iota
	generation
	tokenization
	chatTemplates
	processing // of images and sounds
	code       // that transformers runs if it is allowed to
	document
)

// replaced lists the files that a conversion writes itself, so that they are not copied.
var replaced = []string{hfconfig.Name, manifest.Name, "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json"}

func sidecarOf(name string) sidecar {
	for _, s := range sidecars {
		if ok, _ := path.Match(s.pattern, name); ok {
			return s.kind
		}
	}
	return unknown
}

// IsOwn reports whether a file of that name in a Hugging Face directory belongs to the model: its weights, its
// configuration, or a file that stays valid whatever happens to the weights.
func IsOwn(name string) bool { return sidecarOf(name) != unknown || matchesAny(replaced, name) }

// IsDocument reports whether a file of that name is a document for people, such as a model card or a licence.
func IsDocument(name string) bool { return sidecarOf(name) == document }

// copySidecars returns the files of a directory that are copied, the names of those that are neither
// copied nor replaced, and the names of links that lead out of the directory, which are not followed.
func copySidecars(dir string, o *Options) (files []File, left, outside []string, err error) {
	entries, err := fs.ReadDir(o.Source, dir)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, e := range entries {
		name := e.Name()
		kind := sidecarOf(name)
		switch {
		case kind == unknown && (strings.HasPrefix(name, ".") || matchesAny(replaced, name)):
			continue
		case kind == generation && o.InstructionTuned, kind == tokenization && o.Tokenizer != "",
			kind == chatTemplates && o.Tokenizer != "" && o.InstructionTuned:
			continue // replaced
		}
		info, err := fs.Stat(o.Source, path.Join(dir, name)) // of the file to which a link leads
		if err != nil && !storage.IsAbsent(err) {
			return nil, nil, nil, err
		}
		if err != nil || kind == unknown || !info.Mode().IsRegular() {
			left = append(left, name)
			continue
		}
		if local, ok := storage.LocalPath(o.Source, path.Join(dir, name)); ok && e.Type()&fs.ModeSymlink != 0 {
			inside, err := staysInside(local)
			if err != nil {
				return nil, nil, nil, err
			}
			if !inside {
				outside = append(outside, name)
				continue
			}
		}
		files = append(files, File{Name: name, Bytes: info.Size(), Source: o.Source, From: path.Join(dir, name)})
	}
	return files, left, outside, nil
}

// staysInside reports whether a link leads to a file in its directory, or to a blob of the hub's cache whose snapshot its
// directory is: snapshots/COMMIT/NAME leads to blobs/DIGEST.
func staysInside(link string) (bool, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(link))
	if err != nil {
		return false, err
	}
	target, err := filepath.EvalSymlinks(link)
	if err != nil {
		return false, err
	}
	if inside, err := storage.Within(target, dir); err != nil || inside {
		return inside, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	if filepath.Base(filepath.Dir(dir)) != "snapshots" {
		return false, nil
	}
	blobs := filepath.Join(dir, "..", "..", "blobs")
	if _, err := os.Stat(blobs); err != nil {
		return false, nil
	}
	return storage.Within(target, blobs)
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// Write writes the file to a directory, by files, and syncs it. The file must not exist.
func (f *File) Write(dir string, files *publish.OutputFiles) error {
	to := filepath.Join(dir, f.Name)
	if f.From == "" {
		return files.WriteFile(to, f.Content)
	}
	in, _, err := storage.Open(f.Source, f.From)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := files.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
