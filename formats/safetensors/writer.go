package safetensors

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer writes the files of a Layout: the elements of each tensor go to the range that At returns.
// Tensors may be written concurrently.
type Writer struct {
	ranges []Range // of each Spec of the layout
	files  []*publish.OutputFile
}

// Create creates the files of the layout in the directory dir, at their full size and complete except
// for the tensors, by files. It does not replace files. If it fails, it leaves no file behind.
func (l *Layout) Create(dir string, files *publish.OutputFiles) (w *Writer, err error) {
	w = &Writer{ranges: l.Ranges}
	var made []string
	defer func() {
		if err != nil {
			w.Close()
			for _, path := range made {
				_ = files.Remove(path)
			}
		}
	}()
	create := func(name string, size int64, begin func(w io.Writer) error) error {
		path := filepath.Join(dir, name)
		f, err := files.Create(path)
		if err != nil {
			return err
		}
		made = append(made, path)
		w.files = append(w.files, f)
		if err := begin(f); err != nil {
			return err
		}
		return f.Truncate(size)
	}
	for i, file := range l.Files {
		if err := create(file.Name, file.Size, func(w io.Writer) error { return l.WriteHeader(w, i) }); err != nil {
			return w, err
		}
	}
	if l.Index != nil {
		if err := create(IndexName, int64(len(l.Index)), func(w io.Writer) error { _, err := w.Write(l.Index); return err }); err != nil {
			return w, err
		}
	}
	return w, nil
}

// At returns the file of tensor i of the layout's specs, and the range of its bytes.
func (w *Writer) At(i int) (f *publish.OutputFile, offset, length int64) {
	p := w.ranges[i]
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
