package transfer

import (
	"io"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// rowSource gives rows of matrices in ascending order.
type rowSource interface {
	// read fills p with rows of cols elements, packed, that begin at element first of the source and
	// lie pitch elements apart.
	read(p []byte, first, rows, cols, pitch int64) error
}

// storedRows lie in a file.
type storedRows struct{ layout *tensor.Strided }

func (s storedRows) read(p []byte, first, rows, cols, pitch int64) error {
	size := s.layout.DType.Size()
	if cols == pitch {
		rows, cols = 1, rows*cols
	}
	for i := range rows {
		row := p[i*cols*size:][:cols*size]
		at := s.layout.Base + (first+i*pitch)*size
		if n, err := s.layout.Store.ReadAt(row, at); n < len(row) {
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
	source *source.Reader
	size   int64 // bytes of an element
}

func (s streamedRows) read(p []byte, first, rows, cols, pitch int64) error {
	if cols == pitch {
		rows, cols = 1, rows*cols
	}
	for i := range rows {
		if _, err := s.source.ReadAt(p[i*cols*s.size:][:cols*s.size], (first+i*pitch)*s.size); err != nil {
			return err
		}
	}
	return nil
}

// transposeAll fills a move's elements with the transposes of a stack of matrices. It holds one block
// of a matrix in memory at a time: the whole matrix if it fits. Otherwise it reads, from a file, all
// rows of some columns, which are rows of the transpose; or from a stream, which gives no choice, some
// rows, of which each gives every row of the transpose an element. A sink gives no choice either: for
// one a stream is read again for each block of columns.
func (w *worker) transposeAll(m *compiledMove, x matrices, source rowSource, swap bool) error {
	_, stored := source.(storedRows)
	byColumns := stored || m.target.out == nil
	least := x.cols * m.size
	if byColumns {
		least = x.rows * m.size
	}
	memory, err := w.memory.take(w.ctx, x.rows*x.cols*m.size, least)
	if err != nil {
		return err
	}
	defer memory.giveBack()
	t := &transposer{worker: w, move: m, matrices: x, source: source, swap: swap, block: memory.Bytes}
	for i := range x.first {
		t.index = int64(i)
		columns := int64(len(t.block)) / (x.rows * m.size)
		switch {
		case columns >= x.cols:
			err = t.byColumns(x.cols)
		case byColumns:
			err = t.byColumns(t.wholeLines(columns))
		default:
			err = t.byRows(int64(len(t.block)) / (x.cols * m.size))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// transposer transposes one matrix after the other.
type transposer struct {
	worker   *worker
	move     *compiledMove
	matrices matrices
	source   rowSource
	swap     bool   // the source is big-endian
	block    []byte // of the matrix that is being transposed
	index    int64  // of that matrix
}

// load reads n rows of some columns of the matrix into the block, in steps that let the execution be
// stopped.
func (t *transposer) load(row, n, col, columns int64) error {
	pitch := t.matrices.pitch
	first := t.matrices.first[t.index] + row*pitch + col
	if columns == pitch { // the rows lie one behind the other, and steps may end within one
		n, columns, pitch = n*columns, 1, 1
	}
	length := columns * t.move.size
	step := max(t.worker.limits.load/length, 1)
	for done := int64(0); done < n; done += step {
		if err := t.worker.ctx.Err(); err != nil {
			return err
		}
		k := min(step, n-done)
		if err := t.source.read(t.block[done*length:][:k*length], first+done*pitch, k, columns, pitch); err != nil {
			return err
		}
	}
	return nil
}

// start returns the byte of the target at which the transpose of the matrix begins.
func (t *transposer) start() int64 {
	return (t.move.Offset + t.index*t.matrices.rows*t.matrices.cols) * t.move.destSize
}

// byColumns fills the target in order, by blocks of some columns: a band of the transpose's rows at a
// time, or a part of one row if a row is longer than a band.
func (t *transposer) byColumns(columns int64) (err error) {
	m, x := t.move, t.matrices
	f := t.worker.fill(m.target, t.start())
	defer func() { err = f.flush(err) }()
	part := min(x.rows, t.worker.limits.band/max(m.size, m.destSize))
	band := t.bandOf(part) // 1 if part is less than a row
	for col := int64(0); col < x.cols; col += columns {
		n := min(columns, x.cols-col)
		if err := t.load(0, x.rows, col, n); err != nil {
			return err
		}
		for c := int64(0); c < n; c += band {
			for r := int64(0); r < x.rows; r += part {
				if err := t.worker.ctx.Err(); err != nil {
					return err
				}
				rows, cols := min(part, x.rows-r), min(band, n-c)
				room, err := f.space(rows * cols * m.destSize)
				if err != nil {
					return err
				}
				t.transpose(room[:rows*cols*m.destSize], r, rows, c, cols, n)
				f.advance(int(rows * cols * m.destSize))
			}
		}
	}
	return nil
}

// bandOf returns how many rows of the transpose, or pieces of them with n elements each, are made at a
// time: whole cache lines of the source if there is room for them.
func (t *transposer) bandOf(n int64) int64 {
	return min(t.wholeLines(t.worker.limits.band/(n*max(t.move.size, t.move.destSize))), t.matrices.cols, maxBand)
}

// wholeLines rounds a number of columns down to whole cache lines, if there is one, and up to 1.
func (t *transposer) wholeLines(cols int64) int64 {
	const line = 64
	if lines := cols * t.move.size / line; lines > 0 {
		return max(lines*line/t.move.size, 1)
	}
	return max(cols, 1)
}

// maxBand is as many rows of the transpose as transposeMatrix makes from one tile.
const maxBand = 256

// transpose makes a part of the transpose from a block of some columns, in the target's dtype.
func (t *transposer) transpose(dst []byte, row, rows, col, cols, columns int64) {
	m := t.move
	src := t.block[(row*columns+col)*m.size:]
	plain := dst
	if m.cast != nil {
		plain = t.worker.scratch[:rows*cols*m.size]
	}
	transposeMatrix(plain, int(rows*m.size), src, int(columns*m.size), int(rows), int(cols), int(m.size))
	if t.swap {
		tensor.SwapBytes(plain, m.Source.DType.SwapUnit())
	}
	if m.cast != nil {
		t.worker.filling(m.target).convert(m, dst, plain)
	}
}

// byRows fills the target by blocks of some rows: each gives every row of the transpose a piece. They
// go through the page cache, where pieces of one page meet.
func (t *transposer) byRows(rows int64) error {
	m, x := t.move, t.matrices
	rows = min(rows, t.worker.limits.band/max(m.size, m.destSize))
	out := make([]byte, t.worker.limits.band)
	for from := int64(0); from < x.rows; from += rows {
		n := min(rows, x.rows-from)
		if err := t.load(from, n, 0, x.cols); err != nil {
			return err
		}
		band := t.bandOf(n)
		for c := int64(0); c < x.cols; c += band {
			if err := t.worker.ctx.Err(); err != nil {
				return err
			}
			cols := min(band, x.cols-c)
			pieces := out[:cols*n*m.destSize]
			t.transpose(pieces, 0, n, c, cols, x.cols)
			if err := t.writePieces(pieces, from, c, n*m.destSize); err != nil {
				return err
			}
		}
	}
	return nil
}

// writePieces writes pieces of the transpose's rows, from row col on. Each has length bytes and begins
// at element row of its row.
func (t *transposer) writePieces(pieces []byte, row, col, length int64) error {
	m := t.move
	for at := int64(0); at < int64(len(pieces)); at += length {
		offset := m.target.offset + t.start() + (col*t.matrices.rows+row)*m.destSize
		if _, err := m.target.out.WriteAt(pieces[at:][:length], offset); err != nil {
			return err
		}
		col++
	}
	t.worker.count(int64(len(pieces)))
	return nil
}
