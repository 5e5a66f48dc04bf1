package transfer

import (
	"io"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// worker does one job after the other.
type worker struct {
	*engine
	scratch []byte // for elements before they are converted; at least a step and a band
}

// do executes the moves of a job. A source is open from the first to the last of them that reads it.
func (w *worker) do(l *jobList, j *job) error {
	left := map[*tensor.Tensor]int{} // moves
	for m := range l.movesOf(j) {
		left[m.Source]++
	}
	open := map[*tensor.Tensor]*source.Reader{}
	defer func() {
		for _, in := range open {
			in.Close()
		}
	}()
	for m, err := range l.compiled(j) {
		if err == nil {
			left[m.Source]--
			err = w.doMove(m, open, left[m.Source] == 0)
		}
		if err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: m.Source.Name})
		}
	}
	return nil
}

// doMove executes a move. It opens the source unless it is open, and closes it after the last move.
func (w *worker) doMove(m *compiledMove, open map[*tensor.Tensor]*source.Reader, last bool) error {
	in := open[m.Source]
	if in == nil {
		var err error
		if in, err = source.Open(m.Source, w.digests[m.Source]); err != nil {
			return err
		}
		open[m.Source] = in
	}
	if err := w.move(m, in); err != nil {
		return err
	}
	if m.target.moves.Add(-1) == 0 {
		if err := w.finish(m.target, w.scratch); err != nil {
			return err
		}
	}
	if !last {
		return nil
	}
	delete(open, m.Source)
	defer in.Close()
	return in.Finish()
}

// move executes one move in the way that fits how the elements lie and where they go.
func (w *worker) move(m *compiledMove, in *source.Reader) error {
	if m.elements == 0 {
		return nil
	}
	layout := in.Layout()
	if layout == nil {
		return w.moveStream(m, in)
	}
	view, ok := layout.Compose(m.View)
	if !ok {
		return w.moveStream(m, in)
	}
	part := *layout
	part.View = view
	if x, ok := asMatrices(view); ok && m.worthTransposing(x) {
		return w.transposeAll(m, x, storedRows{&part}, part.BigEndian)
	}
	r, err := part.Stream(0) // gathers elements that are in another order
	if err != nil {
		return err
	}
	defer r.Close()
	return w.copyAll(m, r)
}

// worthTransposing reports whether matrices are large enough to be read into memory each by itself.
// Small ones are gathered from the file many at a time.
func (m *compiledMove) worthTransposing(x matrices) bool {
	return len(x.first) == 1 || x.rows*x.cols*m.size >= 64<<10
}

// moveStream executes a move whose source has to be read from its beginning to its end.
func (w *worker) moveStream(m *compiledMove, in *source.Reader) error {
	if m.View.IsRowMajor() {
		return w.copyAll(m, io.NewSectionReader(in, m.View.Offset*m.size, m.elements*m.size))
	}
	if x, ok := asMatrices(m.View); ok && x.ascending() {
		return w.transposeAll(m, x, streamedRows{in, m.size}, false)
	}
	return w.moveViewed(m, in)
}

// moveViewed executes a move with a view that no layout of the family needs, of a source that has to
// be decoded. It may decode the source several times.
func (w *worker) moveViewed(m *compiledMove, in *source.Reader) error {
	shown, err := tensor.Viewed(in.Tensor(), m.View)
	if err != nil {
		return err
	}
	memory, err := w.memory.reserve(w.ctx, tensor.StreamMemory(shown), 0)
	if err != nil {
		return err
	}
	defer w.memory.release(memory)
	r, err := shown.Data.Stream(0)
	if err != nil {
		return err
	}
	defer r.Close()
	return w.copyAll(m, r)
}

// copyAll fills a move's elements from r in the order in which they come.
func (w *worker) copyAll(m *compiledMove, r io.Reader) (err error) {
	f := w.fill(m.target, m.Offset*m.destSize)
	defer func() { err = f.flush(err) }()
	step := w.limits.step / max(m.size, m.destSize)
	for left := m.elements; left > 0; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n := min(left, step)
		room, err := f.space(n * m.destSize)
		if err != nil {
			return err
		}
		room = room[:n*m.destSize]
		if m.cast == nil {
			err = tensor.ReadFull(r, room)
		} else if err = tensor.ReadFull(r, w.scratch[:n*m.size]); err == nil {
			f.target.convert(m, room, w.scratch[:n*m.size])
		}
		if err != nil {
			return err
		}
		f.advance(len(room))
		left -= n
	}
	return nil
}
