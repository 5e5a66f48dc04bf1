package proof

import (
	"context"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Matcher finds out whether tensors hold the same elements in different orders, as fast as both can
// be read. It holds at most 40 MB, whatever the size of the tensors, and is for use by one goroutine.
type Matcher struct {
	memory    *storage.Buffer
	buffers   *buffers
	notFinite bool
}

// NewMatcher returns a Matcher for sources of at most largest bytes. Close releases its memory.
func NewMatcher(largest int64) (*Matcher, error) {
	memory, err := storage.NewBuffer(int(min(max(largest, 1), blockBytes)))
	if err != nil {
		return nil, err
	}
	return &Matcher{memory: memory, buffers: &buffers{block: memory.Bytes, window: make([]byte, matchWindow)}}, nil
}

// Close releases the memory.
func (m *Matcher) Close() error { return m.memory.Free() }

// Candidate is a tensor that may hold the elements of a view of another tensor in row-major order. It
// has the dtype of that tensor and the shape of the view.
type Candidate struct {
	View   tensor.View // of the source's row-major elements
	Tensor *tensor.Tensor
}

// Match reports for each candidate whether it holds the elements of its view of the source, bit for
// bit. The source is read once, as a stream if it has to be decoded, and no further than to the first
// differences; if all of it is read, its checksum is checked. progress, if not nil, is called with the
// number of bytes that were compared since its last call.
func (m *Matcher) Match(ctx context.Context, source *tensor.Tensor, candidates []Candidate, progress func(bytes int64)) ([]bool, error) {
	c := &comparer{ctx: ctx, tally: &tally{different: make([]*difference, len(candidates))}, piece: windowBytes, stopEarly: true}
	if progress != nil {
		reported := int64(0)
		c.tally.progress = func(done int64) {
			progress(done - reported)
			reported = done
		}
	}
	m.notFinite = false
	equal := make([]bool, len(candidates))
	for i, x := range candidates {
		c.list.Dests = append(c.list.Dests, moves.Dest{Name: x.Tensor.Name, DType: x.Tensor.DType, Shape: x.Tensor.Shape})
		c.dests = append(c.dests, x.Tensor)
		if x.View.Elements() == 0 {
			equal[i] = true
			continue
		}
		c.list.Moves = append(c.list.Moves, moves.Move{Source: source, View: x.View, Dest: i})
	}
	if len(c.list.Moves) == 0 {
		return equal, nil
	}
	var group []*moves.Move
	for i := range c.list.Moves {
		group = append(group, &c.list.Moves[i])
	}
	sortByOffset(group)
	err := c.compareSource(group, m.buffers, func(move *moves.Move, same bool) { equal[move.Dest] = same })
	m.notFinite = c.tally.notFinite[source]
	return equal, err
}

// NotFinite reports whether the source of the last Match has NaN or infinities among what was compared.
func (m *Matcher) NotFinite() bool { return m.notFinite }
