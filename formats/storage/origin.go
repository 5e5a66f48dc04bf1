package storage

import (
	"cmp"
	"io/fs"
	"slices"
)

// Origin says where a file or directory comes from and which version of it was read.
type Origin struct {
	Address string        // without credentials; "" for files of the local file system
	Commit  string        // of the repository at which all files were read; "" if there is none
	Files   []FileVersion // that were opened, by name, if there is no commit
}

// FileVersion is a version of a file.
type FileVersion struct {
	Name    string // in the source
	Version string // what the server calls the content: ETag, generation, or date; "" if it has no name
}

// OriginOf returns the result of a source's method Origin(name string) Origin, and an empty Origin if
// it has none.
func OriginOf(source fs.FS, name string) Origin {
	if s, ok := source.(interface{ Origin(name string) Origin }); ok {
		return s.Origin(name)
	}
	return Origin{}
}

// Sorted returns o with its files sorted by name.
func (o Origin) Sorted() Origin {
	slices.SortFunc(o.Files, func(a, b FileVersion) int { return cmp.Compare(a.Name, b.Name) })
	return o
}

// Memory returns the bytes that reading from a source holds at most beside the buffers of the reader:
// the result of its method Memory() int64, or 0 if it has none.
func Memory(source fs.FS) int64 {
	if s, ok := source.(interface{ Memory() int64 }); ok {
		return s.Memory()
	}
	return 0
}
