package zarr

import (
	"bufio"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/zstdframe"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// codec is a codec from bytes to bytes.
type codec struct {
	name string
	// open returns a reader of the decoded content of src. It returns io.EOF if the stream is complete, its
	// checksum is right, and src ends with the stream. decoded is the size of the content, -1 if unknown.
	open func(src io.Reader, decoded int64) io.ReadCloser
	// memory is the memory that decoding takes, in bytes, unless the reader has a method Memory.
	memory int64
	// checksum is the checksum of the content that always ends the stream, "" for none.
	checksum string
}

// codecs are all codecs, with the name that both versions use.
var codecs = []codec{
	{name: "zstd", open: func(src io.Reader, decoded int64) io.ReadCloser { return zstdframe.NewReader(src, decoded) }},
	{name: "gzip", open: newGzip, memory: 256 << 10, checksum: "CRC-32"},
	{name: "zlib", open: newZlib, memory: 256 << 10, checksum: "Adler-32"},
	{name: "bz2", open: newBzip2, memory: 8 << 20, checksum: "CRC-32"},
	{name: "blosc", open: newBlosc},
	{name: "crc32c", open: newCRC32C, memory: 128 << 10, checksum: "CRC-32C"},
}

func findCodec(name string) (codec, bool) {
	for _, c := range codecs {
		if c.name == name {
			return c, true
		}
	}
	return codec{}, false
}

// ChecksumOf returns the name of the checksum that chunks of that encoding, which Codec describes, end with. It is ""
// for none.
func ChecksumOf(codec string) string {
	for _, name := range strings.Split(codec, ", ") {
		if c, ok := findCodec(name); ok && c.checksum != "" {
			return c.checksum
		}
	}
	return ""
}

// codecV2 parses the compressor of a .zarray document.
func codecV2(v any) (codec, error) {
	o, err := asObject(v, "compressor")
	if err != nil {
		return codec{}, err
	}
	id, err := o.str("id")
	if err != nil {
		return codec{}, err
	}
	c, ok := findCodec(id)
	if !ok || id == "crc32c" {
		return codec{}, bad("unknown compressor %s", strictjson.Describe(id))
	}
	return c, nil
}

// codecV3 returns a codec of a zarr.json document. Its configuration only concerns encoding.
func codecV3(name string) (codec, error) {
	c, ok := findCodec(name)
	if !ok || name == "zlib" || name == "bz2" {
		return codec{}, bad("codec %s is unknown or not allowed here", strictjson.Describe(name))
	}
	return c, nil
}

// source is a buffered reader that records its errors other than io.EOF, to distinguish them from those of the
// decoder that reads from it.
type source struct {
	*bufio.Reader
	err *failure
}

type failure struct {
	io.Reader
	err error
}

func (f *failure) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func newSource(r io.Reader) source {
	f := &failure{Reader: r}
	size := int64(64 << 10)
	if s, ok := r.(*io.SectionReader); ok {
		size = min(size, s.Size()+1)
	}
	return source{bufio.NewReaderSize(f, int(size)), f}
}

// explain returns the error for an error of the decoder of s. At io.EOF it checks that nothing follows.
func (s source) explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.err.err != nil:
		return s.err.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return bad("%s stream is truncated", name)
	case err != io.EOF:
		return bad("corrupt %s stream: %w", name, err)
	}
	if _, err := s.Peek(1); err != nil {
		return err
	}
	return bad("bytes follow the %s stream", name)
}

// deflated is a decoder of gzip or zlib. It reads nothing before its first Read.
type deflated struct {
	name  string
	src   source
	begin func(io.Reader) (io.Reader, error)
	r     io.Reader
}

func newGzip(src io.Reader, _ int64) io.ReadCloser {
	return &deflated{name: "gzip", src: newSource(src), begin: func(src io.Reader) (io.Reader, error) {
		r, err := gzip.NewReader(src)
		if err != nil {
			return nil, err
		}
		r.Multistream(false)
		return r, nil
	}}
}

func newZlib(src io.Reader, _ int64) io.ReadCloser {
	return &deflated{name: "zlib", src: newSource(src), begin: func(src io.Reader) (io.Reader, error) { return zlib.NewReader(src) }}
}

func (d *deflated) Read(p []byte) (int, error) {
	if d.r == nil {
		r, err := d.begin(d.src)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, d.src.explain(d.name, err)
		}
		d.r = r
	}
	n, err := d.r.Read(p)
	return n, d.src.explain(d.name, err)
}

func (d *deflated) Close() error { return nil }

// bunzip decodes bzip2. The library joins streams, so bunzip checks what is left when all elements are decoded:
// only the end mark of the stream, which is shorter than another stream.
type bunzip struct {
	src  source
	r    io.Reader
	left int64
}

// bzip2End is more bytes than an end mark has, and fewer than a stream.
const bzip2End = 12

func newBzip2(src io.Reader, decoded int64) io.ReadCloser {
	s := newSource(src)
	return &bunzip{src: s, r: bzip2.NewReader(s), left: decoded}
}

func (b *bunzip) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left == 0 {
		if _, more := b.src.Peek(bzip2End); more == nil {
			return 0, bad("bytes follow the bz2 stream")
		}
	}
	return n, b.src.explain("bz2", err)
}

func (b *bunzip) Close() error { return nil }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcReader removes and checks the CRC-32C in the last four bytes.
type crcReader struct {
	src source
	sum uint32
}

func newCRC32C(src io.Reader, _ int64) io.ReadCloser { return &crcReader{src: newSource(src)} }

func (s *crcReader) Read(p []byte) (int, error) {
	b, err := s.src.Peek(min(len(p)+4, s.src.Size()))
	if err != nil && err != io.EOF {
		return 0, err
	}
	if len(b) < 4 {
		return 0, bad("no checksum in %d bytes", len(b))
	}
	if len(b) > 4 || len(p) == 0 {
		n := copy(p, b[:len(b)-4])
		s.sum = crc32.Update(s.sum, castagnoli, p[:n])
		s.src.Discard(n)
		return n, nil
	}
	if want := binary.LittleEndian.Uint32(b); s.sum != want {
		return 0, bad("checksum is %08x, but %08x is recorded", s.sum, want)
	}
	return 0, io.EOF
}

func (s *crcReader) Close() error { return nil }

// byteSwapper reverses the bytes of each unit.
type byteSwapper struct {
	src     io.Reader
	unit    int
	size    int64 // bytes of all units
	buf     []byte
	pending []byte
	err     error
}

func (s *byteSwapper) Read(p []byte) (int, error) {
	for len(s.pending) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		if s.buf == nil {
			s.buf = make([]byte, min(s.size, 64<<10))
		}
		var n int
		n, s.err = io.ReadFull(s.src, s.buf)
		if s.err == io.ErrUnexpectedEOF {
			s.err = io.EOF
		}
		s.pending = s.buf[:n]
		tensor.SwapBytes(s.pending, s.unit)
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}
