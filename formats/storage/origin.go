package storage

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strings"
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

// Below returns the name of a file in a source as it is called below a directory of the source: "d/0" for run/7/d/0 below
// run/7. A file is called by its own name below itself. ok is false for files elsewhere.
func Below(dir, name string) (rel string, ok bool) {
	switch {
	case dir == ".":
		return name, true
	case name == dir:
		return path.Base(name), true
	}
	rel, ok = strings.CutPrefix(name, dir+"/")
	return rel, ok
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
