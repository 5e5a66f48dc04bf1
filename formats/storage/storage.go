// Package storage is what griffin asks of a file system beyond reading and writing: a directory
// that appears complete or not at all (Stage), or a file with a sidecar (FileStage), files that are
// filled in parallel past the page cache (Output), memory that the garbage collector does not count
// (Buffer), and the space that is left (CheckFree).
//
// Every operation has a plain form for systems that lack the better one.
package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SpaceError says that a destination does not fit on its file system.
type SpaceError struct {
	Dir        string // on that file system
	Need, Free int64  // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s: the output needs %d bytes and only %d are free", e.Dir, e.Need, e.Free)
}

// Unwrap returns what a write would have failed with.
func (e *SpaceError) Unwrap() error { return syscall.ENOSPC }

// CheckFree returns a *SpaceError if the file system of dir (or of the nearest directory above it
// that exists) has fewer than need bytes left for this user. Where the system does not tell, there
// is no error.
func CheckFree(dir string, need int64) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(dir); err == nil {
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

// Within reports whether path is dir or lies in it, whatever the names: through symbolic links,
// other mounts and relative paths. Both exist.
func Within(path, dir string) (bool, error) {
	target, err := os.Stat(dir)
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
		info, err := os.Stat(path)
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

// WriteFile writes a small file that must not exist yet and makes it durable.
func WriteFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncTree makes the files below dir and the directories themselves durable.
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
		f, err := os.OpenFile(path, os.O_RDWR, 0) // Windows flushes only what it may write
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
