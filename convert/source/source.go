// Package source reads the tensors that a conversion or a comparison starts from. A Reader computes
// the checksum that the tensor's format keeps, and if wanted the tensor's digest, from the bytes that
// its caller reads anyway.
package source

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Reader reads one tensor. It is for use by one goroutine.
//
// A tensor that lies uncompressed in a file can be read from there, in any order, through Layout.
// Every tensor can be read through ReadAt.
type Reader struct {
	watched *tensor.Tensor        // its data computes sums
	layout  *tensor.Strided       // of watched; nil if it has to be decoded
	crc     *tensor.ChecksumStore // nil if the checksum, if any, is not computed from what is read
	cursor  *tensor.Cursor        // of watched
}

// Open returns a Reader of t. It checks t's checksum at once if that cannot be computed from the
// bytes of t that will be read. digest, if not nil, is fed with what is read of t.
func Open(t *tensor.Tensor, digest *Digest) (*Reader, error) {
	layout, _, err := tensor.Layout(t)
	if err != nil {
		return nil, err
	}
	r := &Reader{watched: &tensor.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape}}
	data := t.Data
	if summed, ok := t.Data.(tensor.Checksummed); ok && layout != nil {
		r.crc = tensor.NewChecksumStore(layout.Store, summed)
	} else if c, ok := t.Data.(tensor.Checker); ok {
		if err := c.Check(); err != nil {
			return nil, r.name(err)
		}
	}
	if layout != nil {
		watched, wrapped := *layout, r.crc != nil
		if wrapped {
			watched.Store = r.crc
		}
		if first, length, ok := layout.Contiguous(); ok && digest != nil {
			watched.Store = &digestedStore{watched.Store, digest, first, length}
			digest, wrapped = nil, true // the store feeds it
		}
		if wrapped {
			layout, data = &watched, &watched
		}
		r.layout = layout
	}
	if digest != nil {
		data = digested{data, digest}
	}
	r.watched.Data = data
	r.cursor = tensor.NewCursor(r.watched)
	return r, nil
}

// Layout returns how the tensor lies in its file, nil if it has to be decoded.
func (r *Reader) Layout() *tensor.Strided { return r.layout }

// Tensor returns the tensor with data that goes through the Reader.
func (r *Reader) Tensor() *tensor.Tensor { return r.watched }

// ReadAt fills p with the elements' bytes from off on. Offsets should ascend, as those of a
// tensor.Cursor should. Data that ends early or turns out broken is a *tensor.FormatError.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.cursor.ReadAt(p, off)
	return n, r.name(err)
}

// Finish reports what shows only after the last read: a stream that does not end where it should,
// or a wrong checksum. A checksum of bytes that were not all read in order is computed now.
func (r *Reader) Finish() error {
	err := r.cursor.Finish()
	if err == nil && r.crc != nil {
		err = r.crc.Finish()
	}
	return r.name(err)
}

// name adds the tensor's name to an error about its data.
func (r *Reader) name(err error) error {
	if err == nil {
		return nil
	}
	return tensor.Annotate(err, tensor.Location{Tensor: r.watched.Name})
}

// Close releases the stream.
func (r *Reader) Close() error { return r.cursor.Close() }

// digestedStore is the file in which a tensor lies. It feeds a digest with what is read of the tensor.
type digestedStore struct {
	io.ReaderAt
	digest        *Digest
	first, length int64 // the tensor's bytes
}

// ReadAt implements io.ReaderAt.
func (s *digestedStore) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if at := off - s.first; at >= 0 && at < s.length {
		s.digest.Feed(at, p[:min(int64(n), s.length-at)])
	}
	return n, err
}

// digested is Data whose streams feed a digest.
type digested struct {
	tensor.Data
	digest *Digest
}

// Stream implements tensor.Data.
func (d digested) Stream(off int64) (io.ReadCloser, error) {
	r, err := d.Data.Stream(off)
	if err != nil {
		return nil, err
	}
	return &digestedStream{r, d.digest, off}, nil
}

// digestedStream is a stream of a tensor's bytes that feeds a digest.
type digestedStream struct {
	io.ReadCloser
	digest   *Digest
	position int64
}

// Read implements io.Reader.
func (s *digestedStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.digest.Feed(s.position, p[:n])
	s.position += int64(n)
	return n, err
}
