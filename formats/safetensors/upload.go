package safetensors

import (
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Uploader writes the files of a Layout to a place other than the local file system. Every byte is written once, and if
// tensors are written in the order that Order gives, the bytes of a file nearly so.
type Uploader struct {
	layout *Layout
	files  []io.WriterAt
	index  io.WriterAt // nil if there is no index
	first  []int       // tensor that comes first in each file, -1 for none
}

// Upload begins the files of the layout with create, which is given the name and the size of a file.
func (l *Layout) Upload(create func(name string, size int64) (io.WriterAt, error)) (*Uploader, error) {
	u := &Uploader{layout: l}
	for i, file := range l.Files {
		w, err := create(file.Name, file.Size)
		if err != nil {
			return nil, err
		}
		first := -1
		for t, r := range l.Ranges {
			if r.File == i && r.Offset == int64(len(file.Header)) && (first < 0 || r.Length == 0) {
				first = t
			}
		}
		u.files, u.first = append(u.files, w), append(u.first, first)
	}
	if l.Index != nil {
		var err error
		if u.index, err = create(IndexName, int64(len(l.Index))); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// At returns no file: tensors are written to their Sinks.
func (u *Uploader) At(int) (f *publish.OutputFile, offset, length int64) { return nil, 0, 0 }

// Order returns a number by which tensors are sorted as they lie in the files.
func (u *Uploader) Order(i int) int64 {
	r := u.layout.Ranges[i]
	at := r.Offset
	for _, file := range u.layout.Files[:r.File] {
		at += file.Size
	}
	return at
}

// Sink returns a writer for the bytes of tensor i. The one of the first tensor of a file also writes the header.
func (u *Uploader) Sink(i int) (io.WriteCloser, error) {
	r := u.layout.Ranges[i]
	if u.first[r.File] == i {
		if _, err := u.files[r.File].WriteAt(u.layout.Files[r.File].Header, 0); err != nil {
			return nil, err
		}
	}
	return writeCloser{io.NewOffsetWriter(u.files[r.File], r.Offset)}, nil
}

type writeCloser struct{ io.Writer }

func (writeCloser) Close() error { return nil }

// Finish writes what belongs to no tensor: the index, and the headers of files without tensors.
func (u *Uploader) Finish([]tensor.Written) error {
	for i, file := range u.layout.Files {
		if !slices.ContainsFunc(u.layout.Ranges, func(r Range) bool { return r.File == i }) {
			if _, err := u.files[i].WriteAt(file.Header, 0); err != nil {
				return err
			}
		}
	}
	if u.index == nil {
		return nil
	}
	_, err := u.index.WriteAt(u.layout.Index, 0)
	return err
}

// Close does nothing.
func (u *Uploader) Close() error { return nil }
