package proof

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// prover is one proof.
type prover struct {
	comparer
	written   *tensor.Checkpoint
	options   Options
	blockSize int // bytes of source that a worker holds
}

func newProver(l moves.List, written *tensor.Checkpoint, o Options) *prover {
	return &prover{
		comparer: comparer{list: l, dests: make([]*tensor.Tensor, len(l.Dests)), piece: windowBytes,
			tally: &tally{progress: o.Progress, different: make([]*difference, len(l.Dests))}},
		written:   written,
		options:   o,
		blockSize: blockBytes,
	}
}

func (p *prover) run(ctx context.Context) (*Proof, error) {
	extra := p.checkStructure()
	p.digests = &digests{sources: p.options.Sources, dests: p.options.Dests, left: make([]int32, len(p.list.Dests)),
		open: map[digested]*source.Digest{}, sums: moves.NewDigests(p.list)}
	if err := p.compareSources(ctx); err != nil {
		return nil, err
	}
	proof := p.tally.proof(p.list, p.written, p.dests, extra)
	if p.options.Sources|p.options.Dests == 0 {
		return proof, nil
	}
	var err error
	proof.Digests, err = p.sumDigests(ctx)
	return proof, err
}

// sumDigests returns the digests of all tensors. It reads what was not compared.
func (p *prover) sumDigests(ctx context.Context) (*moves.Digests, error) {
	d := p.digests.sums
	rest := map[*tensor.Tensor]*source.Digest{}
	for _, t := range p.list.Sources() {
		if _, ok := d.Source(t); !ok && p.options.Sources != 0 {
			rest[t] = source.NewDigest(t, p.options.Sources)
		}
	}
	sources, err := source.Sums(ctx, rest)
	if err != nil {
		return nil, err
	}
	for t, sum := range sources {
		d.SetSource(t, sum)
	}
	unread := map[int]*source.Digest{}
	for i := range p.list.Dests {
		if t := p.written.Tensor(p.list.Dests[i].Name); t != nil && p.options.Dests != 0 && d.Dest(i) == (digest.Sum{}) {
			unread[i] = source.NewDigest(t, p.options.Dests)
		}
	}
	dests, err := source.Sums(ctx, unread)
	if err != nil {
		return nil, err
	}
	for i, sum := range dests {
		d.SetDest(i, sum)
	}
	return d, nil
}

// checkStructure finds the tensors of the list in the checkpoint. Those that are missing or of another dtype or shape are not compared. It
// returns the indexes of those that are not in the list.
func (p *prover) checkStructure() (extra []int32) {
	for i := range p.list.Dests {
		d := &p.list.Dests[i]
		if t := p.written.Tensor(d.Name); structureProblem(d, t) == "" {
			p.dests[i] = t
		}
	}
	find := p.list.Finder()
	for i, t := range p.written.Tensors() {
		if find(t.Name) < 0 {
			extra = append(extra, int32(i))
		}
	}
	return extra
}

// compareSources compares what all sources give, several at a time.
func (p *prover) compareSources(ctx context.Context) error {
	group, groupCtx := task.WithContext(ctx)
	p.ctx = groupCtx
	queue := p.queue()
	for range max(min(runtime.GOMAXPROCS(0), 4, len(queue)), 1) {
		group.Go(func() error { return p.work(queue) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// queue returns the moves from each source, in the order in which its stream gives their elements,
// the largest sources first. Moves whose destination cannot be compared are left out.
func (p *prover) queue() chan []*moves.Move {
	by := map[*tensor.Tensor][]*moves.Move{}
	for i := range p.list.Moves {
		if m := &p.list.Moves[i]; p.dests[m.Dest] != nil && m.View.Elements() > 0 {
			by[m.Source] = append(by[m.Source], m)
			p.digests.left[m.Dest]++
		}
	}
	var all [][]*moves.Move
	for _, group := range by {
		sortByOffset(group)
		all = append(all, group)
	}
	slices.SortFunc(all, func(a, b []*moves.Move) int {
		return cmp.Or(cmp.Compare(b[0].Source.Bytes(), a[0].Source.Bytes()), cmp.Compare(a[0].Source.Name, b[0].Source.Name))
	})
	var order []*tensor.Tensor
	for _, group := range all {
		order = append(order, group[0].Source)
	}
	tensor.PlanReads(order...)
	queue := make(chan []*moves.Move, len(all))
	for _, group := range all {
		queue <- group
	}
	close(queue)
	return queue
}

// sortByOffset sorts moves from one source in the order in which its stream gives their elements.
func sortByOffset(group []*moves.Move) {
	slices.SortFunc(group, func(a, b *moves.Move) int {
		return cmp.Or(cmp.Compare(a.View.Offset, b.View.Offset), cmp.Compare(a.Dest, b.Dest))
	})
}

func (p *prover) work(queue chan []*moves.Move) (err error) {
	memory, err := storage.NewBuffer(min(p.blockSize, p.largestSource()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Free()) }()
	buffers := &buffers{block: memory.Bytes, window: make([]byte, windowBytes)}
	for group := range queue {
		if err := p.compareSource(group, buffers, nil); err != nil {
			return err
		}
	}
	return nil
}

// largestSource returns the bytes of the largest source, or blockBytes if that is larger.
func (p *prover) largestSource() int {
	n := int64(1)
	for _, m := range p.list.Moves {
		n = max(n, m.Source.Bytes())
	}
	return int(min(n, blockBytes))
}
