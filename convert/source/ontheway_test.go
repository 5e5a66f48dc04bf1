package source

import (
	"bytes"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// What is read of a tensor's bytes in a file is hashed, and nothing else.
func TestDigestedStore(t *testing.T) {
	file := []byte("...abcdefgh.........")
	for _, tt := range []struct {
		name  string
		reads [][2]int // offset, length
		known int64    // bytes from the first on
	}{
		{"whole", [][2]int{{3, 8}}, 8},
		{"in two", [][2]int{{3, 4}, {7, 4}}, 8},
		{"backwards", [][2]int{{7, 4}, {3, 4}}, 8},
		{"and more", [][2]int{{3, 17}}, 8},
		{"a part", [][2]int{{3, 4}}, 4},
		{"from before it", [][2]int{{0, 20}}, 0},
		{"the last byte", [][2]int{{10, 5}, {3, 7}}, 8},
		{"behind it", [][2]int{{11, 4}}, 0},
	} {
		d := NewDigest(tensortest.Stored("w", tensor.U8, []int64{8}, file[3:11]), digest.BLAKE3)
		s := &digestedStore{bytes.NewReader(file), d, 3, 8}
		for _, r := range tt.reads {
			if n, err := s.ReadAt(make([]byte, r[1]), int64(r[0])); n != r[1] || err != nil {
				t.Fatalf("%s: %d, %v", tt.name, n, err)
			}
		}
		if got := d.hash.Missing(8); got != tt.known {
			t.Errorf("%s: %d bytes are known, want %d", tt.name, got, tt.known)
		}
		if sum, err := d.Sum(t.Context()); err != nil || sum != digest.Of(digest.BLAKE3, file[3:11]) {
			t.Errorf("%s: wrong digest, %v", tt.name, err)
		}
	}
}

// A reader hashes a tensor in a file where its bytes lie in one piece.
func TestReaderHashes(t *testing.T) {
	content := []byte("abcdefgh")
	for name, view := range map[string]tensor.View{"in one piece": tensor.RowMajor(2, 4), "transposed": tensor.RowMajor(4, 2).Permute(1, 0)} {
		w := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{2, 4}, Data: &tensor.Strided{Store: bytes.NewReader(content), Length: 8, DType: tensor.U8, View: view}}
		for _, wanted := range []bool{true, false} {
			var d *Digest
			if wanted {
				d = NewDigest(w, digest.BLAKE3)
			}
			in, err := Open(w, d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.Layout().Store.ReadAt(make([]byte, 8), 0); err != nil {
				t.Fatal(err)
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			if wanted && (d.hash.Missing(8) == 8) != view.IsRowMajor() {
				t.Errorf("%s: %d bytes are known", name, d.hash.Missing(8))
			}
		}
	}
}

func TestCovers(t *testing.T) {
	w := tensortest.Stored("w", tensor.U8, []int64{1}, []byte("a"))
	sha, both := NewDigest(w, digest.SHA256), NewDigest(w, digest.SHA256|digest.BLAKE3)
	for _, tt := range []struct {
		d, other *Digest
		want     bool
	}{{nil, nil, true}, {sha, nil, true}, {nil, sha, false}, {sha, both, false}, {both, sha, true}, {sha, sha, true}} {
		if got := tt.d.Covers(tt.other); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
	both.Feed(0, []byte("a"))
	other := NewDigest(w, digest.SHA256|digest.BLAKE3)
	other.Adopt(nil)
	if other.hash.Missing(1) != 0 {
		t.Error("something was adopted of nothing")
	}
	other.Adopt(both)
	if other.hash.Missing(1) != 1 {
		t.Error("nothing was adopted")
	}
	(*Digest)(nil).Adopt(both)
}
