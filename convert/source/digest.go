package source

import (
	"context"
	"hash"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Digest computes the digest of a tensor from bytes of it that are read or written for another
// purpose. It is safe for use by several goroutines. The methods of a nil Digest do nothing.
type Digest struct {
	tensor *tensor.Tensor

	mu     sync.Mutex
	hash   hash.Hash
	hashed int64 // bytes of the tensor in hash
	same   *Digest
}

// NewDigest returns the Digest of t before any of its bytes are known.
func NewDigest(t *tensor.Tensor) *Digest { return &Digest{tensor: t, hash: tensor.NewHash()} }

// Feed adds the tensor's bytes from offset at on. Bytes that are known already, and bytes behind a
// gap, are left out.
func (d *Digest) Feed(at int64, p []byte) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if end := at + int64(len(p)); at <= d.hashed && d.hashed < end {
		d.hash.Write(p[d.hashed-at:])
		d.hashed = end
	}
}

// Adopt makes d what other is: the bytes fed to other so far are known to be those of d's tensor too.
func (d *Digest) Adopt(other *Digest) {
	if d == nil || other == nil {
		return
	}
	if c, ok := other.hash.(hash.Cloner); ok {
		if h, err := c.Clone(); err == nil {
			d.hash, d.hashed = h, other.hashed
		}
	}
}

// SameAs says that d's tensor has the elements of other's, all of them, so that the digest of other
// is that of d.
func (d *Digest) SameAs(other *Digest) {
	if d != nil {
		d.same = other
	}
}

// Sum returns the digest of the whole tensor. It reads the tensor if not all of its bytes were fed
// in order.
func (d *Digest) Sum(ctx context.Context) (tensor.Sum, error) {
	if d.same != nil {
		return d.same.Sum(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hashed < d.tensor.Bytes() {
		return tensor.Digest(ctx, d.tensor)
	}
	return tensor.Sum(d.hash.Sum(nil)), nil
}

// Sums returns the sums of all digests. What was not fed is read, several tensors at a time.
func Sums[K comparable](ctx context.Context, digests map[K]*Digest) (map[K]tensor.Sum, error) {
	sums := make(map[K]tensor.Sum, len(digests))
	var mu sync.Mutex
	group, ctx := task.WithContext(ctx)
	group.SetLimit(4)
	for key, d := range digests {
		group.Go(func() error {
			sum, err := d.Sum(ctx)
			mu.Lock()
			defer mu.Unlock()
			sums[key] = sum
			return err
		})
	}
	return sums, group.Wait()
}
