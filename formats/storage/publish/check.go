package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// CheckStage returns the error with which a stage for dst would be refused, and writes nothing: NewStage's or, if suffix is not
// "", NewFileStage's.
func CheckStage(dst, suffix string, replace bool) error {
	if suffix != "" && dst != "" && os.IsPathSeparator(dst[len(dst)-1]) {
		return &OutputError{Path: dst, Reason: OutputIsDirectory}
	}
	path, err := resolve(dst)
	if err != nil {
		return err
	}
	if err := checkParent(dst, filepath.Dir(path)); err != nil {
		return err
	}
	s := &Stage{dst: path, replace: replace}
	if suffix != "" {
		return checkFiles(s, suffix)
	}
	return s.checkDestination()
}

// checkParent returns an error unless something can be created in the directory of dst or, if it does not exist, in the nearest one
// above it.
func checkParent(dst, dir string) error {
	info, err := system.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		return checkParent(dst, filepath.Dir(dir))
	case err != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := checkWritable(dir); err != nil {
		return &fs.PathError{Op: "create", Path: dst, Err: fmt.Errorf("nothing can be created in %s: %w", dir, causeOf(err))}
	}
	return nil
}
