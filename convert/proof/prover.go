package proof

import (
	"cmp"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync/atomic"

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
		comparer: comparer{list: l, dests: make([]*tensor.Tensor, len(l.Dests)), piece: windowBytes, refuseOverflow: !o.AllowOverflow,
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
	d, find := p.digests.sums, p.list.SourceFinder()
	group, ctx := task.WithContext(ctx)
	group.SetLimit(4)
	read := func(t *tensor.Tensor, a digest.Algorithms, set func(digest.Sum)) {
		group.Go(func() error {
			sum, err := tensor.Digest(ctx, t, a)
			if err == nil {
				set(sum)
			}
			return err
		})
	}
	for i := range p.list.Moves {
		t := p.list.Moves[i].Source
		if _, ok := d.Source(t); !ok && p.options.Sources != 0 && find(t) == i {
			read(t, p.options.Sources, func(sum digest.Sum) { d.SetSource(t, sum) })
		}
	}
	for i := range p.list.Dests {
		if t := p.written.Tensor(p.list.Dests[i].Name); t != nil && p.options.Dests != 0 && d.Dest(i) == (digest.Sum{}) {
			read(t, p.options.Dests, func(sum digest.Sum) { d.SetDest(i, sum) })
		}
	}
	return d, group.Wait()
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
	q := p.queue()
	for range max(min(runtime.GOMAXPROCS(0), 4, len(q.ends)), 1) {
		group.Go(func() error { return p.work(q) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// queue is the moves that are to be compared. There may be very many sources, so that those of one lie beside one another.
type queue struct {
	moves []*moves.Move
	ends  []int32      // in moves, of those from each source
	taken atomic.Int32 // of ends
}

// next returns the moves from the next source, nil if there is none.
func (q *queue) next() []*moves.Move {
	k := int(q.taken.Add(1)) - 1
	if k >= len(q.ends) {
		return nil
	}
	begin := int32(0)
	if k > 0 {
		begin = q.ends[k-1]
	}
	return q.moves[begin:q.ends[k]]
}

// smallSource is the size in bytes below which sources are read in the order of their files: they take no time that the workers would have to
// share evenly, and a server would be asked for each of very many by itself.
const smallSource = 1 << 20

// queue returns the moves from each source, in the order in which its stream gives their elements,
// the largest sources first. Moves whose destination cannot be compared are left out.
func (p *prover) queue() *queue {
	find := p.list.SourceFinder()
	type from struct{ source, move int32 } // index of the source's first move, and that of one of them
	var order []from
	places := make([]place, len(p.list.Moves)) // of the sources, by the index of their first moves
	files := map[io.ReaderAt]int32{}
	for i := range p.list.Moves {
		m := &p.list.Moves[i]
		if p.dests[m.Dest] == nil || m.View.Elements() == 0 {
			continue
		}
		x := from{source: int32(find(m.Source)), move: int32(i)}
		if at := &places[x.source]; at.file == 0 {
			*at = placeOf(m.Source, files)
		}
		order = append(order, x)
		p.digests.left[m.Dest]++
	}
	slices.SortFunc(order, func(a, b from) int {
		if a.source == b.source {
			return compareOffsets(&p.list.Moves[a.move], &p.list.Moves[b.move])
		}
		s, t := p.list.Moves[a.source].Source, p.list.Moves[b.source].Source
		at, other := places[a.source], places[b.source]
		return cmp.Or(cmp.Compare(max(t.Bytes(), smallSource), max(s.Bytes(), smallSource)), cmp.Compare(at.file, other.file), cmp.Compare(at.offset, other.offset),
			cmp.Compare(s.Name, t.Name), cmp.Compare(a.source, b.source))
	})
	q := &queue{moves: make([]*moves.Move, len(order))}
	var sources []*tensor.Tensor
	for k, x := range order {
		q.moves[k] = &p.list.Moves[x.move]
		if k+1 == len(order) || order[k+1].source != x.source {
			q.ends = append(q.ends, int32(k+1))
			sources = append(sources, q.moves[k].Source)
		}
	}
	tensor.PlanReads(sources...)
	return q
}

// place is where a source lies. It is asked for once: a value in the tree of an OCDBT database is in another store each time.
type place struct {
	file   int32 // in the order in which they appear, from 1 on; 0 if it is not known
	offset int64 // bytes
}

// placeOf returns the place of a tensor, whose file it adds to files.
func placeOf(t *tensor.Tensor, files map[io.ReaderAt]int32) place {
	extents := tensor.Extents(t)
	if len(extents) == 0 {
		return place{}
	}
	store := extents[0].Store
	if files[store] == 0 {
		files[store] = int32(len(files) + 1)
	}
	return place{files[store], extents[0].Offset}
}

// sortByOffset sorts moves from one source in the order in which its stream gives their elements.
func sortByOffset(group []*moves.Move) {
	slices.SortFunc(group, compareOffsets)
}

func compareOffsets(a, b *moves.Move) int {
	return cmp.Or(cmp.Compare(a.View.Offset, b.View.Offset), cmp.Compare(a.Dest, b.Dest))
}

func (p *prover) work(q *queue) (err error) {
	memory, err := storage.NewBuffer(min(p.blockSize, p.largestSource()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Free()) }()
	buffers := &buffers{block: memory.Bytes, window: make([]byte, windowBytes)}
	for group := q.next(); group != nil; group = q.next() {
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
