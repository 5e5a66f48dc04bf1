package tensor

import (
	"context"
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// Digest returns digests of the tensor's elements, row-major and little-endian: the same whatever format they are read
// from. It checks the checksums that the format keeps.
func Digest(ctx context.Context, t *Tensor, a digest.Algorithms) (digest.Sum, error) {
	h := digest.New(a)
	n, err := copyTo(ctx, h, t)
	if err != nil {
		return digest.Sum{}, Annotate(err, Location{Tensor: t.Name})
	}
	return h.Sum(n), nil
}

// copyTo writes the bytes of the elements to w until all are written and checked, or ctx is done.
func copyTo(ctx context.Context, w io.Writer, t *Tensor) (int64, error) {
	r, check, err := StreamWhole(t)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.CopyBuffer(contextWriter{ctx, w}, r, make([]byte, min(max(t.Bytes(), 512), 256<<10)))
	if err == nil && n != t.Bytes() {
		err = Bad("data ends after %d of %d bytes", n, t.Bytes())
	}
	if err == nil {
		err = check()
	}
	return n, err
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
