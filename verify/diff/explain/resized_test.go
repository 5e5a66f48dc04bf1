package explain

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A tensor of other rows is described by how many of them are the same, if half are.
func TestResized(t *testing.T) {
	rows := func(content string) *tensor.Tensor { // two bytes each
		return &tensor.Tensor{Name: "x", DType: tensor.U8, Shape: []int64{int64(len(content)), 2}, Data: stored{[]byte(doubled(content))}}
	}
	for _, tt := range []struct{ a, b, want string }{
		{"abcd", "abc", "from 4 to 3 rows: the first 3 are the same"},
		{"abcd", "abcdef", "from 4 to 6 rows: the first 4 are the same"},
		{"abcd", "bd", "from 4 to 2 rows: each is one of A's, in the same order"},
		{"abcd", "dcb", "from 4 to 3 rows: each is one of A's"},
		{"abcd", "aa", "from 4 to 2 rows: each is one of A's, in the same order"},
		{"abcd", "abxyz", "from 4 to 5 rows: of the first 4, 2 are the same"},
		{"abcd", "xyczw", ""},
		{"abcd", "xbz", ""},
		{"abcd", "bcdxy", ""}, // only a removal may leave rows elsewhere
		{"abcdef", "axcy", "from 6 to 4 rows: of the first 4, 2 are the same"},
	} {
		steps, err := resized(t.Context(), rows(tt.a), rows(tt.b))
		got := ""
		if len(steps) == 1 && steps[0].Kind == Resized {
			got = steps[0].Detail
		}
		if err != nil || got != tt.want || len(steps) > 1 {
			t.Errorf("%s to %s: %q, want %q; %v", tt.a, tt.b, got, tt.want, err)
		}
	}
}

// Rows are compared in the dtype of the second tensor.
func TestResizedDType(t *testing.T) {
	bits := func(values ...float32) (out []byte) {
		for _, v := range values {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		}
		return out
	}
	half := func(values ...float32) []byte {
		out := make([]byte, 2*len(values))
		cast, err := tensor.NewCast(tensor.F32, tensor.BF16)
		if err != nil {
			t.Fatal(err)
		}
		cast(out, bits(values...))
		return out
	}
	single := &tensor.Tensor{Name: "x", DType: tensor.F32, Shape: []int64{3, 2}, Data: stored{bits(1, 1.001, 2, 3, 4, 5)}}
	for _, tt := range []struct {
		a, b *tensor.Tensor
		want string
	}{
		{single, &tensor.Tensor{Name: "x", DType: tensor.BF16, Shape: []int64{2, 2}, Data: stored{half(1, 1.001, 2, 3)}}, "from 3 to 2 rows: the first 2 are the same, rounded to bfloat16"},
		{&tensor.Tensor{Name: "x", DType: tensor.BF16, Shape: []int64{2, 2}, Data: stored{half(1, 1, 2, 3)}}, single, "from 2 to 3 rows: of the first 2, 1 are the same"},
	} {
		steps, err := resized(t.Context(), tt.a, tt.b)
		if err != nil || len(steps) != 1 || steps[0].Detail != tt.want {
			t.Errorf("%+v, want %q; %v", steps, tt.want, err)
		}
	}
}

func doubled(s string) string {
	out := ""
	for _, r := range s {
		out += string(r) + string(r)
	}
	return out
}

// Only the number of rows may differ.
func TestResizedRows(t *testing.T) {
	x := func(d tensor.DType, shape ...int64) *tensor.Tensor { return &tensor.Tensor{DType: d, Shape: shape} }
	for _, tt := range []struct {
		a, b *tensor.Tensor
		want bool
	}{
		{x(tensor.F32, 3, 2), x(tensor.F32, 4, 2), true}, {x(tensor.F32, 3), x(tensor.F32, 4), true},
		{x(tensor.F32, 3, 2), x(tensor.F32, 3, 2), false}, {x(tensor.F32, 3, 2), x(tensor.F32, 4, 3), false}, {x(tensor.F32, 3, 2), x(tensor.F16, 4, 2), true}, {x(tensor.F32, 3, 2), x(tensor.I32, 4, 2), false},
		{x(tensor.F32, 3, 2), x(tensor.F32, 4, 2, 1), false}, {x(tensor.F32), x(tensor.F32), false}, {x(tensor.F4, 4, 2), x(tensor.F4, 2, 2), false},
		{x(tensor.F32, 0, 2), x(tensor.F32, 4, 2), false}, {x(tensor.F32, 4, 2), x(tensor.F32, 0, 2), false},
		{x(tensor.U8, 1, 1), x(tensor.U8, maxRows, 1), true}, {x(tensor.U8, 1, 1), x(tensor.U8, maxRows+1, 1), false}, {x(tensor.U8, maxRows+1, 1), x(tensor.U8, 1, 1), false},
	} {
		if got := ResizedRows(tt.a, tt.b); got != tt.want {
			t.Errorf("%s%v, %s%v: %t", tt.a.DType, tt.a.Shape, tt.b.DType, tt.b.Shape, got)
		}
	}
}

// Rows are told apart wherever the pieces that are read end.
func TestRowHasher(t *testing.T) {
	const rows = "aaaabbbbccccdddd"
	for _, piece := range []int{1, 3, 4, 5, 7, 16} {
		r := rowHasher{size: 4, hash: sha256.New()}
		for p := []byte(rows); len(p) > 0; p = p[min(piece, len(p)):] {
			r.add(p[:min(piece, len(p))])
		}
		if len(r.sums) != 4 {
			t.Errorf("pieces of %d: %d rows", piece, len(r.sums))
			continue
		}
		for i, sum := range r.sums {
			if sum != sha256.Sum256([]byte(rows[4*i:][:4])) {
				t.Errorf("pieces of %d: row %d has another digest", piece, i)
			}
		}
	}
}
