//go:build !linux && !darwin && !freebsd

package storage

import "unsafe"

func allocate(n int) ([]byte, error) {
	p := make([]byte, n+Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(p))) & (Align - 1))
	return p[skip : skip+n : skip+n], nil
}

func release([]byte) error { return nil }
