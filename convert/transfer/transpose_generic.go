//go:build !amd64 || noasm

package transfer

// transposeKernel returns the side of the blocks that a kernel for elements of size bytes takes,
// and the kernel.
func transposeKernel(size int) (side int, kernel func(dst []byte, dstPitch int, src []byte, srcPitch int, n int)) {
	switch size {
	case 2:
		return 4, transposeGeneric16
	case 4:
		return 2, transposeGeneric32
	}
	return 0, nil
}
