package publish

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// Stage is a directory that is written beside its destination and then replaces it in one step. Until Publish the
// destination is unchanged: absent, or complete and old. Afterwards it is complete and new. A stage is called
// .NAME.griffin-RANDOM beside NAME. It is locked while its process lives, so that the next run with the same destination
// can remove the stages of killed runs without touching those of others.
type Stage struct {
	Dir string // directory for the files until Publish

	dst     string
	replace bool
	empty   bool   // dst was an empty directory, which is replaced if it still is
	created string // topmost directory that was created for the destination, "" for none
	lock    lock
}

const (
	stageMark = ".griffin-"
	stageRand = 16 // hexadecimal digits
	oldMark   = ".old"
)

// NewStage creates a stage with the destination dst, and missing directories above it. If dst exists, is not an empty directory and replace
// is not set, it returns an *fs.PathError with fs.ErrExist. It first removes the stages of killed runs with the same dst.
func NewStage(dst string, replace bool) (*Stage, error) {
	return claimStage(dst, replace, (*Stage).checkDestination)
}

// claimStage creates a stage if check accepts the destination.
func claimStage(dst string, replace bool, check func(*Stage) error) (*Stage, error) {
	dst, err := resolve(dst)
	if err != nil {
		return nil, err
	}
	s := &Stage{dst: dst, replace: replace}
	if err := s.makeParents(); err != nil {
		return nil, err
	}
	if err := clean(dst); err != nil {
		return nil, err
	}
	if err := check(s); err != nil {
		return nil, errors.Join(err, s.removeParents())
	}
	for range 10 {
		dir := stageName(dst, randomDigits())
		if err := system.Mkdir(dir); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return nil, errors.Join(err, s.removeParents())
		}
		l, held, err := tryLock(dir)
		if err != nil {
			return nil, errors.Join(err, system.Remove(dir), s.removeParents())
		}
		if held {
			s.Dir, s.lock = dir, l
			s.enter()
			return s, nil
		}
		// Another run takes the new directory for one of a killed run, and removes it.
	}
	return nil, &BusyError{dst}
}

// resolve returns the absolute path of dst. If dst is a link to an existing file or directory, it returns the path of
// that, so that it is replaced rather than the link, and the stage is on the same file system.
func resolve(dst string) (string, error) {
	if dst == "" {
		return "", &fs.PathError{Op: "create", Path: dst, Err: fs.ErrNotExist}
	}
	abs, err := filepath.Abs(dst)
	if err != nil {
		return "", err
	}
	real, err := evalLinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return abs, nil
	}
	return real, err
}

// evalLinks is filepath.EvalSymlinks.
func evalLinks(path string) (real string, err error) {
	err = system.Do(system.OpReadlink, path, func() error {
		real, err = filepath.EvalSymlinks(path)
		return err
	})
	return real, err
}

func stageName(dst, digits string) string {
	return filepath.Join(filepath.Dir(dst), "."+stageBase(filepath.Base(dst))+stageMark+digits)
}

// stageBase returns the part of a stage's name that stands for its destination: its name, or if that is so long that
// the file system may not take a longer one, its beginning and a hash.
func stageBase(name string) string {
	const most, kept = 100, 60
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.ToValidUTF8(name[:kept], "") + "~" + hex.EncodeToString(sum[:8])
}

func randomDigits() string {
	var random [stageRand / 2]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

func (s *Stage) makeParents() error {
	parent := filepath.Dir(s.dst)
	for dir := parent; ; dir = filepath.Dir(dir) {
		if _, err := system.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.created = dir
	}
	return system.MkdirAll(parent)
}

// removeParents removes the directories that makeParents created, unless they hold other files.
func (s *Stage) removeParents() error {
	if s.created == "" {
		return nil
	}
	for dir := filepath.Dir(s.dst); ; dir = filepath.Dir(dir) {
		if system.Remove(dir) != nil || dir == s.created {
			return nil // not empty
		}
	}
}

// checkDestination refuses a destination that exists, unless it is a directory that may be replaced, and one that contains the current
// directory or the home directory.
func (s *Stage) checkDestination() error {
	info, err := system.Lstat(s.dst)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.IsDir(), info.Mode()&fs.ModeSymlink != 0:
	case info.Mode().IsRegular():
		return &OutputError{Path: s.dst, Reason: OutputIsFile}
	default:
		return &OutputError{Path: s.dst, Reason: OutputIsSpecial}
	}
	if info.IsDir() {
		entries, err := system.ReadDir(s.dst)
		if err != nil {
			return err
		}
		s.empty = len(entries) == 0
	}
	if !s.replace && !s.empty {
		return &fs.PathError{Op: "create", Path: s.dst, Err: fs.ErrExist}
	}
	if err := checkMount(s.dst); err != nil {
		return err
	}
	for _, used := range []struct {
		what string
		find func() (string, error)
	}{{"the current directory", os.Getwd}, {"the home directory", os.UserHomeDir}} {
		path, err := used.find()
		if err != nil {
			continue
		}
		if inside, err := storage.Within(path, s.dst); err == nil && inside {
			return &fs.PathError{Op: "replace", Path: s.dst, Err: fmt.Errorf("%s cannot be replaced, nor what it is in", used.what)}
		}
	}
	return nil
}

// Publish syncs the stage and renames it to the destination. It fails if the destination has been created meanwhile and
// may not be replaced. After an error the stage still exists, for Discard, unless it is a *PublishedError: then the new
// destination is complete and in place.
func (s *Stage) Publish() error {
	if err := syncTree(s.Dir); err != nil {
		return err
	}
	var old string
	err := whilePublishing(func() (err error) {
		old, err = s.swapIn()
		return err
	})
	if err != nil {
		return err
	}
	err = s.syncParents()
	if old != "" {
		err = errors.Join(err, system.RemoveAll(old))
	}
	s.leave()
	s.Dir, s.created = "", ""
	return published(s.dst, errors.Join(err, s.lock.release()))
}

// syncParents makes the name of the destination durable, and those of the directories that were created above it.
func (s *Stage) syncParents() error {
	dir := filepath.Dir(s.dst)
	if err := syncDir(dir); err != nil || s.created == "" {
		return err
	}
	for last := filepath.Dir(s.created); dir != last; {
		dir = filepath.Dir(dir)
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// exchangeNames is exchange, except in tests.
var exchangeNames = exchange

// swapIn renames the stage to the destination. It returns the path to which a previous destination was renamed, "" for
// none.
func (s *Stage) swapIn() (old string, err error) {
	err = renameNew(s.Dir, s.dst)
	if errors.Is(err, fs.ErrExist) && s.empty && !s.replace && system.RemoveDir(s.dst) == nil {
		err = renameNew(s.Dir, s.dst)
	}
	if !errors.Is(err, fs.ErrExist) || !s.replace {
		return "", err
	}
	if err = exchangeNames(s.Dir, s.dst); !errors.Is(err, errors.ErrUnsupported) {
		return s.Dir, err
	}
	// Without exchange it takes two steps. If the run is killed between them, there is no destination, only the old one
	// beside it, which the next run with the same destination restores.
	old = s.Dir + oldMark
	if err = system.Rename(s.dst, old); err != nil {
		return "", err
	}
	if err = renameNew(s.Dir, s.dst); err != nil {
		return "", errors.Join(err, system.Rename(old, s.dst))
	}
	return old, nil
}

// Discard removes the stage and the directories that were created for it. After Publish it does nothing.
func (s *Stage) Discard() error {
	if s.Dir == "" {
		return nil
	}
	err := system.RemoveAll(s.Dir)
	s.leave()
	s.Dir = ""
	return errors.Join(err, s.lock.release(), s.removeParents())
}

// isStage recognises the name of a stage with destination base, or of a replaced destination.
func isStage(name, base string) (stage string, old, ok bool) {
	stage, old = strings.CutSuffix(name, oldMark)
	random, ok := strings.CutPrefix(stage, "."+stageBase(base)+stageMark)
	if !ok || len(random) != stageRand {
		return "", false, false
	}
	_, err := hex.DecodeString(random)
	return stage, old, err == nil && strings.ToLower(random) == random
}

// WorkMark is in the names of the files of a stage that are not published under their own name. The rest of the name, after the mark, follows
// the name of the directory in errors.
const WorkMark = ".work"

// Destination returns the path at which a file of a stage appears when it is published, and for one that does not appear that of its
// directory. Other paths are returned as they are.
func Destination(path string) string {
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		dir, name := filepath.Split(at)
		if name == "" {
			return path
		}
		base, digits, ok := strings.Cut(strings.TrimSuffix(name, oldMark), stageMark)
		if base, hidden := strings.CutPrefix(base, "."); ok && hidden && len(digits) == stageRand {
			if rest == base { // the stage of a file holds the file
				return dir + base
			}
			folder, file := filepath.Split(rest)
			if _, suffix, ok := strings.Cut(file, WorkMark); ok {
				return filepath.Join(dir+base, folder) + suffix
			}
			return filepath.Join(dir+base, rest)
		}
		if filepath.Dir(at) == at {
			return path
		}
		rest = filepath.Join(name, rest)
	}
}
