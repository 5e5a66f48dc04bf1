package moves_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
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
		{moves.List{Dests: make([]moves.Dest, 2), Moves: []moves.Move{{Source: s, Dest: 1}, {Source: s}}}, "not in the order"},
	} {
		err := tt.list.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// The moves of a Dest are those that fill it.
func TestMovesOf(t *testing.T) {
	l := moves.List{Dests: make([]moves.Dest, 4), Moves: []moves.Move{{Offset: 1}, {Dest: 1, Offset: 2}, {Dest: 1, Offset: 3}, {Dest: 3, Offset: 4}}}
	for i, want := range []int{1, 2, 0, 1} {
		got := l.MovesOf(i)
		if len(got) != want || want > 0 && got[0].Dest != i {
			t.Errorf("%d: %+v", i, got)
		}
	}
}

// A Dest is found by its name, and of several of one name the last.
func TestFinder(t *testing.T) {
	var l moves.List
	for _, name := range []string{"b", "d", "a", "b", "f"} {
		l.Dests = append(l.Dests, moves.Dest{Name: name})
	}
	find := l.Finder()
	for name, want := range map[string]int{"a": 2, "b": 3, "d": 1, "f": 4, "": -1, "A": -1, "c": -1, "e": -1, "g": -1} {
		if got := find(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	if got := (moves.List{}).Finder()("a"); got != -1 {
		t.Errorf("in an empty list: %d", got)
	}
}

// Digests are those that were set, of each tensor its own.
func TestDigests(t *testing.T) {
	a, b, c := tensortest.Stored("a", tensor.U8, nil, nil), tensortest.Stored("b", tensor.U8, nil, nil), tensortest.Stored("c", tensor.U8, nil, nil)
	d := moves.NewDigests(moves.List{Dests: make([]moves.Dest, 2), Moves: []moves.Move{{Source: a}, {Source: b}, {Source: c}}})
	if sum, known := d.Source(a); known || sum != (digest.Sum{}) {
		t.Errorf("before it is set: %v", sum)
	}
	of := func(text string) digest.Sum { return digest.Of(digest.SHA256, []byte(text)) }
	d.SetDest(1, of("dest"))
	d.SetSource(b, of("b"))
	d.SetSource(a, of("a"))
	d.SetSource(b, of("b again"))
	for s, want := range map[*tensor.Tensor]string{a: "a", b: "b again"} {
		if sum, known := d.Source(s); !known || sum != of(want) {
			t.Errorf("%s: %v, %t", s.Name, sum, known)
		}
	}
	if _, known := d.Source(c); known || d.Dest(0) != (digest.Sum{}) || d.Dest(1) != of("dest") {
		t.Errorf("%v, %v", d.Dest(0), d.Dest(1))
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
	if got := maps.Collect(l.Copied()); !maps.Equal(got, map[*tensor.Tensor]int{a: 2}) {
		t.Errorf("copied %v", got)
	}
}

// Only the whole of a packed tensor can be moved, to the same type.
func TestIsBytewise(t *testing.T) {
	packed := &tensor.Tensor{DType: tensor.F4, Shape: []int64{4, 2}}
	bytes := &tensor.Tensor{DType: tensor.U8, Shape: []int64{4, 2}}
	nothing := &tensor.Tensor{DType: tensor.Invalid, Shape: []int64{4, 2}}
	whole := tensor.RowMajor(4, 2)
	for _, tt := range []struct {
		name string
		move moves.Move
		to   tensor.DType
		want bool
	}{
		{"whole", moves.Move{Source: packed, View: whole}, tensor.F4, true},
		{"another shape", moves.Move{Source: packed, View: tensor.RowMajor(8)}, tensor.F4, true},
		{"another type", moves.Move{Source: packed, View: whole}, tensor.F6E2M3, false},
		{"not packed", moves.Move{Source: bytes, View: whole}, tensor.U8, false},
		{"no type", moves.Move{Source: nothing, View: whole}, tensor.Invalid, false},
		{"behind another", moves.Move{Source: packed, View: whole, Offset: 8}, tensor.F4, false},
		{"divided", moves.Move{Source: packed, View: whole, Divide: 2}, tensor.F4, false},
		{"transposed", moves.Move{Source: packed, View: whole.Permute(1, 0)}, tensor.F4, false},
		{"first half", moves.Move{Source: packed, View: whole.Narrow(0, 0, 2)}, tensor.F4, false},
		{"nothing of the second half", moves.Move{Source: &tensor.Tensor{DType: tensor.F4, Shape: []int64{0}}, View: tensor.View{Shape: []int64{0}, Strides: []int64{1}, Offset: 8}}, tensor.F4, false},
	} {
		if got := tt.move.IsBytewise(tt.to); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestCast(t *testing.T) {
	source := &tensor.Tensor{DType: tensor.F32}
	src := []byte{0, 0, 0, 0x41, 0xff, 0xff, 0x7f, 0x7f} // 8 and the largest number
	for _, tt := range []struct {
		name   string
		divide float64
		to     tensor.DType
		want   []byte // nil for no function
		over   int64
	}{
		{"unchanged", 0, tensor.F32, nil, 0},
		{"rounded", 0, tensor.BF16, []byte{0x00, 0x41, 0x80, 0x7f}, 1},
		{"divided", 2, tensor.F32, []byte{0, 0, 0x80, 0x40, 0xff, 0xff, 0xff, 0x7e}, 0},
		{"divided and rounded", 2, tensor.BF16, []byte{0x80, 0x40, 0x00, 0x7f}, 0},
	} {
		cast, err := (&moves.Move{Source: source, Divide: tt.divide}).Cast(tt.to)
		if err != nil || (cast == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if cast == nil {
			continue
		}
		got := make([]byte, len(tt.want))
		if over, _ := cast(got, src); over != tt.over || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %x, %d overflows", tt.name, got, over)
		}
	}
	if _, err := (&moves.Move{Source: source}).Cast(tensor.I8); err == nil {
		t.Error("a cast to int8 was made")
	}
}

// Two sources with the same name have digests of their own.
func TestDigestsOfSources(t *testing.T) {
	a := tensortest.Stored("s", tensor.U8, []int64{2}, make([]byte, 2))
	b := tensortest.Stored("s", tensor.U8, []int64{2}, make([]byte, 2))
	other := tensortest.Stored("s", tensor.U8, []int64{2}, make([]byte, 2))
	l := moves.List{
		Dests: []moves.Dest{{Name: "half", DType: tensor.U8, Shape: []int64{1}}, {Name: "a", DType: tensor.U8, Shape: []int64{2}}, {Name: "b", DType: tensor.F32, Shape: []int64{2}}},
		Moves: []moves.Move{{Source: b, View: tensor.RowMajor(1)}, {Source: a, View: tensor.RowMajor(2), Dest: 1}, {Source: b, View: tensor.RowMajor(2), Dest: 2}},
	}
	find := l.SourceFinder()
	if find(b) != 0 || find(a) != 1 || find(other) != -1 {
		t.Errorf("sources are found at %d, %d and %d", find(b), find(a), find(other))
	}
	d := moves.NewDigests(l)
	for i, content := range []string{"0", "1", "2"} {
		d.SetDest(i, digest.Of(digest.BLAKE3, []byte(content)))
	}
	d.SetCopied(l)
	if sum, ok := d.Source(a); !ok || sum != d.Dest(1) {
		t.Errorf("a copied source has the digest %v", sum)
	}
	for _, s := range []*tensor.Tensor{b, other} {
		if sum, ok := d.Source(s); ok {
			t.Errorf("a source that is not copied has the digest %v", sum)
		}
	}
	want := digest.Of(digest.BLAKE3, []byte("b"))
	d.SetSource(b, want)
	if sum, ok := d.Source(b); !ok || sum != want {
		t.Errorf("digest %v", sum)
	}
}
