package kernel

import (
	"math"
	"unsafe"
)

// lines are the cache lines that a tile prefetches: for each term the line at an address and the one
// after it. The address is increased by step after each term, and by jump after each run of terms. It
// need not be readable.
type lines [4]int

// The elements of lines. The assembly reads them.
const (
	address = iota
	step    // bytes
	run     // terms
	jump    // bytes
)

// of sets the lines to those of the weights of BlockTerms steps of some terms from step k on and outs outputs from j on. Of
// weights [in, out], it leaves out the last terms if a step has more than one.
func (l *lines) of(w *Matrix, terms, k, j, outs int) {
	size := int(w.DType.Size())
	l[address] = int(uintptr(unsafe.Pointer(unsafe.SliceData(w.Data)))) + w.offset(k*terms, j)
	l[step], l[run] = outs*size, 1
	if !w.InOut {
		l[step], l[run] = outs*size*terms, BlockTerms/outs
	}
	l[jump] = w.Stride*size - l[run]*l[step]
}

// none sets the lines to a single one, which is in the cache.
func (l *lines) none() { l[step], l[run], l[jump] = 0, 1, 0 }

// stream are the cache lines that a direct prefetches: run consecutive lines from the first on, then as many
// after a gap of jump bytes, and so on.
type stream struct {
	first     *byte
	run, jump int
}

// stream returns the lines of the weights of outs outputs from j on and all terms from k on.
func (m *Matrix) stream(k, j, outs int) stream {
	size := int(m.DType.Size())
	at := m.offset(k, j)
	if at >= len(m.Data) {
		return stream{first: unsafe.SliceData(m.Data), run: 1, jump: -64}
	}
	s := stream{first: &m.Data[at], run: math.MaxInt}
	if m.InOut {
		s.run = outs * size / 64
		s.jump = m.Stride*size - s.run*64
	}
	return s
}
