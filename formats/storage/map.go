package storage

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Mapping is the content of a file in memory, as it was when it was mapped or as it is now. Reading
// bytes of it that the file no longer has raises a fault, which ends the program unless
// debug.SetPanicOnFault is set.
type Mapping struct{ Bytes []byte }

// CanMap reports whether a file is one of the local file system, which Map may map.
func CanMap(file io.ReaderAt) bool {
	_, ok := file.(*os.File)
	return ok
}

// Map maps a file of the local file system, an *os.File. For any other file, and where the system maps
// none, the error is errors.ErrUnsupported.
func Map(file io.ReaderAt) (*Mapping, error) {
	f, ok := file.(*os.File)
	if !ok {
		return nil, fmt.Errorf("map a file of type %T: %w", file, errors.ErrUnsupported)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() || size > math.MaxInt {
		return nil, fmt.Errorf("map %s of %d bytes: %w", f.Name(), size, errors.ErrUnsupported)
	}
	if size == 0 {
		return &Mapping{}, nil
	}
	p, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return &Mapping{p}, nil
}

// Close gives the memory back. Nothing may use Bytes any more.
func (m *Mapping) Close() error {
	p := m.Bytes
	m.Bytes = nil
	if p == nil {
		return nil
	}
	return unmapFile(p)
}
