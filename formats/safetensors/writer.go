package safetensors

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer is the files of a Layout while they are being filled. Each tensor goes to its Place, by
// WriteAt or by mapping the file; different tensors may be written at once.
type Writer struct {
	layout *Layout
	files  []*os.File
}

// Create makes the files of the layout in the directory dir, which exists: at their full size,
// complete but for the tensors. It refuses to replace a file. After an error none is left.
func (l *Layout) Create(dir string) (w *Writer, err error) {
	w = &Writer{layout: l}
	var made []string
	defer func() {
		if err != nil {
			w.Close()
			for _, path := range made {
				os.Remove(path)
			}
		}
	}()
	create := func(name string, size int64, head []byte) (*os.File, error) {
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
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

// At returns the file that tensor i of the layout's specs belongs into, and the range of its bytes.
func (w *Writer) At(i int) (f *os.File, offset, length int64) {
	p := w.layout.Places[i]
	return w.files[p.File], p.Offset, p.Length
}

// Finish has nothing to do once all tensors are durable: the headers were complete before them.
func (w *Writer) Finish([]tensor.Written) error { return nil }

// Sync makes what was written durable. The directory itself is the caller's to sync.
func (w *Writer) Sync() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.Sync())
	}
	return errors.Join(errs...)
}

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
