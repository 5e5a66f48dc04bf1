package convert

import (
	"context"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// limits are the sizes, in bytes, that bound the memory of an execution, which does not grow with
// the tensors.
type limits struct {
	panel   int64 // of one write; larger than band and step by two pages or more
	spare   int   // panels that are written while each worker fills one
	blocks  int64 // all blocks of matrices that are being transposed, together
	band    int64 // what is transposed and hashed at a time
	step    int64 // what is copied and hashed at a time
	scratch int64 // of each worker; at least band and step
}

// limitsOf are the limits for a plan and where it goes.
func limitsOf(p *Plan, dst Destination) limits {
	sinks := false
	for i := range p.Dests {
		f, _, _ := dst.At(i)
		sinks = sinks || f == nil
	}
	l := newLimits(workers(), largestMatrix(p), sinks)
	most := int64(0)
	for i := range p.Moves {
		if b, ok := p.Moves[i].Source.Data.(tensor.Buffered); ok {
			most = max(most, b.StreamMemory())
		}
	}
	l.blocks -= int64(workers()) * most
	return l
}

// newLimits keep an execution by so many workers, of a plan whose largest matrix has so many bytes,
// under 256 MiB. More panels let the disk work ahead; but a worker that cannot have all of its
// matrix in memory costs more. Writes of 4 MiB were measured to be almost twice as fast as such of
// 256 KiB; band and step are what stays in a core's own cache. Where sinks take the elements, panels
// to write ahead from are of no use, and each worker has an encoder.
func newLimits(workers int, matrix int64, sinks bool) limits {
	const (
		all     = 235 << 20
		heap    = 14 << 20 // Go's own, headers of checkpoints
		encoder = 3 << 20
	)
	fewest, most := int64(3), int64(8) // spare panels
	perWorker := int64(4 << 20)        // scratch, a decoder of Orbax's chunks
	if sinks {
		fewest, most, perWorker = 1, 1, perWorker+encoder
	}
	l := limits{panel: 4 << 20, band: 1 << 20, step: 256 << 10, scratch: 1 << 20}
	rest := all - heap - int64(workers)*(perWorker+l.panel)
	l.spare = int(min(max((rest-int64(workers)*min(matrix, all))/l.panel, fewest), most))
	l.blocks = rest - int64(l.spare)*l.panel
	return l
}

// largestMatrix returns the bytes of the largest matrix that a plan transposes, as far as its views
// tell.
func largestMatrix(p *Plan) int64 {
	n := int64(0)
	for i := range p.Moves {
		m := &p.Moves[i]
		if x, ok := asMatrices(m.View); ok {
			n = max(n, x.rows*x.cols*m.Source.DType.Size())
		}
	}
	return n
}

// maxWorkers is how many processors are used: more do not write faster, and each needs memory.
const maxWorkers = 8

// blocks lends memory for blocks of matrices, a fixed amount at most.
type blocks struct {
	mu    sync.Mutex
	more  sync.Cond
	total int64
	free  int64
}

func newBlocks(total int64) *blocks {
	b := &blocks{total: total, free: total}
	b.more.L = &b.mu
	return b
}

// take lends want bytes, or fewer where more than that is lent already, but never less than a
// quarter of want or of all there is: below that it waits. least is what the caller cannot do
// with less than, however little there is.
func (b *blocks) take(ctx context.Context, want, least int64) (*block, error) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.more.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	want = max(min(want, b.total), least)
	enough := min(max(want/4, least), b.total)
	for b.free < enough {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b.more.Wait()
	}
	n := max(min(want, b.free), least)
	memory, err := storage.NewBuffer(int(n))
	if err != nil {
		return nil, err
	}
	b.free -= n
	return &block{Buffer: memory, size: n, of: b}, nil
}

// block is lent memory.
type block struct {
	*storage.Buffer
	size int64
	of   *blocks
}

func (b *block) giveBack() error {
	err := b.Free()
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.of.free += b.size
	b.of.more.Broadcast()
	return err
}
