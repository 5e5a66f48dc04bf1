package proof

import (
	"fmt"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Running digests are those of tensors that are being compared, not of all: there may be very many.
func TestDigestsAreClosed(t *testing.T) {
	var l moves.List
	var written []*tensor.Tensor
	for i := range 20 {
		name := fmt.Sprint(i)
		l.Dests = append(l.Dests, moves.Dest{Name: name, DType: tensor.U8, Shape: []int64{4}})
		l.Moves = append(l.Moves, moves.Move{Source: tensortest.Stored(name, tensor.U8, []int64{4}, []byte("abcd")), View: tensor.RowMajor(4), Dest: i})
		written = append(written, tensortest.Stored(name, tensor.U8, []int64{4}, []byte("abcd")))
	}
	c, err := tensor.NewCheckpoint("w", "test", written)
	if err != nil {
		t.Fatal(err)
	}
	p := newProver(l, c, Options{Sources: digest.SHA256, Dests: digest.BLAKE3})
	proof, err := p.run(t.Context())
	if err != nil || proof.Err() != nil {
		t.Fatal(err, proof)
	}
	if len(p.digests.open) != 0 || len(proof.Digests.Sources) != 20 {
		t.Errorf("%d digests are open, %d sources have one", len(p.digests.open), len(proof.Digests.Sources))
	}
	for i, sum := range proof.Digests.Dests {
		if sum != digest.Of(digest.BLAKE3, []byte("abcd")) || proof.Digests.Sources[l.Moves[i].Source] != digest.Of(digest.SHA256, []byte("abcd")) {
			t.Errorf("%d: wrong digest", i)
		}
	}
}
