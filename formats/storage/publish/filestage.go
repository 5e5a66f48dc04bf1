package publish

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// FileStage is a file and a sidecar, a file that describes it, which are written beside their destination, in a
// Stage, and then replace it together. Until Publish both destinations are unchanged: absent, or complete and old.
// Afterwards they are complete and new.
//
// Two names cannot change in one step, but in no state that a reader can see, or that a killed run leaves, is the sidecar
// of one file beside another file:
//
//   - If there was no file, the sidecar appears first. When the file appears, it is complete and has its sidecar.
//   - If a file is replaced, the old sidecar is removed first, then the new file replaces the old one in one step, then
//     the new sidecar appears. In between the file, old or new, is complete and has no sidecar.
//
// If a run was killed in between, the next run with the same destination removes the sidecar without a file, or adds the
// missing sidecar to the file.
type FileStage struct {
	File    string // path of the file until Publish
	Sidecar string // path of the sidecar until Publish

	suffix string
	stage  *Stage
}

// stagedFile is the name of the file in its stage. Its own name, with the suffixes of the others, may be longer than the
// file system allows.
const stagedFile = "file" + WorkMark

// Suffixes of other files in a stage: a copy of the sidecar, which exists from when file and sidecar are complete until
// both have been published, and the previous sidecar.
const (
	twinMark       = ".ready"
	oldSidecarMark = ".old"
)

// NewFileStage creates a stage for a file with the destination dst and a sidecar with the destination dst+suffix, as
// NewStage does for a directory. If one of them exists and replace is not set, it returns an *fs.PathError with
// fs.ErrExist. It does not replace anything but regular files.
func NewFileStage(dst, suffix string, replace bool) (*FileStage, error) {
	if dst != "" && os.IsPathSeparator(dst[len(dst)-1]) {
		return nil, &OutputError{Path: dst, Reason: OutputIsDirectory}
	}
	stage, err := claimStage(dst, replace, func(s *Stage) error { return checkFiles(s, suffix) })
	if err != nil {
		return nil, err
	}
	file := filepath.Join(stage.Dir, stagedFile)
	return &FileStage{File: file, Sidecar: file + suffix, suffix: suffix, stage: stage}, nil
}

func checkFiles(s *Stage, suffix string) error {
	if err := checkFile(s.dst, s.replace); err != nil {
		return err
	}
	return checkFile(s.dst+suffix, s.replace)
}

// checkFile refuses a path that exists, unless it may be replaced and is a regular file.
func checkFile(path string, replace bool) error {
	info, err := system.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return &OutputError{Path: path, Reason: OutputIsDirectory}
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return &OutputError{Path: path, Reason: OutputIsSpecial}
	case !replace:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case info.Mode()&fs.ModeSymlink != 0:
		return nil // a sidecar
	}
	return checkMount(path)
}

// Publish syncs file and sidecar and renames them to their destinations. It fails if a destination has been created
// meanwhile and may not be replaced. After an error the stage still exists, for Discard, and the destination is unchanged
// or, if the file had been renamed, new.
func (s *FileStage) Publish() error {
	if err := copyFile(s.Sidecar, s.Sidecar+twinMark); err != nil {
		return err
	}
	if err := syncTree(s.stage.Dir); err != nil {
		return err
	}
	update, err := beginUpdate(s.stage.dst)
	if err != nil {
		return err
	}
	var failed error // after which the stage is not published
	err = whilePublishing(func() error {
		if failed = s.swapIn(); failed != nil {
			failed = errors.Join(failed, s.repair(), update.end())
			return nil
		}
		return errors.Join(s.stage.syncParents(), system.RemoveAll(s.stage.Dir), update.end())
	})
	if failed != nil {
		return failed
	}
	s.stage.leave()
	s.stage.Dir, s.stage.created = "", ""
	return published(s.stage.dst, errors.Join(err, s.stage.lock.release()))
}

// rename and renameFresh are system.Rename and renameNew, except in tests, which stop between two steps.
var rename, renameFresh = system.Rename, renameNew

// swapIn renames file and sidecar to their destinations. Syncs between the steps ensure their order also after a power
// failure.
func (s *FileStage) swapIn() error {
	if err := checkFiles(s.stage, s.suffix); err != nil { // again, since they may have been created
		return err
	}
	dst, side := s.stage.dst, s.stage.dst+s.suffix
	steps := []func() error{
		func() error { return rename(s.File, dst) },
		func() error { return rename(s.Sidecar, side) },
	}
	if there, err := exists(dst); err != nil {
		return err
	} else if !there {
		steps = []func() error{
			func() error { return renameFresh(s.Sidecar, side) },
			func() error { return renameFresh(s.File, dst) },
		}
	}
	if err := rename(side, s.Sidecar+oldSidecarMark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, step := range steps {
		if err := syncDir(filepath.Dir(dst)); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Discard removes the stage and the directories that were created for it. After Publish it does nothing.
func (s *FileStage) Discard() error { return s.stage.Discard() }

// repairFiles completes or reverts the Publish of a killed run that left a stage in dir. In other stages it finds
// nothing to do.
func repairFiles(dir, dst string) error {
	entries, err := system.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the run that replaced a destination has just removed the old one
	}
	if err != nil {
		return err
	}
	at := slices.IndexFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), stagedFile) && strings.HasSuffix(e.Name(), twinMark)
	})
	if at < 0 {
		return nil
	}
	suffix := strings.TrimSuffix(strings.TrimPrefix(entries[at].Name(), stagedFile), twinMark)
	update, err := beginUpdate(dst)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, stagedFile)
	s := &FileStage{File: file, Sidecar: file + suffix, suffix: suffix, stage: &Stage{dst: dst}}
	return errors.Join(s.repair(), update.end())
}

// repair makes the sidecar at the destination the one that belongs to the file there, after swapIn has stopped between
// two steps. It keeps files that others have created.
func (s *FileStage) repair() error {
	side := s.stage.dst + s.suffix
	staged, err := exists(s.File)
	if err != nil {
		return err
	}
	if !staged { // it was renamed
		if there, err := exists(s.stage.dst); err != nil || !there {
			return err
		}
		return renameMissing(s.Sidecar, side)
	}
	described, err := exists(s.Sidecar)
	if err != nil {
		return err
	}
	if !described && sameContent(side, s.Sidecar+twinMark) {
		if err := system.Remove(side); err != nil {
			return err
		}
	}
	return renameMissing(s.Sidecar+oldSidecarMark, side)
}

func exists(path string) (bool, error) {
	_, err := system.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// renameMissing renames a file if it exists and the new name does not.
func renameMissing(from, to string) error {
	if err := renameNew(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// copyFile writes a copy of a file, which may be large, to a path that must not exist.
func copyFile(from, to string) error {
	f, err := system.Open(from)
	if err != nil {
		return err
	}
	_, err = WriteFrom(to, bufio.NewReader(f))
	return errors.Join(err, f.Close())
}

// sameContent reports whether two files exist and are equal.
func sameContent(a, b string) bool {
	x, err := system.Open(a)
	if err != nil {
		return false
	}
	defer x.Close()
	y, err := system.Open(b)
	if err != nil {
		return false
	}
	defer y.Close()
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		m, failed := io.ReadFull(x, p)
		n, err := io.ReadFull(y, q)
		if !bytes.Equal(p[:m], q[:n]) {
			return false
		}
		if failed != nil || err != nil {
			return failed == err && (err == io.EOF || err == io.ErrUnexpectedEOF)
		}
	}
}

// update is the exclusive right to change the names at a destination in several steps.
type update struct {
	dir  string
	lock lock
}

// updateDigits replace the random digits in the name of the lock of an update. The lock of a killed run is removed like
// a stage.
var updateDigits = strings.Repeat("0", stageRand)

// beginUpdate waits until no other run has an update of the destination.
func beginUpdate(dst string) (update, error) {
	dir := stageName(dst, updateDigits)
	for range 1000 {
		if err := system.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return update{}, err
		}
		l, held, err := tryLock(dir)
		if err != nil { // the name is removed only by who holds the lock
			if l, held, again := tryLock(dir); again == nil && held {
				err = errors.Join(err, update{dir, l}.end())
			}
			return update{}, err
		}
		if held {
			return update{dir, l}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return update{}, &BusyError{dst}
}

func (u update) end() error { return errors.Join(system.Remove(u.dir), u.lock.release()) }
