package torch

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer writes the file of a Layout: the elements of each tensor go to the range that At returns.
// Tensors may be written concurrently. The file is a zip file once Finish has returned.
type Writer struct {
	layout *Layout
	file   *publish.OutputFile
}

// Create creates the file by files, at its full size and complete except for the tensors, the checksums and
// the directory. It does not replace a file. If it fails, it leaves no file behind.
func (l *Layout) Create(path string, files *publish.OutputFiles) (*Writer, error) {
	f, err := files.Create(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{l, f}
	if err := w.writeFrame(); err != nil {
		return nil, errors.Join(err, f.Close(), files.Remove(path))
	}
	return w, nil
}

// writeFrame writes the bytes between the tensors, but for the descriptors of tensors, which Finish writes.
func (w *Writer) writeFrame() error {
	l := w.layout
	if err := w.file.Truncate(l.Size); err != nil {
		return err
	}
	f := &frame{layout: l, file: w.file}
	for i, r := range l.Ranges {
		if r.Length > 0 {
			if err := f.before(len(l.first) + i); err != nil {
				return err
			}
		}
	}
	return f.before(l.count() - 1)
}

// At returns the file, and the range in it of tensor i of the layout's specs.
func (w *Writer) At(i int) (f *publish.OutputFile, offset, length int64) {
	p := w.layout.Ranges[i]
	return w.file, p.Offset, p.Length
}

// NeedsCRC32 reports that Finish needs the CRC-32 (IEEE) of each tensor.
func (w *Writer) NeedsCRC32() bool { return true }

// Finish completes the file after all tensors are written, and syncs it. written describes the tensors, in
// the order of the layout's specs; Finish uses their CRC-32.
func (w *Writer) Finish(written []tensor.Written) error {
	l := w.layout
	if len(written) != len(l.Ranges) {
		return fmt.Errorf("%d tensors were written of %d", len(written), len(l.Ranges))
	}
	for i := range written {
		r := l.record(len(l.first) + i)
		if r.crc = written[i].CRC32; r.size > 0 {
			if _, err := w.file.WriteAt(r.descriptor(), r.data+r.size); err != nil {
				return err
			}
		}
	}
	f := &frame{layout: l, file: w.file}
	if err := f.end(func(i int) uint32 { return written[i].CRC32 }); err != nil {
		return err
	}
	return w.file.Sync()
}

// Close closes the file. It may be called again.
func (w *Writer) Close() error {
	if err := w.file.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
