package pickle

import (
	"bytes"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// input reads the bytes of a pickle in order.
type input struct {
	file io.ReaderAt
	base int64 // offset of the pickle in file
	size int64 // of the bytes that may be read
	cut  int64 // bytes that are there
	max  int64 // the largest pickle
	pos  int64 // of the next byte, from base

	buffer []byte // bytes from position start on
	start  int64
}

const bufferSize = 64 << 10

// take returns the next n bytes. They are valid until the next call.
func (in *input) take(n int64) ([]byte, error) {
	if err := in.check(n); err != nil {
		return nil, err
	}
	if in.pos+n > in.start+int64(len(in.buffer)) {
		if err := in.fill(n); err != nil {
			return nil, err
		}
	}
	at := in.pos - in.start
	in.pos += n
	return in.buffer[at : at+n], nil
}

// check reports a length that goes past the end. One that no pickle can have is told apart from one
// that only the bytes at hand do not reach.
func (in *input) check(n int64) error {
	switch {
	case n < 0 || n > in.max:
		return tensor.Bad("length %d exceeds the largest pickle (%d MiB)", uint64(n), in.max>>20)
	case n > in.size-in.pos && in.size < in.cut:
		return tensor.Bad("pickle of more than %d MiB", in.max>>20)
	case n > in.size-in.pos:
		return tensor.Bad("pickle is truncated").Because(Truncated)
	}
	return nil
}

// fill reads at least n bytes from pos on into the buffer.
func (in *input) fill(n int64) error {
	length := min(max(n, bufferSize), in.size-in.pos)
	if int64(cap(in.buffer)) < length {
		in.buffer = make([]byte, length)
	}
	in.buffer, in.start = in.buffer[:length], in.pos
	got, err := in.file.ReadAt(in.buffer, in.base+in.pos)
	if int64(got) == length {
		return nil
	}
	in.buffer = in.buffer[:0]
	if err == nil || err == io.EOF {
		return tensor.Bad("file ends %d bytes short", length-int64(got)).At(in.pos + int64(got))
	}
	return err
}

// skip passes over the next n bytes.
func (in *input) skip(n int64) error {
	if err := in.check(n); err != nil {
		return err
	}
	in.pos += n
	return nil
}

// maxLine is far longer than the names of classes and the numbers that stand in lines.
const maxLine = 1024

// line returns the bytes up to the next newline and moves past it.
func (in *input) line() ([]byte, error) {
	n := min(in.size-in.pos, maxLine)
	start := in.pos
	rest, err := in.take(n)
	if err != nil {
		return nil, err
	}
	end := bytes.IndexByte(rest, '\n')
	if end < 0 && n == maxLine {
		return nil, tensor.Bad("line of more than %d bytes", maxLine)
	}
	if end < 0 {
		return nil, in.check(n + 1)
	}
	in.pos = start + int64(end) + 1
	return rest[:end], nil
}
