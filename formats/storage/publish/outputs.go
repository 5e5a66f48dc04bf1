package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// OutputReason says why an output may not go to a path.
type OutputReason uint8

// The reasons.
const (
	OutputIsSource     OutputReason = iota + 1 // it is Other, which is read
	OutputIsDirectory                          // a file goes where a directory is
	OutputIsFile                               // a directory goes where a file is
	OutputIsSpecial                            // a device, FIFO or socket, which cannot be replaced
	OutputIsMountPoint                         // it cannot be renamed
	OutputHasOthers                            // the directory contains Other, which is no part of a checkpoint
	OutputNoCheckpoint                         // the directory holds no checkpoint
)

// OutputError reports that an output may not go to a path, because it would destroy something.
type OutputError struct {
	Path   string
	Reason OutputReason
	Other  string // path or name of what would be destroyed; see Reason

	Err error // fs.ErrExist if nothing was to be replaced, or nil
}

// Unwrap returns Err.
func (e *OutputError) Unwrap() error { return e.Err }

func (e *OutputError) Error() string {
	switch e.Reason {
	case OutputIsSource:
		return fmt.Sprintf("%s is an input and would be replaced", e.Path)
	case OutputIsDirectory:
		return e.Path + " is a directory"
	case OutputIsFile:
		return e.Path + " is a file, and a directory is to be written"
	case OutputIsSpecial:
		return e.Path + " is neither a regular file nor a directory"
	case OutputIsMountPoint:
		return e.Path + " is a mount point and cannot be replaced"
	case OutputHasOthers:
		if e.Err != nil {
			return fmt.Sprintf("%s exists and contains %s, which is not a part of a checkpoint", e.Path, e.Other)
		}
		return fmt.Sprintf("%s contains %s, which is not a part of a checkpoint and would be removed", e.Path, e.Other)
	default:
		if e.Err != nil {
			return e.Path + " exists and is a directory without a checkpoint"
		}
		return e.Path + " is a directory without a checkpoint and would be removed"
	}
}

// PublishedError reports that an output is complete and in place, but that what follows failed: making that durable, or
// removing what it has replaced.
type PublishedError struct {
	Path string
	Err  error
}

func (e *PublishedError) Error() string {
	return fmt.Sprintf("the new %s is complete and in place, but then: %v", e.Path, e.Err)
}

func (e *PublishedError) Unwrap() error { return e.Err }

func published(path string, err error) error {
	if err == nil {
		return nil
	}
	return &PublishedError{path, err}
}

// CheckOutput returns an *OutputError if a file may not be written to path: it is a directory, a mount point, or one of
// the sources, also under another name. Sources that do not exist are ignored. It returns an *fs.PathError with path if this process
// lacks the permission. Nothing is written or created.
func CheckOutput(path string, sources ...string) error {
	info, err := system.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return permitted(path, checkWritable(filepath.Dir(followLink(path))))
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return &OutputError{Path: path, Reason: OutputIsDirectory}
	}
	for _, source := range sources {
		if s, err := system.Stat(source); err == nil && os.SameFile(info, s) {
			return &OutputError{Path: path, Reason: OutputIsSource, Other: source}
		}
	}
	if !Replaces(path, info) {
		return permitted(path, checkOpens(path))
	}
	if err := checkMount(path); err != nil {
		return err
	}
	return permitted(path, checkReplaceable(path, info))
}

// checkReplaceable returns an error if this process may not put another file in the place of an existing one, or of that to which a link leads.
func checkReplaceable(path string, info fs.FileInfo) error {
	real, err := evalLinks(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(real)
	if err := checkWritable(dir); err != nil {
		return err
	}
	of, err := system.Stat(dir)
	if err == nil && !ownsIn(of, info) {
		err = &fs.PathError{Op: "replace", Path: path, Err: fs.ErrPermission}
	}
	return err
}

// permitted returns the error about an output at path for one about a place that it needs.
func permitted(path string, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &fs.PathError{Op: "create", Path: path, Err: causeOf(err)}
}

// causeOf returns an error without the path that it names.
func causeOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// checkMount refuses the root of a mounted file system, which cannot be renamed.
func checkMount(path string) error {
	if is, err := isMountPoint(path); err != nil || !is {
		return err
	}
	return &OutputError{Path: path, Reason: OutputIsMountPoint}
}

// isDescriptor reports whether a path names an open file of a process, such as /dev/stdout, which is written to whatever
// it is.
func isDescriptor(path string) bool {
	abs, err := filepath.Abs(path)
	return err == nil && (strings.HasPrefix(abs, "/dev/") || strings.HasPrefix(abs, "/proc/"))
}
