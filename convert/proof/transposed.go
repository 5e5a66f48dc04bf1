package proof

import (
	"bytes"
	"encoding/binary"
)

// isTransposed reports whether dst is the transpose of src: element (r, c) of src, at
// src[r*srcPitch + c*size], is that at dst[c*dstPitch + r*size]. Pitches are in bytes.
//
// It compares blocks that fit into registers, in portable Go.
func isTransposed(dst []byte, dstPitch int, src []byte, srcPitch int, rows, cols, size int) bool {
	side := 1
	switch size {
	case 2:
		side = 4
	case 4:
		side = 2
	}
	high, wide := rows/side*side, cols/side*side
	if side == 1 {
		high = 0
	}
	for r := 0; r < high; r += side {
		s, d := src[r*srcPitch:], dst[r*size:]
		var same bool
		if size == 2 {
			same = isTransposedBand16(d, dstPitch, s, srcPitch, wide)
		} else {
			same = isTransposedBand32(d, dstPitch, s, srcPitch, wide)
		}
		if !same || wide < cols && !isTransposedPlain(d[wide*dstPitch:], dstPitch, s[wide*size:], srcPitch, side, cols-wide, size) {
			return false
		}
	}
	return high == rows || isTransposedPlain(dst[high*size:], dstPitch, src[high*srcPitch:], srcPitch, rows-high, cols, size)
}

func isTransposedPlain(dst []byte, dstPitch int, src []byte, srcPitch int, rows, cols, size int) bool {
	for r := range rows {
		for c := range cols {
			if !bytes.Equal(src[r*srcPitch+c*size:][:size], dst[c*dstPitch+r*size:][:size]) {
				return false
			}
		}
	}
	return true
}

// isTransposedBand16 compares four rows of src, whose elements have 2 bytes, with four columns of
// dst. cols is a multiple of 4.
func isTransposedBand16(dst []byte, dstPitch int, src []byte, srcPitch int, cols int) bool {
	const even, low = 0x0000ffff0000ffff, 0x00000000ffffffff
	if cols == 0 {
		return true
	}
	n := 2 * cols
	s0, s1, s2, s3 := src[:n], src[srcPitch:][:n], src[2*srcPitch:][:n], src[3*srcPitch:][:n]
	differ := uint64(0)
	for i := 0; i+8 <= n; i += 8 {
		a, b := binary.LittleEndian.Uint64(s0[i:]), binary.LittleEndian.Uint64(s1[i:])
		c, e := binary.LittleEndian.Uint64(s2[i:]), binary.LittleEndian.Uint64(s3[i:])
		a, b = a&even|b&even<<16, a>>16&even|b&^even // a0 b0 a2 b2, a1 b1 a3 b3
		c, e = c&even|e&even<<16, c>>16&even|e&^even
		d := dst[i/2*dstPitch:]
		differ |= binary.LittleEndian.Uint64(d) ^ (a&low | c<<32)
		differ |= binary.LittleEndian.Uint64(d[dstPitch:]) ^ (b&low | e<<32)
		differ |= binary.LittleEndian.Uint64(d[2*dstPitch:]) ^ (a>>32 | c&^low)
		differ |= binary.LittleEndian.Uint64(d[3*dstPitch:]) ^ (b>>32 | e&^low)
	}
	return differ == 0
}

// isTransposedBand32 compares two rows of src, whose elements have 4 bytes, with two columns of dst.
// cols is a multiple of 2.
func isTransposedBand32(dst []byte, dstPitch int, src []byte, srcPitch int, cols int) bool {
	const low = 0x00000000ffffffff
	if cols == 0 {
		return true
	}
	n := 4 * cols
	s0, s1 := src[:n], src[srcPitch:][:n]
	differ := uint64(0)
	for i := 0; i+8 <= n; i += 8 {
		a, b := binary.LittleEndian.Uint64(s0[i:]), binary.LittleEndian.Uint64(s1[i:])
		d := dst[i/4*dstPitch:]
		differ |= binary.LittleEndian.Uint64(d) ^ (a&low | b<<32)
		differ |= binary.LittleEndian.Uint64(d[dstPitch:]) ^ (a>>32 | b&^low)
	}
	return differ == 0
}
