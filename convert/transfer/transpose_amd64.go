//go:build !noasm

package transfer

// transposeKernel returns the side of the blocks that a kernel for elements of size bytes takes,
// and the kernel. These use SSE2, which every amd64 has.
func transposeKernel(size int) (side int, kernel func(dst []byte, dstPitch int, src []byte, srcPitch int, n int)) {
	switch size {
	case 2:
		return 8, transposeSSE2
	case 4:
		return 4, transposeSSE4
	}
	return 0, nil
}

func transposeSSE2(dst []byte, dstPitch int, src []byte, srcPitch int, n int) {
	_, _ = dst[(8*n-1)*dstPitch+15], src[7*srcPitch+16*n-1]
	transpose8x8x2(&dst[0], dstPitch, &src[0], srcPitch, n)
}

func transposeSSE4(dst []byte, dstPitch int, src []byte, srcPitch int, n int) {
	_, _ = dst[(4*n-1)*dstPitch+15], src[3*srcPitch+16*n-1]
	transpose4x4x4(&dst[0], dstPitch, &src[0], srcPitch, n)
}

// transpose8x8x2 transposes n > 0 blocks of 8 x 8 elements of 2 bytes that lie side by side in src.
//
//go:noescape
func transpose8x8x2(dst *byte, dstPitch int, src *byte, srcPitch int, n int)

// transpose4x4x4 transposes n > 0 blocks of 4 x 4 elements of 4 bytes.
//
//go:noescape
func transpose4x4x4(dst *byte, dstPitch int, src *byte, srcPitch int, n int)
