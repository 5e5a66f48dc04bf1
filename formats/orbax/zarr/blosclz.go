package zarr

import (
	"errors"
	"io"
)

var errBloscLZ = errors.New("match outside the data")

// blosclzNear is the largest distance that fits the 13 bits of an instruction.
const blosclzNear = 8191

// expandBloscLZ decodes BloscLZ, level 2 of the FastLZ format. An instruction begins with a byte of three bits M
// and five bits L:
//
//   - M = 0: L + 1 literal bytes follow.
//   - M > 0: M + 2 bytes are copied from a distance. If M is 7, bytes follow that are added to the count, up
//     to and including the first below 255. Then follows the low byte of the distance less one, whose high
//     bits are L. If all 13 bits are set, two more bytes (high, low) are added to it.
//
// The first instruction has M = 0, whatever its bits are.
func expandBloscLZ(dst, src []byte) (int, error) {
	at, n := 0, 0 // bytes read from src, written to dst
	more := func() int {
		if at == len(src) {
			at++ // marks the end for the check below
			return 0
		}
		if at > len(src) {
			return 0
		}
		at++
		return int(src[at-1])
	}
	for first := true; at < len(src); first = false {
		op := more()
		if first {
			op &= 31
		}
		if op < 32 {
			count := op + 1
			if count > len(src)-at {
				return n, io.ErrUnexpectedEOF
			}
			if count > len(dst)-n {
				return n, errBloscLZ
			}
			n += copy(dst[n:n+count], src[at:])
			at += count
			continue
		}
		count := op>>5 + 2
		if op>>5 == 7 {
			for c := 255; c == 255; {
				c = more()
				count += c
			}
		}
		distance := op&31<<8 | more()
		if distance == blosclzNear {
			high := more()
			distance += high<<8 | more()
		}
		distance++
		if at > len(src) {
			return n, io.ErrUnexpectedEOF
		}
		if distance > n || count > len(dst)-n {
			return n, errBloscLZ
		}
		for range count { // byte by byte, since a match may overlap its copy
			dst[n] = dst[n-distance]
			n++
		}
	}
	return n, nil
}
