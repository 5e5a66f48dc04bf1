//go:build linux || darwin || freebsd

package publish

import (
	"errors"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

// lock is a lock on a directory. It ends with the process, however that ends, and persists when the directory is renamed.
type lock struct{ dir *system.File }

// locksEnd says that a lock ends with its process.
const locksEnd = true

// tryLock locks a directory, and reports false if another process holds it or has removed it.
func tryLock(dir string) (lock, bool, error) {
	f, err := system.OpenFile(dir, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return lock{}, false, nil
	}
	if err != nil {
		return lock{}, false, err
	}
	err = system.Do(system.OpLock, dir, func() error {
		return retry(func() error { return unix.Flock(int(f.OS().Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	})
	if errors.Is(err, unix.EWOULDBLOCK) {
		return lock{}, false, f.Close()
	}
	if err != nil {
		return lock{}, false, errors.Join(&os.PathError{Op: "lock", Path: dir, Err: err}, f.Close())
	}
	mine, err := f.Stat()
	if err != nil {
		return lock{}, false, errors.Join(err, f.Close())
	}
	now, err := system.Lstat(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return lock{}, false, errors.Join(err, f.Close())
	}
	if err != nil || !os.SameFile(mine, now) {
		return lock{}, false, f.Close()
	}
	return lock{f}, true, nil
}

func (l lock) release() error {
	if l.dir == nil {
		return nil
	}
	return l.dir.Close()
}

func syncDir(dir string) error {
	f, err := system.OpenFile(dir, os.O_RDONLY)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // the file system does not sync directories
	}
	return errors.Join(err, f.Close())
}
