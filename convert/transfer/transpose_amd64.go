//go:build !noasm

package transfer

// transposeKernel returns the side of the blocks that a kernel for elements of size bytes takes, and
// the kernel; a side of 0 if there is none. The kernels use SSE2, which every amd64 has.
func transposeKernel(size int) (side int, kernel func(dst []byte, dstPitch int, src []byte, srcPitch int, n int)) {
	switch size {
	case 2:
		return 8, transpose16
	case 4:
		return 4, transpose32
	}
	return 0, nil
}

// transpose16 transposes n > 0 blocks of 8 x 8 elements of 2 bytes that lie side by side in src.
func transpose16(dst []byte, dstPitch int, src []byte, srcPitch int, n int) {
	_, _ = dst[(8*n-1)*dstPitch+15], src[7*srcPitch+16*n-1]
	transposeBlocks16(&dst[0], dstPitch, &src[0], srcPitch, n)
}

// transpose32 transposes n > 0 blocks of 4 x 4 elements of 4 bytes that lie side by side in src.
func transpose32(dst []byte, dstPitch int, src []byte, srcPitch int, n int) {
	_, _ = dst[(4*n-1)*dstPitch+15], src[3*srcPitch+16*n-1]
	transposeBlocks32(&dst[0], dstPitch, &src[0], srcPitch, n)
}
