package quantized_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestMemory: a matrix takes less memory than a table of the values of its codes, which all matrices share, and the buffers for
// reading a small one are small.
func TestMemory(t *testing.T) {
	const n = 2000
	for name, matrix := range map[string]func(i int) []*tensor.Tensor{
		"int8": func(i int) []*tensor.Tensor {
			return []*tensor.Tensor{stored(fmt.Sprintf("%d.weight", i), tensor.I8, 2, 8), stored(fmt.Sprintf("%d.SCB", i), tensor.F32, 2)}
		},
		"fp8": func(i int) []*tensor.Tensor {
			return []*tensor.Tensor{stored(fmt.Sprintf("%d.weight", i), tensor.F8E4M3, 2, 8), stored(fmt.Sprintf("%d.weight_scale", i), tensor.F32, 1)}
		},
	} {
		var all []*tensor.Tensor
		for i := range n {
			all = append(all, matrix(i)...)
		}
		c, err := tensor.NewCheckpoint("x", "safetensors", all)
		if err != nil {
			t.Fatal(err)
		}
		before := live()
		q, err := quantized.Open(c)
		if err != nil || len(q.Weights) != n {
			t.Fatalf("%s: %v", name, err)
		}
		if each := (live() - before) / n; each > 1000 {
			t.Errorf("%s: %d bytes for a matrix", name, each)
		}
		var m, after runtime.MemStats
		runtime.ReadMemStats(&m)
		for _, w := range q.Weights {
			if _, err := w.Tensor.ReadAt(make([]byte, w.Tensor.Bytes()), 0); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - m.TotalAlloc) / n; each > 16<<10 {
			t.Errorf("%s: reading a matrix of 16 elements allocates %d bytes", name, each)
		}
		runtime.KeepAlive(q)
		runtime.KeepAlive(c)
	}
}

// live returns the bytes of the heap that are in use.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
