// Package system has the operations on the local file system with which package storage reads and writes. They are those
// of package os, and each first asks the Fault that is set, if there is one, so that tests can make any of them fail.
package system

import (
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
)

// Op is a kind of operation.
type Op string

// The operations.
const (
	OpOpen     Op = "open" // of a file that exists
	OpCreate   Op = "create"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate" // also the reservation of space
	OpSync     Op = "sync"     // of a file or a directory
	OpClose    Op = "close"    // of a file that was written
	OpStat     Op = "stat"
	OpAccess   Op = "access" // the question whether it may be written to
	OpList     Op = "list"
	OpReadlink Op = "readlink"
	OpMkdir    Op = "mkdir"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpLock     Op = "lock"
	OpFree     Op = "statfs"
	OpChmod    Op = "chmod"
)

// Ops lists them.
var Ops = []Op{OpOpen, OpCreate, OpRead, OpWrite, OpTruncate, OpSync, OpClose, OpStat, OpAccess, OpList, OpReadlink, OpMkdir, OpRename, OpRemove, OpLock, OpFree, OpChmod}

// Fault decides on an operation before it is made. With an error the operation is not made, and fails with the error and
// the path; but a read or write of n bytes is first made for as many bytes as Fault returns, and a file is closed all the
// same. Fault is called concurrently.
type Fault func(op Op, path string, n int) (bytes int, err error)

var fault atomic.Pointer[Fault]

// SetFault sets the Fault, nil for none.
func SetFault(f Fault) {
	if f == nil {
		fault.Store(nil)
		return
	}
	fault.Store(&f)
}

// ask returns how many bytes are read or written, and the error of the Fault.
func ask(op Op, path string, n int) (int, error) {
	f := fault.Load()
	if f == nil {
		return n, nil
	}
	n, err := (*f)(op, path, n)
	if err != nil {
		err = &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	return n, err
}

// Do makes an operation that has no function of its own here.
func Do(op Op, path string, operate func() error) error {
	if _, err := ask(op, path, 0); err != nil {
		return err
	}
	return operate()
}

// get is Do for an operation with a result.
func get[T any](op Op, path string, operate func(path string) (T, error)) (result T, err error) {
	err = Do(op, path, func() (err error) {
		result, err = operate(path)
		return err
	})
	return result, err
}

// Stat is os.Stat.
func Stat(path string) (fs.FileInfo, error) { return get(OpStat, path, os.Stat) }

// Lstat is os.Lstat.
func Lstat(path string) (fs.FileInfo, error) { return get(OpStat, path, os.Lstat) }

// ReadDir is os.ReadDir.
func ReadDir(path string) ([]fs.DirEntry, error) { return get(OpList, path, os.ReadDir) }

// Readlink is os.Readlink.
func Readlink(path string) (string, error) { return get(OpReadlink, path, os.Readlink) }

// Mkdir is os.Mkdir with mode 0o777.
func Mkdir(path string) error {
	return Do(OpMkdir, path, func() error { return os.Mkdir(path, 0o777) })
}

// MkdirAll is os.MkdirAll with mode 0o777.
func MkdirAll(path string) error {
	return Do(OpMkdir, path, func() error { return os.MkdirAll(path, 0o777) })
}

// Rename is os.Rename.
func Rename(from, to string) error {
	return Do(OpRename, to, func() error { return os.Rename(from, to) })
}

// Remove is os.Remove.
func Remove(path string) error { return Do(OpRemove, path, func() error { return os.Remove(path) }) }

// RemoveDir removes an empty directory, and nothing else, whatever was put in its place meanwhile.
func RemoveDir(path string) error {
	return Do(OpRemove, path, func() error { return syscall.Rmdir(path) })
}

// RemoveAll is os.RemoveAll.
func RemoveAll(path string) error {
	return Do(OpRemove, path, func() error { return os.RemoveAll(path) })
}
