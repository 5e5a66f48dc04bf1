package diff

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// maxWorkers bounds the memory of all workers together.
const maxWorkers = 4

// inParallel calls work for all items, in their order, on all processors. It returns the first error; the
// context of the other calls is then done.
func inParallel[T any](ctx context.Context, items iter.Seq[T], work func(ctx context.Context, item T) error) error {
	group, ctx := task.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxWorkers))
	for item := range items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return work(ctx, item)
		})
	}
	return group.Wait()
}

// progress counts the bytes that are done.
type progress struct {
	report func(stage string, done, total int64) // may be nil

	mu          sync.Mutex
	stage       string
	done, total int64
}

// start begins a stage.
func (p *progress) start(stage string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage, p.done, p.total = stage, 0, total
}

func (p *progress) add(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += bytes
	if p.report != nil {
		p.report(p.stage, p.done, p.total)
	}
}
