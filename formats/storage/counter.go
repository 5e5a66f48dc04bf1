package storage

import "io"

// Counter is a writer that counts the bytes that it has written to another.
type Counter struct {
	To io.Writer
	N  int64
}

// Write implements io.Writer.
func (c *Counter) Write(p []byte) (int, error) {
	n, err := c.To.Write(p)
	c.N += int64(n)
	return n, err
}
