package verify

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage"
)

// atomicFile is a file that is being written beside its place.
type atomicFile struct{ *os.File }

// writeAtomically has a file of size bytes filled beside its place, makes it durable and gives it its
// name. Until then path is as it was; after an error nothing is left.
func writeAtomically(path string, size int64, fill func(*atomicFile) error) (err error) {
	dir := filepath.Dir(path)
	if err := storage.CheckFree(dir, size); err != nil {
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
	if err = fill(&atomicFile{f}); err != nil {
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

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
