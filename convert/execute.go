package convert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Execute moves all elements of a plan to their places, on all processors, makes the files durable
// and finishes them. Its memory does not grow with the tensors. It returns what it wrote for each of
// p.Dests. progress, if not nil, is told the bytes written so far; calls do not overlap.
//
// Each source is read once, checksums included. Input that turns out broken is a
// *tensor.FormatError; after any error the files are incomplete and worth nothing.
func Execute(ctx context.Context, p *Plan, dst Destination, progress func(done int64)) ([]Written, error) {
	return execute(ctx, p, dst, progress, limitsOf(p, dst), nil)
}

func execute(ctx context.Context, p *Plan, dst Destination, progress func(done int64), l limits, sums *runningSums) ([]Written, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := &engine{sums: sums, ctx: ctx, cancel: cancel, progress: progress, limits: l, memory: newBlocks(l.blocks), written: make([]Written, len(p.Dests))}
	if err := e.openTargets(p, dst); err != nil {
		return nil, errors.Join(err, e.closeOutputs())
	}
	jobs, err := e.jobs(p)
	if err == nil {
		err = e.run(jobs)
	}
	err = errors.Join(err, e.closeOutputs())
	if err == nil {
		err = dst.Finish(e.written)
	}
	if err != nil {
		return nil, err
	}
	return e.written, nil
}

// engine is one execution of a plan.
type engine struct {
	ctx     context.Context // done after the first failure, its cause
	cancel  context.CancelCauseFunc
	limits  limits
	memory  *blocks
	sinks   Sinker       // nil where the destination is none
	sums    *runningSums // of the sources; nil where nobody asks for digests
	targets []*target
	outputs map[*os.File]*storage.Output
	written []Written

	buffers chan *storage.Buffer // panels that nobody uses
	panels  chan panel           // that are to be written

	progressMu sync.Mutex
	progress   func(done int64)
	done       int64
}

func (e *engine) fail(err error) { e.cancel(err) }

// count adds to the bytes written.
func (e *engine) count(n int64) {
	e.progressMu.Lock()
	defer e.progressMu.Unlock()
	e.done += n
	if e.progress != nil {
		e.progress(e.done)
	}
}

// openTargets finds the place of each Dest, and prepares the files.
func (e *engine) openTargets(p *Plan, dst Destination) error {
	e.outputs = map[*os.File]*storage.Output{}
	e.sinks, _ = dst.(Sinker)
	sums, ok := dst.(summer)
	sum := ok && sums.NeedsCRC32()
	for i := range p.Dests {
		t := &target{Dest: &p.Dests[i], index: i, hash: sha256.New(), sum: sum}
		e.targets = append(e.targets, t)
		f, offset, length := dst.At(i)
		if f == nil {
			if e.sinks == nil {
				return fmt.Errorf("no place for %s", t.Name)
			}
			var err error
			if _, t.bytes, err = tensor.SizeOf(t.DType, t.Shape); err != nil {
				return err
			}
			continue
		}
		if e.outputs[f] == nil {
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if e.outputs[f], err = storage.NewOutput(f, info.Size()); err != nil {
				return err
			}
		}
		t.out, t.offset, t.bytes = e.outputs[f], offset, length
	}
	return nil
}

// closeOutputs makes all files durable, at once.
func (e *engine) closeOutputs() error {
	errs := make(chan error, len(e.outputs))
	for _, out := range e.outputs {
		go func() { errs <- out.Close() }()
	}
	var all []error
	for range e.outputs {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// run does all jobs, the largest first, so that no worker is left with a large one at the end.
func (e *engine) run(jobs []*job) error {
	slices.SortStableFunc(jobs, func(a, b *job) int { return cmp.Compare(b.bytes, a.bytes) })
	queue := make(chan *job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	workers := max(min(workers(), len(jobs)), 1)
	stop, err := e.startWriters(workers)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			w := &worker{engine: e, scratch: make([]byte, e.limits.scratch)}
			for j := range queue {
				if e.ctx.Err() != nil {
					return
				}
				if err := w.do(j); err != nil {
					e.fail(err)
					return
				}
			}
		})
	}
	group.Wait()
	err = stop()
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	return err
}

func workers() int { return min(runtime.GOMAXPROCS(0), maxWorkers) }

// startWriters lends each worker a panel and starts those who wait for the disk in the workers'
// stead. stop ends them when all panels are written.
func (e *engine) startWriters(workers int) (stop func() error, err error) {
	n := workers + e.limits.spare
	e.buffers = make(chan *storage.Buffer, n)
	e.panels = make(chan panel, n)
	release := func() error {
		close(e.buffers)
		var errs []error
		for b := range e.buffers {
			errs = append(errs, b.Free())
		}
		return errors.Join(errs...)
	}
	for range n {
		b, err := storage.NewBuffer(int(e.limits.panel))
		if err != nil {
			return nil, errors.Join(err, release())
		}
		e.buffers <- b
	}
	var group sync.WaitGroup
	for range e.limits.spare {
		group.Go(e.writer)
	}
	return func() error {
		close(e.panels)
		group.Wait()
		return release()
	}, nil
}

// job is what one worker does in one go: moves from one source, so that it is read and decoded
// once, or moves into one destination, so that it is filled in order: those from files, whose hash is
// computed on the way then, and all that go to a sink.
type job struct {
	moves []*task
	bytes int64
}

// task is a Move with what it takes to do it.
type task struct {
	*Move
	target   *target
	strided  *tensor.Strided // nil for a stream
	elements int64
	size     int64         // bytes of an element in the source
	dsize    int64         // and in the destination
	cast     tensor.Divide // nil where elements stay what they are
}

// jobs groups the moves of a plan, and checks that they fill each destination exactly once.
func (e *engine) jobs(p *Plan) ([]*job, error) {
	byTarget := make([][]*task, len(p.Dests))
	var tasks []*task
	for i := range p.Moves {
		t, err := newTask(&p.Moves[i], e.targets)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
		byTarget[t.Dest] = append(byTarget[t.Dest], t)
		t.target.moves.Add(1)
	}
	for i, filling := range byTarget {
		if err := checkFilled(e.targets[i], filling); err != nil {
			return nil, err
		}
		if len(filling) == 0 { // a tensor without elements
			if err := e.finish(e.targets[i], nil); err != nil {
				return nil, err
			}
		}
	}
	bySource := map[*tensor.Tensor]*job{}
	byDest := map[int]*job{}
	var jobs []*job
	for _, t := range tasks {
		var j *job
		if len(byTarget[t.Dest]) == 1 || t.strided == nil && t.target.out != nil {
			j = group(bySource, t.Source, &jobs)
		} else {
			j = group(byDest, t.Dest, &jobs)
		}
		j.moves = append(j.moves, t)
		j.bytes += t.elements * max(t.size, t.dsize)
	}
	for _, j := range bySource {
		slices.SortStableFunc(j.moves, func(a, b *task) int { return cmp.Compare(a.View.Offset, b.View.Offset) })
	}
	for _, j := range byDest {
		slices.SortStableFunc(j.moves, func(a, b *task) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return jobs, nil
}

func group[K comparable](by map[K]*job, key K, all *[]*job) *job {
	if by[key] == nil {
		by[key] = &job{}
		*all = append(*all, by[key])
	}
	return by[key]
}

func newTask(m *Move, targets []*target) (*task, error) {
	if m.Dest < 0 || m.Dest >= len(targets) {
		return nil, fmt.Errorf("plan moves %s to a destination that it does not have", m.Source.Name)
	}
	t := &task{Move: m, target: targets[m.Dest], elements: m.View.Elements(), size: m.Source.DType.Size(), dsize: targets[m.Dest].DType.Size()}
	if err := tensor.CheckView(m.View, m.Source.Elements()); err != nil {
		return nil, fmt.Errorf("plan for %s: %v", m.Source.Name, err)
	}
	if t.size == 0 || t.dsize == 0 {
		return nil, tensor.Bad("elements of %s have no address of their own", m.Source.DType).Of(m.Source.Name)
	}
	var err error
	if t.cast, err = m.Cast(t.target.DType); err != nil {
		return nil, of(m.Source.Name, err)
	}
	if t.strided, _, err = tensor.Layout(m.Source); err != nil {
		return nil, err
	}
	return t, nil
}

// checkFilled reports tasks that leave a part of their target out or fill a part twice.
func checkFilled(t *target, tasks []*task) error {
	sorted := slices.SortedFunc(slices.Values(tasks), func(a, b *task) int { return cmp.Compare(a.Offset, b.Offset) })
	filled := int64(0)
	for _, task := range sorted {
		if task.Offset != filled {
			return fmt.Errorf("plan fills elements %d to %d of %s not just once", min(filled, task.Offset), max(filled, task.Offset), t.Name)
		}
		filled += task.elements
	}
	elements, size, err := tensor.SizeOf(t.DType, t.Shape)
	if err != nil {
		return err
	}
	if filled != elements || size != t.bytes {
		return fmt.Errorf("plan fills %d elements of %s, which has %d in %d bytes", filled, t.Name, elements, t.bytes)
	}
	return nil
}

// of names the tensor in an error about the input.
func of(name string, err error) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		bad.Of(name)
	}
	return err
}
