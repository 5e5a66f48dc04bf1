package main

import (
	"context"
	"log"
	"net"
	"syscall"
)

// listen listens on loopback with the congestion control that is Linux's default. BBR, which clouds set up on their machines, keeps to a
// rate with a timer for every packet: between two programs of one machine that only takes processors from the client.
func listen() (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) {
			if err := syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, "cubic"); err != nil {
				log.Printf("the machine's congestion control stays: %v", err)
			}
		})
	}}
	return c.Listen(context.Background(), "tcp", "127.0.0.1:0")
}
