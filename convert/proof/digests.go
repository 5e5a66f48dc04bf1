package proof

import (
	"context"
	"sync"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// digests computes the digests of the tensors that are compared. There may be very many tensors, so that it has the state
// only of those that are being compared, and the sums of others. It is safe for use by several goroutines. A nil digests
// computes none.
type digests struct {
	sources, dests digest.Algorithms // 0 for no digests

	mu   sync.Mutex
	open map[digested]*source.Digest
	left []int32        // moves to each Dest that are not compared yet
	sums *moves.Digests // of the tensors that were compared
}

// source returns the running digest of a source, nil if it is not wanted.
func (d *digests) source(t *tensor.Tensor) *source.Digest {
	if d == nil {
		return nil
	}
	return d.running(digested{t, -1}, d.sources)
}

// dest returns the running digest of the tensor that a Dest has become, nil if it is not wanted.
func (d *digests) dest(i int, t *tensor.Tensor) *source.Digest {
	if d == nil {
		return nil
	}
	return d.running(digested{t, i}, d.dests)
}

// digested is a tensor that is digested.
type digested struct {
	*tensor.Tensor
	dest int // index of the Dest, -1 for a source
}

func (d *digests) running(key digested, a digest.Algorithms) *source.Digest {
	if a == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[key] == nil {
		d.open[key] = source.NewDigest(key.Tensor, a)
	}
	return d.open[key]
}

// finish computes the digests of a source, all moves from which were compared, and of each Dest that is complete with them.
func (d *digests) finish(ctx context.Context, group []*moves.Move, dests []*tensor.Tensor) error {
	if d == nil {
		return nil
	}
	from := digested{group[0].Source, -1}
	if err := d.sum(ctx, from, d.sources, func(sum digest.Sum) { d.sums.SetSource(from.Tensor, sum) }); err != nil {
		return err
	}
	for _, m := range group {
		d.mu.Lock()
		d.left[m.Dest]--
		complete := d.left[m.Dest] == 0
		d.mu.Unlock()
		if !complete {
			continue
		}
		if err := d.sum(ctx, digested{dests[m.Dest], m.Dest}, d.dests, func(sum digest.Sum) { d.sums.SetDest(m.Dest, sum) }); err != nil {
			return err
		}
	}
	return nil
}

// sum completes a running digest, and calls store with it.
func (d *digests) sum(ctx context.Context, key digested, a digest.Algorithms, store func(digest.Sum)) error {
	if a == 0 {
		return nil
	}
	sum, err := d.running(key, a).Sum(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	store(sum)
	delete(d.open, key)
	return err
}
