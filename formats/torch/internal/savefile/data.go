package savefile

import (
	"bytes"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// data returns the elements of the tensor.
func (r *Ref) data() (tensor.Data, error) {
	s := r.strided()
	if err := tensor.CheckView(s.View, s.Length); err != nil {
		return nil, err
	}
	if _, _, err := tensor.SizeOf(r.dtype, s.View.Shape); err != nil {
		return nil, err
	}
	switch m := r.storage; {
	case m.deflated:
		return inflated{r}, nil
	case m.noChecksums:
		return plain{r}, nil
	}
	return checksummed{r}, nil
}

// strided returns the layout of the tensor in the inflated bytes of its member.
func (r *Ref) strided() *tensor.Strided {
	m := r.storage
	first, length := int64(0), m.size
	if r.within != nil {
		first, length = r.within.first, r.within.length
	}
	return &tensor.Strided{Base: first, Length: length / r.dtype.Size(), DType: r.dtype, View: r.view(), BigEndian: m.bigEndian}
}

// strided returns the layout in the file of a tensor whose member is not deflated.
func (r *Ref) stridedIn(store io.ReaderAt) (*tensor.Strided, error) {
	s := r.strided()
	s.Store, s.Base = store, s.Base+r.storage.offset
	return s.Strided()
}

// plain is a tensor without a checksum. It takes no memory beside the Ref, and neither do the other kinds.
type plain struct{ *Ref }

// Strided is for tensor.Layout.
func (d plain) Strided() (*tensor.Strided, error) { return d.stridedIn(d.storage.file) }

// Stream implements tensor.Data.
func (d plain) Stream(off int64) (io.ReadCloser, error) { return stream(d, off) }

// checksummed is a tensor in an uncompressed member with a checksum.
type checksummed struct{ *Ref }

// Strided is for tensor.Layout.
func (d checksummed) Strided() (*tensor.Strided, error) { return d.stridedIn(d.storage.checkedStore()) }

// Stream implements tensor.Data.
func (d checksummed) Stream(off int64) (io.ReadCloser, error) { return stream(d, off) }

func stream(d interface {
	Strided() (*tensor.Strided, error)
}, off int64) (io.ReadCloser, error) {
	s, err := d.Strided()
	if err != nil {
		return nil, err
	}
	return s.Stream(off)
}

// Check implements tensor.Checker.
func (d checksummed) Check() error { return d.storage.check() }

// Checksum implements tensor.Checksummed.
func (d checksummed) Checksum() (offset, length int64, crc uint32) {
	return d.storage.offset, d.storage.size, d.storage.crc
}

// Passed implements tensor.Checksummed.
func (d checksummed) Passed() { d.storage.passed() }

// inflated is a tensor in a deflated member. torch does not write such members, but reads them when
// another program has packed the checkpoint.
type inflated struct{ *Ref }

// maxInflated is how many bytes are inflated into memory, at most, for a tensor that is not contiguous.
const maxInflated = 64 << 20

// Stream implements tensor.Data. It first checks the checksum of the member.
func (d inflated) Stream(off int64) (io.ReadCloser, error) {
	layout, err := d.strided().Strided()
	if err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	if at, n, ok := layout.Contiguous(); ok {
		off = min(off, n)
		r := d.storage.open()
		if _, err := io.CopyN(io.Discard, r, at+off); err != nil {
			r.Close()
			return nil, err
		}
		return readCloser{io.LimitReader(r, n-off), r}, nil
	}
	data, err := d.storage.readAll(maxInflated, false)
	if err != nil {
		return nil, d.storage.annotate(err)
	}
	layout.Store = bytes.NewReader(data)
	return layout.Stream(off)
}

type readCloser struct {
	io.Reader
	io.Closer
}

// Check implements tensor.Checker.
func (d inflated) Check() error {
	if d.storage.noChecksums {
		return nil
	}
	return d.storage.check()
}
