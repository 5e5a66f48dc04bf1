package proof

import (
	"bytes"
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
