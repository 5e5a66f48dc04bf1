package source

import (
	"context"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// Digest computes digests of a tensor from bytes of it that are read or written for another purpose. It is safe for use
// by several goroutines. The methods of a nil Digest do nothing.
type Digest struct {
	tensor *tensor.Tensor
	hash   *digest.Hash
	same   *Digest
}

// NewDigest returns the Digest of t before any of its bytes are known.
func NewDigest(t *tensor.Tensor, a digest.Algorithms) *Digest {
	return &Digest{tensor: t, hash: digest.New(a)}
}

// Feed adds the tensor's bytes from offset at on. Bytes that are known already are left out.
func (d *Digest) Feed(at int64, p []byte) {
	if d != nil {
		d.hash.Feed(at, p)
	}
}

// Adopt makes d what other is: the bytes fed to other so far are known to be those of d's tensor too. Neither may be fed
// meanwhile.
func (d *Digest) Adopt(other *Digest) {
	if d != nil && other != nil {
		d.hash = other.hash.Clone()
	}
}

// Covers reports whether d computes all digests that other computes.
func (d *Digest) Covers(other *Digest) bool {
	return other == nil || d != nil && d.hash.Algorithms().Has(other.hash.Algorithms())
}

// SameAs says that d's tensor has the elements of other's, all of them, so that the digest of other
// is that of d.
func (d *Digest) SameAs(other *Digest) {
	if d != nil {
		d.same = other
	}
}

// Sum returns the digests of the whole tensor. It reads the tensor if some of its bytes were not fed, or for SHA-256 not
// in order. No Feed may be running.
func (d *Digest) Sum(ctx context.Context) (digest.Sum, error) {
	if d.same != nil {
		return d.same.Sum(ctx)
	}
	if size := d.tensor.Bytes(); d.hash.Missing(size) == size {
		return d.hash.Sum(size), nil
	}
	return tensor.Digest(ctx, d.tensor, d.hash.Algorithms())
}

// Sums returns the sums of all digests. What was not fed is read, several tensors at a time.
func Sums[K comparable](ctx context.Context, digests map[K]*Digest) (map[K]digest.Sum, error) {
	sums := make(map[K]digest.Sum, len(digests))
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
