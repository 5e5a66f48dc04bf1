//go:build !linux && !darwin && !freebsd

package publish

// onOtherDevice reports false: renaming a mount point fails then.
func onOtherDevice(a, b string) (bool, error) { return false, nil }
