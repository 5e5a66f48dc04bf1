package reference

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// ErrMapping is the error of a pass whose weights lie in a mapped file that cannot be read: it has become
// shorter, or its storage fails.
var ErrMapping = errors.New("a mapped file of weights became shorter or cannot be read")

// RunTogether runs a pass of each model, with weights that are read once for all of them. The models
// differ only in arithmetic and semantics, and the passes take the same blocks and go equally far; their
// tokens, inputs and states may differ. The passes run at the same time, so that their Observe
// functions may be called at the same time. The result of each is that of Run, which has the errors.
func RunTogether(ctx context.Context, models []*Model, passes []Pass) error {
	if len(models) == 0 || len(passes) != len(models) {
		return fmt.Errorf("%d passes for %d models", len(passes), len(models))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := models[0]
	runs := make([]func([]request, *reader, int) error, len(models))
	blockTerms := 0
	for i, m := range models {
		p := &passes[i]
		if err := m.Config.Validate(); err != nil {
			return err
		}
		if err := m.check(p); err != nil {
			return err
		}
		if p.First != passes[0].First || p.end(m) != passes[0].end(first) || (p.End > 0) != (passes[0].End > 0) ||
			p.SkipLogits != passes[0].SkipLogits || !reflect.DeepEqual(m.Config, first.Config) {
			return errors.New("passes that run together differ in their model or their blocks")
		}
		blockTerms = max(blockTerms, m.Arithmetic.blockTerms())
		if p.State == nil {
			p.State = m.NewState(p.Batch)
		}
		var err error
		if m.Arithmetic.Precision == Float64 {
			runs[i], err = prepare(ctx, m, p, p.State.float64)
		} else {
			runs[i], err = prepare(ctx, m, p, p.State.float32)
		}
		if err != nil {
			return err
		}
	}
	head := passes[0].End == 0
	requests := first.Config.requests(passes[0].First, passes[0].end(first), head, head && !passes[0].SkipLogits)
	var r *reader
	if len(models) > 1 || !inMemory(first.Weights, requests) {
		r = startReader(first.Weights, requests, blockTerms, len(runs))
		defer r.close()
	}
	errs := make([]error, len(runs))
	var group task.Group
	for i, run := range runs {
		group.Go(func() error {
			errs[i] = task.Call(func() error { return guard(func() error { return run(requests, r, i) }) })
			if errs[i] != nil {
				cancel()
			}
			return errs[i]
		})
	}
	_ = group.Wait() // errs has all errors
	return firstError(errs)
}

// fewTokens is the number of tokens that are computed so fast that goroutines need not sleep in between.
const fewTokens = 8

// inMemory reports whether the weights are in memory, to go by the first of the parameters that are requested.
func inMemory(weights Weights, requests []request) bool {
	if len(requests) == 0 {
		return false
	}
	p, err := weights.Parameter(requests[0].block, requests[0].name)
	if err != nil {
		return false // the reader has the error too
	}
	defer p.close()
	return p.inMemory()
}

// firstError returns the first error that is not the consequence of another one.
func firstError(errs []error) error {
	var first error
	for _, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	return first
}

// prepare computes the input of a pass and returns what runs the rest of it.
func prepare[T kernel.Float](ctx context.Context, m *Model, p *Pass, states []blockState[T]) (func([]request, *reader, int) error, error) {
	e := newEngine[T](ctx, m)
	var x []T
	err := guard(func() (err error) {
		x, err = e.input(p)
		return err
	})
	return func(requests []request, r *reader, i int) error {
		defer e.free()
		defer e.stop()
		e.requests = requests
		if r != nil {
			e.pieces = r.engines[i]
		} else if len(p.Tokens) <= fewTokens {
			e.spins = tokenSpins
		}
		return run(e, x, m, p, states)
	}, err
}

// guard calls f and returns ErrMapping if f cannot read mapped memory.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if fault, ok := r.(interface {
				runtime.Error
				Addr() uintptr
			}); ok && fault.Addr() != 0 {
				err = ErrMapping
				return
			}
			panic(r)
		}
	}()
	return f()
}

// end returns the number of the block before which the pass ends.
func (p *Pass) end(m *Model) int {
	if p.End > 0 {
		return p.End
	}
	return len(m.Config.BlockTypes)
}
