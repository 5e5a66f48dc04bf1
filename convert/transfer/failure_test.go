package transfer

import (
	"errors"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/convert/internal/movestest"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// A file whose space cannot be reserved is an error, and nothing half-built is closed.
func TestExecuteFileCannotBePrepared(t *testing.T) {
	m := movestest.New(t, 1, 1)
	m.Add()
	files := newFiles(t, m.Rand, m.List)
	for i, f := range files.files {
		readOnly, err := os.Open(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer readOnly.Close()
		files.outputs[i] = publish.NewOutputFile(readOnly)
	}
	_, err := execute(t.Context(), m.List, files, Options{}, testLimits[0])
	var at *os.PathError
	if !errors.As(err, &at) || files.finished != nil {
		t.Errorf("%v, finished %v", err, files.finished != nil)
	}
}

// panicking is Data whose reader panics.
type panicking struct{ tensor.Data }

func (panicking) Stream(int64) (io.ReadCloser, error) { panic("broken invariant") }

// A panic in a goroutine of Execute, in a worker or in what it calls, is an error, and no goroutine is left.
func TestExecutePanics(t *testing.T) {
	for _, where := range []string{"source", "progress"} {
		before := runtime.NumGoroutine()
		m := movestest.New(t, 1, 1)
		for range 20 {
			m.Add()
		}
		var o Options
		if where == "source" {
			source := m.List.Moves[0].Source
			source.Data = panicking{source.Data}
		} else {
			o.Progress = func(int64) { panic("broken invariant") }
		}
		files := newFiles(t, m.Rand, m.List)
		_, err := execute(t.Context(), m.List, files, o, testLimits[0])
		var fault *task.PanicError
		if !errors.As(err, &fault) || files.finished != nil {
			t.Errorf("%s: %v, finished %v", where, err, files.finished != nil)
		}
		expectGoroutines(t, before)
	}
}

// expectGoroutines waits until no more goroutines run than before.
func expectGoroutines(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}
