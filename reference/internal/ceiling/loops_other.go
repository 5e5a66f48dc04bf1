//go:build !amd64 || noasm

package ceiling

func multiply(int) float64 { return 0 }

func read([]byte) float64 { return 0 }
