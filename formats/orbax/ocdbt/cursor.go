package ocdbt

import (
	"encoding/binary"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// cursor reads the fields of a decoded body in order. After the first error it returns zeros, so that
// callers check err once after several fields. Counts are checked before memory is allocated for them.
type cursor struct {
	data []byte
	pos  int
	err  error
}

func (c *cursor) left() int { return len(c.data) - c.pos }

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = tensor.Bad(format, args...).At(int64(c.pos))
	}
}

// bytes returns the next n bytes, a slice of data.
func (c *cursor) bytes(n uint64) []byte {
	if c.err != nil {
		return nil
	}
	if n > uint64(c.left()) {
		c.fail("%d bytes are expected, but %d are left", n, c.left())
		return nil
	}
	b := c.data[c.pos : c.pos+int(n) : c.pos+int(n)]
	c.pos += int(n)
	return b
}

func (c *cursor) u8() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// varint reads an unsigned LEB128 number in its shortest form, at most limit.
func (c *cursor) varint(limit uint64) uint64 {
	if c.err != nil {
		return 0
	}
	v, n := binary.Uvarint(c.data[c.pos:])
	switch {
	case n == 0:
		c.fail("number is truncated")
	case n < 0 || n > 1 && c.data[c.pos+n-1] == 0:
		c.fail("number is not in its shortest form")
	case v > limit:
		c.fail("number %d exceeds %d", v, limit)
	default:
		c.pos += n
		return v
	}
	return 0
}

// count reads a number of things that take at least one byte each.
func (c *cursor) count(limit uint64, what string) int {
	n := c.varint(1<<64 - 1)
	if n > limit {
		c.fail("%d %s exceed %d", n, what, limit)
		return 0
	}
	if n > uint64(c.left()) {
		c.fail("%d %s in the %d bytes left", n, what, c.left())
		return 0
	}
	return int(n)
}

// column reads n numbers, each at most limit.
func column[T uint16 | uint32 | uint64](c *cursor, n int, limit uint64) []T {
	if c.err == nil && n > c.left() {
		c.fail("%d numbers in the %d bytes left", n, c.left())
	}
	if c.err != nil {
		return nil
	}
	col := make([]T, n)
	for i := range col {
		col[i] = T(c.varint(limit))
	}
	if c.err != nil {
		return nil
	}
	return col
}

// skip skips n numbers.
func (c *cursor) skip(n int) {
	for range n {
		c.varint(1<<64 - 1)
	}
}

// end checks that all bytes are read.
func (c *cursor) end() error {
	if c.err == nil && c.left() > 0 {
		c.fail("%d bytes too many", c.left())
	}
	return c.err
}
