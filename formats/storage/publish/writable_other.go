//go:build !linux && !darwin && !freebsd

package publish

import "io/fs"

// checkWritable does not know how to tell; creating the first file does.
func checkWritable(string) error { return nil }

func checkOpens(string) error { return nil }

func ownsIn(_, _ fs.FileInfo) bool { return true }
