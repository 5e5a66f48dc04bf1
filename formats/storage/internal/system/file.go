package system

import (
	"io"
	"io/fs"
	"os"
)

// File is an open file whose operations ask the Fault.
type File struct{ file *os.File }

// NewFile returns a file that is open already.
func NewFile(f *os.File) *File { return &File{f} }

// OpenFile is os.OpenFile with mode 0o666.
func OpenFile(path string, flag int) (*File, error) {
	op := OpOpen
	if flag&os.O_CREATE != 0 {
		op = OpCreate
	}
	f, err := get(op, path, func(path string) (*os.File, error) { return os.OpenFile(path, flag, 0o666) })
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// ReadOnly is a file that is open for reading.
type ReadOnly interface {
	fs.File
	io.ReaderAt
}

// Open is os.Open. The file is an *os.File, which can be mapped, unless a Fault is set.
func Open(path string) (ReadOnly, error) {
	f, err := get(OpOpen, path, os.Open)
	if err != nil {
		return nil, err
	}
	if fault.Load() != nil {
		return &File{f}, nil
	}
	return f, nil
}

// OpenIn is Open for a file of a file system, whose path is known.
func OpenIn(source fs.FS, name, path string) (fs.File, error) {
	f, err := get(OpOpen, path, func(string) (fs.File, error) { return source.Open(name) })
	if file, ok := f.(*os.File); ok && err == nil && fault.Load() != nil {
		return &File{file}, nil
	}
	return f, err
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	return f.transfer(OpRead, p, f.file.Read)
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return f.transfer(OpRead, p, func(p []byte) (int, error) { return f.file.ReadAt(p, off) })
}

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	return f.transfer(OpWrite, p, f.file.Write)
}

// WriteAt implements io.WriterAt.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.transfer(OpWrite, p, func(p []byte) (int, error) { return f.file.WriteAt(p, off) })
}

// transfer reads or writes the bytes of p that the Fault permits.
func (f *File) transfer(op Op, p []byte, move func(p []byte) (int, error)) (int, error) {
	n, fault := ask(op, f.Name(), len(p))
	if n == 0 && fault != nil {
		return 0, fault
	}
	n, err := move(p[:n])
	if err != nil {
		return n, err
	}
	return n, fault
}

// Truncate sets the size.
func (f *File) Truncate(size int64) error {
	return Do(OpTruncate, f.Name(), func() error { return f.file.Truncate(size) })
}

// Stat implements fs.File.
func (f *File) Stat() (fs.FileInfo, error) {
	return get(OpStat, f.Name(), func(string) (fs.FileInfo, error) { return f.file.Stat() })
}

// Chmod sets the permissions.
func (f *File) Chmod(mode fs.FileMode) error {
	return Do(OpChmod, f.Name(), func() error { return f.file.Chmod(mode) })
}

// Sync makes the content durable.
func (f *File) Sync() error { return Do(OpSync, f.Name(), f.file.Sync) }

// Close closes the file, also if the Fault fails it.
func (f *File) Close() error {
	_, fault := ask(OpClose, f.Name(), 0)
	if err := f.file.Close(); err != nil {
		return err
	}
	return fault
}

// Name returns the path with which the file was opened.
func (f *File) Name() string { return f.file.Name() }

// OS returns the file as an *os.File, whose operations do not ask the Fault.
func (f *File) OS() *os.File { return f.file }
