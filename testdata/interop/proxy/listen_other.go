//go:build !linux

package main

import "net"

// listen listens on loopback.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
