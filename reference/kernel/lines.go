package kernel

import (
	"math"
	"unsafe"
)

// lines are the cache lines of weights that are needed next. They are fetched while a tile is
// multiplied: for each term the line at an address and the one after it, then those a step further
// on, and after each run of terms those a jump further still. The address need not be one of memory
// that can be read.
type lines [4]int

// The elements of lines, which the assembly knows.
const (
	address = iota
	step    // bytes
	run     // terms
	jump    // bytes
)

// of sets the lines of the block of outs outputs and BlockTerms terms that begins at term k and output j.
func (l *lines) of(w *Matrix, k, j, outs int) {
	size := int(w.DType.Size())
	l[address] = int(uintptr(unsafe.Pointer(unsafe.SliceData(w.Data)))) + w.offset(k, j)
	l[step], l[run] = outs*size, 1
	if !w.InOut {
		l[run] = BlockTerms / outs
	}
	l[jump] = w.Stride*size - l[run]*l[step]
}

// none fetches the same line over and over, which costs nothing.
func (l *lines) none() { l[step], l[run], l[jump] = 0, 1, 0 }

// stream are the cache lines of weights that are needed next where they are not packed: run lines from the
// first on, then those that lie jump bytes further on, and so forth.
type stream struct {
	first     *byte
	run, jump int
}

// stream returns the lines of outs outputs from term k and output j on: all terms of them, or where the
// weights are [in, out], rows of them.
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
