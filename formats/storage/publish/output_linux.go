package publish

import (
	"errors"
	"fmt"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

// reserve sets the size of the file and, if the file system supports it, allocates its blocks.
func reserve(f *system.File, size int64) error {
	if size == 0 {
		return f.Truncate(0)
	}
	err := retry(func() error { return unix.Fallocate(int(f.OS().Fd()), 0, 0, size) })
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return &os.PathError{Op: "allocate", Path: f.Name(), Err: err}
	}
	return f.Truncate(size)
}

func openDirect(f *system.File) *system.File {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.OS().Fd()), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil
	}
	return system.NewFile(os.NewFile(uintptr(fd), f.Name()))
}

// beginWriteback starts writing a range to disk. Otherwise the kernel collects gigabytes, for which the final sync has to
// wait.
func beginWriteback(f *system.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.OS().Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) // advice only
}
