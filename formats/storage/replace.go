package storage

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace has a file of size bytes filled beside its place, makes it durable and gives it its name.
// Until then path is as it was; after an error nothing is left.
func Replace(path string, size int64, fill func(*os.File) error) (err error) {
	dir := filepath.Dir(path)
	if err := CheckFree(dir, size); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".griffin-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	if err = f.Truncate(size); err != nil {
		return err
	}
	if err = fill(f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// ReplaceWith is Replace by a content that is at hand.
func ReplaceWith(path string, content []byte) error {
	return Replace(path, int64(len(content)), func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
