package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// engine is one execution of a list.
type engine struct {
	ctx        context.Context         // done after the first failure, its cause
	fail       context.CancelCauseFunc // ends the execution with an error
	limits     limits
	memory     *bufferPool
	algorithms digest.Algorithms
	digests    map[*tensor.Tensor]*source.Digest // of the sources that are to be hashed
	sinks      Sinker                            // nil if the destination is none
	needsCRC   bool                              // whether the destination needs the CRC-32 of tensors
	inOrder    bool                              // whether files are filled from their beginning to their end
	targets    []target
	outputs    map[*publish.OutputFile]*output
	written    []tensor.Written
	sums       *moves.Digests

	freePanels chan *storage.Buffer
	fullPanels chan panel // to be written
	unhashed   chan panel // to be hashed for the digest of their file first; nil unless inOrder

	progressMu sync.Mutex
	progress   func(done int64) // nil if progress is not reported
	done       int64            // bytes written
}

// count adds to the bytes written.
func (e *engine) count(n int64) {
	e.progressMu.Lock()
	defer e.progressMu.Unlock()
	e.done += n
	if e.progress != nil {
		e.progress(e.done)
	}
}

// openTargets finds where each Dest goes, and prepares the files.
func (e *engine) openTargets(l moves.List, dst Destination) error {
	e.outputs = map[*publish.OutputFile]*output{}
	e.sinks, _ = dst.(Sinker)
	summed, ok := dst.(crc32Destination)
	e.needsCRC = ok && summed.NeedsCRC32()
	e.targets = make([]target, len(l.Dests))
	for i := range l.Dests {
		d := &l.Dests[i]
		_, size, err := tensor.SizeOf(d.DType, d.Shape)
		if err != nil {
			return err
		}
		t := &e.targets[i]
		t.Dest, t.index = d, int32(i)
		f, offset, length := dst.At(i)
		switch {
		case f == nil && e.sinks == nil:
			return fmt.Errorf("the destination has no place for %s", d.Name)
		case f == nil:
			continue
		case length != size:
			return fmt.Errorf("the destination has %d bytes for the %d of %s", length, size, d.Name)
		}
		if t.out, err = e.output(f); err != nil {
			return err
		}
		t.offset = offset
	}
	return nil
}

// output returns the output of a file, which it prepares at the first call.
func (e *engine) output(f *publish.OutputFile) (*output, error) {
	if out := e.outputs[f]; out != nil {
		return out, nil
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	prepared, err := publish.NewOutput(f, size)
	if err != nil {
		return nil, err
	}
	out := &output{prepared, f}
	e.outputs[f] = out
	return out, nil
}

// closeOutputs makes all files durable, at once.
func (e *engine) closeOutputs() error {
	var closing []<-chan error
	for _, out := range e.outputs {
		closing = append(closing, task.Start(out.Close))
	}
	var all []error
	for _, done := range closing {
		all = append(all, <-done)
	}
	return errors.Join(all...)
}

// run executes all moves. The largest jobs come first, so that no worker is left with a large one at
// the end, unless the destination has an order.
func (e *engine) run(l moves.List, dst Destination) error {
	jobs, err := newJobs(e, l)
	if err != nil {
		return err
	}
	slices.SortStableFunc(jobs.jobs, func(a, b job) int { return cmp.Compare(b.bytes, a.bytes) })
	if ordered, ok := dst.(Ordered); ok {
		first := func(j *job) int64 {
			at := int64(math.MaxInt64)
			for m := range jobs.movesOf(j) {
				at = min(at, ordered.Order(m.Dest))
			}
			return at
		}
		slices.SortStableFunc(jobs.jobs, func(a, b job) int { return cmp.Compare(first(&a), first(&b)) })
	}
	workers := max(min(workersFor(dst), len(jobs.jobs)), 1) // one if files are filled in order
	if jobs.sortSequential() {
		workers = 1
	}
	jobs.planReads()
	var next atomic.Int64
	stop, err := e.startWriters(workers)
	if err != nil {
		return err
	}
	var group task.Group
	for range workers {
		group.Go(func() error { return e.guarded(func() error { return e.work(jobs, &next) }) })
	}
	err = errors.Join(group.Wait(), stop())
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	return err
}

// work does jobs until there are no more. next is the index of the first job that no worker has taken.
func (e *engine) work(l *jobList, next *atomic.Int64) error {
	w := &worker{engine: e, scratch: make([]byte, e.limits.scratch)}
	for i := next.Add(1) - 1; i < int64(len(l.jobs)); i = next.Add(1) - 1 {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		if err := w.do(l, &l.jobs[i]); err != nil {
			return err
		}
	}
	return nil
}

// guarded calls f and ends the execution if f fails.
func (e *engine) guarded(f func() error) error {
	err := task.Call(f)
	if err != nil {
		e.fail(err)
	}
	return err
}

// maxWorkers returns how many jobs are done at once. More than mostWorkers would not write faster,
// and each needs memory.
func maxWorkers() int { return min(task.Processors(), mostWorkers) }

const mostWorkers = 8

// startWriters allocates a panel for each worker and the spare ones, and starts a goroutine for each
// spare panel that writes full panels to their files, and one that hashes them if that is done in order. stop ends them
// when all panels are written.
func (e *engine) startWriters(workers int) (stop func() error, err error) {
	n := workers + e.limits.spare
	e.freePanels = make(chan *storage.Buffer, n)
	e.fullPanels = make(chan panel, n)
	if e.inOrder {
		e.unhashed = make(chan panel, n)
	}
	release := func() error {
		close(e.freePanels)
		var errs []error
		for b := range e.freePanels {
			errs = append(errs, b.Free())
		}
		return errors.Join(errs...)
	}
	for range n {
		b, err := storage.NewBuffer(int(e.limits.panel))
		if err != nil {
			return nil, errors.Join(err, release())
		}
		e.freePanels <- b
	}
	var hasher, writers task.Group
	if e.inOrder {
		hasher.Go(func() error { e.hashPanels(); return nil })
	}
	for range e.limits.spare {
		writers.Go(func() error { e.writePanels(); return nil })
	}
	return func() error {
		if e.inOrder {
			close(e.unhashed)
		}
		err := hasher.Wait()
		close(e.fullPanels)
		return errors.Join(err, writers.Wait(), release())
	}, nil
}
