//go:build !amd64 || noasm

package proof

const hasMatchKernel = false

func matchKernel([]byte, int, []byte, int, int, int) bool { return false }
