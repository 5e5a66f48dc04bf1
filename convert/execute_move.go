package convert

import (
	"io"
	"os"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// worker does one job after the other.
type worker struct {
	*engine
	scratch []byte
}

func (w *worker) do(j *job) error {
	for len(j.moves) > 0 {
		n := 1
		for n < len(j.moves) && j.moves[n].Source == j.moves[0].Source {
			n++
		}
		source := j.moves[0].Source
		if err := w.doSource(source, j.moves[:n]); err != nil {
			return of(source.Name, err)
		}
		j.moves = j.moves[n:]
	}
	return nil
}

// doSource does moves from one source, and checks its checksums on the way.
func (w *worker) doSource(source *tensor.Tensor, moves []*task) error {
	in := &input{cursor: cursor{source: source, sum: w.sums.source(source)}}
	if err := in.begin(); err != nil {
		return err
	}
	defer in.close()
	for _, t := range moves {
		if err := w.move(t, in); err != nil {
			return err
		}
		if t.target.moves.Add(-1) > 0 {
			continue
		}
		if err := w.finish(t.target, w.scratch); err != nil {
			return err
		}
	}
	return in.end()
}

// move does one task by the way that fits how the elements lie and where they go.
func (w *worker) move(t *task, in *input) error {
	if t.elements == 0 {
		return nil
	}
	if t.strided == nil {
		return w.moveStream(t, in)
	}
	view, ok := t.strided.Compose(t.View)
	if !ok {
		return w.moveStream(t, in)
	}
	lay := *t.strided
	lay.View = view
	lay.Store = in.watch(lay.Store)
	if m, ok := asMatrices(view); ok && t.worthBlocks(m) {
		return w.transposeAll(t, m, storedRows{&lay}, lay.BigEndian)
	}
	r, err := lay.Stream(0) // gathers what is in another order
	if err != nil {
		return err
	}
	defer r.Close()
	return w.copyAll(t, r)
}

// worthBlocks reports whether matrices are large enough for their block and the pieces that are
// read for it.
func (t *task) worthBlocks(m matrices) bool {
	return len(m.first) == 1 || m.rows*m.cols*t.size >= 64<<10
}

// moveStream does a task whose source has to be read from its beginning to its end.
func (w *worker) moveStream(t *task, in *input) error {
	if first, _, ok := run(t.View); ok {
		r, err := in.at(first*t.size, w.scratch)
		if err != nil {
			return err
		}
		return w.copyAll(t, r)
	}
	if m, ok := asMatrices(t.View); ok && m.ascending() && t.worthBlocks(m) {
		return w.transposeAll(t, m, streamedRows{&in.cursor, t.size, w.scratch}, false)
	}
	return w.moveSpooled(t, in)
}

// moveSpooled writes a stream to a file that nobody sees and goes on from there. It is for views
// that no layout of the family needs.
func (w *worker) moveSpooled(t *task, in *input) (err error) {
	f, err := os.CreateTemp(w.spoolDir(), "spool-*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name())
	}()
	r, err := in.at(0, w.scratch)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{watched{w.engine, r}}, w.scratch)
	if err == nil && n != t.Source.Bytes() {
		err = tensor.Bad("the elements end after %d of %d bytes", n, t.Source.Bytes())
	}
	if err != nil {
		return err
	}
	spooled := *t
	spooled.strided = &tensor.Strided{Store: f, Length: t.Source.Elements(), DType: t.Source.DType, View: tensor.RowMajor(t.Source.Shape...)}
	return w.move(&spooled, &input{cursor: cursor{source: t.Source}})
}

// spoolDir is a directory where there is room for a tensor: that of an output, if there is one.
func (e *engine) spoolDir() string {
	for f := range e.outputs {
		return filepath.Dir(f.Name())
	}
	return ""
}

// watched is a reader that ends with its engine.
type watched struct {
	e *engine
	r io.Reader
}

func (r watched) Read(p []byte) (int, error) {
	if err := r.e.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// copyAll fills a task's elements from r in the order in which they come.
func (w *worker) copyAll(t *task, r io.Reader) (err error) {
	f := w.fill(t.target, t.Offset*t.dsize)
	defer func() { err = f.flush(err) }()
	step := w.limits.step / max(t.size, t.dsize)
	for left := t.elements; left > 0; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n := min(left, step)
		room, err := f.space(n * t.dsize)
		if err != nil {
			return err
		}
		room = room[:n*t.dsize]
		if t.cast == nil {
			err = readFull(r, room)
		} else if err = readFull(r, w.scratch[:n*t.size]); err == nil {
			t.target.lost(t.cast(room, w.scratch[:n*t.size]))
		}
		if err != nil {
			return err
		}
		f.advance(len(room))
		left -= n
	}
	return nil
}
