package transfer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestTransposeMatrix(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 3000 {
		size := []int{1, 2, 4, 8, 16}[rng.IntN(5)]
		rows, cols := rng.IntN(40), rng.IntN(40)
		if round%30 == 0 {
			rows, cols = rng.IntN(200), rng.IntN(700)
		}
		srcPitch, dstPitch := cols*size+rng.IntN(20), rows*size+rng.IntN(20)
		src := make([]byte, rows*srcPitch)
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		want := bytes.Repeat([]byte{0xcc}, cols*dstPitch)
		got := bytes.Clone(want)
		for r := range rows {
			for c := range cols {
				copy(want[c*dstPitch+r*size:], src[r*srcPitch+c*size:][:size])
			}
		}
		transposeMatrix(got, dstPitch, src, srcPitch, rows, cols, size)
		if !bytes.Equal(got, want) {
			t.Fatalf("%dx%d of %d bytes, pitches %d and %d: wrong", rows, cols, size, srcPitch, dstPitch)
		}
	}
}

// TestTransposeKernels holds what the processor's own kernel does against the portable one.
func TestTransposeKernels(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, size := range []int{2, 4} {
		side, kernel := transposeKernel(size)
		for blocks := 1; blocks < 9; blocks++ {
			rows, cols := side, side*blocks
			srcPitch, dstPitch := cols*size+rng.IntN(9), rows*size+rng.IntN(9)
			src := make([]byte, rows*srcPitch)
			for i := range src {
				src[i] = byte(rng.Uint32())
			}
			got, want := make([]byte, cols*dstPitch), make([]byte, cols*dstPitch)
			kernel(got, dstPitch, src, srcPitch, blocks)
			generic, unit := transposeGeneric16, 4
			if size == 4 {
				generic, unit = transposeGeneric32, 2
			}
			for r := 0; r < rows; r += unit {
				generic(want[r*size:], dstPitch, src[r*srcPitch:], srcPitch, cols/unit)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d blocks of %d bytes: the kernels disagree", blocks, size)
			}
		}
	}
}

func BenchmarkTranspose(b *testing.B) {
	for _, m := range []struct{ rows, cols, size int }{
		{64, 256, 2}, {2560, 7680, 2}, {7680, 2560, 2}, {4096, 12288, 2}, {12288, 4096, 2}, {2560, 7680, 4},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d", m.rows, m.cols, m.size), func(b *testing.B) {
			const panel = 256
			src := make([]byte, m.rows*m.cols*m.size)
			for i := range src {
				src[i] = byte(i)
			}
			dst := make([]byte, panel*m.rows*m.size)
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				for c := 0; c < m.cols; c += panel {
					transposeMatrix(dst, m.rows*m.size, src[c*m.size:], m.cols*m.size, m.rows, min(panel, m.cols-c), m.size)
				}
			}
		})
	}
}
