package moves_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// Lists that leave elements out, fill them twice, or read what is not there are refused.
func TestCheck(t *testing.T) {
	s := tensortest.Stored("s", tensor.U8, []int64{10}, make([]byte, 10))
	list := func(n int64, filling ...moves.Move) moves.List {
		for i := range filling {
			filling[i].Source = s
		}
		return moves.List{Dests: []moves.Dest{{Name: "w", DType: tensor.U8, Shape: []int64{n}}}, Moves: filling}
	}
	for _, tt := range []struct {
		list moves.List
		want string
	}{
		{list(10, moves.Move{View: tensor.RowMajor(10)}), ""},
		{list(10, moves.Move{View: tensor.RowMajor(5), Offset: 5}, moves.Move{View: tensor.RowMajor(5)}), ""},
		{list(0), ""},
		{list(11, moves.Move{View: tensor.RowMajor(10)}), "fills 10 of the 11 elements of w"},
		{list(9, moves.Move{View: tensor.RowMajor(5)}, moves.Move{View: tensor.RowMajor(5), Offset: 4}), "elements 4 to 5 of w"},
		{list(10, moves.Move{View: tensor.RowMajor(11)}), "plan for s"},
		{list(10, moves.Move{View: tensor.RowMajor(10), Dest: 1}), "does not have"},
	} {
		err := tt.list.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestSourcesAndCopied(t *testing.T) {
	a := tensortest.Stored("a", tensor.U8, []int64{2, 3}, make([]byte, 6))
	b := tensortest.Stored("b", tensor.F32, []int64{2}, make([]byte, 8))
	c := tensortest.Stored("c", tensor.F32, []int64{2}, make([]byte, 8))
	whole := tensor.RowMajor(2, 3)
	l := moves.List{
		Dests: []moves.Dest{{Name: "transposed", DType: tensor.U8, Shape: []int64{3, 2}}, {Name: "cast", DType: tensor.BF16, Shape: []int64{2}},
			{Name: "copied", DType: tensor.U8, Shape: []int64{6}}, {Name: "divided", DType: tensor.F32, Shape: []int64{2}}, {Name: "part", DType: tensor.F32, Shape: []int64{1}}},
		Moves: []moves.Move{{Source: a, View: whole.Permute(1, 0)}, {Source: b, View: tensor.RowMajor(2), Dest: 1}, {Source: a, View: whole, Dest: 2},
			{Source: b, View: tensor.RowMajor(2), Dest: 3, Divide: 2}, {Source: c, View: tensor.RowMajor(1), Dest: 4}},
	}
	if got := l.Sources(); !slices.Equal(got, []*tensor.Tensor{a, b, c}) {
		t.Errorf("sources %v", got)
	}
	if got := l.Copied(); !maps.Equal(got, map[*tensor.Tensor]int{a: 2}) {
		t.Errorf("copied %v", got)
	}
}
