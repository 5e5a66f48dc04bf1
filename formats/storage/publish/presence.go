package publish

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// BusyError reports that another run is writing to a destination.
type BusyError struct{ Path string }

func (e *BusyError) Error() string { return e.Path + ": another run is writing to it" }

// Unwrap returns the error of the system for that.
func (e *BusyError) Unwrap() error { return syscall.EBUSY }

// Presence shows other processes of this machine that a run with a name is alive. It ends with the process, however that
// ends.
type Presence struct {
	dir  string
	lock lock
}

// presenceDir returns the directory that is locked while a run is alive. The name has no path separators.
func presenceDir(name string) string { return filepath.Join(os.TempDir(), "griffin-run-"+name) }

// Announce begins the Presence of a run, which no other run has the name of.
func Announce(name string) (*Presence, error) {
	dir := presenceDir(name)
	if err := system.Mkdir(dir); err != nil {
		return nil, err
	}
	l, held, err := tryLock(dir)
	if err == nil && !held {
		err = &BusyError{dir}
	}
	if err != nil {
		return nil, errors.Join(err, system.Remove(dir))
	}
	return &Presence{dir, l}, nil
}

// End ends a Presence. If keep is set, IsAlive knows afterwards that the run has ended, until Forget.
func (p *Presence) End(keep bool) error {
	var err error
	if !keep {
		err = system.Remove(p.dir)
	}
	return errors.Join(err, p.lock.release())
}

// IsAlive reports whether the run of a name is alive. known is false if no such run was on this machine, or none that has ended
// and was forgotten.
func IsAlive(name string) (alive, known bool) {
	dir := presenceDir(name)
	if _, err := system.Lstat(dir); err != nil || !locksEnd {
		return false, false
	}
	l, held, err := tryLock(dir)
	if err != nil {
		return false, false
	}
	if !held {
		_, err := system.Lstat(dir)
		return err == nil, true // otherwise it has ended just now
	}
	return false, l.release() == nil
}

// Forget removes what a run that has ended has left of its Presence.
func Forget(name string) error {
	if err := system.Remove(presenceDir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
