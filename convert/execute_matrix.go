package convert

import (
	"io"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// rowSource gives rows of matrices in ascending order.
type rowSource interface {
	// read fills p with rows of cols elements, packed, that begin at element first of the source
	// and lie pitch elements apart.
	read(p []byte, first, rows, cols, pitch int64) error
}

// storedRows are in a file.
type storedRows struct{ lay *tensor.Strided }

func (s storedRows) read(p []byte, first, rows, cols, pitch int64) error {
	size := s.lay.DType.Size()
	if cols == pitch {
		rows, cols = 1, rows*cols
	}
	for i := range rows {
		row := p[i*cols*size:][:cols*size]
		at := s.lay.Base + (first+i*pitch)*size
		if n, err := s.lay.Store.ReadAt(row, at); n < len(row) {
			if err == nil || err == io.EOF {
				err = tensor.Bad("storage ends %d bytes short", len(row)-n).At(at)
			}
			return err
		}
	}
	return nil
}

// streamedRows come from a stream.
type streamedRows struct {
	stream  *cursor
	size    int64
	scratch []byte
}

func (s streamedRows) read(p []byte, first, rows, cols, pitch int64) error {
	if cols == pitch {
		rows, cols = 1, rows*cols
	}
	for i := range rows {
		r, err := s.stream.at((first+i*pitch)*s.size, s.scratch)
		if err != nil {
			return err
		}
		if err := readFull(r, p[i*cols*s.size:][:cols*s.size]); err != nil {
			return err
		}
	}
	return nil
}

// transposeAll fills a task's elements with the transposes of a stack of matrices. Where there is
// memory for a whole matrix it is filled from its first to its last element, otherwise by blocks
// of rows, each of which gives a piece of every row of the transpose.
func (w *worker) transposeAll(t *task, m matrices, source rowSource, swap bool) error {
	row := m.cols * t.size
	memory, err := w.memory.take(w.ctx, m.rows*row, row)
	if err != nil {
		return err
	}
	defer memory.giveBack()
	x := &transposer{worker: w, task: t, matrices: m, source: source, swap: swap, block: memory.Bytes}
	high := int64(len(memory.Bytes)) / row
	for i := range m.first {
		x.index = int64(i)
		if high >= m.rows {
			err = x.whole()
		} else {
			err = x.pieces(high)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// transposer transposes one matrix after the other.
type transposer struct {
	*worker
	*task
	matrices
	source rowSource
	swap   bool // the source is big-endian
	block  []byte
	index  int64 // of the matrix
}

// load reads rows of the matrix, in steps that let the execution be stopped.
func (x *transposer) load(from, n int64) error {
	row := x.cols * x.size
	step := max(x.limits.panel/row, 1)
	for done := int64(0); done < n; done += step {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		k := min(step, n-done)
		first := x.first[x.index] + (from+done)*x.pitch
		if err := x.source.read(x.block[done*row:][:k*row], first, k, x.cols, x.pitch); err != nil {
			return err
		}
	}
	return nil
}

// start returns the byte of the target at which the transpose of the matrix begins.
func (x *transposer) start() int64 {
	return (x.Offset + x.index*x.rows*x.cols) * x.dsize
}

// whole fills the target in order: a band of the transpose's rows at a time, or where a row is
// longer than a panel a part of one.
func (x *transposer) whole() error {
	if err := x.load(0, x.rows); err != nil {
		return err
	}
	f := x.fill(x.target, x.start())
	defer f.flush()
	width := max(x.size, x.dsize)
	part := min(x.rows, x.limits.band/width)
	band := x.bandOf(part)
	if part < x.rows {
		band = 1
	}
	for c := int64(0); c < x.cols; c += band {
		wide := min(band, x.cols-c)
		for r := int64(0); r < x.rows; r += part {
			high := min(part, x.rows-r)
			if err := x.ctx.Err(); err != nil {
				return err
			}
			room, err := f.space(wide * high * x.dsize)
			if err != nil {
				return err
			}
			x.transpose(room[:wide*high*x.dsize], r, high, c, wide)
			f.advance(int(wide * high * x.dsize))
		}
	}
	return nil
}

// bandOf returns how many rows of the transpose, or pieces of them with n elements each, are made
// at a time: whole cache lines of the source where there is room for them.
func (x *transposer) bandOf(n int64) int64 {
	const line = 64
	band := max(x.limits.band/(n*max(x.size, x.dsize)), 1)
	if lines := band * x.size / line; lines > 0 {
		band = lines * line / x.size
	}
	return min(max(band, 1), x.cols, maxBand)
}

// maxBand is as many rows of the transpose as transposeMatrix takes in one stretch.
const maxBand = 256

// transpose makes a part of the transpose from the rows of the block, in the target's dtype.
func (x *transposer) transpose(dst []byte, row, rows, col, cols int64) {
	src := x.block[(row*x.cols+col)*x.size:]
	pitch, size := int(x.cols*x.size), int(x.size)
	plain := dst
	if x.cast != nil {
		plain = x.scratch[:rows*cols*x.size]
	}
	transposeMatrix(plain, int(rows*x.size), src, pitch, int(rows), int(cols), size)
	if x.swap {
		tensor.SwapBytes(plain, x.Source.DType.SwapUnit())
	}
	if x.cast != nil {
		x.target.overflowed.Add(x.cast(dst, plain))
	}
}

// pieces fills the target by blocks of high rows: each gives every row of the transpose a piece.
// They go through the page cache, where pieces of one page meet.
func (x *transposer) pieces(high int64) error {
	high = min(high, x.limits.band/max(x.size, x.dsize))
	out := make([]byte, x.limits.band)
	for from := int64(0); from < x.rows; from += high {
		n := min(high, x.rows-from)
		if err := x.load(from, n); err != nil {
			return err
		}
		band := x.bandOf(n)
		for c := int64(0); c < x.cols; c += band {
			wide := min(band, x.cols-c)
			if err := x.ctx.Err(); err != nil {
				return err
			}
			made := out[:wide*n*x.dsize]
			x.transpose(made, 0, n, c, wide)
			if err := x.writePieces(made, from, c, n*x.dsize); err != nil {
				return err
			}
		}
	}
	return nil
}

// writePieces writes pieces of the transpose's rows from row col on, each from element row on.
func (x *transposer) writePieces(made []byte, row, col, piece int64) error {
	for at := int64(0); at < int64(len(made)); at += piece {
		place := x.target.offset + x.start() + (col*x.rows+row)*x.dsize
		if _, err := x.target.out.WriteAt(made[at:][:piece], place); err != nil {
			return err
		}
		col++
	}
	x.count(int64(len(made)))
	return nil
}
