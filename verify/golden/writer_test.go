package golden

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
)

// memory is a file in memory that fails after a number of writes.
type memory struct {
	mu     sync.Mutex
	bytes  []byte
	writes int
}

var errFull = errors.New("no space left")

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writes--; m.writes < 0 {
		return 0, errFull
	}
	return copy(m.bytes[off:], p), nil
}

// Rows of any width, in float32 and float64, reach their places, also those that share a block or need several.
func TestWriter(t *testing.T) {
	const n = 3*blockBytes/4 + 5
	file := &memory{bytes: make([]byte, 4*n), writes: math.MaxInt}
	w := newWriter(file)
	narrow, wide := &reference.Activations{}, &reference.Activations{}
	for i := range n {
		narrow.Float32, wide.Float64 = append(narrow.Float32, float32(i)), append(wide.Float64, float64(i))
	}
	var err error
	for from, width := 0, 1; from < n; from, width = from+width, 3*width+1 {
		a := narrow
		if width%2 == 0 {
			a = wide
		}
		width = min(width, n-from)
		err = errors.Join(err, w.floats(a, from, width, 4*int64(from)))
	}
	if err = w.close(err); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(file.bytes[4*i:])); got != float32(i) {
			t.Fatalf("element %d is %v", i, got)
		}
	}
}

// A failed write ends the writing with its error, and nothing waits for it.
func TestWriterFails(t *testing.T) {
	a := &reference.Activations{Float32: make([]float32, blockBytes)}
	for _, writes := range []int{0, 1, 7} {
		w := newWriter(&memory{bytes: make([]byte, 4*len(a.Float32)), writes: writes})
		var err error
		for i := 0; err == nil && i < 100; i++ {
			err = w.floats(a, 0, len(a.Float32), 0)
		}
		if !errors.Is(err, errWriting) || w.close(err) != errFull {
			t.Errorf("%d writes: %v", writes, err)
		}
	}
	w := newWriter(&memory{bytes: make([]byte, 400), writes: 0})
	if err := w.floats(a, 0, 100, 0); err != nil || w.close(nil) != errFull {
		t.Error("the error of the last write is lost")
	}
	w = newWriter(&memory{bytes: make([]byte, 400), writes: 1})
	if other := errors.New("of the model"); w.floats(a, 0, 100, 0) != nil || w.close(other) != other {
		t.Error("the error of the model is lost")
	}
}
