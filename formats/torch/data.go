package torch

import (
	"bytes"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// region is where a storage lies: from offset on in file, or in a member of a zip file.
type region struct {
	file      io.ReaderAt
	offset    int64
	member    *member // nil in legacy files
	unsummed  bool    // the member has no checksum
	bigEndian bool
}

// data returns the elements of a tensor whose storage lies in the region.
func (r region) data(ref *tensorRef, view tensor.View) (tensor.Data, error) {
	length := ref.storage.length / ref.dtype.Size()
	if err := tensor.CheckView(view, length); err != nil {
		return nil, err
	}
	if _, _, err := tensor.SizeOf(ref.dtype, view.Shape); err != nil {
		return nil, err
	}
	s := &tensor.Strided{Store: r.file, Base: r.offset + ref.storage.first, Length: length,
		DType: ref.dtype, View: view, BigEndian: r.bigEndian}
	switch {
	case r.member == nil:
		return s, nil
	case r.member.deflated:
		s.Store, s.Base = nil, ref.storage.first
		d := &inflated{member: r.member, layout: s}
		if r.unsummed {
			return d, nil
		}
		return &summedInflated{d}, nil
	case r.unsummed:
		return s, nil
	}
	return &summed{s, r.member}, nil
}

// summed is a tensor in a stored member of a zip file, whose bytes have a checksum.
type summed struct {
	layout *tensor.Strided
	member *member
}

// Stream implements tensor.Data.
func (d *summed) Stream(off int64) (io.ReadCloser, error) { return d.layout.Stream(off) }

// Strided returns the layout for tensor.Layout.
func (d *summed) Strided() (*tensor.Strided, error) { return d.layout.Strided() }

// Check implements tensor.Checker.
func (d *summed) Check() error { return d.member.check() }

// inflated is a tensor in a deflated member of a zip file. torch does not write such, but somebody
// who packs a checkpoint with another program does, and torch reads it.
type inflated struct {
	member *member
	layout *tensor.Strided // Store is nil and Base counts from the start of the member's bytes
}

// maxInflated is the most that is inflated into memory for a tensor that does not lie in one piece.
const maxInflated = 64 << 20

// Stream implements tensor.Data.
func (d *inflated) Stream(off int64) (io.ReadCloser, error) {
	if _, err := d.layout.Strided(); err != nil {
		return nil, err
	}
	if at, n, ok := d.layout.Contiguous(); ok {
		off = min(off, n)
		r := d.member.open()
		if _, err := io.CopyN(io.Discard, r, at+off); err != nil {
			r.Close()
			return nil, err
		}
		return readCloser{io.LimitReader(r, n-off), r}, nil
	}
	data, err := d.member.readAll(maxInflated, false)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Record: d.member.name})
	}
	whole := *d.layout
	whole.Store = bytes.NewReader(data)
	return whole.Stream(off)
}

type readCloser struct {
	io.Reader
	io.Closer
}

// summedInflated is inflated with a checksum.
type summedInflated struct{ *inflated }

// Check implements tensor.Checker.
func (d *summedInflated) Check() error { return d.member.check() }
