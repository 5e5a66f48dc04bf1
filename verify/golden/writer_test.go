package golden

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/forward"
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

// Results come whole or, of a large vocabulary, in ranges of their last axis, and for some of the tokens: the file is the same.
func TestRecorderFloats(t *testing.T) {
	const offset, tokens, vocabulary = 12, 5, 7
	want := make([]float32, tokens*vocabulary)
	for i := range want {
		want[i] = float32(i + 1)
	}
	for _, size := range [][2]int{{tokens, vocabulary}, {2, vocabulary}, {tokens, 3}, {2, 3}, {1, 1}} {
		file := &memory{bytes: make([]byte, offset+4*len(want)+8), writes: math.MaxInt}
		r := &recorder{index: map[string]int{"logits": 1}, specs: []tensor.Spec{{}, {Shape: []int64{1, tokens, vocabulary}}},
			ranges: []safetensors.Range{{}, {Offset: offset}}, writer: newWriter(file)}
		var err error
		for token := 0; token < tokens; token += size[0] {
			for first := 0; first < vocabulary; first += size[1] {
				n, width := min(size[0], tokens-token), min(size[1], vocabulary-first)
				result := forward.Result{Token: token, Observation: reference.Observation{First: first}}
				result.Activations = reference.Activations{Batch: 1, Length: n, Width: width}
				for row := range n {
					result.Float32 = append(result.Float32, want[(token+row)*vocabulary+first:][:width]...)
				}
				err = errors.Join(err, r.floats("logits", &result), r.floats("hidden.0", &result))
			}
		}
		if err = r.writer.close(err); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(want))
		for i := range got {
			got[i] = math.Float32frombits(binary.LittleEndian.Uint32(file.bytes[offset+4*i:]))
		}
		if !slices.Equal(got, want) || strings.Trim(string(file.bytes[:offset])+string(file.bytes[offset+4*len(want):]), "\x00") != "" {
			t.Errorf("in pieces of %d: %v", size, got)
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

// Logits that are not finite end the recording; nothing else is looked at.
func TestLogitsThatAreNotFinite(t *testing.T) {
	inf := math.Inf(1)
	for _, tt := range []struct {
		name   string
		result reference.Activations
	}{
		{"logits", reference.Activations{Width: 3, Float32: []float32{1, float32(math.NaN()), 2}}},
		{"packed.logits", reference.Activations{Width: 3, Float32: []float32{1, 2, float32(inf)}}},
		{"decode.logits", reference.Activations{Width: 3, Float64: []float64{-inf, 1, 2}}},
		{"logits", reference.Activations{Width: 3, Float64: []float64{1, 2, 1e39}}}, // float32 is written
	} {
		r := &recorder{specs: []tensor.Spec{{Name: tt.name, DType: tensor.F32, Shape: []int64{1, 1, 3}}}, index: map[string]int{tt.name: 0}, ranges: make([]safetensors.Range, 1)}
		if err := r.floats(tt.name, &forward.Result{Observation: reference.Observation{Activations: tt.result}}); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, a := range []reference.Activations{{Float32: []float32{1, math.MaxFloat32, -math.MaxFloat32}}, {Float64: []float64{1, math.MaxFloat32, -math.MaxFloat32}}} {
		if !isFinite(&a) {
			t.Errorf("large numbers are not finite: %v", a)
		}
	}
}
