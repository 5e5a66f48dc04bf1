package publish

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock is a file beside the directory that no other process can open. The system removes it with its last handle,
// however the process ends.
type lock struct{ handle windows.Handle }

// locksEnd says that a lock ends with its process.
const locksEnd = true

// tryLock locks a directory, and reports false if another process holds it or has removed it.
func tryLock(dir string) (lock, bool, error) {
	name, err := windows.UTF16PtrFromString(dir + ".lock")
	if err != nil {
		return lock{}, false, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil,
		windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_TEMPORARY|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return lock{}, false, nil
	}
	if err != nil {
		return lock{}, false, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	l := lock{h}
	if _, err := os.Lstat(dir); err != nil {
		return lock{}, false, l.release()
	}
	return l, true, nil
}

func (l lock) release() error {
	if l.handle == 0 {
		return nil
	}
	return windows.CloseHandle(l.handle)
}

// syncDir does nothing, since NTFS journals directories and Windows has no call to sync them.
func syncDir(string) error { return nil }
