package publish

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// Clean removes what killed runs with destination dst have left beside it, and what those with destinations in the directory
// dst have left there, such as the steps of a run. What running processes hold stays. It returns the paths of what it has
// removed.
func Clean(dst string) (removed []string, err error) {
	dst, err = resolve(dst)
	if err != nil {
		return nil, err
	}
	removed, err = cleanIn(filepath.Dir(dst), func(base string) (string, bool) { return dst, base == stageBase(filepath.Base(dst)) })
	if err != nil {
		return removed, err
	}
	below, err := cleanIn(dst, func(base string) (string, bool) { return filepath.Join(dst, base), !shortened.MatchString(base) })
	return append(removed, below...), err
}

// shortened matches what stands for the name of a destination that is too long for the name of a stage.
var shortened = regexp.MustCompile(`~[0-9a-f]{16}$`)

// cleanIn removes what killed runs have left in a directory. destination returns what a name in that of a stage stands for.
func cleanIn(dir string, destination func(base string) (dst string, ok bool)) (removed []string, err error) {
	entries, err := system.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		at := strings.LastIndex(entry.Name(), stageMark)
		if at < 2 || entry.Name()[0] != '.' {
			continue
		}
		dst, ok := destination(entry.Name()[1:at])
		if !ok {
			continue
		}
		if err := clean(dst); err != nil {
			return removed, err
		}
		path := filepath.Join(dir, entry.Name())
		if _, err := system.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			removed = append(removed, path)
		}
	}
	return removed, nil
}

// clean removes the stages with destination dst that no process holds. If a run was killed between the two steps of a
// replacement, it first restores the old destination.
func clean(dst string) error {
	entries, err := system.ReadDir(filepath.Dir(dst))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		stage, old, ok := isStage(entry.Name(), filepath.Base(dst))
		if !ok {
			continue
		}
		path := filepath.Join(filepath.Dir(dst), entry.Name())
		if old {
			err = cleanOld(path, dst)
		} else if entry.IsDir() {
			err = cleanStage(filepath.Join(filepath.Dir(dst), stage), dst)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// abandoned returns the size in bytes of the stages with destination dst that no process holds, roughly.
func abandoned(dst string) (bytes int64) {
	dst, err := resolve(dst)
	if err != nil {
		return 0
	}
	entries, err := system.ReadDir(filepath.Dir(dst))
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		_, old, ok := isStage(entry.Name(), filepath.Base(dst))
		if !ok || old || !entry.IsDir() {
			continue
		}
		dir := filepath.Join(filepath.Dir(dst), entry.Name())
		l, held, err := tryLock(dir)
		if err != nil || !held {
			continue
		}
		_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				bytes += info.Size()
			}
			return nil
		})
		_ = l.release()
	}
	return bytes
}

func cleanStage(dir, dst string) error {
	l, held, err := tryLock(dir)
	if err != nil || !held {
		return nil // held by another run, or not accessible
	}
	return errors.Join(repairFiles(dir, dst), system.RemoveAll(dir), l.release())
}

func cleanOld(old, dst string) error {
	stage := strings.TrimSuffix(old, oldMark)
	if _, err := system.Lstat(stage); err == nil {
		l, held, err := tryLock(stage)
		if err != nil || !held {
			return nil // being replaced
		}
		defer l.release()
	}
	if err := renameNew(old, dst); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	return system.RemoveAll(old)
}
