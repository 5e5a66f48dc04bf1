//go:build !linux

package main

// releasePages does nothing: the other systems have no call for it.
func releasePages() {}
