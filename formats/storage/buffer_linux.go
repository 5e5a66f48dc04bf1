package storage

import "golang.org/x/sys/unix"

// preferHugePages makes strided access to large buffers cheap, since a column of a matrix touches a page for each row.
func preferHugePages(p []byte) {
	if len(p) >= 4<<20 {
		_ = unix.Madvise(p, unix.MADV_HUGEPAGE) // advice only
	}
}
