package publish

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// WriteFile writes and syncs a small file, which must not exist.
func WriteFile(path string, content []byte) error {
	_, err := WriteFrom(path, bytes.NewReader(content))
	return err
}

// WriteFrom is WriteFile for content of any length. It returns its length.
func WriteFrom(path string, content io.WriterTo) (int64, error) {
	f, err := system.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return 0, err
	}
	n, err := content.WriteTo(f)
	return n, errors.Join(err, f.Sync(), f.Close())
}

// syncTree syncs dir and all files and directories below it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return syncDir(path)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		f, err := system.OpenFile(path, os.O_RDWR) // Windows syncs only files that are open for writing
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
