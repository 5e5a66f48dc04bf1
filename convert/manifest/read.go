package manifest

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Read returns the record of the checkpoint called name in a source, and the record's path:
// conversion.json in a directory, FILE.conversion.json beside a file, or for a file in a Hugging Face
// directory that directory's conversion.json. It returns nil if there is none, or none that griffin
// wrote. A record that is corrupt or exceeds a limit is a *tensor.FormatError.
//
// Read does not check whether the checkpoint is still as its record describes it.
func Read(source fs.FS, name string) (*Record, string, error) {
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

func readFile(source fs.FS, name string) (*Record, string, error) {
	info, err := fs.Stat(source, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	at := storage.Path(source, name)
	r, err := readText(source, name, info.Size())
	if r == nil {
		return nil, "", tensor.Annotate(err, tensor.Location{File: at})
	}
	return r, at, nil
}

func readText(source fs.FS, name string, size int64) (*Record, error) {
	if size > maxSize {
		return nil, tensor.Bad("is longer than %d bytes", maxSize).Because(tensor.TooLarge)
	}
	most := int64(maxKept)
	if _, local := storage.LocalPath(source, name); !local {
		most = maxRemote
	}
	if size <= most {
		kept, err := storage.ReadFile(source, name, most)
		if err != nil {
			return nil, err
		}
		return Parse(kept)
	}
	f, _, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	sequential := tensor.IsSequential(f)
	f.Close()
	if sequential { // tensors are looked up
		return nil, tensor.Bad("is longer than %d bytes, and its server sends whole files only", most).Because(tensor.TooLarge)
	}
	return read(&text{source: source, name: name, size: size})
}
