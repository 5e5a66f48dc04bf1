package storage

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reserve sets the size of the file and, if the file system supports it, allocates its blocks.
func reserve(f *os.File, size int64) error {
	if size == 0 {
		return f.Truncate(0)
	}
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err == nil || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		if err != nil {
			return &os.PathError{Op: "allocate", Path: f.Name(), Err: err}
		}
	}
	return f.Truncate(size)
}

func openDirect(f *os.File) *os.File {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// beginWriteback starts writing a range to disk. Otherwise the kernel collects gigabytes, for which the final sync has to
// wait.
func beginWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) // advice only
}
