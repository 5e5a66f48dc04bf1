package diff

import (
	"bytes"
	"cmp"
	"context"
	"runtime"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"

	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// equalJob is what one worker compares in one go: the pairs that have views of one tensor, so that it is
// read and decoded once; or a range of one pair.
type equalJob struct {
	pairs []*pair
	views bool  // the pairs have views
	first int64 // of a range: bytes from the start of the tensors
	bytes int64 // to be compared
}

// compareBytes sets pair.unequal of pairs of one dtype and shape that do not hold the same bytes. It reads a pair up
// to its first difference.
func (d *differ) compareBytes(ctx context.Context, pairs []*pair) error {
	jobs := equalJobs(pairs, d.rangeBytes)
	total, largestView := int64(0), int64(0)
	for _, j := range jobs {
		total += j.bytes
		if j.views {
			largestView = max(largestView, j.pairs[0].view().stored.Bytes())
		}
	}
	d.progress.start("comparing", total)
	planReads(jobs)
	queue := make(chan *equalJob, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	group, ctx := task.WithContext(ctx)
	for range max(min(runtime.GOMAXPROCS(0), maxWorkers, len(jobs)), 1) {
		group.Go(func() error { return d.compareJobs(ctx, queue, largestView) })
	}
	return group.Wait()
}

// equalJobs divides pairs into jobs, the largest first.
func equalJobs(pairs []*pair, rangeBytes int64) []*equalJob {
	var jobs []*equalJob
	bySource := map[*tensor.Tensor]*equalJob{}
	for _, p := range pairs {
		size := p.a.Bytes()
		if v := p.view(); v != nil {
			j := bySource[v.stored]
			if j == nil {
				j = &equalJob{views: true}
				bySource[v.stored] = j
				jobs = append(jobs, j)
			}
			j.pairs = append(j.pairs, p)
			j.bytes += size
			continue
		}
		step := size
		if p.a.contiguous() && p.b.contiguous() {
			step = rangeBytes
		}
		for at := int64(0); at < size; at += step {
			jobs = append(jobs, &equalJob{pairs: []*pair{p}, first: at, bytes: min(step, size-at)})
		}
	}
	slices.SortStableFunc(jobs, func(a, b *equalJob) int { return cmp.Compare(b.bytes, a.bytes) })
	return jobs
}

// planReads tells the files on both sides in which order they will be read.
func planReads(jobs []*equalJob) {
	var extents []tensor.Extent // of files that have use for them
	planned := map[*tensor.Tensor]bool{}
	for _, j := range jobs {
		for _, p := range j.pairs {
			for _, o := range []*operand{p.a, p.b} {
				all := tensor.Extents(o.stored)
				if len(all) == 0 || !tensor.IsPlanned(all[0]) {
					continue
				}
				if len(all) == 1 && !j.views && j.bytes < o.stored.Bytes() { // a range
					extents = append(extents, tensor.Extent{Store: all[0].Store, Offset: all[0].Offset + j.first, Length: j.bytes})
				} else if !planned[o.stored] {
					planned[o.stored] = true
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

func (d *differ) compareJobs(ctx context.Context, queue chan *equalJob, largestView int64) (err error) {
	w := &equalWorker{progress: &d.progress, a: make([]byte, stepBytes), b: make([]byte, stepBytes)}
	if largestView > 0 {
		if w.matcher, err = proof.NewMatcher(largestView); err != nil {
			return err
		}
		defer w.matcher.Close()
	}
	for j := range queue {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case j.views:
			err = w.compareViews(ctx, j)
		case j.bytes < j.pairs[0].a.Bytes():
			err = w.compareRange(ctx, j)
		default:
			err = w.compareWhole(ctx, j.pairs[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareViews compares pairs that have views of one tensor.
func (w *equalWorker) compareViews(ctx context.Context, j *equalJob) error {
	candidates := make([]proof.Candidate, len(j.pairs))
	for i, p := range j.pairs {
		view, other := p.view(), p.a
		if view == p.a {
			other = p.b
		}
		candidates[i] = proof.Candidate{View: *view.view, Tensor: other.Tensor}
	}
	equal, err := w.matcher.Match(ctx, j.pairs[0].view().stored, candidates, w.progress.add)
	for i, p := range j.pairs {
		if err == nil && !equal[i] {
			p.unequal.Store(true)
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
		w.progress.add(n)
	}
	if err := a.Finish(); err != nil {
		return err
	}
	return b.Finish()
}

// compareRange compares a range of a pair whose elements lie in files.
func (w *equalWorker) compareRange(ctx context.Context, j *equalJob) error {
	p := j.pairs[0]
	for at := j.first; at < j.first+j.bytes && !p.unequal.Load(); at += stepBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(stepBytes, j.first+j.bytes-at)
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
		w.progress.add(n)
	}
	return nil
}
