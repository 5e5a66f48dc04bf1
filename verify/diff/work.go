package diff

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// maxWorkers bounds what all workers hold together.
const maxWorkers = 4

// inParallel has all items worked on, in their order, on all processors. It returns the first error; the
// context of the others is then done.
func inParallel[T any](ctx context.Context, items []T, work func(ctx context.Context, item T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxWorkers))
	for _, item := range items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return work(ctx, item)
		})
	}
	return group.Wait()
}

// meter tells how far a comparison is.
type meter struct {
	mu          sync.Mutex
	tell        func(what string, done, total int64)
	what        string
	done, total int64
}

func (m *meter) begin(what string, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.what, m.done, m.total = what, 0, total
}

func (m *meter) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += bytes
	if m.tell != nil {
		m.tell(m.what, m.done, m.total)
	}
}
