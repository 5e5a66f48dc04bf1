package proof

import (
	"math/rand/v2"
	"testing"
)

// Matrices of all sizes around those of the kernel match their transposes, but not after any bit of
// either is flipped.
func TestMatchesTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 2))
	for range 400 {
		size := []int{1, 2, 2, 2, 4, 8}[rng.IntN(6)]
		rows, cols := 1+rng.IntN(150), 1+rng.IntN(40)
		srcPitch, dstPitch := cols*size+rng.IntN(20), rows*size+rng.IntN(20)
		src, dst := make([]byte, rows*srcPitch), make([]byte, cols*dstPitch)
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		for r := range rows {
			for c := range cols {
				copy(dst[c*dstPitch+r*size:][:size], src[r*srcPitch+c*size:])
			}
		}
		if !matchesTransposed(dst, dstPitch, src, srcPitch, rows, cols, size) {
			t.Fatalf("%d x %d of %d bytes: the transpose does not match", rows, cols, size)
		}
		for range 20 {
			p, at := src, rng.IntN(rows)*srcPitch+rng.IntN(cols*size)
			if rng.IntN(2) == 0 {
				p, at = dst, rng.IntN(cols)*dstPitch+rng.IntN(rows*size)
			}
			bit := byte(1) << rng.IntN(8)
			p[at] ^= bit
			if matchesTransposed(dst, dstPitch, src, srcPitch, rows, cols, size) {
				t.Fatalf("%d x %d of %d bytes: a bit at %d is flipped, and they match", rows, cols, size, at)
			}
			p[at] ^= bit
		}
	}
}

func BenchmarkMatchesTransposed(b *testing.B) {
	const rows, cols, size = 2560, 7680, 2
	src, dst := make([]byte, rows*cols*size), make([]byte, rows*cols*size)
	rng := rand.New(rand.NewPCG(8, 3))
	for r := range rows {
		for c := range cols {
			x, y := byte(rng.Uint32()), byte(rng.Uint32())
			src[(r*cols+c)*size], src[(r*cols+c)*size+1] = x, y
			dst[(c*rows+r)*size], dst[(c*rows+r)*size+1] = x, y
		}
	}
	step := int(matchRows(rows * size)) // as a Matcher compares
	b.SetBytes(rows * cols * size)
	for b.Loop() {
		for c := 0; c < cols; c += step {
			n := min(step, cols-c)
			if !matchesTransposed(dst[c*rows*size:], rows*size, src[c*size:], cols*size, rows, n, size) {
				b.Fatal("does not match")
			}
		}
	}
}
