package quantized

import (
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// vector is the scales of a matrix, or its biases, by block.
type vector interface {
	// open returns a reader for one goroutine.
	open() vectorReader
}

// vectorReader reads ranges of a vector.
type vectorReader interface {
	// read fills dst with the entries from first on.
	read(dst []float32, first int64) error
	close() error
}

// plain is a vector that a tensor of floating-point numbers or integers holds.
type plain struct{ t *tensor.Tensor }

func (p plain) open() vectorReader {
	return &plainReader{t: p.t, cursor: tensor.NewCursor(p.t), decode: tensor.ValuesOf(p.t.DType)}
}

type plainReader struct {
	t      *tensor.Tensor
	cursor *tensor.Cursor
	decode tensor.Values
	raw    []byte
	wide   []float64
}

func (p *plainReader) read(dst []float32, first int64) error {
	const piece = 4096
	size := p.t.DType.Size()
	if p.raw == nil {
		longest := min(piece, p.t.Elements())
		p.raw, p.wide = make([]byte, longest*size), make([]float64, longest)
	}
	for len(dst) > 0 {
		n := min(len(dst), piece)
		raw := p.raw[:int64(n)*size]
		if _, err := p.cursor.ReadAt(raw, first*size); err != nil {
			return tensor.Annotate(err, tensor.Location{Tensor: p.t.Name})
		}
		p.decode.Decode(p.wide[:n], raw)
		for i, x := range p.wide[:n] {
			dst[i] = float32(x)
		}
		dst, first = dst[n:], first+int64(n)
	}
	return nil
}

func (p *plainReader) close() error { return p.cursor.Close() }

// double is a vector that is quantised itself, as bitsandbytes does it: table[code]·absmax + offset, with an absmax for
// each block of codes.
type double struct {
	codes  *tensor.Tensor // uint8
	table  []float32
	absmax vector
	block  int64
	offset float32
}

func (d *double) open() vectorReader {
	return &doubleReader{double: d, codes: tensor.NewCursor(d.codes), absmax: newWindow(d.absmax)}
}

type doubleReader struct {
	*double
	codes  *tensor.Cursor
	absmax *window
	raw    []byte
}

func (d *doubleReader) read(dst []float32, first int64) error {
	if cap(d.raw) < len(dst) {
		d.raw = make([]byte, len(dst))
	}
	raw := d.raw[:len(dst)]
	if _, err := d.codes.ReadAt(raw, first); err != nil || len(raw) == 0 {
		return tensor.Annotate(err, tensor.Location{Tensor: d.double.codes.Name})
	}
	low := first / d.block
	scales, err := d.absmax.read(low, (first+int64(len(dst))-1)/d.block-low+1)
	if err != nil {
		return err
	}
	for i, code := range raw {
		x := float32(d.table[code] * scales[(first+int64(i))/d.block-low]) // not fused with the addition
		dst[i] = x + d.offset
	}
	return nil
}

func (d *doubleReader) close() error {
	if err := d.codes.Close(); err != nil {
		return err
	}
	return d.absmax.from.close()
}

// window keeps the range of a vector that was read last: consecutive panels often need the same one.
type window struct {
	from   vectorReader
	first  int64
	values []float32
}

func newWindow(v vector) *window { return &window{from: v.open()} }

// read returns n entries, valid until the next call.
func (w *window) read(first, n int64) ([]float32, error) {
	if at := first - w.first; at >= 0 && at+n <= int64(len(w.values)) {
		return w.values[at : at+n], nil
	}
	if int64(cap(w.values)) < n {
		w.values = make([]float32, n)
	}
	w.first, w.values = first, w.values[:n]
	if err := w.from.read(w.values, first); err != nil {
		w.values = w.values[:0]
		return nil, err
	}
	return w.values, nil
}
