package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// checkApart refuses a destination that the source lies in, or is: replacing it would remove what
// is being read. One inside a source directory is allowed.
func checkApart(src, dst string) error {
	if src == "" {
		return nil // read from memory
	}
	if _, err := os.Lstat(src); err != nil {
		return nil // not a path
	}
	if _, err := os.Stat(dst); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	inside, err := storage.Within(src, dst)
	if err != nil {
		return err
	}
	if inside {
		return &SettingsError{
			Problem: fmt.Sprintf("the source %s is the destination %s, or lies in it", src, dst),
			Hint:    "give a destination of its own; it is renamed into place when it is complete",
		}
	}
	return nil
}

// checkRoom refuses a destination that will not fit.
func checkRoom(dst string, need int64) error {
	dir, err := filepath.Abs(dst)
	if err != nil {
		return err
	}
	return storage.CheckFree(filepath.Dir(dir), need)
}

// staging is where a destination is made before it appears.
type staging struct {
	weights  string // path of the file, or of the directory that is filled
	manifest string // path of conversion.json

	publish func() error
	discard func() error
}

// newStaging begins a destination: a directory, or a file with conversion.json beside it.
func newStaging(dst string, to Target, replace bool) (*staging, error) {
	if to == ToTorch {
		s, err := storage.NewFileStage(dst, "."+ManifestName, replace)
		if err != nil {
			return nil, err
		}
		return &staging{s.File, s.Sidecar, s.Publish, s.Discard}, nil
	}
	s, err := storage.NewStage(dst, replace)
	if err != nil {
		return nil, err
	}
	return &staging{s.Dir, filepath.Join(s.Dir, ManifestName), s.Publish, s.Discard}, nil
}
