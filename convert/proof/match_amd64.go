//go:build !noasm

package proof

// matchKernel reports whether dst holds the transposes of blocks of 8 x 8 elements of 2 bytes: n side by
// side in src, high below one another. It uses SSE2, which every amd64 has.
func matchKernel(dst []byte, dstPitch int, src []byte, srcPitch int, n, high int) bool {
	_, _ = dst[(8*n-1)*dstPitch+16*high-1], src[(8*high-1)*srcPitch+16*n-1]
	return match8x8x2(&dst[0], dstPitch, &src[0], srcPitch, n, high) == 0
}

const hasMatchKernel = true

//go:noescape
func match8x8x2(dst *byte, dstPitch int, src *byte, srcPitch int, n, high int) uint64
