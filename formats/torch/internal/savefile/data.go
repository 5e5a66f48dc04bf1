package savefile

import (
	"bytes"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// region is where a storage is: in file from offset on, or in a member of a zip file.
type region struct {
	file        io.ReaderAt
	offset      int64
	member      *member // nil in legacy files
	noChecksums bool    // the member has no checksum
	bigEndian   bool
}

// data returns the elements of a tensor whose storage is in the region.
func (r region) data(ref *Ref, view tensor.View) (tensor.Data, error) {
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
		return &inflated{member: r.member, layout: s, checked: !r.noChecksums}, nil
	case r.noChecksums:
		return s, nil
	}
	s.Store = r.member.checkedStore()
	return &checksummed{s, r.member}, nil
}

// checksummed is a tensor in an uncompressed member with a checksum.
type checksummed struct {
	layout *tensor.Strided
	member *member
}

// Stream implements tensor.Data.
func (d *checksummed) Stream(off int64) (io.ReadCloser, error) { return d.layout.Stream(off) }

// Strided is for tensor.Layout.
func (d *checksummed) Strided() (*tensor.Strided, error) { return d.layout.Strided() }

// Check implements tensor.Checker.
func (d *checksummed) Check() error { return d.member.check() }

// Checksum implements tensor.Checksummed.
func (d *checksummed) Checksum() (offset, length int64, crc uint32) {
	return d.member.offset, d.member.size, d.member.crc
}

// Passed implements tensor.Checksummed.
func (d *checksummed) Passed() { d.member.passed() }

// inflated is a tensor in a deflated member. torch does not write such members, but reads them when
// another program has packed the checkpoint.
type inflated struct {
	member  *member
	layout  *tensor.Strided // Store is nil and Base counts from the start of the member's bytes
	checked bool            // the member has a checksum
}

// maxInflated is how many bytes are inflated into memory, at most, for a tensor that is not contiguous.
const maxInflated = 64 << 20

// Stream implements tensor.Data. It first checks the checksum of the member.
func (d *inflated) Stream(off int64) (io.ReadCloser, error) {
	if _, err := d.layout.Strided(); err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
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

// Check implements tensor.Checker.
func (d *inflated) Check() error {
	if !d.checked {
		return nil
	}
	return d.member.check()
}
