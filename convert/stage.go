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

// staged runs fill on a directory beside dst that becomes dst if there is no error, and otherwise
// is removed.
func staged(dst string, replace bool, fill func(dir string) error) (err error) {
	stage, err := storage.NewStage(dst, replace)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Discard()) }()
	if err := fill(stage.Dir); err != nil {
		return err
	}
	return stage.Publish()
}
