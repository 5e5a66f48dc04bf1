package tensor

import (
	"context"
	"crypto/sha256"
	"io"
)

// Digest returns the SHA-256 of the tensor's elements: row-major, little-endian, no padding, the
// same whatever format they are read from. It checks the checksums that the format keeps.
func Digest(ctx context.Context, t *Tensor) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	h := sha256.New()
	n, err := Copy(ctx, h, t)
	if err == nil && n != t.Bytes() {
		err = Bad("data ends after %d of %d bytes", n, t.Bytes())
	}
	if c, ok := t.Data.(Checker); ok && err == nil {
		err = c.Check()
	}
	if err != nil {
		return sum, Annotate(err, Location{Tensor: t.Name})
	}
	h.Sum(sum[:0])
	return sum, nil
}

// Copy writes the tensor's elements to w, in order, until all are written or ctx is done.
func Copy(ctx context.Context, w io.Writer, t *Tensor) (int64, error) {
	r, err := t.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.CopyBuffer(contextWriter{ctx, w}, r, make([]byte, 256<<10))
}

// contextWriter ends a copy soon after its context is done.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
