package torch

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"

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
	if err := w.file.Truncate(w.layout.Size); err != nil {
		return err
	}
	var between []byte // from the end of a tensor to the next one
	from := int64(0)
	records := w.layout.records
	for i := range records {
		r := &records[i]
		between = append(between, r.localHeader()...)
		if r.content == "" && r.size > 0 {
			if _, err := w.file.WriteAt(between, from); err != nil {
				return err
			}
			between, from = between[:0], r.end()
			continue
		}
		between = append(between, r.content...)
		between = append(between, r.descriptor()...)
	}
	if len(between) == 0 {
		return nil
	}
	_, err := w.file.WriteAt(between, from)
	return err
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
