package convert

import (
	"context"
	"crypto/sha256"
	"hash"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Digests are those of package moves.
type Digests = moves.Digests

// ProveDigests is Prove, and hashes every tensor that it compares, on both sides. Where the bytes of
// two tensors are proven to be the same, they are hashed once.
func ProveDigests(ctx context.Context, p *Plan, output *tensor.Checkpoint, progress func(done int64)) (*Proof, *Digests, error) {
	v := newProver(p, output, progress)
	v.sums = &runningSums{outputs: map[int]*runningSum{}, sources: map[*tensor.Tensor]*runningSum{}}
	for i, d := range p.Dests {
		if t := output.Tensor(d.Name); t != nil {
			v.sums.outputs[i] = newRunningSum(t)
		}
	}
	for _, m := range p.Moves {
		if v.sums.sources[m.Source] == nil {
			v.sums.sources[m.Source] = newRunningSum(m.Source)
		}
	}
	proof, err := v.run(ctx)
	if err != nil {
		return nil, nil, err
	}
	digests, err := v.sums.finish(ctx, len(p.Dests))
	return proof, digests, err
}

// runningSums are the sums of all tensors while they are compared. Its methods do nothing on nil.
type runningSums struct {
	outputs map[int]*runningSum // by index into Plan.Dests
	sources map[*tensor.Tensor]*runningSum
}

func (s *runningSums) output(dest int) *runningSum {
	if s == nil {
		return nil
	}
	return s.outputs[dest]
}

func (s *runningSums) source(t *tensor.Tensor) *runningSum {
	if s == nil {
		return nil
	}
	return s.sources[t]
}

// finish reads what did not come by in order.
func (s *runningSums) finish(ctx context.Context, dests int) (*Digests, error) {
	d := &Digests{Dests: make([]tensor.Sum, dests), Sources: map[*tensor.Tensor]tensor.Sum{}}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	var mu sync.Mutex
	for i, sum := range s.outputs {
		group.Go(func() (err error) {
			d.Dests[i], err = sum.value(ctx)
			return err
		})
	}
	for t, sum := range s.sources {
		group.Go(func() error {
			value, err := sum.value(ctx)
			mu.Lock()
			defer mu.Unlock()
			d.Sources[t] = value
			return err
		})
	}
	return d, group.Wait()
}

// runningSum hashes the bytes of a tensor as they come by. Its methods do nothing on nil.
type runningSum struct {
	tensor *tensor.Tensor
	mu     sync.Mutex
	hash   hash.Hash
	at     int64 // bytes hashed
	same   *runningSum
}

func newRunningSum(t *tensor.Tensor) *runningSum { return &runningSum{tensor: t, hash: sha256.New()} }

// feed takes bytes that begin at offset at of the tensor. Those that leave a gap are not hashed.
func (s *runningSum) feed(at int64, p []byte) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := at + int64(len(p)); at <= s.at && s.at < end {
		s.hash.Write(p[s.at-at:])
		s.at = end
	}
}

// like makes s the sum of the bytes that other has come by so far: both have been the same.
func (s *runningSum) like(other *runningSum) {
	if s == nil || other == nil {
		return
	}
	if c, ok := other.hash.(hash.Cloner); ok {
		if h, err := c.Clone(); err == nil {
			s.hash, s.at = h, other.at
		}
	}
}

// value returns the sum of the whole tensor.
func (s *runningSum) value(ctx context.Context) (sum tensor.Sum, err error) {
	if s.same != nil {
		return s.same.value(ctx)
	}
	if s.at < s.tensor.Bytes() {
		return tensor.Digest(ctx, s.tensor)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return tensor.Sum(s.hash.Sum(nil)), nil
}
