package tensor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// Sum is the digest of a tensor's elements: the SHA-256 of their row-major, little-endian bytes.
type Sum [sha256.Size]byte

// Hex returns the digest as 64 lower-case hexadecimal digits.
func (s Sum) Hex() string { return hex.EncodeToString(s[:]) }

// NewHash returns the hash whose value over a tensor's bytes is its Sum.
func NewHash() hash.Hash { return sha256.New() }

// Digest returns the digest of the tensor's elements: the same whatever format they are read from.
// It checks the checksums that the format keeps.
func Digest(ctx context.Context, t *Tensor) (Sum, error) {
	h := NewHash()
	n, err := copyTo(ctx, h, t)
	if err == nil && n != t.Bytes() {
		err = Bad("data ends after %d of %d bytes", n, t.Bytes())
	}
	if c, ok := t.Data.(Checker); ok && err == nil {
		err = c.Check()
	}
	if err != nil {
		return Sum{}, Annotate(err, Location{Tensor: t.Name})
	}
	return Sum(h.Sum(nil)), nil
}

// copyTo writes the bytes of the elements to w until all are written or ctx is done.
func copyTo(ctx context.Context, w io.Writer, t *Tensor) (int64, error) {
	r, err := t.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.CopyBuffer(contextWriter{ctx, w}, r, make([]byte, 256<<10))
}

// contextWriter fails once its context is done.
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
