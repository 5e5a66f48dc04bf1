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

// transposeAll fills a task's elements with the transposes of a stack of matrices. A block of each
// matrix is in memory at a time: all of it if it fits; otherwise, from a file, all rows of some
// columns, which are rows of the transpose; or from a stream, which gives no choice, some rows,
// of which each gives every row of the transpose an element. A sink gives no choice either: for one
// a stream is read again for each block of columns.
func (w *worker) transposeAll(t *task, m matrices, source rowSource, swap bool) error {
	_, stored := source.(storedRows)
	byColumns := stored || t.target.out == nil
	least := m.cols * t.size
	if byColumns {
		least = m.rows * t.size
	}
	memory, err := w.memory.take(w.ctx, m.rows*m.cols*t.size, least)
	if err != nil {
		return err
	}
	defer memory.giveBack()
	x := &transposer{worker: w, task: t, matrices: m, source: source, swap: swap, block: memory.Bytes}
	for i := range m.first {
		x.index = int64(i)
		wide := int64(len(x.block)) / (m.rows * t.size)
		switch {
		case wide >= m.cols:
			err = x.byColumns(m.cols)
		case byColumns:
			err = x.byColumns(x.wholeLines(wide))
		default:
			err = x.byRows(int64(len(x.block)) / (m.cols * t.size))
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

// load reads n rows of wide columns of the matrix into the block, in steps that let the execution
// be stopped.
func (x *transposer) load(row, n, col, wide int64) error {
	length := wide * x.size
	step := max(x.limits.panel/length, 1)
	for done := int64(0); done < n; done += step {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		k := min(step, n-done)
		first := x.first[x.index] + (row+done)*x.pitch + col
		if err := x.source.read(x.block[done*length:][:k*length], first, k, wide, x.pitch); err != nil {
			return err
		}
	}
	return nil
}

// start returns the byte of the target at which the transpose of the matrix begins.
func (x *transposer) start() int64 {
	return (x.Offset + x.index*x.rows*x.cols) * x.dsize
}

// byColumns fills the target in order, by blocks of wide columns: a band of the transpose's rows at
// a time, or where a row is longer than a band a part of one.
func (x *transposer) byColumns(wide int64) (err error) {
	f := x.fill(x.target, x.start())
	defer func() { err = f.flush(err) }()
	part := min(x.rows, x.limits.band/max(x.size, x.dsize))
	band := x.bandOf(part)
	if part < x.rows {
		band = 1
	}
	for col := int64(0); col < x.cols; col += wide {
		n := min(wide, x.cols-col)
		if err := x.load(0, x.rows, col, n); err != nil {
			return err
		}
		for c := int64(0); c < n; c += band {
			for r := int64(0); r < x.rows; r += part {
				if err := x.ctx.Err(); err != nil {
					return err
				}
				high, cols := min(part, x.rows-r), min(band, n-c)
				room, err := f.space(high * cols * x.dsize)
				if err != nil {
					return err
				}
				x.transpose(room[:high*cols*x.dsize], r, high, c, cols, n)
				f.advance(int(high * cols * x.dsize))
			}
		}
	}
	return nil
}

// bandOf returns how many rows of the transpose, or pieces of them with n elements each, are made
// at a time: whole cache lines of the source where there is room for them.
func (x *transposer) bandOf(n int64) int64 {
	return min(x.wholeLines(x.limits.band/(n*max(x.size, x.dsize))), x.cols, maxBand)
}

// wholeLines rounds a number of columns down to whole cache lines, if there is one, and up to 1.
func (x *transposer) wholeLines(cols int64) int64 {
	const line = 64
	if lines := cols * x.size / line; lines > 0 {
		return max(lines*line/x.size, 1)
	}
	return max(cols, 1)
}

// maxBand is as many rows of the transpose as transposeMatrix takes in one stretch.
const maxBand = 256

// transpose makes a part of the transpose from a block of wide columns, in the target's dtype.
func (x *transposer) transpose(dst []byte, row, rows, col, cols, wide int64) {
	src := x.block[(row*wide+col)*x.size:]
	pitch, size := int(wide*x.size), int(x.size)
	plain := dst
	if x.cast != nil {
		plain = x.scratch[:rows*cols*x.size]
	}
	transposeMatrix(plain, int(rows*x.size), src, pitch, int(rows), int(cols), size)
	if x.swap {
		tensor.SwapBytes(plain, x.Source.DType.SwapUnit())
	}
	if x.cast != nil {
		x.target.lost(x.cast(dst, plain))
	}
}

// byRows fills the target by blocks of high rows: each gives every row of the transpose a piece.
// They go through the page cache, where pieces of one page meet.
func (x *transposer) byRows(high int64) error {
	high = min(high, x.limits.band/max(x.size, x.dsize))
	out := make([]byte, x.limits.band)
	for from := int64(0); from < x.rows; from += high {
		n := min(high, x.rows-from)
		if err := x.load(from, n, 0, x.cols); err != nil {
			return err
		}
		band := x.bandOf(n)
		for c := int64(0); c < x.cols; c += band {
			wide := min(band, x.cols-c)
			if err := x.ctx.Err(); err != nil {
				return err
			}
			made := out[:wide*n*x.dsize]
			x.transpose(made, 0, n, c, wide, x.cols)
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
