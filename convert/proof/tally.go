package proof

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
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
	changed    atomic.Bool             // a value that was rounded, or divided
	notFinite  map[*tensor.Tensor]bool // sources that have such numbers
	different  []*difference           // by index into List.Dests; nil for tensors without one
}

// difference is what differs in one tensor. Every tensor of a checkpoint may have one: it holds numbers, and messages are made from them
// when they are shown.
type difference struct {
	elements  int64
	refused   int64       // of them finite ones that became infinite as they were rounded
	first     int64       // element of the Dest, or byte if the move is bytewise
	move      *moves.Move // from which first comes
	want, got [16]byte    // of first: an element of the move's source, and one of the Dest
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

// differ adds n wrong elements of the Dest of a move. refused of them are wrong only because they became infinite. first is the index of the first wrong
// element; want and got are its bytes in the source and in the checkpoint.
func (t *tally) differ(m *moves.Move, n, refused, first int64, want, got []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.different[m.Dest]
	if d == nil {
		d = &difference{}
		t.different[m.Dest] = d
	}
	d.elements += n
	d.refused += refused
	if d.move == nil || first < d.first {
		d.move, d.first = m, first
		copy(d.want[:], want)
		copy(d.got[:], got)
	}
}

// proof returns the result. dests are the tensors that were compared, by index into List.Dests.
func (t *tally) proof(l moves.List, written *tensor.Checkpoint, dests []*tensor.Tensor, extra []int32) *Proof {
	var failed []int32 // indexes into List.Dests
	for i := range l.Dests {
		if dests[i] == nil || t.different[i] != nil {
			failed = append(failed, int32(i))
		}
	}
	var notFinite []*tensor.Tensor
	for i := range l.Moves {
		if s := l.Moves[i].Source; t.notFinite[s] {
			notFinite = append(notFinite, s)
			delete(t.notFinite, s)
		}
	}
	different := t.different
	return &Proof{NotFinite: notFinite, Tensors: len(l.Dests), Elements: t.elements, Bytes: t.bytes, Rounded: t.rounded, Overflowed: t.overflowed, Changed: t.changed.Load(),
		Failures: strictjson.NewList(len(failed)+len(extra), func(k int) Failure {
			if k >= len(failed) {
				return Failure{Dest: -1, Tensor: written.Tensors()[extra[k-len(failed)]].Name, Problem: "not part of the conversion"}
			}
			i := int(failed[k])
			if dests[i] == nil {
				return Failure{Dest: i, Tensor: l.Dests[i].Name, Problem: structureProblem(&l.Dests[i], written.Tensor(l.Dests[i].Name))}
			}
			return different[i].failure(&l.Dests[i])
		})}
}

// structureProblem says why a tensor cannot be compared with a Dest; "" if it can. t is nil if there is none.
func structureProblem(d *moves.Dest, t *tensor.Tensor) string {
	switch {
	case t == nil:
		return "missing"
	case t.DType != d.DType:
		return fmt.Sprintf("%s instead of %s", t.DType, d.DType)
	case !slices.Equal(t.Shape, d.Shape):
		return fmt.Sprintf("shape %s instead of %s", tensor.ShapeString(t.Shape), tensor.ShapeString(d.Shape))
	}
	return ""
}

// failure describes the difference in a Dest.
func (x *difference) failure(d *moves.Dest) Failure {
	from, to, first := x.move.Source.DType, d.DType, x.first
	if x.move.IsBytewise(to) {
		first = first * 8 / int64(to.Bits())
		from, to = tensor.U8, tensor.U8
	}
	return Failure{Dest: x.move.Dest, Tensor: d.Name, Source: x.move.Source.Name, Index: tensor.Unravel(first, d.Shape), Differing: x.elements, Overflowed: x.refused,
		Want: valueString(from, x.want[:from.Size()]), Got: valueString(to, x.got[:to.Size()])}
}
