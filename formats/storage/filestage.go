package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// FileStage is a file and a sidecar, a small file that tells of it, that are made beside their
// destination and take their place together. Until Publish both are as they were, absent or
// complete and old, afterwards they are complete and new. They lie in a Stage until then.
//
// Two names cannot change in one step, but no state that a reader can meet, or a run that is killed
// leaves, has one file's sidecar beside another file:
//
//   - Where there was no file, the sidecar appears first. The file is complete when it appears, and
//     has its sidecar.
//   - Where a file is replaced, the old sidecar goes first, then the new file takes the place of the
//     old one in one step, then the new sidecar appears. In between the file, old or new, is
//     complete and has no sidecar.
//
// After a run that was killed in between, the next run to the same destination takes the sidecar
// without a file away, or gives the file the sidecar that it lacks.
type FileStage struct {
	File    string // path of the file until Publish
	Sidecar string // path of the sidecar until Publish

	suffix string
	stage  *Stage
}

// What a stage holds besides file and sidecar once both are complete: a twin of the sidecar, which
// stays until everything is in place, and the sidecar that was there before.
const (
	twinMark       = ".ready"
	oldSidecarMark = ".old"
)

// NewFileStage begins a file that Publish will call dst, and a sidecar that it will call dst with
// suffix appended, as NewStage begins a directory. It refuses a dst or a sidecar that exists, as
// *fs.PathError with fs.ErrExist, unless replace is set, and in any case one that is no regular
// file.
func NewFileStage(dst, suffix string, replace bool) (*FileStage, error) {
	if dst != "" && os.IsPathSeparator(dst[len(dst)-1]) {
		return nil, notAFile(dst)
	}
	stage, err := claimStage(dst, replace, func(s *Stage) error { return checkFiles(s, suffix) })
	if err != nil {
		return nil, err
	}
	file := filepath.Join(stage.Dir, filepath.Base(stage.dst))
	return &FileStage{File: file, Sidecar: file + suffix, suffix: suffix, stage: stage}, nil
}

func checkFiles(s *Stage, suffix string) error {
	if err := checkFile(s.dst, s.replace); err != nil {
		return err
	}
	return checkFile(s.dst+suffix, s.replace)
}

// checkFile refuses to write to a path that is there and nobody means to have replaced, or that is
// no file.
func checkFile(path string, replace bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir() || !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return notAFile(path)
	case !replace:
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return nil
}

func notAFile(path string) error {
	return &fs.PathError{Op: "create", Path: path, Err: errors.New("not a regular file, as is to be written")}
}

// Publish makes file and sidecar durable and gives them their names. A destination that came to
// exist meanwhile is refused unless it is to be replaced. After an error the stage is still there,
// for Discard, and the destination is as it was; or new, if the file was at its place by then.
func (s *FileStage) Publish() error {
	content, err := os.ReadFile(s.Sidecar)
	if err != nil {
		return err
	}
	if err := WriteFile(s.Sidecar+twinMark, content); err != nil {
		return err
	}
	if err := syncTree(s.stage.Dir); err != nil {
		return err
	}
	turn, err := takeTurn(s.stage.dst)
	if err != nil {
		return err
	}
	if err := s.swapIn(); err != nil {
		return errors.Join(err, s.settle(), turn.end())
	}
	err = errors.Join(syncDir(filepath.Dir(s.stage.dst)), os.RemoveAll(s.stage.Dir), turn.end())
	s.stage.Dir, s.stage.created = "", ""
	return errors.Join(err, s.stage.lock.release())
}

// rename and renameFresh are os.Rename and renameNew, or in tests stop between two steps.
var rename, renameFresh = os.Rename, renameNew

// swapIn moves file and sidecar to their names. After a power failure too, no step is done without
// those before it.
func (s *FileStage) swapIn() error {
	if err := checkFiles(s.stage, s.suffix); err != nil { // again: they may have come to exist
		return err
	}
	dst, side := s.stage.dst, s.stage.dst+s.suffix
	steps := []func() error{
		func() error { return rename(s.File, dst) },
		func() error { return rename(s.Sidecar, side) },
	}
	if !exists(dst) {
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

// Discard removes the stage, and the directories made for it. After Publish it does nothing.
func (s *FileStage) Discard() error { return s.stage.Discard() }

// settleFile does for a stage in dir that a killed run left what its Publish had still to do or to
// take back. In the stage of a directory, and in one that was not complete, it finds nothing.
func settleFile(dir, dst string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(entries, func(e fs.DirEntry) bool {
		return strings.HasPrefix(e.Name(), filepath.Base(dst)) && strings.HasSuffix(e.Name(), twinMark)
	})
	if at < 0 {
		return nil
	}
	suffix := strings.TrimSuffix(strings.TrimPrefix(entries[at].Name(), filepath.Base(dst)), twinMark)
	turn, err := takeTurn(dst)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, filepath.Base(dst))
	s := &FileStage{File: file, Sidecar: file + suffix, suffix: suffix, stage: &Stage{dst: dst}}
	return errors.Join(s.settle(), turn.end())
}

// settle leaves the destination with the sidecar that belongs to the file there, after swapIn came
// to an end somewhere. Files that were put there since, and not by swapIn, stay.
func (s *FileStage) settle() error {
	side := s.stage.dst + s.suffix
	if !exists(s.File) { // it is at its place
		if !exists(s.stage.dst) {
			return nil
		}
		return renameMissing(s.Sidecar, side)
	}
	if !exists(s.Sidecar) && sameContent(side, s.Sidecar+twinMark) {
		if err := os.Remove(side); err != nil {
			return err
		}
	}
	return renameMissing(s.Sidecar+oldSidecarMark, side)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// renameMissing renames a file, if there is one, to a name that nothing has.
func renameMissing(from, to string) error {
	if err := renameNew(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// sameContent reports whether two small files are there and equal.
func sameContent(a, b string) bool {
	x, err := os.ReadFile(a)
	if err != nil {
		return false
	}
	y, err := os.ReadFile(b)
	return err == nil && bytes.Equal(x, y)
}

// turn is the right to change what a destination's names stand for, when that takes several steps.
type turn struct {
	dir  string
	lock lock
}

// turnDigits are those of a stage's name in which no stage is made. What a killed run leaves of a
// turn is removed like a stage.
var turnDigits = strings.Repeat("0", stageRand)

// takeTurn waits until no other run is in the middle of such steps.
func takeTurn(dst string) (turn, error) {
	dir := stageName(dst, turnDigits)
	for range 1000 {
		if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return turn{}, err
		}
		l, held, err := tryLock(dir)
		if err != nil {
			return turn{}, err
		}
		if held {
			return turn{dir, l}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return turn{}, fmt.Errorf("%s: another run has been replacing it for long", dst)
}

func (t turn) end() error { return errors.Join(os.Remove(t.dir), t.lock.release()) }
