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
	var source *tensor.Tensor // of two moves each
	for i := range 20 {
		name := fmt.Sprint(i)
		if i%2 == 0 {
			source = tensortest.Stored(name, tensor.U8, []int64{4}, []byte("abcd"))
		}
		l.Dests = append(l.Dests, moves.Dest{Name: name, DType: tensor.U8, Shape: []int64{4}})
		l.Moves = append(l.Moves, moves.Move{Source: source, View: tensor.RowMajor(4), Dest: i})
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
	if len(p.digests.open) != 0 || len(proof.Digests.Sources) != 10 {
		t.Errorf("%d digests are open, %d sources have one", len(p.digests.open), len(proof.Digests.Sources))
	}
	for i, sum := range proof.Digests.Dests {
		if sum != digest.Of(digest.BLAKE3, []byte("abcd")) || proof.Digests.Sources[l.Moves[i].Source] != digest.Of(digest.SHA256, []byte("abcd")) {
			t.Errorf("%d: wrong digest", i)
		}
	}
}

// Digests of one side only are those of that side, and a source that was read for them is not read again. A tensor that is missing
// has no digest.
func TestDigestsOfOneSide(t *testing.T) {
	data := &tensortest.Stream{Content: []byte("abcd")}
	source := &tensor.Tensor{Name: "s", DType: tensor.U8, Shape: []int64{4}, Data: data}
	var l moves.List
	for i, name := range []string{"missing", "w"} {
		l.Dests = append(l.Dests, moves.Dest{Name: name, DType: tensor.U8, Shape: []int64{4}})
		l.Moves = append(l.Moves, moves.Move{Source: source, View: tensor.RowMajor(4), Dest: i})
	}
	c, err := tensor.NewCheckpoint("w", "test", []*tensor.Tensor{tensortest.Stored("w", tensor.U8, []int64{4}, []byte("abcd"))})
	if err != nil {
		t.Fatal(err)
	}
	sum := digest.Of(digest.SHA256, []byte("abcd"))
	for _, tt := range []struct{ sources, dests digest.Algorithms }{{digest.SHA256, 0}, {0, digest.SHA256}, {digest.SHA256, digest.SHA256}} {
		data.Opened.Store(0)
		proof, err := Prove(t.Context(), l, c, Options{Sources: tt.sources, Dests: tt.dests})
		if err != nil || len(proof.Failures) != 1 {
			t.Fatal(err, proof)
		}
		var want digest.Sum
		if tt.dests != 0 {
			want = sum
		}
		d := proof.Digests
		if d.Dests[0] != (digest.Sum{}) || d.Dests[1] != want {
			t.Errorf("%+v: written %v", tt, d.Dests)
		}
		if got, ok := d.Sources[source]; ok != (tt.sources != 0) || ok && got != sum {
			t.Errorf("%+v: source %v", tt, d.Sources)
		}
		if n := data.Opened.Load(); n != 1 {
			t.Errorf("%+v: the source was opened %d times", tt, n)
		}
	}
}
