package publish

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

// isMountPoint reports whether something is mounted at a path, also a part of the same file system.
func isMountPoint(path string) (bool, error) {
	var s unix.Statx_t
	err := system.Do(system.OpStat, path, func() error {
		return retry(func() error { return unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_SYNC_AS_STAT, 0, &s) })
	})
	if err == nil && s.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return s.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return onOtherDevice(path, filepath.Dir(path))
}
