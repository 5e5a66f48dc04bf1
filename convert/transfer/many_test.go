package transfer

import (
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// What is known of a target while it is filled is given up when it is finished: there may be very many targets.
func TestFinishedTargetsAreSmall(t *testing.T) {
	var l moves.List
	for i := range 20 {
		s := tensortest.Stored("w", tensor.U8, []int64{4}, []byte("abcd"))
		l.Dests = append(l.Dests, moves.Dest{Name: string(rune('a' + i)), DType: tensor.U8, Shape: []int64{4}})
		l.Moves = append(l.Moves, moves.Move{Source: s, View: tensor.RowMajor(4), Dest: i})
	}
	e := jobsOf(t, l, newFiles(t, rand.New(rand.NewPCG(1, 1)), l), digest.BLAKE3, 100)
	if len(e.jobs) != 20 {
		t.Fatalf("%d jobs", len(e.jobs))
	}
	for i := range e.targets {
		target := &e.targets[i]
		e.filling(target).feed(0, []byte("abcd"))
		if err := e.finish(target, nil); err != nil {
			t.Fatal(err)
		}
		if target.filling.Load() != nil {
			t.Errorf("%s still has its hash", target.Name)
		}
	}
}
