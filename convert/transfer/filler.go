package transfer

import (
	"github.com/griffin-ckpt/griffin/formats/storage"
)

// panel is a buffer on its way to a file. Its memory and its offset in the file are aligned alike.
type panel struct {
	target *filling
	buffer *storage.Buffer // nil for no panel
	offset int64           // in the file, of the buffer's first byte
	lo, hi int             // the bytes of the buffer that are filled
}

// filler fills consecutive bytes of a target. The caller puts bytes into space and counts them with
// advance; flush comes last. The engine's writers write them, in panels that begin and end at
// multiples of storage.Align but for the first and the last.
type filler struct {
	engine *engine
	target *filling
	at     int64 // offset in the target of the next byte
	panel  panel
}

func (e *engine) fill(t *target, at int64) *filler {
	return &filler{engine: e, target: e.filling(t), at: at}
}

// space returns room for the next want bytes: a band or a step at most, so that an empty panel always
// has it.
func (f *filler) space(want int64) ([]byte, error) {
	p := &f.panel
	if p.buffer == nil || int64(len(p.buffer.Bytes)-p.hi) < want {
		if err := f.nextPanel(); err != nil {
			return nil, err
		}
	}
	return p.buffer.Bytes[p.hi:], nil
}

// nextPanel hands on what is filled and makes room.
func (f *filler) nextPanel() error {
	p := &f.panel
	if f.target.out == nil && p.buffer != nil {
		return f.drain()
	}
	fresh, err := f.engine.takePanel()
	if err != nil {
		return err
	}
	next := panel{target: f.target, buffer: fresh}
	switch {
	case f.target.out == nil: // a sink has no offsets
	case p.buffer == nil:
		next.offset = (f.target.offset + f.at) &^ (storage.Align - 1)
		next.lo = int(f.target.offset + f.at - next.offset)
		next.hi = next.lo
	default:
		// The last bytes, too few for a write of their own, move on to the next panel. The panel is
		// full but for less than a band, so that the cut lies behind its beginning.
		cut := p.hi &^ (storage.Align - 1)
		next.offset = p.offset + int64(cut)
		next.hi = copy(fresh.Bytes, p.buffer.Bytes[cut:p.hi])
		p.hi = cut
		f.engine.write(*p)
	}
	*p = next
	return nil
}

// advance counts n bytes of space as filled.
func (f *filler) advance(n int) {
	p := &f.panel
	filled := p.buffer.Bytes[p.hi : p.hi+n]
	f.target.feed(f.at, filled)
	if f.target.out != nil && !f.engine.inOrder {
		f.target.out.file.Feed(f.target.offset+f.at, filled)
	}
	p.hi += n
	f.at += int64(n)
}

// drain gives a sink what the panel holds.
func (f *filler) drain() error {
	if err := f.engine.openSink(f.target); err != nil {
		return err
	}
	n, err := f.target.sink.Write(f.panel.buffer.Bytes[:f.panel.hi])
	f.engine.count(int64(n))
	f.panel.hi = 0
	return err
}

// flush hands on what is left, unless there was an error, and gives up the panel.
func (f *filler) flush(err error) error {
	if f.panel.buffer == nil {
		return err
	}
	if f.target.out == nil {
		if err == nil {
			err = f.drain()
		}
		f.engine.freePanels <- f.panel.buffer
	} else {
		f.engine.write(f.panel)
	}
	f.panel.buffer = nil
	return err
}

// takePanel waits for the memory of a panel.
func (e *engine) takePanel() (*storage.Buffer, error) {
	select {
	case b := <-e.freePanels:
		return b, nil
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
}

// write hands a panel to the writers.
func (e *engine) write(p panel) {
	p.target.writes.Add(1)
	if e.inOrder {
		e.unhashed <- p
		return
	}
	e.fullPanels <- p
}

// hashPanels adds panels to the digests of their files, beside the worker that fills them, and hands them to the writers.
func (e *engine) hashPanels() {
	for p := range e.unhashed {
		e.guarded(func() error {
			p.target.out.file.Feed(p.offset+int64(p.lo), p.buffer.Bytes[p.lo:p.hi])
			return nil
		})
		e.fullPanels <- p
	}
}

// writePanels writes panels until there are no more. After a failure it only returns their memory.
func (e *engine) writePanels() {
	for p := range e.fullPanels {
		if e.ctx.Err() == nil && p.lo < p.hi {
			e.guarded(func() error {
				if _, err := p.target.out.WriteAt(p.buffer.Bytes[p.lo:p.hi], p.offset+int64(p.lo)); err != nil {
					return err
				}
				e.count(int64(p.hi - p.lo))
				return nil
			})
		}
		p.target.writes.Done()
		e.freePanels <- p.buffer
	}
}
