package proof

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
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
	if len(p.digests.open) != 0 {
		t.Errorf("%d digests are open", len(p.digests.open))
	}
	for i := range l.Dests {
		if source, ok := proof.Digests.Source(l.Moves[i].Source); !ok || proof.Digests.Dest(i) != digest.Of(digest.BLAKE3, []byte("abcd")) || source != digest.Of(digest.SHA256, []byte("abcd")) {
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
		if err != nil || proof.Failures.Len() != 1 {
			t.Fatal(err, proof)
		}
		var want digest.Sum
		if tt.dests != 0 {
			want = sum
		}
		d := proof.Digests
		if d.Dest(0) != (digest.Sum{}) || d.Dest(1) != want {
			t.Errorf("%+v: written %v", tt, d.Dest(1))
		}
		if got, ok := d.Source(source); ok != (tt.sources != 0) || ok && got != sum {
			t.Errorf("%+v: source %v", tt, got)
		}
		if n := data.Opened.Load(); n != 1 {
			t.Errorf("%+v: the source was opened %d times", tt, n)
		}
	}
}

// counted counts the bytes that are read.
type counted struct {
	io.ReaderAt
	read atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.read.Add(int64(n))
	return n, err
}

// Digests are computed from what is compared: also of a tensor that is made of several, and of one that several are made of, nothing is read
// for them again.
func TestDigestsReadNothing(t *testing.T) {
	var stores []*counted
	stored := func(name, content string) *tensor.Tensor {
		x := tensortest.Stored(name, tensor.U8, []int64{int64(len(content))}, []byte(content))
		layout := x.Data.(*tensor.Strided)
		s := &counted{ReaderAt: layout.Store}
		layout.Store = s
		stores = append(stores, s)
		return x
	}
	part := func(from, n int64) tensor.View {
		v := tensor.RowMajor(n)
		v.Offset = from
		return v
	}
	a, b, c := stored("a", "abcd"), stored("b", "efgh"), stored("c", "ijkl")
	l := moves.List{
		Dests: []moves.Dest{{Name: "abc", DType: tensor.U8, Shape: []int64{12}}, {Name: "c1", DType: tensor.U8, Shape: []int64{2}}, {Name: "c2", DType: tensor.U8, Shape: []int64{2}}},
		Moves: []moves.Move{{Source: a, View: part(0, 4)}, {Source: b, View: part(0, 4), Offset: 4}, {Source: c, View: part(0, 4), Offset: 8},
			{Source: c, View: part(0, 2), Dest: 1}, {Source: c, View: part(2, 2), Dest: 2}},
	}
	written, err := tensor.NewCheckpoint("w", "test", []*tensor.Tensor{stored("abc", "abcdefghijkl"), stored("c1", "ij"), stored("c2", "kl")})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := newProver(l, written, Options{}).run(t.Context())
	if err != nil || plain.Err() != nil {
		t.Fatal(err, plain)
	}
	var want []int64
	for _, s := range stores {
		want = append(want, s.read.Swap(0))
	}
	for _, o := range []Options{{Sources: digest.BLAKE3, Dests: digest.BLAKE3}, {Sources: digest.BLAKE3}, {Dests: digest.BLAKE3}} {
		proof, err := newProver(l, written, o).run(t.Context())
		if err != nil || proof.Err() != nil {
			t.Fatal(err, proof)
		}
		for i, s := range stores {
			if got := s.read.Swap(0); got != want[i] {
				t.Errorf("%+v: %d bytes of tensor %d are read, %d without digests", o, got, i, want[i])
			}
		}
		for i, content := range []string{"abcdefghijkl", "ij", "kl"} {
			if proof.Digests.Dest(i) != digest.Of(o.Dests, []byte(content)) {
				t.Errorf("%+v: wrong digest of %s", o, content)
			}
		}
		for s, content := range map[*tensor.Tensor]string{a: "abcd", b: "efgh", c: "ijkl"} {
			if sum, _ := proof.Digests.Source(s); sum != digest.Of(o.Sources, []byte(content)) {
				t.Errorf("%+v: wrong digest of %s", o, content)
			}
		}
	}
}

// onceOnly is a stream that cannot be opened again.
type onceOnly struct{ once tensortest.Stream }

func (s *onceOnly) Stream(off int64) (io.ReadCloser, error) {
	if s.once.Opened.Load() > 0 {
		return nil, errGone
	}
	return s.once.Stream(off)
}

var errGone = errors.New("the file is gone")

// The rest of a source that is only compared in part is read for its digest, and that this fails is an error.
func TestDigestsOfParts(t *testing.T) {
	for _, fails := range []bool{false, true} {
		s := &tensor.Tensor{Name: "s", DType: tensor.U8, Shape: []int64{8}, Data: &tensortest.Stream{Content: []byte("abcdefgh")}}
		if fails {
			s.Data = &onceOnly{tensortest.Stream{Content: []byte("abcdefgh")}}
		}
		l := moves.List{Dests: []moves.Dest{{Name: "d", DType: tensor.U8, Shape: []int64{4}}}, Moves: []moves.Move{{Source: s, View: tensor.RowMajor(4)}}}
		written, err := tensor.NewCheckpoint("w", "test", []*tensor.Tensor{tensortest.Stored("d", tensor.U8, []int64{4}, []byte("abcd"))})
		if err != nil {
			t.Fatal(err)
		}
		proof, err := newProver(l, written, Options{Sources: digest.BLAKE3}).run(t.Context())
		if fails {
			if !errors.Is(err, errGone) {
				t.Errorf("%v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if sum, _ := proof.Digests.Source(s); sum != digest.Of(digest.BLAKE3, []byte("abcdefgh")) {
			t.Errorf("%v", sum)
		}
	}
}
