package diff

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"

	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// equalJobs are what workers compare. There may be very many.
type equalJobs struct {
	pairs []*pair
	next  []int32    // of a pair that has a view: the index of the next that has one of the same tensor, 0 for none
	jobs  []equalJob // the largest first
	taken atomic.Int64
}

// equalJob is what one worker compares in one go: the pairs that have views of one tensor, so that it is
// read and decoded once; or a range of one pair.
type equalJob struct {
	pair, last int32 // indexes of pairs; last is the last that has a view of the same tensor
	first      int64 // of a range: bytes from the start of the tensors
	bytes      int64 // to be compared
}

// compareBytes sets pair.unequal of pairs of one dtype and shape that do not hold the same bytes. It reads a pair up
// to its first difference.
func (d *differ) compareBytes(ctx context.Context, pairs []*pair) error {
	all := newEqualJobs(pairs, d.rangeBytes)
	total, largestView := int64(0), int64(0)
	for i := range all.jobs {
		total += all.jobs[i].bytes
		if view := all.view(&all.jobs[i]); view != nil {
			largestView = max(largestView, view.stored().Bytes())
		}
	}
	d.progress.start("comparing", total)
	all.planReads()
	group, ctx := task.WithContext(ctx)
	for range max(min(runtime.GOMAXPROCS(0), maxWorkers, len(all.jobs)), 1) {
		group.Go(func() error { return d.compareJobs(ctx, all, largestView) })
	}
	return group.Wait()
}

// newEqualJobs divides pairs into jobs.
func newEqualJobs(pairs []*pair, rangeBytes int64) *equalJobs {
	jobs, next := make([]equalJob, 0, len(pairs)), make([]int32, len(pairs))
	bySource := map[*tensor.Tensor]int32{} // indexes of jobs
	for i, p := range pairs {
		i, size := int32(i), p.a.Bytes()
		if v := p.view(); v != nil {
			k, known := bySource[v.stored()]
			if known {
				next[jobs[k].last] = i
			} else {
				k = int32(len(jobs))
				bySource[v.stored()] = k
				jobs = append(jobs, equalJob{pair: i})
			}
			jobs[k].last = i
			jobs[k].bytes += size
			continue
		}
		step := size
		if p.a.contiguous() && p.b.contiguous() {
			step = rangeBytes
		}
		for at := int64(0); at < size; at += step {
			jobs = append(jobs, equalJob{pair: i, last: i, first: at, bytes: min(step, size-at)})
		}
	}
	slices.SortStableFunc(jobs, func(a, b equalJob) int { return cmp.Compare(b.bytes, a.bytes) })
	return &equalJobs{pairs: pairs, next: next, jobs: jobs}
}

// view returns the view of a job's first pair, nil if the job is a range.
func (a *equalJobs) view(j *equalJob) *operand { return a.pairs[j.pair].view() }

// pairsOf gives the pairs of a job.
func (a *equalJobs) pairsOf(j *equalJob) iter.Seq[*pair] {
	return func(yield func(*pair) bool) {
		for i := j.pair; yield(a.pairs[i]) && i != j.last; i = a.next[i] {
		}
	}
}

// take returns the next job for a worker, nil if there is none.
func (a *equalJobs) take() *equalJob {
	if i := int(a.taken.Add(1)) - 1; i < len(a.jobs) {
		return &a.jobs[i]
	}
	return nil
}

// planReads tells the files on both sides in which order they will be read.
func (a *equalJobs) planReads() {
	var extents []tensor.Extent // of files that have use for them
	planned := map[*tensor.Tensor]bool{}
	for i := range a.jobs {
		j := &a.jobs[i]
		for p := range a.pairsOf(j) {
			for _, o := range []*operand{p.a, p.b} {
				stored := o.stored()
				all := tensor.Extents(stored)
				if len(all) == 0 || !tensor.IsPlanned(all[0]) {
					continue
				}
				if len(all) == 1 && a.view(j) == nil && j.bytes < stored.Bytes() { // a range
					extents = append(extents, tensor.Extent{Store: all[0].Store, Offset: all[0].Offset + j.first, Length: j.bytes})
				} else if !planned[stored] {
					planned[stored] = true
					extents = append(extents, all...)
				}
			}
		}
	}
	tensor.PlanExtents(extents)
}

// stepBytes of each side are compared at a time: both stay in the cache of one core.
const stepBytes = 128 << 10

// equalWorker is one goroutine of compareBytes.
type equalWorker struct {
	progress *progress
	matcher  *proof.Matcher // nil if no job has views
	a, b     []byte
}

func (d *differ) compareJobs(ctx context.Context, all *equalJobs, largestView int64) (err error) {
	w := &equalWorker{progress: &d.progress, a: make([]byte, stepBytes), b: make([]byte, stepBytes)}
	if largestView > 0 {
		if w.matcher, err = proof.NewMatcher(largestView); err != nil {
			return err
		}
		defer w.matcher.Close()
	}
	for j := all.take(); j != nil; j = all.take() {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch p := all.pairs[j.pair]; {
		case p.view() != nil:
			err = w.compareViews(ctx, slices.Collect(all.pairsOf(j)))
		case j.bytes < p.a.Bytes():
			err = w.compareRange(ctx, p, j.first, j.first+j.bytes)
		default:
			err = w.compareWhole(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareViews compares pairs that have views of one tensor.
func (w *equalWorker) compareViews(ctx context.Context, pairs []*pair) error {
	candidates := make([]proof.Candidate, len(pairs))
	for i, p := range pairs {
		view, other := p.view(), p.a
		if view == p.a {
			other = p.b
		}
		candidates[i] = proof.Candidate{View: view.view.View, Tensor: other.Tensor}
	}
	equal, err := w.matcher.Match(ctx, pairs[0].view().stored(), candidates, w.progress.add)
	for i, p := range pairs {
		if err == nil && !equal[i] {
			p.unequal.Store(true)
		}
		if w.matcher.NotFinite() {
			p.notFinite.Store(true)
		}
	}
	return err
}

// compareWhole reads both sides in step, and verifies the checksums that their formats keep.
func (w *equalWorker) compareWhole(ctx context.Context, p *pair) error {
	a, err := source.Open(p.a.Tensor, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := source.Open(p.b.Tensor, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	for at, size := int64(0), p.a.Bytes(); at < size; at += stepBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(stepBytes, size-at)
		if _, err := a.ReadAt(w.a[:n], at); err != nil {
			return err
		}
		if _, err := b.ReadAt(w.b[:n], at); err != nil {
			return err
		}
		if !bytes.Equal(w.a[:n], w.b[:n]) {
			p.unequal.Store(true)
			return nil
		}
		w.lookAt(p, n)
	}
	if err := a.Finish(); err != nil {
		return err
	}
	return b.Finish()
}

// compareRange compares bytes of a pair whose elements lie in files.
func (w *equalWorker) compareRange(ctx context.Context, p *pair, first, end int64) error {
	for at := first; at < end && !p.unequal.Load(); at += stepBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(stepBytes, end-at)
		if err := p.a.readAt(w.a[:n], at); err != nil {
			return err
		}
		if err := p.b.readAt(w.b[:n], at); err != nil {
			return err
		}
		if !bytes.Equal(w.a[:n], w.b[:n]) {
			p.unequal.Store(true)
			return nil
		}
		w.lookAt(p, n)
	}
	return nil
}

// lookAt remembers a pair if the n bytes that both have hold NaN or infinities.
func (w *equalWorker) lookAt(p *pair, n int64) {
	if proof.HasNotFinite(p.a.DType, w.a[:n]) {
		p.notFinite.Store(true)
	}
	w.progress.add(n)
}
