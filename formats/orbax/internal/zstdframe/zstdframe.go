// Package zstdframe decodes data that is exactly one zstd frame, as TensorStore requires. It refuses a second
// frame, skippable frames and trailing bytes. Since the zstd library joins frames, this package walks the blocks of
// the frame (RFC 8878, section 3.1) to find its end.
package zstdframe

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// MaxWindow bounds the window of a frame in bytes. It is the default limit of the reference decoder and the window
// of level 22. Level 1, which Orbax uses, has 512 KiB.
const MaxWindow = 128 << 20

// poolWindow is the largest window, in bytes, of a decoder that is kept for reuse.
const poolWindow = 8 << 20

// overhead is the memory of a decoder and its buffers besides the window, in bytes.
const overhead = 1 << 20

var decoders sync.Pool

// Reader decodes one frame. It returns io.EOF if the frame is complete, its checksum is right, and nothing follows
// it. A corrupt frame is a *tensor.FormatError. Errors of the source are returned as they are.
type Reader struct {
	frame frame
	dec   *zstd.Decoder
	err   error
}

// NewReader returns a Reader of the frame in src. content is the size of the content in bytes, -1 if it is not known. Then
// the window takes no more memory than the content, whatever the header claims; the caller refuses longer content.
func NewReader(src io.Reader, content int64) *Reader {
	return &Reader{frame: frame{src: src, content: content}}
}

// Memory returns the memory that decoding takes, in bytes, according to the header of the frame. It returns 0 if the
// header cannot be read, which Read reports.
func (r *Reader) Memory() int64 {
	if r.frame.state == atHeader {
		if err := r.frame.header(); err != nil {
			r.fail(err)
			return 0
		}
	}
	return r.frame.window + overhead
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.start(); err != nil {
		return 0, err
	}
	n, err := r.dec.Read(p)
	if err != nil {
		err = r.end(err)
	}
	return n, err
}

// WriteTo implements io.WriterTo. The decoder writes its blocks to w without another copy.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	if err := r.start(); err == io.EOF {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	out := writer{w: w}
	n, err := r.dec.WriteTo(&out)
	if out.err != nil {
		return n, r.fail(out.err)
	}
	if err == nil {
		err = io.EOF
	}
	if err = r.end(err); err == io.EOF {
		err = nil
	}
	return n, err
}

// Close releases the decoder. It does not close the source.
func (r *Reader) Close() error {
	r.fail(io.ErrClosedPipe)
	return nil
}

// start gets a decoder.
func (r *Reader) start() error {
	if r.err != nil || r.dec != nil {
		return r.err
	}
	if r.Memory() == 0 {
		return r.err
	}
	dec, ok := decoders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderMaxMemory(MaxWindow))
		if err != nil {
			return r.fail(err)
		}
	}
	r.dec = dec
	if err := dec.Reset(&r.frame); err != nil {
		return r.fail(err)
	}
	return nil
}

// end returns the error for the error with which the decoder ended.
func (r *Reader) end(err error) error {
	switch {
	case r.frame.err != nil:
		err = r.frame.err
	case err == io.EOF && r.frame.state != atEnd:
		err = tensor.Bad("zstd frame is truncated")
	case err == io.EOF:
		err = r.frame.nothingFollows()
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = tensor.Bad("zstd frame is truncated")
	default:
		err = tensor.Bad("corrupt zstd frame: %w", err)
	}
	return r.fail(err)
}

// fail records the first error for all later reads and releases the decoder.
func (r *Reader) fail(err error) error {
	if r.err == nil {
		r.err = err
	}
	if r.dec != nil {
		if r.frame.window > poolWindow || r.dec.Reset(nil) != nil {
			r.dec.Close()
		} else {
			decoders.Put(r.dec)
		}
		r.dec = nil
	}
	r.frame.release()
	return r.err
}

// writer records the error of w, to distinguish it from those of the decoder.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
	return n, err
}

// The pieces of a frame, in order.
const (
	atHeader = iota
	atBlock
	atChecksum
	atEnd
)

// bufferSize makes the many small reads of the decoder cheap. Its large reads bypass the buffer.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// frame is an io.Reader of the bytes of one frame.
type frame struct {
	src        io.Reader
	buf        *[bufferSize]byte
	start, end int // unread bytes of buf
	left       int // unread bytes of the current piece
	state      int // next piece
	checksum   bool
	window     int64 // bytes
	content    int64 // bytes, -1 if not known
	err        error // of the source or the header
}

func (f *frame) Read(p []byte) (int, error) {
	for f.left == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	p = p[:min(len(p), f.left)]
	var n int
	var err error
	if f.start < f.end || len(p) < bufferSize/4 {
		if _, err = f.peek(1); err == nil {
			n = copy(p, f.buf[f.start:f.end])
			f.start += n
		}
	} else if n, err = f.src.Read(p); err != nil && err != io.EOF {
		f.err = err
	}
	f.left -= n
	if n > 0 {
		err = nil
	}
	return n, err
}

// next looks at the next piece.
func (f *frame) next() error {
	switch f.state {
	case atHeader:
		return f.header()
	case atBlock:
		h, err := f.peek(3)
		if err != nil {
			return err
		}
		v := uint32(h[0]) | uint32(h[1])<<8 | uint32(h[2])<<16
		last, kind, size := v&1 != 0, v>>1&3, int(v>>3)
		if kind == 1 { // one byte, repeated size times
			size = 1
		}
		f.left = len(h) + size
		if last {
			f.state = atChecksum
		}
	case atChecksum:
		f.state = atEnd
		if f.checksum {
			f.left = 4
		}
	case atEnd:
		return io.EOF
	}
	return nil
}

// header parses the frame header: its size, the window, and whether a checksum ends the frame.
func (f *frame) header() error {
	h, err := f.peek(5)
	if err != nil {
		return f.refuse(err, "no zstd frame header")
	}
	if binary.LittleEndian.Uint32(h) != 0xfd2fb528 {
		return f.refuse(nil, "not a zstd frame")
	}
	descriptor := h[4]
	single := descriptor&0x20 != 0
	windowSize, dictSize, contentSize := 1, [4]int{0, 1, 2, 4}[descriptor&3], [4]int{0, 2, 4, 8}[descriptor>>6]
	if single {
		windowSize = 0
		contentSize = max(contentSize, 1)
	}
	h, err = f.peek(5 + windowSize + dictSize + contentSize)
	if err != nil {
		return f.refuse(err, "zstd frame header is cut short")
	}
	window := uint64(0)
	if single {
		content := make([]byte, 8)
		copy(content, h[len(h)-contentSize:])
		if window = binary.LittleEndian.Uint64(content); contentSize == 2 {
			window += 256
		}
	} else {
		base := uint64(1) << (10 + h[5]>>3)
		window = base + base/8*uint64(h[5]&7)
	}
	switch {
	case single && f.content >= 0 && window > uint64(f.content):
		return f.refuse(nil, "zstd frame claims %d bytes of content, not %d", window, f.content)
	case !single && f.content >= 0 && window > uint64(f.content):
		window = f.shrinkWindow(h)
	}
	if window > MaxWindow {
		return f.refuse(nil, "zstd frame needs a window of %d bytes, more than %d", window, MaxWindow)
	}
	f.window, f.checksum = int64(window), descriptor&4 != 0
	f.left, f.state = len(h), atBlock
	return nil
}

// shrinkWindow replaces the window in a header by the smallest one that holds the content: no match goes back further.
func (f *frame) shrinkWindow(header []byte) uint64 {
	const least = 10 // binary logarithm of the smallest window
	exponent := max(bits.Len64(uint64(max(f.content, 1)-1)), least)
	header[5] = byte(exponent-least) << 3 // header is a part of buf, from which the decoder reads it
	return 1 << exponent
}

// refuse records an error of the source as it is, and a *tensor.FormatError for its end or no error.
func (f *frame) refuse(err error, format string, args ...any) error {
	if f.err == nil {
		f.err = tensor.Bad(format, args...)
	}
	return f.err
}

// peek returns the next n bytes without consuming them, and io.EOF if there are fewer.
func (f *frame) peek(n int) ([]byte, error) {
	if f.buf == nil {
		f.buf = buffers.Get().(*[bufferSize]byte)
	}
	for f.end-f.start < n {
		if f.start > 0 {
			f.end = copy(f.buf[:], f.buf[f.start:f.end])
			f.start = 0
		}
		m, err := f.src.Read(f.buf[f.end:])
		f.end += m
		if err == io.EOF && f.end-f.start < n {
			return nil, io.EOF
		}
		if err != nil && err != io.EOF {
			f.err = err
			return nil, err
		}
	}
	return f.buf[f.start : f.start+n], nil
}

// nothingFollows returns io.EOF if the source ends here.
func (f *frame) nothingFollows() error {
	if _, err := f.peek(1); err != nil {
		return err
	}
	return tensor.Bad("bytes follow the zstd frame")
}

func (f *frame) release() {
	if f.buf != nil {
		buffers.Put(f.buf)
		f.buf, f.start, f.end = nil, 0, 0
	}
}
