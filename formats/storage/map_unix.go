//go:build linux || darwin || freebsd

package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

func mapFile(f *os.File, n int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ, unix.MAP_SHARED)
}

// unmapFile ends a mapping. Before that, a thread for each processor takes the pages of a part out of it: for a file of
// gigabytes, one takes a quarter of a second.
func unmapFile(p []byte) error {
	const unit = 64 << 20
	var group task.Group
	share := (len(p)/task.Processors()/unit + 1) * unit
	for from := 0; from < len(p); from += share {
		part := p[from:min(from+share, len(p))]
		group.Go(func() error { return unix.Madvise(part, unix.MADV_DONTNEED) })
	}
	return errors.Join(group.Wait(), unix.Munmap(p))
}
