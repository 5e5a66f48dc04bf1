package zarr

import (
	"errors"
	"io"
)

var errBloscLZ = errors.New("match outside of the data")

// blosclzNear is the largest distance that fits the 13 bits of an instruction.
const blosclzNear = 8191

// expandBloscLZ decodes BloscLZ, which is the second level of the FastLZ format. An instruction
// begins with a byte of three bits M and five bits L:
//
//   - M = 0: L + 1 bytes follow as they are.
//   - M > 0: M + 2 bytes repeat those at a distance. For M = 7 bytes follow that are added to the
//     count, up to and with the first below 255. Then comes the low byte of the distance less one,
//     whose high bits are L. Where all 13 bits are set, two more bytes (high, low) add to it.
//
// The first instruction has M = 0, whatever its bits say.
func expandBloscLZ(dst, src []byte) (int, error) {
	at, n := 0, 0 // read of src, written to dst
	more := func() int {
		if at == len(src) {
			at++ // so that the loop sees it
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
		for range count { // byte by byte, for a match may overlap what it makes
			dst[n] = dst[n-distance]
			n++
		}
	}
	return n, nil
}
