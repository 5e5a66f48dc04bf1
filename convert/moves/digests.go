package moves

import (
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// Digests are digests of the tensors of a List. There may be very many. It is safe for use by several goroutines.
type Digests struct {
	mu      sync.Mutex
	dests   *digest.Sums
	sources *digest.Sums
	find    func(*tensor.Tensor) int // index into sources
}

// NewDigests returns Digests for the tensors of l. No digest is known yet.
func NewDigests(l List) *Digests {
	return &Digests{dests: digest.NewSums(len(l.Dests)), sources: digest.NewSums(len(l.Moves)), find: l.SourceFinder()}
}

// SetDest sets the digest of a Dest.
func (d *Digests) SetDest(i int, sum digest.Sum) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dests.Set(i, sum)
}

// Dest returns the digest of a Dest, which is empty if it is not known.
func (d *Digests) Dest(i int) digest.Sum {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dests.At(i)
}

// SetSource sets the digest of a source of the List.
func (d *Digests) SetSource(t *tensor.Tensor, sum digest.Sum) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sources.Set(d.find(t), sum)
}

// SetCopied sets the digests of the sources that become a Dest of l as they are, whole and unchanged: those of the Dests.
func (d *Digests) SetCopied(l List) {
	for t, dest := range l.Copied() {
		d.SetSource(t, d.Dest(dest))
	}
}

// Source returns the digest of a source, if it is known.
func (d *Digests) Source(t *tensor.Tensor) (sum digest.Sum, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := d.find(t); i >= 0 {
		sum = d.sources.At(i)
	}
	return sum, sum != digest.Sum{}
}

// Ref returns a reference to the digest of a Dest, for when all are set.
func (d *Digests) Ref(i int) digest.Ref { return d.dests.Ref(i) }
