package orbax

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// tree is the directory of a checkpoint, seen so that neither links nor ".." lead out of it.
type tree struct {
	fsys fs.FS
	path string // as the caller has it
}

// in returns the path of a file for people.
func (t *tree) in(name string) string { return filepath.Join(t.path, filepath.FromSlash(name)) }

// stat returns nil where nothing of that name exists.
func (t *tree) stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(t.fsys, name)
	if err == nil {
		return info, nil
	}
	if link, e := fs.Lstat(t.fsys, name); e == nil && link.Mode()&fs.ModeSymlink != 0 {
		return nil, tensor.Bad("a link that leads out of the checkpoint or nowhere").In(t.in(name)).
			Advise("copy the checkpoint with links resolved, as cp -RL does")
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, nil
	}
	return nil, err
}

// isFile reports whether a regular file of that name exists.
func (t *tree) isFile(name string) (bool, error) {
	info, err := t.stat(name)
	return info != nil && info.Mode().IsRegular(), err
}

// directories returns the names of the directories in dir, sorted. Links within the checkpoint
// are followed; others are not there.
func (t *tree) directories(dir string) ([]string, error) {
	entries, err := fs.ReadDir(t.fsys, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := fs.Stat(t.fsys, join(dir, e.Name()))
			isDir = err == nil && info.IsDir()
		}
		if isDir {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// read returns the content of a file of at most limit bytes, and nil where there is no such file.
func (t *tree) read(name string, limit int64) ([]byte, error) {
	f, size, err := t.open(name)
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, tensor.Bad("%d bytes; more than %d are not plausible", size, limit).In(t.in(name))
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, err
	}
	return text, nil
}

// open opens a regular file, and returns nil where there is none of that name.
func (t *tree) open(name string) (*os.File, int64, error) {
	info, err := t.stat(name)
	if info == nil || err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, tensor.Bad("not a regular file").In(t.in(name))
	}
	f, err := t.fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return f.(*os.File), info.Size(), nil
}

// within says in which file of the checkpoint a fault is, unless the error tells already. The
// packages below name their records relative to the top, which is ".".
func (t *tree) within(name string, err error) error {
	return tensor.Annotate(err, tensor.Location{File: t.in(name)})
}

// join joins slash-separated names; dir may be ".".
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
