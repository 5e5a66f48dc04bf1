//go:build darwin || freebsd

package storage

func preferHugePages([]byte) {}
