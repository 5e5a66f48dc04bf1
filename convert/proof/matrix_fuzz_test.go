package proof

import (
	"testing"
)

// FuzzMatchesTransposed compares a matrix of elements of 2^log bytes, cut from the data, with its
// transpose, one bit of which may be changed: with what the processor has, and in portable Go.
func FuzzMatchesTransposed(f *testing.F) {
	f.Add(uint8(8), uint8(8), uint8(1), uint8(0), uint32(0), []byte("0123456789abcdef"))
	f.Add(uint8(70), uint8(17), uint8(1), uint8(3), uint32(1), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, rows, cols, log, gap uint8, flip uint32, data []byte) {
		if len(data) == 0 || rows == 0 || cols == 0 {
			return
		}
		size := 1 << (log % 4)
		r, c := int(rows), int(cols)
		srcPitch, dstPitch := c*size+int(gap%32), r*size+int(gap/32)
		src, dst := make([]byte, r*srcPitch), make([]byte, c*dstPitch)
		for i := range src {
			src[i] = data[i%len(data)] + byte(i/len(data))
		}
		for row := range r {
			for col := range c {
				copy(dst[col*dstPitch+row*size:][:size], src[row*srcPitch+col*size:])
			}
		}
		equal := true
		if flip > 0 { // one bit of the destination
			bit := int(flip) % (len(dst) * 8)
			dst[bit/8] ^= 1 << (bit % 8)
			equal = bit/8%dstPitch >= r*size // between the rows
		}
		if got := matchesTransposed(dst, dstPitch, src, srcPitch, r, c, size); got != equal {
			t.Errorf("matchesTransposed is %t for %d x %d elements of %d bytes, pitches %d and %d, want %t", got, r, c, size, srcPitch, dstPitch, equal)
		}
		if got := isTransposed(dst, dstPitch, src, srcPitch, r, c, size); got != equal {
			t.Errorf("isTransposed is %t for %d x %d elements of %d bytes, pitches %d and %d, want %t", got, r, c, size, srcPitch, dstPitch, equal)
		}
	})
}
