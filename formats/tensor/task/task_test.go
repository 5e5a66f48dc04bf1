package task

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"testing"
)

func TestCallReturnsPanics(t *testing.T) {
	var fault *PanicError
	if err := Call(func() error { panic(fs.ErrClosed) }); !errors.As(err, &fault) || !errors.Is(err, fs.ErrClosed) || len(fault.Stack) == 0 {
		t.Errorf("%v", err)
	}
	inner := fault
	if err := Call(func() error { panic(inner) }); err != error(inner) {
		t.Errorf("a panic that was passed on became %v", err)
	}
	var nothing *int
	if err := Call(func() error { *nothing = 1; return nil }); !errors.As(err, &fault) {
		t.Errorf("%v", err)
	}
}

func TestStart(t *testing.T) {
	var fault *PanicError
	if err := <-Start(func() error { panic("x") }); !errors.As(err, &fault) {
		t.Errorf("%v", err)
	}
	if err := <-Start(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestGroup(t *testing.T) {
	group, ctx := WithContext(context.Background())
	group.Go(func() error { <-ctx.Done(); return ctx.Err() })
	group.Go(func() error { panic("x") })
	var fault *PanicError
	if err := group.Wait(); !errors.As(err, &fault) {
		t.Errorf("%v", err)
	}
}

// The error of a group is the first one, not that of a function which it ended.
func TestGroupReturnsTheFirstError(t *testing.T) {
	for i := range 20_000 {
		group, ctx := WithContext(context.Background())
		for range 3 {
			group.Go(func() error { <-ctx.Done(); return ctx.Err() })
		}
		group.Go(func() error { return fs.ErrClosed })
		if err := group.Wait(); err != fs.ErrClosed {
			t.Fatalf("group %d: %v", i, err)
		}
	}
}

// Nested overlaps end with the last, and Processors does not change meanwhile.
func TestOverlap(t *testing.T) {
	n := runtime.GOMAXPROCS(0)
	end := Overlap()
	inner := Overlap()
	if got := Processors(); got != n || runtime.GOMAXPROCS(0) <= n {
		t.Errorf("%d processors for computing and %d for all of %d", got, runtime.GOMAXPROCS(0), n)
	}
	end()
	end()
	if runtime.GOMAXPROCS(0) <= n {
		t.Error("the first end ends both")
	}
	inner()
	if got := runtime.GOMAXPROCS(0); got != n || Processors() != n {
		t.Errorf("%d processors afterwards, want %d", got, n)
	}
}
