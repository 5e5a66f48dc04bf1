package transfer

import "encoding/binary"

//go:generate sh -c "cd ../internal/avo && go run . -kernels transpose -out ../../transfer/blocks_amd64.s -stubs ../../transfer/blocks_amd64.go -pkg transfer"

// transposeMatrix writes the transpose of a matrix of rows x cols elements of size bytes: element
// (r, c), at src[r*srcPitch + c*size], goes to dst[c*dstPitch + r*size]. Pitches are in bytes.
// What lies between the rows of dst is left alone.
//
// The rows of a large matrix lie pages apart, and processors prefetch only along a row. So pieces of a
// few rows are first copied into a tile that stays in the nearest caches, and transposed from there.
func transposeMatrix(dst []byte, dstPitch int, src []byte, srcPitch int, rows, cols, size int) {
	const tilePitch = tileCols + 64 // no power of two: its rows do not compete for the same cache lines
	var tile [tileRows * tilePitch]byte
	most := tileCols / size
	for c := 0; c < cols; c += most {
		wide := min(most, cols-c)
		for r := 0; r < rows; r += tileRows {
			high := min(tileRows, rows-r)
			for i := range high {
				copy(tile[i*tilePitch:], src[(r+i)*srcPitch+c*size:][:wide*size])
			}
			transposeTile(dst[c*dstPitch+r*size:], dstPitch, tile[:], tilePitch, high, wide, size)
		}
	}
}

// A tile has tileRows rows of tileCols bytes, which is a multiple of all element sizes up to 16.
const tileRows, tileCols = 64, 512

// transposeTile transposes a matrix that lies in the nearest caches, with the kernel where it can.
func transposeTile(dst []byte, dstPitch int, src []byte, srcPitch int, rows, cols, size int) {
	r, c := 0, 0 // the kernel transposes all rows before r of all columns before c
	if side, kernel := transposeKernel(size); side > 0 {
		c = cols / side * side
		for ; r+side <= rows && c > 0; r += side {
			kernel(dst[r*size:], dstPitch, src[r*srcPitch:], srcPitch, c/side)
		}
	}
	if c < cols {
		transposePlain(dst[c*dstPitch:], dstPitch, src[c*size:], srcPitch, r, cols-c, size)
	}
	if r < rows {
		transposePlain(dst[r*size:], dstPitch, src[r*srcPitch:], srcPitch, rows-r, cols, size)
	}
}

// transposePlain transposes a matrix element by element.
func transposePlain(dst []byte, dstPitch int, src []byte, srcPitch int, rows, cols, size int) {
	for r := range rows {
		for c := range cols {
			copy(dst[c*dstPitch+r*size:][:size], src[r*srcPitch+c*size:])
		}
	}
}

// transposeGeneric16 transposes n blocks of 4 x 4 elements of 2 bytes that lie side by side in src.
func transposeGeneric16(dst []byte, dstPitch int, src []byte, srcPitch int, n int) {
	const even, low = 0x0000ffff0000ffff, 0x00000000ffffffff
	for i := range n {
		s, d := src[8*i:], dst[4*i*dstPitch:]
		a, b := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[srcPitch:])
		e, f := binary.LittleEndian.Uint64(s[2*srcPitch:]), binary.LittleEndian.Uint64(s[3*srcPitch:])
		a, b = a&even|b&even<<16, a>>16&even|b&^even // a0 b0 a2 b2, a1 b1 a3 b3
		e, f = e&even|f&even<<16, e>>16&even|f&^even
		binary.LittleEndian.PutUint64(d, a&low|e<<32)
		binary.LittleEndian.PutUint64(d[dstPitch:], b&low|f<<32)
		binary.LittleEndian.PutUint64(d[2*dstPitch:], a>>32|e&^low)
		binary.LittleEndian.PutUint64(d[3*dstPitch:], b>>32|f&^low)
	}
}

// transposeGeneric32 transposes n blocks of 2 x 2 elements of 4 bytes.
func transposeGeneric32(dst []byte, dstPitch int, src []byte, srcPitch int, n int) {
	const low = 0x00000000ffffffff
	for i := range n {
		s, d := src[8*i:], dst[2*i*dstPitch:]
		a, b := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[srcPitch:])
		binary.LittleEndian.PutUint64(d, a&low|b<<32)
		binary.LittleEndian.PutUint64(d[dstPitch:], a>>32|b&^low)
	}
}
