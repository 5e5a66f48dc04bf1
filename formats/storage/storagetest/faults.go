package storagetest

import (
	"errors"
	"sync"
	"syscall"

	"github.com/griffin-ckpt/griffin/formats/storage/internal/system"
)

// FileFault is what happens at an operation on the local file system.
type FileFault int

// The faults.
const (
	FileError FileFault = iota // it fails with EIO and does nothing
	FileShort                  // half of the bytes are read or written, then it fails with ENOSPC; other operations fail
	FileKill                   // the process ends before it, as far as its files show: it and all that follow do nothing and fail
)

// FileOperations returns the names of the kinds of operations that can fail.
func FileOperations() (names []string) {
	for _, op := range system.Ops {
		names = append(names, string(op))
	}
	return names
}

// ErrKilled is the error of an operation after the end of the process.
var ErrKilled = errors.New("the process was killed")

// FailFile makes the n-th operation of a kind fail, counted from 1, until stop is called, for the whole process; none if n
// is 0. stop returns how many operations of the kind there were. Tests that use it do not run in parallel.
func FailFile(kind string, n int, fault FileFault) (stop func() (made int)) {
	var mu sync.Mutex
	count := 0
	system.SetFault(func(op system.Op, _ string, size int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if fault == FileKill && count >= n && n > 0 {
			return 0, ErrKilled
		}
		if string(op) != kind {
			return size, nil
		}
		count++
		switch {
		case count != n:
			return size, nil
		case fault == FileKill:
			return 0, ErrKilled
		case fault == FileShort:
			return size / 2, syscall.ENOSPC
		}
		return 0, syscall.EIO
	})
	return func() int {
		system.SetFault(nil)
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}
