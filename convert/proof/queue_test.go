package proof

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Large sources are compared first, and small ones in the order in which they lie in their file, whatever their names and sizes: a server
// is asked for neighbours at once.
func TestQueueFollowsFiles(t *testing.T) {
	store := bytes.NewReader(nil)
	var list moves.List
	var stored []*tensor.Tensor
	for i, s := range []struct {
		name           string
		elements, from int64
	}{{"d", 4, 500}, {"c", 8, 0}, {"large", 2 * smallSource, 1000}, {"b", 4, 8}, {"larger", 3 * smallSource, 9 * smallSource}, {"a", 2, 400}} {
		shape := []int64{s.elements}
		x := &tensor.Tensor{Name: s.name, DType: tensor.U8, Shape: shape}
		x.Data = &tensor.Strided{Store: store, Base: s.from, Length: s.elements, DType: tensor.U8, View: tensor.RowMajor(shape...)}
		stored = append(stored, x)
		list.Dests = append(list.Dests, moves.Dest{Name: s.name, DType: tensor.U8, Shape: shape})
		list.Moves = append(list.Moves, moves.Move{Source: x, View: tensor.RowMajor(shape...), Dest: i})
	}
	c, err := tensor.NewCheckpoint("written", "test", stored)
	if err != nil {
		t.Fatal(err)
	}
	p := newProver(list, c, Options{})
	p.digests = &digests{left: make([]int32, len(list.Dests))}
	p.checkStructure()
	var order []string
	q := p.queue()
	for group := q.next(); group != nil; group = q.next() {
		order = append(order, group[0].Source.Name)
	}
	if want := []string{"larger", "large", "c", "b", "a", "d"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

// fresh is Data in a store that is another one whenever it is asked for, as values in the tree of an OCDBT database are.
type fresh struct{ tensor.Data }

func (f fresh) Extents() []tensor.Extent {
	return []tensor.Extent{{Store: struct{ io.ReaderAt }{bytes.NewReader(nil)}, Length: 4}}
}

// All moves from a source are compared by one worker, whose digest of the source others do not share.
func TestQueueKeepsMovesOfSourceTogether(t *testing.T) {
	var list moves.List
	var sources, written []*tensor.Tensor
	for _, name := range []string{"a", "b", "c"} {
		sources = append(sources, &tensor.Tensor{Name: name, DType: tensor.U8, Shape: []int64{4}, Data: fresh{}})
	}
	for half := range int64(2) {
		for i, s := range sources {
			d := moves.Dest{Name: s.Name + []string{"1", "2"}[half], DType: tensor.U8, Shape: []int64{2}}
			list.Moves = append(list.Moves, moves.Move{Source: s, View: tensor.RowMajor(4).Narrow(0, 2*half, 2), Dest: int(half)*len(sources) + i})
			list.Dests = append(list.Dests, d)
			written = append(written, &tensor.Tensor{Name: d.Name, DType: d.DType, Shape: d.Shape})
		}
	}
	c, err := tensor.NewCheckpoint("written", "test", written)
	if err != nil {
		t.Fatal(err)
	}
	p := newProver(list, c, Options{})
	p.digests = &digests{left: make([]int32, len(list.Dests))}
	p.checkStructure()
	var groups []string
	q := p.queue()
	for group := q.next(); group != nil; group = q.next() {
		text := ""
		for _, m := range group {
			text += list.Dests[m.Dest].Name
		}
		groups = append(groups, text)
	}
	if want := []string{"a1a2", "b1b2", "c1c2"}; !slices.Equal(groups, want) {
		t.Errorf("%q, want %q", groups, want)
	}
}
