package savefile

import (
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// checkState is what is known of the CRC-32 of a member. Errors of input are not kept.
type checkState = uint32

const (
	unchecked checkState = iota
	right
	wrong
)

// checks are of the members of one file.
type checks struct {
	running [64]sync.Mutex // each for some of the members
	wrong   sync.Map       // *member to the error
}

// passed records that the CRC-32 of the member is right.
func (m *member) passed() { atomic.StoreUint32(&m.checked, right) }

// checkedStore returns the zip file, whose reads check the CRC-32 of the member first.
func (m *member) checkedStore() *tensor.CheckedStore { return tensor.NewCheckedStore(m.file, m.check) }

// check checks the CRC-32 of the member, once for all tensors that share it.
func (m *member) check() error {
	if atomic.LoadUint32(&m.checked) == right {
		return nil
	}
	running := &m.checks.running[m.crc%uint32(len(m.checks.running))]
	running.Lock()
	defer running.Unlock()
	switch atomic.LoadUint32(&m.checked) {
	case right:
		return nil
	case wrong:
		err, _ := m.checks.wrong.Load(m)
		return err.(error)
	}
	err := m.computeCRC()
	if err == nil {
		m.passed()
	} else if errors.As(err, new(*tensor.FormatError)) {
		m.checks.wrong.Store(m, err)
		atomic.StoreUint32(&m.checked, wrong)
	}
	return err
}

// computeCRC reads the member.
func (m *member) computeCRC() error {
	r := m.open()
	defer r.Close()
	h := crc32.NewIEEE()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, min(1<<20, m.size+1)))
	if err == nil && n != m.size {
		err = tensor.Bad("zip member ends after %d of its %d bytes", n, m.size)
	}
	if err == nil && h.Sum32() != m.crc {
		err = tensor.Bad("checksum is %08x, but %08x is recorded", h.Sum32(), m.crc).
			Advise("the file is damaged: download or copy it again")
	}
	return m.annotate(err)
}

// annotate names the file and the member in an error.
func (m *member) annotate(err error) error {
	return tensor.Annotate(err, tensor.Location{File: m.path, Record: m.name})
}

// open returns a reader of the inflated bytes of the member, at most as many as its size.
func (m *member) open() io.ReadCloser {
	stored := io.NewSectionReader(m.file, m.offset, m.stored)
	if !m.deflated {
		return io.NopCloser(stored)
	}
	return &inflater{m: m, r: flate.NewReader(stored), left: m.size}
}

// inflater reads a deflated member and checks its size.
type inflater struct {
	m    *member
	r    io.ReadCloser
	left int64
}

func (i *inflater) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if i.left == 0 {
		var more [1]byte
		n, err := io.ReadFull(i.r, more[:])
		if n > 0 {
			return 0, tensor.Bad("zip member inflates to more than its %d bytes", i.m.size).In(i.m.path).Within(i.m.name)
		}
		return 0, i.problem(err)
	}
	n, err := i.r.Read(p[:min(int64(len(p)), i.left)])
	i.left -= int64(n)
	if i.left == 0 {
		return n, nil // the next call returns the error again
	}
	return n, i.problem(err)
}

// problem returns the error for an error of the decompressor.
func (i *inflater) problem(err error) error {
	var broken flate.CorruptInputError
	switch {
	case errors.As(err, &broken):
		return tensor.Bad("zip member is not deflated data: %w", err).In(i.m.path).Within(i.m.name)
	case i.left > 0 && (err == io.EOF || err == io.ErrUnexpectedEOF):
		return tensor.Bad("zip member inflates to %d bytes less than its size", i.left).In(i.m.path).Within(i.m.name)
	case err == io.ErrUnexpectedEOF:
		return tensor.Bad("the deflated data of the zip member has no end").In(i.m.path).Within(i.m.name)
	}
	return err
}

func (i *inflater) Close() error { return i.r.Close() }

// readAll returns the bytes of a member of at most limit bytes. If checksummed is set, it checks their
// CRC-32.
func (m *member) readAll(limit int64, checksummed bool) ([]byte, error) {
	if m.size > limit {
		return nil, tensor.Bad("zip member of %d bytes; at most %d are read", m.size, limit).Within(m.name)
	}
	r := m.open()
	defer r.Close()
	data := make([]byte, m.size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		return nil, err
	}
	if checksummed && crc32.ChecksumIEEE(data) != m.crc {
		return nil, tensor.Bad("checksum is %08x, but %08x is recorded", crc32.ChecksumIEEE(data), m.crc).
			Within(m.name).Advise("the file is damaged: download or copy it again")
	}
	return data, nil
}

// inOrder returns the inflated bytes of the member for a caller that reads them from the beginning to the end, once or
// several times.
func (m *member) inOrder() io.ReaderAt {
	if !m.deflated {
		return io.NewSectionReader(m.file, m.offset, m.stored)
	}
	return &rewound{m: m}
}

// rewound inflates a deflated member anew for each reading that goes back. It is not safe for concurrent use.
type rewound struct {
	m  *member
	r  io.ReadCloser
	at int64
}

// ReadAt implements io.ReaderAt.
func (w *rewound) ReadAt(p []byte, off int64) (n int, err error) {
	if w.r == nil || off < w.at {
		w.r, w.at = w.m.open(), 0
	}
	skipped, err := io.CopyN(io.Discard, w.r, off-w.at)
	if err == nil {
		n, err = io.ReadFull(w.r, p)
	}
	w.at += skipped + int64(n)
	return n, err
}

// annotateAt adds a record and an offset to a *tensor.FormatError that does not have them.
func annotateAt(err error, record string, offset int64) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		bad.Within(record).At(offset)
	}
	return err
}
