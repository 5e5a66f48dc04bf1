package flax

import (
	"encoding/binary"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// windowBytes is how much is read at a time. Since structure and large arrays alternate, most of a larger window would
// not be used.
const windowBytes = 4 << 10

// decoder parses msgpack. It reads through a small window and skips the elements of arrays.
type decoder struct {
	r      io.ReaderAt
	pos    int64
	end    int64  // end of the file or of the current extension
	budget int64  // memory left for the tree in bytes
	path   []step // of the current value
	shapes tensor.Shapes

	window []byte
	at     int64 // offset of window
}

// step is a map key, or a list index as a decimal number.
type step struct {
	key    string
	index  bool
	length int // of the path up to here, as a name
}

// head is the head of a value.
type head struct {
	at   int64 // offset of the head
	kind Kind
	code int8  // of an extension
	n    int64 // size in bytes of Text, Bytes and extension; number of items of List and Map; value of Int and Bool
}

// heads describes the type bytes from 0xc0 to 0xdf. size is the size of the big-endian number that follows, a value or
// a length. fixed is the length or the value of types without such a number.
var heads = [32]struct {
	kind  Kind
	size  int
	fixed int64
}{
	0x00: {kind: Nil}, 0x02: {kind: Bool}, 0x03: {kind: Bool, fixed: 1},
	0x04: {kind: Bytes, size: 1}, 0x05: {kind: Bytes, size: 2}, 0x06: {kind: Bytes, size: 4},
	0x07: {kind: extension, size: 1}, 0x08: {kind: extension, size: 2}, 0x09: {kind: extension, size: 4},
	0x0a: {kind: Float, fixed: 4}, 0x0b: {kind: Float, fixed: 8},
	0x0c: {kind: Int, size: 1}, 0x0d: {kind: Int, size: 2}, 0x0e: {kind: Int, size: 4}, 0x0f: {kind: Int, size: 8},
	0x10: {kind: Int, size: -1}, 0x11: {kind: Int, size: -2}, 0x12: {kind: Int, size: -4}, 0x13: {kind: Int, size: -8}, // signed
	0x14: {kind: extension, fixed: 1}, 0x15: {kind: extension, fixed: 2}, 0x16: {kind: extension, fixed: 4},
	0x17: {kind: extension, fixed: 8}, 0x18: {kind: extension, fixed: 16},
	0x19: {kind: Text, size: 1}, 0x1a: {kind: Text, size: 2}, 0x1b: {kind: Text, size: 4},
	0x1c: {kind: List, size: 2}, 0x1d: {kind: List, size: 4},
	0x1e: {kind: Map, size: 2}, 0x1f: {kind: Map, size: 4},
}

// head parses a head and checks that its content fits.
func (d *decoder) head() (head, error) {
	h := head{at: d.pos}
	b, err := d.take(1)
	if err != nil {
		return h, err
	}
	switch c := b[0]; {
	case c <= 0x7f || c >= 0xe0:
		h.kind, h.n = Int, int64(int8(c))
	case c <= 0x8f:
		h.kind, h.n = Map, int64(c&0x0f)
	case c <= 0x9f:
		h.kind, h.n = List, int64(c&0x0f)
	case c <= 0xbf:
		h.kind, h.n = Text, int64(c&0x1f)
	case c == 0xc1:
		return h, d.damaged(h.at, "byte 0xc1, which msgpack does not use")
	default:
		t := heads[c-0xc0]
		h.kind, h.n = t.kind, t.fixed
		if t.size != 0 {
			h.n, err = d.number(t.size)
		}
		if err == nil && h.kind == extension {
			if b, err = d.take(1); err == nil {
				h.code = int8(b[0])
			}
		}
		if err == nil && h.kind == Float {
			_, err = d.take(int(h.n))
		}
	}
	if err != nil {
		return h, err
	}
	return h, d.fits(h)
}

// fits checks that the content of a value fits into the bytes that are left. An item takes at least one byte.
func (d *decoder) fits(h head) error {
	left := d.end - d.pos
	switch h.kind {
	case Text, Bytes, extension:
		if h.n > left {
			return d.damaged(h.at, "%s of %d bytes where %d are left", h.kind, h.n, left)
		}
	case List:
		if h.n > left {
			return d.damaged(h.at, "a list of %d items where %d bytes are left", h.n, left)
		}
	case Map:
		if h.n > left/2 {
			return d.damaged(h.at, "a map of %d items where %d bytes are left", h.n, left)
		}
	}
	return nil
}

// number parses a big-endian integer of size bytes, a signed one if size is negative.
func (d *decoder) number(size int) (int64, error) {
	b, err := d.take(max(size, -size))
	if err != nil {
		return 0, err
	}
	switch size {
	case 1:
		return int64(b[0]), nil
	case 2:
		return int64(binary.BigEndian.Uint16(b)), nil
	case 4:
		return int64(binary.BigEndian.Uint32(b)), nil
	case 8:
		return int64(min(binary.BigEndian.Uint64(b), math.MaxInt64)), nil
	case -1:
		return int64(int8(b[0])), nil
	case -2:
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	case -4:
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	default:
		return int64(binary.BigEndian.Uint64(b)), nil
	}
}

// text parses the content of a text. It skips a text of more than maxText bytes.
func (d *decoder) text(h head) (string, error) {
	if h.n > maxText {
		d.pos += h.n
		return "", nil
	}
	if err := d.charge(h.n); err != nil {
		return "", err
	}
	b, err := d.take(int(h.n))
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", d.damaged(h.at, "text is not UTF-8")
	}
	return string(b), nil
}

// charge adds to the memory of the tree.
func (d *decoder) charge(bytes int64) error {
	if d.budget -= bytes; d.budget < 0 {
		return d.bad(d.pos, "the tree takes more than %d MiB of memory", maxTree>>20)
	}
	return nil
}

// take reads n bytes, at most maxText, which are valid until the next call.
func (d *decoder) take(n int) ([]byte, error) {
	if int64(n) > d.end-d.pos {
		return nil, d.damaged(d.pos, "file ends %d bytes early", int64(n)-(d.end-d.pos))
	}
	from := d.pos - d.at
	if from < 0 || from+int64(n) > int64(len(d.window)) {
		size := min(max(int64(n), windowBytes), d.end-d.pos)
		if int64(cap(d.window)) < size {
			d.window = make([]byte, size)
		}
		d.window, d.at, from = d.window[:size], d.pos, 0
		got, err := d.r.ReadAt(d.window, d.at)
		if got < len(d.window) {
			d.window = d.window[:got]
			if err == io.EOF && got < n {
				return nil, d.bad(d.at+int64(got), "the file has shrunk")
			}
			if got < n {
				return nil, err
			}
		}
	}
	d.pos += int64(n)
	return d.window[from : from+int64(n)], nil
}

func (d *decoder) bad(at int64, format string, args ...any) *tensor.FormatError {
	return tensor.Bad(format, args...).At(at)
}

// damaged returns an error of bytes that no program writes. At the start of a file they may be those of another format.
func (d *decoder) damaged(at int64, format string, args ...any) *tensor.FormatError {
	bad := d.bad(at, format, args...)
	if at > 0 {
		bad.Advise("the file may be truncated or damaged: download or copy it again")
	}
	return bad
}

// name returns the path of the current value in the form of a tensor name.
func (d *decoder) name() string {
	var keys []string
	for _, s := range d.path {
		keys = append(keys, s.key)
	}
	return tensor.Clip(strings.Join(keys, "."))
}
