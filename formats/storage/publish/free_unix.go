//go:build linux || darwin || freebsd

package publish

import (
	"math"
	"os"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
	"golang.org/x/sys/unix"
)

func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := system.Do(system.OpFree, dir, func() error {
		return retry(func() error { return unix.Statfs(dir, &s) })
	}); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	blocks, size := uint64(max(s.Bavail, 0)), uint64(s.Bsize)
	if size != 0 && blocks > math.MaxInt64/size {
		return math.MaxInt64, nil
	}
	return int64(blocks * size), nil
}
