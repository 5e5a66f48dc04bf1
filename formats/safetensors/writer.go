package safetensors

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer writes the files of a Layout: the elements of each tensor go to the range that At returns.
// Tensors may be written concurrently.
type Writer struct {
	layout *Layout
	files  []*publish.OutputFile
}

// Create creates the files of the layout in the directory dir, at their full size and complete except
// for the tensors, by files. It does not replace files. If it fails, it leaves no file behind.
func (l *Layout) Create(dir string, files *publish.OutputFiles) (w *Writer, err error) {
	w = &Writer{layout: l}
	var made []string
	defer func() {
		if err != nil {
			w.Close()
			for _, path := range made {
				_ = files.Remove(path)
			}
		}
	}()
	create := func(name string, size int64, head []byte) (*publish.OutputFile, error) {
		path := filepath.Join(dir, name)
		f, err := files.Create(path)
		if err != nil {
			return nil, err
		}
		made = append(made, path)
		w.files = append(w.files, f)
		if _, err := f.Write(head); err != nil {
			return nil, err
		}
		return f, f.Truncate(size)
	}
	for _, file := range l.Files {
		if _, err := create(file.Name, file.Size, file.Header); err != nil {
			return w, err
		}
	}
	if l.Index != nil {
		if _, err := create(IndexName, int64(len(l.Index)), l.Index); err != nil {
			return w, err
		}
	}
	return w, nil
}

// At returns the file of tensor i of the layout's specs, and the range of its bytes.
func (w *Writer) At(i int) (f *publish.OutputFile, offset, length int64) {
	p := w.layout.Ranges[i]
	return w.files[p.File], p.Offset, p.Length
}

// Finish does nothing: Create has completed everything but the tensors.
func (w *Writer) Finish([]tensor.Written) error { return nil }

// Close closes the files.
func (w *Writer) Close() error {
	var errs []error
	for _, f := range w.files {
		if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
