package golden

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/reference"
)

// writer writes activations to a file while the next ones are computed.
type writer struct {
	file    io.WriterAt
	current *block // to which activations are added
	queue   chan *block
	free    chan *block
	done    <-chan error
	ended   chan struct{} // closed when nothing is written any more
}

// block is consecutive bytes that go to several places of the file.
type block struct {
	bytes []byte
	parts []part
}

// part is the bytes of a block up to end, and where they go.
type part struct {
	end int
	at  int64
}

// Blocks have blockBytes. There are as many in memory as hold the logits of one part of the vocabulary and the results
// before them.
const (
	blockBytes = 1 << 20
	blocks     = 24
)

// newWriter starts writing to a file. It must be closed.
func newWriter(file io.WriterAt) *writer {
	w := &writer{file: file, current: &block{}, queue: make(chan *block, blocks), free: make(chan *block, blocks), ended: make(chan struct{})}
	for range blocks - 1 {
		w.free <- &block{}
	}
	w.done = task.Start(w.run)
	return w
}

func (w *writer) run() error {
	defer close(w.ended)
	for b := range w.queue {
		first := 0
		for _, p := range b.parts {
			if _, err := w.file.WriteAt(b.bytes[first:p.end], p.at); err != nil {
				return err
			}
			first = p.end
		}
		w.free <- b
	}
	return nil
}

// errWriting stands for the error that close returns.
var errWriting = errors.New("the file cannot be written")

// close writes the rest and waits until everything is written. It returns the first error of writing, or err.
func (w *writer) close(err error) error {
	select {
	case w.queue <- w.current:
	case <-w.ended:
	}
	close(w.queue)
	if e := <-w.done; e != nil {
		return e
	}
	return err
}

// floats writes n elements of activations, from the first one on, as float32 at an offset.
func (w *writer) floats(a *reference.Activations, first, n int, at int64) error {
	for n > 0 {
		if len(w.current.bytes) == blockBytes {
			if err := w.next(); err != nil {
				return err
			}
		}
		b := w.current
		if b.bytes == nil {
			b.bytes = make([]byte, 0, blockBytes)
		}
		from := len(b.bytes)
		now := min(n, (blockBytes-from)/4)
		b.bytes = b.bytes[:from+4*now]
		p := b.bytes[from:]
		if a.Float64 == nil { // the common case, several times as fast
			encode(p, a.Float32[first:][:now])
		} else {
			for k, x := range a.Float64[first:][:now] {
				binary.LittleEndian.PutUint32(p[4*k:], math.Float32bits(float32(x)))
			}
		}
		b.parts = append(b.parts, part{len(b.bytes), at})
		first, n, at = first+now, n-now, at+4*int64(now)
	}
	return nil
}

// encode writes the elements of x to p, four at a time: the cores wait for it.
func encode(p []byte, x []float32) {
	for ; len(x) >= 4 && len(p) >= 16; x, p = x[4:], p[16:] {
		binary.LittleEndian.PutUint64(p, uint64(math.Float32bits(x[0]))|uint64(math.Float32bits(x[1]))<<32)
		binary.LittleEndian.PutUint64(p[8:], uint64(math.Float32bits(x[2]))|uint64(math.Float32bits(x[3]))<<32)
	}
	for k, x := range x {
		binary.LittleEndian.PutUint32(p[4*k:], math.Float32bits(x))
	}
}

// next gives the current block to be written and takes another one.
func (w *writer) next() error {
	w.queue <- w.current // has room for all blocks
	select {
	case w.current = <-w.free:
		w.current.bytes, w.current.parts = w.current.bytes[:0], w.current.parts[:0]
		return nil
	case <-w.ended:
		w.current = &block{}
		return errWriting
	}
}
