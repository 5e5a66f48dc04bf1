//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

func init() {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		tile32, tile64, implementation = avx32, avx64, "avx2+fma"
	}
}

// avx32 calls the assembly for that number of rows.
func avx32(rows int, c []float32, ldc int, a []float32, lda int, b []float32, k int) {
	switch rows {
	case 1:
		tile32x1(&c[0], ldc, &a[0], lda, &b[0], k)
	case 2:
		tile32x2(&c[0], ldc, &a[0], lda, &b[0], k)
	case 3:
		tile32x3(&c[0], ldc, &a[0], lda, &b[0], k)
	case 4:
		tile32x4(&c[0], ldc, &a[0], lda, &b[0], k)
	case 5:
		tile32x5(&c[0], ldc, &a[0], lda, &b[0], k)
	case 6:
		tile32x6(&c[0], ldc, &a[0], lda, &b[0], k)
	}
}

// avx64 calls the assembly for that number of rows.
func avx64(rows int, c []float64, ldc int, a []float64, lda int, b []float64, k int) {
	switch rows {
	case 1:
		tile64x1(&c[0], ldc, &a[0], lda, &b[0], k)
	case 2:
		tile64x2(&c[0], ldc, &a[0], lda, &b[0], k)
	case 3:
		tile64x3(&c[0], ldc, &a[0], lda, &b[0], k)
	case 4:
		tile64x4(&c[0], ldc, &a[0], lda, &b[0], k)
	case 5:
		tile64x5(&c[0], ldc, &a[0], lda, &b[0], k)
	case 6:
		tile64x6(&c[0], ldc, &a[0], lda, &b[0], k)
	}
}
