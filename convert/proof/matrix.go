package proof

//go:generate sh -c "cd ../internal/avo && go run . -kernels match -out ../../proof/blocks_amd64.s -stubs ../../proof/blocks_amd64.go -pkg proof"

// matchesTransposed is isTransposed with the processor's own instructions. It is for a Matcher: Prove
// does not use it, because its kernel transposes in registers as that of package transfer does, which
// may have written the matrix.
func matchesTransposed(dst []byte, dstPitch int, src []byte, srcPitch int, rows, cols, size int) bool {
	if !hasMatchKernel || size != 2 {
		return isTransposed(dst, dstPitch, src, srcPitch, rows, cols, size)
	}
	const side, most = 8, 64 // rows at a time: two cache lines of each row of dst
	high, wide := rows/side*side, cols/side*side
	if wide == 0 {
		high = 0
	}
	for r := 0; r < high; r += most {
		n := min(most, high-r)
		if !matchKernel(dst[r*size:], dstPitch, src[r*srcPitch:], srcPitch, wide/side, n/side) {
			return false
		}
	}
	if wide < cols && !isTransposed(dst[wide*dstPitch:], dstPitch, src[wide*size:], srcPitch, high, cols-wide, size) {
		return false
	}
	return high == rows || isTransposed(dst[high*size:], dstPitch, src[high*srcPitch:], srcPitch, rows-high, cols, size)
}

// matchWindow is the bytes of a destination that a Matcher holds: many rows, so that a row of the source
// is read in long pieces, but no more than the nearer caches hold.
const matchWindow = 1280 << 10

// matchRows returns how many rows of a matrix, pitch bytes apart, a Matcher compares at a time; 0 if
// they are too long.
func matchRows(pitch int64) int64 {
	const least, most = 8, 256
	if !hasMatchKernel || least*pitch > 4*matchWindow {
		return 0
	}
	return max(min(matchWindow/pitch, most)&^(least-1), least)
}
