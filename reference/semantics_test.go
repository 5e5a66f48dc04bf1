package reference

import (
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// sqrt(2560) is 50.596; in bfloat16 it is 50.5, in float16 50.59375. sqrt(4096) is 64 in all of them.
func TestEmbeddingScaleOfSemantics(t *testing.T) {
	for _, s := range []Semantics{Original, Transformers4, Transformers5} {
		for _, stored := range []tensor.DType{tensor.BF16, tensor.F16, tensor.F32} {
			if got := s.EmbeddingScale(2560, stored); got != 50.5 {
				t.Errorf("%s, %s: %v", s, stored, got)
			}
		}
	}
	for _, s := range []Semantics{MLX, Candle} {
		for stored, want := range map[tensor.DType]float64{tensor.BF16: 50.5, tensor.F16: 50.59375, tensor.F32: float64(float32(math.Sqrt(2560)))} {
			if got := s.EmbeddingScale(2560, stored); got != want {
				t.Errorf("%s, %s: %v, want %v", s, stored, got, want)
			}
			if got := s.EmbeddingScale(4096, stored); got != 64 {
				t.Errorf("%s, %s: %v, want 64", s, stored, got)
			}
		}
	}
}

// A window is full where a token sees fewer than all before it, for the first time.
func TestWindowFull(t *testing.T) {
	positions := make([]int32, 12)
	for i := range positions {
		positions[i] = int32(i)
	}
	for name, want := range map[string]int{"original": 5, "transformers4": 0, "transformers5": 4, "mlx-lm": 4, "candle": 0} {
		s, err := ParseSemantics(name)
		if err != nil {
			t.Fatal(err)
		}
		first := 0
		for i, m := range TokenMasks(s, 4, 4, positions, 1) {
			if m.Keys < i+1 && first == 0 {
				first = i
			}
		}
		if got := s.WindowFull(4); got != want || got != first {
			t.Errorf("%s: full from %d on, want %d; the mask says %d", s, got, want, first)
		}
	}
}

// mlx-lm and candle take no positions: a row is one document, whatever positions say.
func TestMasksWithoutPositions(t *testing.T) {
	packed := []int32{0, 1, 2, 0, 1, 2}
	for s, keys := range map[Semantics][]int{MLX: {1, 2, 3, 4, 4, 4}, Candle: {1, 2, 3, 4, 5, 6}} {
		for i, m := range TokenMasks(s, 4, 4, packed, 1) {
			if m.Keys != keys[i] || m.Taps != min(i, 3) || m.Reset != (i == 0) {
				t.Errorf("%s: token %d: %+v", s, i, m)
			}
		}
	}
}
