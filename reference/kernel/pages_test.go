//go:build linux

package kernel

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestMultiplyReadsNoOtherPage: weights that begin or end with a page can be multiplied where the pages around them cannot be
// read, whether or not rows consist of whole cache lines.
func TestMultiplyReadsNoOtherPage(t *testing.T) {
	page := os.Getpagesize()
	const pages = 4
	memory, err := unix.Mmap(-1, 0, (pages+2)*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	for _, outer := range [][]byte{memory[:page], memory[(pages+1)*page:]} {
		if err := unix.Mprotect(outer, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	data := memory[page:][:pages*page]
	eachSet(t, func(t *testing.T) {
		for _, in := range []int{32, 64, 70, 96, 101} {
			const out = 64
			for n := 1; n <= 4; n++ {
				for _, dtype := range []tensor.DType{tensor.BF16, tensor.F16} {
					size := out * in * 2
					for _, part := range [][]byte{data[:size], data[2:][:size], data[len(data)-size:], data[len(data)-size-6:][:size]} {
						w := &Matrix{DType: dtype, Data: part, Rows: out, Cols: in, Stride: in}
						Multiply(make([]float32, n*out), out, make([]float32, n*in), in, n, w, 0, out, nil, &Scratch[float32]{})
					}
				}
			}
		}
	})
}
