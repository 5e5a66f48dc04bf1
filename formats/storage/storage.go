// Package storage reads the files of checkpoints from sources and writes files to the local file system.
//
// A source is an fs.FS whose files implement io.ReaderAt: a directory of the local file system (Local, Locate),
// memory (testing/fstest.MapFS), or another implementation. All readers of package formats open files with Open,
// which refuses anything but regular files. A source may have a method Path(name string) string, which returns what
// users call a file. Large reads at any offset are efficient on every source; small reads may be slow.
//
// For writing there are a directory or a file with a sidecar that appear complete or not at all (Stage, FileStage),
// files that are written concurrently past the page cache (Output, Stream), memory that the garbage collector does
// not scan (Buffer), and a check of the free space (CheckFree). On systems without the necessary calls, these use
// simpler ones.
package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// SpaceError reports that an output does not fit on its file system.
type SpaceError struct {
	Dir        string // on that file system
	Need, Free int64  // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s: the output needs %d bytes, but only %d are free", e.Dir, e.Need, e.Free)
}

// Unwrap returns the error with which a write would fail.
func (e *SpaceError) Unwrap() error { return syscall.ENOSPC }

// CheckFree returns a *SpaceError if the file system of dir, or of the nearest existing directory above it, has fewer
// than need bytes available to this user. It returns nil if the available space is unknown.
func CheckFree(dir string, need int64) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		if _, err := system.Stat(dir); err == nil {
			break
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		break
	}
	free, err := freeBytes(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if free < need {
		return &SpaceError{Dir: dir, Need: need, Free: free}
	}
	return nil
}

// CheckFreeFor returns a *SpaceError if an output of need bytes does not fit beside its destination dst, once the stages
// of killed runs with the same destination are removed.
func CheckFreeFor(dst string, need int64) error {
	abs, err := filepath.Abs(dst)
	if err != nil {
		return err
	}
	return CheckFree(filepath.Dir(abs), need-abandoned(dst))
}

// Within reports whether path is dir or is in dir, also through symbolic links, other mounts and relative paths. Both
// exist.
func Within(path, dir string) (bool, error) {
	target, err := system.Stat(dir)
	if err != nil {
		return false, err
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return false, err
	}
	for {
		info, err := system.Stat(path)
		if err != nil {
			return false, err
		}
		if os.SameFile(info, target) {
			return true, nil
		}
		up := filepath.Dir(path)
		if up == path {
			return false, nil
		}
		path = up
	}
}

// WriteFile writes and syncs a small file, which must not exist.
func WriteFile(path string, content []byte) error {
	f, err := system.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
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
