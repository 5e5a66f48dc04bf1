package storage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Replace calls fill to write a file of size bytes beside path, syncs it and renames it to path. Until then path is
// unchanged. If it fails, it leaves no file behind.
func Replace(path string, size int64, fill func(io.WriterAt) error) (err error) {
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

// ReplaceWith replaces the file at path by one with the given content, as Replace does.
func ReplaceWith(path string, content []byte) error {
	return Replace(path, int64(len(content)), func(w io.WriterAt) error {
		_, err := w.WriteAt(content, 0)
		return err
	})
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
