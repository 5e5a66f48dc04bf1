package huggingface

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

// Companions returns the files in a directory of a source that belong to the model of its weights, whatever
// the model is: its configurations, its tokenizer, and, if there is a config.json, its documents. In
// config.json the fields changed are set if it has them; all other files are copied as they are.
func Companions(source fs.FS, dir string, changed []Field) (*Directory, error) {
	d := &Directory{}
	copied, left, outside, err := copySidecars(dir, &Options{Source: source})
	if err != nil {
		return nil, err
	}
	d.Outside = outside
	config := path.Join(dir, hfconfig.Name)
	described := storage.IsFile(source, config)
	if described {
		file, err := companionConfig(source, config, changed)
		if err != nil {
			return nil, err
		}
		d.Files = append(d.Files, file)
	}
	for _, f := range copied {
		if described || sidecarOf(f.Name) != document {
			d.Files = append(d.Files, f)
		}
	}
	for _, name := range left {
		if name == peft.ConfigName && storage.IsFile(source, path.Join(dir, name)) {
			file, err := companionConfig(source, path.Join(dir, name), nil)
			if err != nil {
				return nil, err
			}
			d.Files = append(d.Files, file)
		} else if described && isText(name) && storage.IsFile(source, path.Join(dir, name)) {
			d.NotCopied = append(d.NotCopied, name)
		}
	}
	return d, nil
}

// companionConfig returns a configuration with those fields set that it has.
func companionConfig(source fs.FS, name string, changed []Field) (File, error) {
	if len(changed) > 0 {
		fields, err := hfconfig.Fields(source, name)
		if err != nil {
			return File{}, err
		}
		changed = slices.DeleteFunc(slices.Clone(changed), func(f Field) bool { _, ok := fields[f.Name]; return !ok })
	}
	if len(changed) > 0 {
		content, err := editConfig(source, name, changed)
		return newFile(path.Base(name), content), err
	}
	info, err := fs.Stat(source, name)
	if err != nil {
		return File{}, err
	}
	return File{Name: path.Base(name), Bytes: info.Size(), Source: source, From: name}, nil
}

// isText reports whether a file by its name describes something, and is no container of weights.
func isText(name string) bool {
	return matchesAny([]string{"*.json", "*.txt", "*.model", "*.jinja", "*.py", "*.yaml", "*.yml", "*.md"}, strings.ToLower(name))
}
