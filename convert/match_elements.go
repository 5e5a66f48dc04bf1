package convert

import (
	"cmp"
	"context"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Matcher tells whether tensors hold the same elements in different orders, as fast as both can be
// read. It holds some 40 MB, whatever the size of the tensors, and is for use by one goroutine.
type Matcher struct {
	memory  *storage.Buffer
	buffers *proofBuffers
}

// NewMatcher returns a Matcher for sources of at most that many bytes, that Close releases.
func NewMatcher(largest int64) (*Matcher, error) {
	memory, err := storage.NewBuffer(int(min(max(largest, 1), proofBlock)))
	if err != nil {
		return nil, err
	}
	buffers := newProofBuffers(memory.Bytes)
	buffers.window = make([]byte, matchWindow)
	return &Matcher{memory, buffers}, nil
}

// Close gives the memory back.
func (m *Matcher) Close() error { return m.memory.Free() }

// Demand is a view of one tensor, and another tensor that may hold those elements in row-major order.
type Demand struct {
	View tensor.View    // of the source's row-major elements
	Of   *tensor.Tensor // of the source's dtype, and the shape of View
}

// Match reports of each demand on a source whether it holds, bit for bit. The source is read once, as a
// stream where it has to be decoded, and no further than a difference takes; its checksums count where it
// has any. progress is told the bytes that were compared, while they are.
func (m *Matcher) Match(ctx context.Context, source *tensor.Tensor, demands []Demand, progress func(bytes int64)) ([]bool, error) {
	p := &Plan{}
	var others []*tensor.Tensor
	for i, d := range demands {
		other := *d.Of
		others = append(others, &other)
		p.Dests = append(p.Dests, Dest{Name: other.Name, DType: other.DType, Shape: other.Shape})
		p.Moves = append(p.Moves, Move{Source: source, View: d.View, Dest: i})
	}
	output, err := tensor.NewCheckpoint("", "", others)
	if err != nil {
		return nil, err
	}
	told := int64(0)
	v := newProver(p, output, func(done int64) {
		if progress != nil {
			progress(done - told)
		}
		told = done
	})
	v.ctx, v.firstOnly = ctx, true
	same := make([]bool, len(demands))
	var moves []*Move
	for i := range p.Moves {
		if p.Moves[i].View.Elements() == 0 {
			same[i] = true
			continue
		}
		moves = append(moves, &p.Moves[i])
	}
	slices.SortFunc(moves, func(a, b *Move) int {
		return cmp.Or(cmp.Compare(a.View.Offset, b.View.Offset), cmp.Compare(a.Dest, b.Dest))
	})
	if len(moves) == 0 {
		return same, nil
	}
	err = v.compareAll(moves, m.buffers, func(m *Move, held bool) { same[m.Dest] = held })
	return same, tensor.Annotate(err, tensor.Location{Tensor: source.Name})
}
