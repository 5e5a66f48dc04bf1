package quantized_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

const samples = "../../testdata/quantized/"

func openStored(t testing.TB, path string) *tensor.Checkpoint {
	t.Helper()
	source, name, err := storage.Locate(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.Open(source, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestDequantize compares every matrix with what the library that reads such copies makes of it.
func TestDequantize(t *testing.T) {
	text, err := os.ReadFile(samples + "dequantised.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]map[string]string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	schemes := map[string]string{
		"bnb-int8":       "bitsandbytes int8, per row",
		"bnb-nf4":        "bitsandbytes nf4, blocks of 64",
		"bnb-nf4-double": "bitsandbytes nf4, blocks of 64, double quantised",
		"bnb-fp4":        "bitsandbytes fp4, blocks of 64",
		"fp8-blocks":     "fp8 e4m3, blocks of 16 x 16",
		"fp8-rows":       "fp8 e4m3, per row",
		"fp8-tensor":     "fp8 e4m3, per tensor",
		"mlx-3bit":       "MLX affine, 3 bits, groups of 32",
		"mlx-4bit":       "MLX affine, 4 bits, groups of 32",
	}
	if len(want) != len(schemes) {
		t.Fatalf("%d samples, want %d", len(want), len(schemes))
	}
	for name, digests := range want {
		t.Run(name, func(t *testing.T) {
			q, err := quantized.Open(openStored(t, samples+name))
			if err != nil {
				t.Fatal(err)
			}
			if got := q.Schemes(); len(got) != 1 || got[0].String() != schemes[name] {
				t.Errorf("schemes %v, want %s", got, schemes[name])
			}
			base := openStored(t, samples+"base")
			if len(q.Checkpoint.Tensors()) != len(base.Tensors()) || len(q.Weights) != len(digests) || len(q.Kept()) != len(base.Tensors())-len(digests) {
				t.Errorf("%d tensors, %d quantised", len(q.Checkpoint.Tensors()), len(q.Weights))
			}
			for _, w := range q.Weights {
				sum, err := tensor.Digest(context.Background(), w.Tensor, digest.SHA256)
				if err != nil {
					t.Fatal(err)
				}
				if got := sum.SHA256; got != digests[w.Tensor.Name] {
					t.Errorf("%s %s %v: SHA-256 %s, want %s", w.Tensor.Name, w.Tensor.DType, w.Tensor.Shape, got, digests[w.Tensor.Name])
				}
			}
		})
	}
}

// TestJudge judges copies that libraries made: none could be much better.
func TestJudge(t *testing.T) {
	base := openStored(t, samples+"base")
	for name, most := range map[string]struct{ error, ratio float64 }{
		"bnb-int8":       {0.008, 1.0001},
		"bnb-nf4":        {0.1, 1.0001},
		"bnb-nf4-double": {0.1, 1.003},
		"bnb-fp4":        {0.14, 1.0001},
		"fp8-blocks":     {0.03, 1.0001},
		"fp8-rows":       {0.03, 1.0001},
		"fp8-tensor":     {0.03, 1.0001},
		"mlx-3bit":       {0.25, 1.01},
		"mlx-4bit":       {0.12, 1.01},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := quantized.Open(openStored(t, samples+name))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range q.Weights {
				j, err := w.Judge(context.Background(), base.Tensor(w.Tensor.Name))
				if err != nil {
					t.Fatal(err)
				}
				if !(j.Good() && j.Far == 0 && j.Blocks > 0 && j.Error > 0 && j.Least > 0 && j.Error < most.error && j.Ratio() >= 1 && j.Ratio() <= most.ratio) {
					t.Errorf("%s: %+v, ratio %v", w.Tensor.Name, *j, j.Ratio())
				}
				if e := relativeL2(t, w.Tensor, base.Tensor(w.Tensor.Name)); math.Abs(e-j.Error) > 1e-9*e {
					t.Errorf("%s: error %v, computed from all elements %v", w.Tensor.Name, j.Error, e)
				}
			}
		})
	}
}

func relativeL2(t *testing.T, a, b *tensor.Tensor) float64 {
	x, err := tensor.Float32s(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := tensor.Float32s(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	var d, l float64
	for i := range y {
		d += (float64(x[i]) - float64(y[i])) * (float64(x[i]) - float64(y[i]))
		l += float64(y[i]) * float64(y[i])
	}
	return math.Sqrt(d / l)
}
