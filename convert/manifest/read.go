package manifest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

const (
	maxSize  = 16 << 20 // bytes; the manifest of the largest published model has less than 1 MiB
	maxDepth = 10       // nested arrays and objects; a manifest has 5

	maxMemory = 64 << 20 // bytes of memory that the items of lists take
	ofItem    = 160      // of them for one, at most, though it may have 3 bytes of text
	ofNumber  = 8
)

// Read returns the manifest of the checkpoint called name in a source, and the manifest's path:
// conversion.json in a directory, FILE.conversion.json beside a file, or for a file in a Hugging Face
// directory that directory's conversion.json. It returns nil if there is none, or none that griffin
// wrote. A manifest that is corrupt is a *tensor.FormatError.
//
// Read does not check whether the checkpoint is still as its manifest describes it.
func Read(source fs.FS, name string) (*Manifest, string, error) {
	info, err := fs.Stat(source, name)
	if err != nil {
		return nil, "", nil // there is no checkpoint
	}
	if info.IsDir() {
		return readFile(source, path.Join(name, Name))
	}
	inDirectory := path.Join(path.Dir(name), Name)
	if _, local := storage.LocalPath(source, name); !local {
		asked := task.Start(func() error { _, err := fs.Stat(source, inDirectory); return err }) // a server is asked for both at once
		defer func() { <-asked }()
	}
	if m, at, err := readFile(source, name+"."+Name); m != nil || err != nil {
		return m, at, err
	}
	if target, file, ok := linkTarget(source, name); ok { // a manifest lies beside the file itself, not beside a link to it
		if m, at, err := readFile(target, file+"."+Name); m != nil || err != nil {
			return m, at, err
		}
	}
	const huggingFace = "huggingface"
	m, at, err := readFile(source, inDirectory)
	if m == nil || m.Layout != huggingFace {
		return nil, "", nil // it describes another checkpoint
	}
	return m, at, err
}

// linkTarget returns the file that a local path leads to after all symbolic links.
func linkTarget(source fs.FS, name string) (target fs.FS, file string, ok bool) {
	local, ok := storage.LocalPath(source, name)
	if !ok {
		return nil, "", false
	}
	resolved, err := filepath.EvalSymlinks(local)
	if err != nil {
		return nil, "", false
	}
	target, file, err = storage.Locate(resolved)
	return target, file, err == nil
}

func readFile(source fs.FS, name string) (*Manifest, string, error) {
	info, err := fs.Stat(source, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	text, err := storage.ReadFile(source, name, maxSize)
	if err != nil {
		return nil, "", err
	}
	m, err := Parse(text)
	at := storage.Path(source, name)
	if m == nil {
		return nil, "", tensor.Annotate(err, tensor.Location{File: at})
	}
	return m, at, nil
}

// Parse parses the content of a conversion.json. It returns nil for JSON that is not a manifest,
// and a *tensor.FormatError for a manifest that is corrupt and for text that is not JSON.
func Parse(text []byte) (*Manifest, error) {
	d := strictjson.NewDecoder(text, maxDepth)
	if err := checkMemory(d, new(int)); err != nil {
		return nil, err
	}
	if err := d.End(); err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		var other struct {
			Griffin string `json:"griffin"`
		}
		if json.Unmarshal(text, &other) != nil || other.Griffin == "" {
			return nil, nil
		}
		return nil, tensor.Bad("is not a record of a conversion: %v", err).Advise("remove it if the checkpoint beside it is right")
	}
	if m.Griffin == "" {
		return nil, nil
	}
	return &m, nil
}

// checkMemory checks a value of any kind, and adds the memory of the items of its lists to total.
func checkMemory(d *strictjson.Decoder, total *int) error {
	switch d.Peek() {
	case strictjson.KindObject:
		return d.Object(func(string) error { return checkMemory(d, total) })
	case strictjson.KindArray:
		return d.Array(func() error {
			if d.Peek() == strictjson.KindNumber {
				*total += ofNumber
			} else {
				*total += ofItem
			}
			if *total > maxMemory {
				return tensor.Bad("has lists that take more than %d MiB of memory", maxMemory>>20).Because(tensor.TooLarge)
			}
			return checkMemory(d, total)
		})
	}
	return d.Skip()
}
