package diff

import (
	"bytes"
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// job is what one worker compares in one go: pairs that take their elements from one tensor, so that it
// is read and decoded once, or a range of one pair.
type job struct {
	pairs []*pair
	first int64 // of a range: bytes from the start of the tensors
	bytes int64 // to be compared
	turn  bool  // elements of the two sides lie in different orders, or one side is a part of a tensor
}

// compareBytes finds out which pairs of one type and shape hold the same bytes, as fast as both sides can
// be read, and no further in a pair than its first difference takes.
func (d *differ) compareBytes(ctx context.Context, same []*pair) (differ map[*pair]bool, err error) {
	jobs := sameJobs(same, d.rangeBytes)
	total, largest := int64(0), int64(0)
	for _, j := range jobs {
		total += j.bytes
		if j.turn {
			largest = max(largest, j.pairs[0].turned().Stored[0].Bytes())
		}
	}
	d.meter.begin("comparing", total)
	found := &findings{differ: map[*pair]bool{}}
	queue := make(chan *job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	group, ctx := errgroup.WithContext(ctx)
	for range max(min(runtime.GOMAXPROCS(0), maxWorkers, len(jobs)), 1) {
		group.Go(func() error { return d.sameWorker(ctx, queue, largest, found) })
	}
	return found.differ, group.Wait()
}

// findings are pairs that were found to differ.
type findings struct {
	mu     sync.Mutex
	differ map[*pair]bool
}

func (f *findings) add(p *pair) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.differ[p] = true
}

func (f *findings) has(p *pair) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.differ[p]
}

func (d *differ) sameWorker(ctx context.Context, queue chan *job, largest int64, found *findings) (err error) {
	w := &sameWorker{meter: &d.meter, found: found, a: make([]byte, stepBytes), b: make([]byte, stepBytes)}
	if largest > 0 {
		if w.matcher, err = convert.NewMatcher(largest); err != nil {
			return err
		}
		defer w.matcher.Close()
	}
	for j := range queue {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case j.turn:
			err = w.match(ctx, j)
		case j.bytes < j.pairs[0].a.Tensor.Bytes():
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

// stepBytes of each side are compared at a time: both stay in a core's own cache.
const stepBytes = 128 << 10

// sameJobs shares pairs out, the largest jobs first.
func sameJobs(pairs []*pair, rangeBytes int64) []*job {
	var jobs []*job
	bySource := map[*tensor.Tensor]*job{}
	for _, p := range pairs {
		size := p.a.Tensor.Bytes()
		if t := p.turned(); t != nil {
			j := bySource[t.Stored[0]]
			if j == nil {
				j = &job{turn: true}
				bySource[t.Stored[0]] = j
				jobs = append(jobs, j)
			}
			j.pairs = append(j.pairs, p)
			j.bytes += size
			continue
		}
		step := size
		if p.a.inFile() && p.b.inFile() {
			step = rangeBytes
		}
		for at := int64(0); at < size; at += step {
			jobs = append(jobs, &job{pairs: []*pair{p}, first: at, bytes: min(step, size-at)})
		}
	}
	slices.SortStableFunc(jobs, func(a, b *job) int { return cmp.Compare(b.bytes, a.bytes) })
	return jobs
}

// turned returns the operand that shows its tensor in another order or shows a part of it; nil if both
// are whole tensors as they are.
func (p *pair) turned() *Operand {
	for _, o := range []*Operand{p.a, p.b} {
		if o.shows != nil && !(o.shows.IsRowMajor() && o.shows.Elements() == o.Stored[0].Elements()) {
			return o
		}
	}
	return nil
}

// inFile reports whether the elements lie one after another in a file that keeps no checksum of them.
func (o *Operand) inFile() bool {
	lay, ok, err := tensor.Layout(o.Tensor)
	if !ok || err != nil {
		return false
	}
	_, _, contiguous := lay.Contiguous()
	_, checked := o.Data.(tensor.Checker)
	return contiguous && !checked
}

// sameWorker is what one goroutine compares with.
type sameWorker struct {
	meter   *meter
	found   *findings
	matcher *convert.Matcher // nil where no job turns
	a, b    []byte
}

// match compares pairs one side of which is a view of one tensor.
func (w *sameWorker) match(ctx context.Context, j *job) error {
	source := j.pairs[0].turned().Stored[0]
	demands := make([]convert.Demand, len(j.pairs))
	for i, p := range j.pairs {
		of := p.a
		if p.turned() == p.a {
			of = p.b
		}
		demands[i] = convert.Demand{View: *p.turned().shows, Of: of.Tensor}
	}
	same, err := w.matcher.Match(ctx, source, demands, w.meter.add)
	for i, p := range j.pairs {
		if err == nil && !same[i] {
			w.found.add(p)
		}
	}
	return err
}

// compareWhole reads both sides in step, and computes the checksums that their formats keep.
func (w *sameWorker) compareWhole(ctx context.Context, p *pair) error {
	a, err := convert.NewChecked(p.a.Tensor)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := convert.NewChecked(p.b.Tensor)
	if err != nil {
		return err
	}
	defer b.Close()
	for at, size := int64(0), p.a.Tensor.Bytes(); at < size; at += stepBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(stepBytes, size-at)
		if err := a.Read(w.a[:n]); err != nil {
			return err
		}
		if err := b.Read(w.b[:n]); err != nil {
			return err
		}
		if !bytes.Equal(w.a[:n], w.b[:n]) {
			w.found.add(p)
			return nil
		}
		w.meter.add(n)
	}
	if err := a.End(); err != nil {
		return err
	}
	return b.End()
}

// compareRange compares a range of a pair that lies in files.
func (w *sameWorker) compareRange(ctx context.Context, j *job) error {
	p := j.pairs[0]
	for at := j.first; at < j.first+j.bytes && !w.found.has(p); at += stepBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(stepBytes, j.first+j.bytes-at)
		if err := p.a.readBytes(w.a[:n], at); err != nil {
			return err
		}
		if err := p.b.readBytes(w.b[:n], at); err != nil {
			return err
		}
		if !bytes.Equal(w.a[:n], w.b[:n]) {
			w.found.add(p)
			return nil
		}
		w.meter.add(n)
	}
	return nil
}

// readBytes fills p from a byte offset on. The operand lies in a file.
func (o *Operand) readBytes(p []byte, off int64) error {
	lay, _, err := tensor.Layout(o.Tensor)
	if err != nil {
		return o.name(err)
	}
	at, _, _ := lay.Contiguous()
	n, err := lay.Store.ReadAt(p, at+off)
	if n == len(p) {
		return nil
	}
	return o.name(short(err))
}
