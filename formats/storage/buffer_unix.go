//go:build linux || darwin || freebsd

package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

func allocate(n int) ([]byte, error) {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	preferHugePages(p)
	return p, nil
}

func release(p []byte) error { return unix.Munmap(p) }
