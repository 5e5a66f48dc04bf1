//go:build !linux

package publish

import "path/filepath"

// isMountPoint reports whether a path is on another device than its directory.
func isMountPoint(path string) (bool, error) {
	return onOtherDevice(path, filepath.Dir(path))
}
