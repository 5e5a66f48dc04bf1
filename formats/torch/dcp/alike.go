package dcp

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// alike knows some of the chunks that were parsed last. The chunks of one shape differ in their elements and checksums only, and a
// checkpoint can have millions of them: one that is like another need not be parsed.
type alike struct {
	mu    sync.Mutex
	forms [16]*form
	next  int // the one that is replaced next
}

// form is what a chunk has in common with others.
type form struct {
	file   []byte // the whole chunk
	unread []savefile.Unread

	dtype    tensor.DType
	shape    []int64
	elements assemble.Range
	crc      int64 // where the chunk has the checksum of the elements
}

// tensor returns the tensor of a chunk, nil if it is not like one that was parsed, or its checksum is wrong.
func (a *alike) tensor(file []byte) *tensor.Tensor {
	a.mu.Lock()
	forms := a.forms
	a.mu.Unlock()
	for _, f := range forms {
		if f != nil && f.fits(file) {
			elements := assemble.Range{Offset: f.elements.Offset}
			return elements.Tensor(bytes.NewReader(file), f.dtype, f.shape)
		}
	}
	return nil
}

// fits reports whether a chunk has the same bytes but for those that parsing does not look at, and the right checksum.
func (f *form) fits(file []byte) bool {
	if len(file) != len(f.file) {
		return false
	}
	at := int64(0)
	same := func(to, next int64) bool {
		from := at
		at = next
		return bytes.Equal(file[from:to], f.file[from:to])
	}
	for _, u := range f.unread {
		if !same(u.Start, u.End) {
			return false
		}
	}
	for _, u := range f.unread {
		if !same(u.CRC, u.CRC+4) {
			return false
		}
	}
	e := f.elements
	return bytes.Equal(file[at:], f.file[at:]) &&
		crc32.ChecksumIEEE(file[e.SumOffset:][:e.SumLength]) == binary.LittleEndian.Uint32(file[f.crc:])
}

// add adds a chunk that was parsed, if others can be like it.
func (a *alike) add(file []byte, t *tensor.Tensor) {
	elements, ok := assemble.RangeOf(t)
	if !ok || elements.SumLength == 0 {
		return
	}
	unread, ok := savefile.UnreadIn(file)
	if !ok {
		return
	}
	for _, u := range unread {
		if u.Start == elements.SumOffset && u.End-u.Start >= elements.SumLength {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.forms[a.next] = &form{file, unread, t.DType, t.Shape, elements, u.CRC}
			a.next = (a.next + 1) % len(a.forms)
			return
		}
	}
}
