// Package task runs functions in goroutines and returns their panics as errors, so that a fault in a goroutine
// neither ends the process before its caller has cleaned up nor leaves others waiting. All goroutines of this module
// are started here.
package task

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"
)

// PanicError is the error of a function that panicked: a fault of the program, not of its input.
type PanicError struct {
	Value any    // of the panic
	Stack []byte // of the goroutine
}

func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Call calls f. If f panics, also because mapped memory cannot be read, it returns a *PanicError.
func Call(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *PanicError: // of another goroutine
			err = p
		default:
			err = &PanicError{p, debug.Stack()}
		}
	}()
	return f()
}

// Start calls f in a goroutine. The channel returns its error, once.
func Start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- Call(f) }()
	return done
}

// Group is an errgroup.Group whose functions may panic. Its zero value is ready for use.
type Group struct {
	group  errgroup.Group
	cancel context.CancelCauseFunc // nil for none
	failed sync.Once
	err    error // of the function that failed first, before those that cancel ends
}

// WithContext returns a Group and a context that is done when a function of the group has failed, or Wait has returned.
func WithContext(ctx context.Context) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{cancel: cancel}, ctx
}

// SetLimit sets how many functions run at once.
func (g *Group) SetLimit(n int) { g.group.SetLimit(n) }

// Go calls f in a goroutine, as soon as fewer functions run than the limit.
func (g *Group) Go(f func() error) {
	g.group.Go(func() error {
		if err := Call(f); err != nil {
			g.failed.Do(func() {
				if g.err = err; g.cancel != nil {
					g.cancel(err)
				}
			})
		}
		return nil
	})
}

// Wait waits for all functions and returns the first error.
func (g *Group) Wait() error {
	_ = g.group.Wait() // whose functions return nil
	if g.cancel != nil {
		g.cancel(g.err)
	}
	return g.err
}
