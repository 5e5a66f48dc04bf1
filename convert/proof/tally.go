package proof

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// tally counts what was compared and collects what differs. It is safe for use by several goroutines.
type tally struct {
	mu         sync.Mutex
	progress   func(done int64) // nil if progress is not reported
	bytes      int64
	elements   int64
	rounded    int64
	overflowed int64
	failures   map[int]*Failure // by index into List.Dests; by -1 and below for tensors that are not in the list
}

// compared adds elements that were compared.
func (t *tally) compared(elements, bytes int64, rounded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.elements += elements
	if rounded {
		t.rounded += elements
	}
	t.bytes += bytes
	if t.progress != nil {
		t.progress(t.bytes)
	}
}

// addOverflowed adds elements that became infinite.
func (t *tally) addOverflowed(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.overflowed += n
}

// differ adds n elements of a Dest that are not what a move gives. index is that of the first of them.
func (t *tally) differ(dest int, d *moves.Dest, n int64, index []int64, source, want, got string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.failures[dest]
	if f == nil {
		f = &Failure{Tensor: d.Name}
		t.failures[dest] = f
	}
	f.Differing += n
	if f.Index == nil || slices.Compare(index, f.Index) < 0 {
		f.Source, f.Index, f.Want, f.Got = source, index, want, got
	}
}

// proof returns the result.
func (t *tally) proof(l moves.List) *Proof {
	p := &Proof{Tensors: len(l.Dests), Elements: t.elements, Bytes: t.bytes, Failures: []Failure{}, Rounded: t.rounded, Overflowed: t.overflowed}
	for _, f := range t.failures {
		if f.Differing > 0 {
			f.Problem = fmt.Sprintf("%d elements differ; the first, %s, is %s instead of %s (from %s)",
				f.Differing, tensor.ShapeString(f.Index), f.Got, f.Want, f.Source)
		}
		p.Failures = append(p.Failures, *f)
	}
	slices.SortFunc(p.Failures, func(a, b Failure) int { return cmp.Compare(a.Tensor, b.Tensor) })
	return p
}
