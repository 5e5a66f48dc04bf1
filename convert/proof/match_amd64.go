//go:build !noasm

package proof

const hasMatchKernel = true

// matchKernel reports whether dst holds the transposes of blocks of 8 x 8 elements of 2 bytes: n > 0
// side by side in src, high > 0 below one another. It uses SSE2, which every amd64 has. isTransposed is
// its portable twin.
func matchKernel(dst []byte, dstPitch int, src []byte, srcPitch int, n, high int) bool {
	_, _ = dst[(8*n-1)*dstPitch+16*high-1], src[(8*high-1)*srcPitch+16*n-1]
	return matchBlocks16(&dst[0], dstPitch, &src[0], srcPitch, n, high) == 0
}
