package reference

import (
	"sync"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// memory is what an engine computes in. It is kept for the next one, because a pass through one block
// or of one token takes less time than getting it from the system.
type memory[T kernel.Float] struct {
	scratch []kernel.Scratch[T] // one for each goroutine
	packed  kernel.Rows[T]      // x of the product that is being computed
	spare   [][]T               // activations that are not used any more
	vectors []T                 // the small parameters of the block that is being computed
}

var memories32, memories64 sync.Pool

func memories[T kernel.Float]() *sync.Pool {
	var zero T
	if _, ok := any(zero).(float64); ok {
		return &memories64
	}
	return &memories32
}

// takeMemory returns memory for a number of goroutines, and free gives it back.
func takeMemory[T kernel.Float](threads int) *memory[T] {
	m, ok := memories[T]().Get().(*memory[T])
	if !ok {
		m = &memory[T]{}
	}
	if len(m.scratch) < threads {
		m.scratch = make([]kernel.Scratch[T], threads)
	}
	return m
}

func (m *memory[T]) free() { memories[T]().Put(m) }

// vector returns n elements with any content, which are valid until dropVectors.
func (m *memory[T]) vector(n int) []T {
	if cap(m.vectors)-len(m.vectors) < n {
		m.vectors = make([]T, 0, max(2*cap(m.vectors), n)) // others keep the memory that they have
	}
	m.vectors = m.vectors[:len(m.vectors)+n]
	return m.vectors[len(m.vectors)-n:]
}

// dropVectors ends the use of all vectors.
func (m *memory[T]) dropVectors() { m.vectors = m.vectors[:0] }

// spareActivations is the most activations that are kept.
const spareActivations = 8

// take returns n elements that are zero.
func (m *memory[T]) take(n int) []T {
	for i, x := range m.spare {
		if cap(x) >= n && cap(x) <= 2*n {
			last := len(m.spare) - 1
			m.spare[i] = m.spare[last]
			m.spare = m.spare[:last]
			x = x[:n]
			clear(x)
			return x
		}
	}
	x := make([]T, n)
	clear(x) // a page that is first read costs a second fault when it is written
	return x
}

// give returns activations that are not used any more, for take.
func (m *memory[T]) give(xs ...[]T) {
	for _, x := range xs {
		if len(m.spare) == spareActivations {
			copy(m.spare, m.spare[1:])
			m.spare = m.spare[:spareActivations-1]
		}
		m.spare = append(m.spare, x)
	}
}
