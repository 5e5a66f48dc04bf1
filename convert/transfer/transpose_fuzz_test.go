package transfer

import (
	"bytes"
	"testing"
)

// FuzzTranspose transposes a matrix of elements of 2^log bytes, cut from the data, with what the
// processor has, with the portable kernels, and element by element.
func FuzzTranspose(f *testing.F) {
	f.Add(uint8(8), uint8(8), uint8(1), uint8(0), []byte("0123456789abcdef"))
	f.Add(uint8(9), uint8(17), uint8(2), uint8(3), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, rows, cols, log, gap uint8, data []byte) {
		if len(data) == 0 {
			return
		}
		size := 1 << (log % 5)
		r, c := int(rows), int(cols)
		srcPitch, dstPitch := c*size+int(gap%32), r*size+int(gap/32)
		src := make([]byte, r*srcPitch)
		for i := range src {
			src[i] = data[i%len(data)] + byte(i/len(data))
		}
		want := bytes.Repeat([]byte{0xcc}, c*dstPitch)
		got, portable := bytes.Clone(want), bytes.Clone(want)
		transposePlain(want, dstPitch, src, srcPitch, r, c, size)
		transposeMatrix(got, dstPitch, src, srcPitch, r, c, size)
		if !bytes.Equal(got, want) {
			t.Errorf("%d x %d elements of %d bytes, pitches %d and %d: transposeMatrix is wrong", r, c, size, srcPitch, dstPitch)
		}
		side, kernel := 4, transposeGeneric16
		switch size {
		case 2:
		case 4:
			side, kernel = 2, transposeGeneric32
		default:
			return
		}
		for at := 0; at+side <= r && c >= side; at += side {
			kernel(portable[at*size:], dstPitch, src[at*srcPitch:], srcPitch, c/side)
		}
		for row := range r / side * side {
			for col := range c / side * side {
				at := col*dstPitch + row*size
				if !bytes.Equal(portable[at:][:size], want[at:][:size]) {
					t.Fatalf("%d x %d elements of %d bytes, pitches %d and %d: the portable kernel is wrong", r, c, size, srcPitch, dstPitch)
				}
			}
		}
	})
}
