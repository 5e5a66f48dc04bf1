package publish

import (
	"errors"
	"fmt"
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
