package storage

// Buffer is memory that begins at a multiple of Align and that the garbage collector neither
// counts nor scans, so that a large one does not let the heap grow to twice its size.
type Buffer struct{ Bytes []byte }

// NewBuffer returns n bytes (n > 0), zero, that Free gives back.
func NewBuffer(n int) (*Buffer, error) {
	p, err := allocate(n)
	if err != nil {
		return nil, err
	}
	return &Buffer{p}, nil
}

// Free gives the memory back to the system. Nothing may use Bytes any more.
func (b *Buffer) Free() error {
	if b == nil || b.Bytes == nil {
		return nil
	}
	p := b.Bytes
	b.Bytes = nil
	return release(p)
}
