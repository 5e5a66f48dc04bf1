package publish

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// Replace writes a file of size bytes, which fill fills. The file is written in a stage beside path, synced, and renamed
// to path when it is complete. Until then path is unchanged. If path is a link, the file to which it leads is replaced. A
// file that is replaced keeps its permissions.
//
// A device, a FIFO or an open file of a process (/dev/stdout) is not replaced: the complete content is written to it, after what a file has.
// Replace returns an *OutputError for a directory or a mount point, and a *SpaceError if the file does not fit. The
// directory of path exists. Callers first check with CheckOutput that path is not a source.
func Replace(path string, size int64, fill func(io.WriterAt) error) (err error) {
	if err := CheckOutput(path); err != nil {
		return err
	}
	info, err := system.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !Replaces(path, info) {
		return writeThrough(path, size, fill)
	}
	at := path
	if info == nil {
		at = followLink(path)
	}
	if _, err := system.Stat(filepath.Dir(at)); err != nil {
		return err
	}
	s, err := claimStage(at, true, func(s *Stage) error { return checkFile(s.dst, true) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Discard()) }()
	if err := CheckFree(s.Dir, size); err != nil {
		return err
	}
	f, err := system.OpenFile(filepath.Join(s.Dir, filepath.Base(s.dst)), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	if err := errors.Join(fillFile(f, size, fill), keepMode(f, info), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := whilePublishing(func() error { return rename(f.Name(), s.dst) }); err != nil {
		return err
	}
	return published(path, syncDir(filepath.Dir(s.dst)))
}

// Replaces reports whether Replace puts another file in the place of the existing one at path, and does not write to what is there.
func Replaces(path string, existing fs.FileInfo) bool {
	return existing.Mode().IsRegular() && !isDescriptor(path)
}

// Target returns the path of the file that an output of that path replaces: the one that a link leads to, or path itself.
func Target(path string) string {
	if isDescriptor(path) {
		return path
	}
	return followLink(path)
}

// followLink returns the path to which a link leads where no file is, or path itself.
func followLink(path string) string {
	const most = 40
	for range most {
		target, err := system.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return path
}

func fillFile(f *system.File, size int64, fill func(io.WriterAt) error) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return fill(&Output{file: f}) // begins writeback, so that the sync has less to wait for
}

// keepMode gives a file the permissions of the one that it replaces, if there is one.
func keepMode(f *system.File, replaced fs.FileInfo) error {
	if replaced == nil {
		return nil
	}
	return f.Chmod(replaced.Mode().Perm())
}

// writeThrough fills a temporary file and copies it to path, which exists and is not replaced.
func writeThrough(path string, size int64, fill func(io.WriterAt) error) (err error) {
	temp, err := os.CreateTemp("", "griffin-*")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, temp.Close())
		if e := os.Remove(temp.Name()); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}()
	_ = os.Remove(temp.Name()) // a killed run leaves nothing, where the system removes files that are open
	if err := fillFile(system.NewFile(temp), size, fill); err != nil {
		return err
	}
	out, err := system.OpenFile(path, os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(temp, 0, size))
	return errors.Join(err, out.Close())
}

// ReplaceWith replaces the file at path by one with the given content, which may have several parts, as Replace does.
func ReplaceWith(path string, content ...[]byte) error {
	size := int64(0)
	for _, part := range content {
		size += int64(len(part))
	}
	return Replace(path, size, func(w io.WriterAt) error {
		at := int64(0)
		for _, part := range content {
			n, err := w.WriteAt(part, at)
			if err != nil {
				return err
			}
			at += int64(n)
		}
		return nil
	})
}
