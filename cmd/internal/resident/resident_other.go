//go:build !linux

package resident

// Release does nothing: the other systems have no call for it.
func Release() {}
