package torch

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Writer is the file of a Layout while it is being filled: a transfer.Destination. Each tensor goes to its Place, by
// WriteAt or by mapping the file; different tensors may be written at once. The file is no zip file
// before Finish.
type Writer struct {
	layout *Layout
	file   *os.File
}

// Create makes the file at its full size, complete but for the tensors, the checksums and the
// directory. It refuses to replace a file. After an error none is left.
func (l *Layout) Create(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	w := &Writer{l, f}
	if err := w.writeFrame(); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return w, nil
}

// writeFrame writes what stands between the tensors.
func (w *Writer) writeFrame() error {
	if err := w.file.Truncate(w.layout.Size); err != nil {
		return err
	}
	var between []byte // from the end of one tensor to the beginning of the next
	from := int64(0)
	records := w.layout.records
	for i := range records {
		r := &records[i]
		between = append(between, r.localHeader()...)
		if r.content == "" && r.size > 0 {
			if _, err := w.file.WriteAt(between, from); err != nil {
				return err
			}
			between, from = between[:0], r.data+r.size
		}
		between = append(between, r.content...)
		between = append(between, r.descriptor()...)
	}
	_, err := w.file.WriteAt(between, from)
	return err
}

// At returns the file and the range of it that the bytes of tensor i of the layout's specs belong
// into.
func (w *Writer) At(i int) (f *os.File, offset, length int64) {
	p := w.layout.Ranges[i]
	return w.file, p.Offset, p.Length
}

// NeedsCRC32 says that Finish wants the CRC-32 (IEEE) of each tensor.
func (w *Writer) NeedsCRC32() bool { return true }

// Finish completes the file once all tensors are in it, and makes it durable. Of what was written,
// in the order of the layout's specs, it takes the CRC-32.
func (w *Writer) Finish(written []tensor.Written) error {
	l := w.layout
	if len(written) != len(l.Ranges) {
		return fmt.Errorf("%d tensors were written of %d", len(written), len(l.Ranges))
	}
	records := slices.Clone(l.records)
	for i := range written {
		if r := &records[l.first+i]; r.size > 0 {
			r.crc = written[i].CRC32
			if err := w.writeDescriptor(r); err != nil {
				return err
			}
		}
	}
	last := &records[len(records)-1]
	id := serializationID(records[:len(records)-1])
	last.crc = crc32.ChecksumIEEE([]byte(id))
	if _, err := w.file.WriteAt([]byte(id), last.data); err != nil {
		return err
	}
	if err := w.writeDescriptor(last); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(directory(records, l.tail), l.tail); err != nil {
		return err
	}
	return w.file.Sync()
}

func (w *Writer) writeDescriptor(r *record) error {
	_, err := w.file.WriteAt(r.descriptor(), r.data+r.size)
	return err
}

// Close closes the file. It may be called again.
func (w *Writer) Close() error {
	if err := w.file.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
