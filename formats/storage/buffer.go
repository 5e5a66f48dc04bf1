package storage

// Align is the alignment in bytes, in the file and in memory, of reads and writes that bypass the page cache.
const Align = 4096

// Buffer is memory that begins at a multiple of Align. The garbage collector neither counts nor scans it, so that a large
// Buffer does not double the heap.
type Buffer struct{ Bytes []byte }

// NewBuffer returns a Buffer of n bytes (n > 0), which are zero. The caller calls Free after use.
func NewBuffer(n int) (*Buffer, error) {
	p, err := allocate(n)
	if err != nil {
		return nil, err
	}
	return &Buffer{p}, nil
}

// Free releases the memory. Bytes must not be used afterwards.
func (b *Buffer) Free() error {
	if b == nil || b.Bytes == nil {
		return nil
	}
	p := b.Bytes
	b.Bytes = nil
	return release(p)
}
