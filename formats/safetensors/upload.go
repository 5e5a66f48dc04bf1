package safetensors

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Uploader writes the files of a Layout to a place other than the local file system. Every byte is written once, and if
// tensors are written in the order that Order gives, the bytes of a file nearly so.
type Uploader struct {
	layout *Layout
	files  []io.WriterAt
	index  io.WriterAt // nil if there is no index
	starts []int64     // of the files, if they lay one after the other
}

// Upload begins the files of the layout with create, which is given the name and the size of a file.
func (l *Layout) Upload(create func(name string, size int64) (io.WriterAt, error)) (*Uploader, error) {
	u := &Uploader{layout: l}
	at := int64(0)
	for _, file := range l.Files {
		w, err := create(file.Name, file.Size)
		if err != nil {
			return nil, err
		}
		u.files, u.starts = append(u.files, w), append(u.starts, at)
		at += file.Size
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
	return u.starts[r.File] + r.Offset
}

// Sink returns a writer for the bytes of tensor i. The one of the first tensor of a file also writes the header.
func (u *Uploader) Sink(i int) (io.WriteCloser, error) {
	r := u.layout.Ranges[i]
	if u.layout.Files[r.File].order[0] == int32(i) {
		if err := u.layout.WriteHeader(io.NewOffsetWriter(u.files[r.File], 0), r.File); err != nil {
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
		if len(file.order) == 0 {
			if err := u.layout.WriteHeader(io.NewOffsetWriter(u.files[i], 0), i); err != nil {
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
