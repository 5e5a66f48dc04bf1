package convert

import (
	"fmt"
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
	var stream *cursor
	defer func() { stream.close() }()
	for _, t := range j.moves {
		if stream == nil || stream.source != t.Source {
			stream.close()
			stream = &cursor{source: t.Source}
			if c, ok := t.Source.Data.(tensor.Checker); ok {
				if err := c.Check(); err != nil {
					return of(t.Source.Name, err)
				}
			}
		}
		if err := w.move(t, stream); err != nil {
			return of(t.Source.Name, err)
		}
		if t.target.moves.Add(-1) > 0 {
			continue
		}
		sum, err := t.target.finish(w.scratch)
		if err != nil {
			return err
		}
		w.written[t.Dest] = Written{SHA256: sum, Overflowed: t.target.overflowed.Load()}
	}
	return of(stream.source.Name, stream.checkEnd())
}

// move does one task by the way that fits how the elements lie and where they go.
func (w *worker) move(t *task, stream *cursor) error {
	if t.elements == 0 {
		return nil
	}
	if t.strided == nil {
		return w.moveStream(t, stream)
	}
	view, ok := compose(t.View, t.strided)
	if !ok {
		return w.moveStream(t, stream)
	}
	lay := *t.strided
	lay.View = view
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
func (w *worker) moveStream(t *task, stream *cursor) error {
	if first, _, ok := run(t.View); ok {
		r, err := stream.at(first*t.size, w.scratch)
		if err != nil {
			return err
		}
		return w.copyAll(t, r)
	}
	if m, ok := asMatrices(t.View); ok && m.ascending() && t.worthBlocks(m) {
		return w.transposeAll(t, m, streamedRows{stream, t.size, w.scratch}, false)
	}
	return w.moveSpooled(t, stream)
}

// moveSpooled writes a stream to a file that nobody sees and goes on from there. It is for views
// that no layout of the family needs.
func (w *worker) moveSpooled(t *task, stream *cursor) (err error) {
	f, err := os.CreateTemp(filepath.Dir(w.nameOf(t.target)), "spool-*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name())
	}()
	r, err := stream.at(0, w.scratch)
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
	return w.move(&spooled, &cursor{source: t.Source})
}

func (e *engine) nameOf(t *target) string {
	for f, out := range e.outputs {
		if out == t.out {
			return f.Name()
		}
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
func (w *worker) copyAll(t *task, r io.Reader) error {
	f := w.fill(t.target, t.Offset*t.dsize)
	defer f.flush()
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
			t.target.overflowed.Add(t.cast(room, w.scratch[:n*t.size]))
		}
		if err != nil {
			return err
		}
		f.advance(len(room))
		left -= n
	}
	return nil
}

// cursor is a tensor's stream and how far it has been read.
type cursor struct {
	source   *tensor.Tensor
	r        io.ReadCloser
	position int64
}

// at returns the stream at a byte offset. It starts again only if it has to go back.
func (c *cursor) at(offset int64, scratch []byte) (io.Reader, error) {
	if c.r == nil || c.position > offset {
		c.close()
		r, err := c.source.Data.Stream(offset)
		if err != nil {
			return nil, err
		}
		c.r, c.position = r, offset
	}
	if err := skip(c.r, offset-c.position, scratch); err != nil {
		return nil, err
	}
	c.position = offset
	return counted{c}, nil
}

// counted reads a cursor's stream and keeps its position.
type counted struct{ c *cursor }

func (r counted) Read(p []byte) (int, error) {
	n, err := r.c.r.Read(p)
	r.c.position += int64(n)
	return n, err
}

// checkEnd reads the end of a stream that has been read up to there, where compressed data holds
// its checksums.
func (c *cursor) checkEnd() error {
	if c.r == nil || c.position != c.source.Bytes() {
		return nil
	}
	var more [1]byte
	switch n, err := io.ReadFull(c.r, more[:]); {
	case n > 0:
		return fmt.Errorf("reader gives more than the %d bytes of %s", c.source.Bytes(), c.source.Name)
	case err != io.EOF:
		return err
	}
	return nil
}

func (c *cursor) close() {
	if c != nil && c.r != nil {
		c.r.Close()
		c.r = nil
	}
}
