//go:build amd64 && !noasm

package ceiling

import "golang.org/x/sys/cpu"

func multiply(n int) float64 {
	switch {
	case cpu.X86.HasAVX512F:
		multiplyAVX512(n)
		return float64(n) * 12 * 2 * 16
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		multiplyAVX2(n)
		return float64(n) * 12 * 2 * 8
	}
	return 0
}

func read(p []byte) float64 {
	switch {
	case cpu.X86.HasAVX512F:
		readAVX512(&p[0], len(p))
	case cpu.X86.HasAVX2:
		readAVX2(&p[0], len(p))
	default:
		return 0
	}
	return float64(len(p))
}
