package quantized

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// panelElements are dequantised at a time.
const panelElements = 32 << 10

// dequantized is the Data of a weight.
type dequantized struct{ w *Weight }

// Stream implements tensor.Data.
func (d *dequantized) Stream(off int64) (io.ReadCloser, error) {
	return tensor.NewPanelReader(d.w.Tensor, off, newPanels(d.w)), nil
}

// StreamMemory implements tensor.Buffered.
func (d *dequantized) StreamMemory() int64 { return 1 << 20 }

// Check implements tensor.Checker.
func (d *dequantized) Check() error {
	for _, t := range d.w.Stored {
		if c, ok := t.Data.(tensor.Checker); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// panels makes the elements of a weight in panels.
type panels struct {
	w      *Weight
	codes  *tensor.Cursor
	scales *window
	biases *window // nil for none
	raw    []byte
	values []float32
}

func newPanels(w *Weight) *panels {
	p := &panels{w: w, codes: tensor.NewCursor(w.rule.codes), scales: newWindow(w.rule.scales)}
	if w.rule.biases != nil {
		p.biases = newWindow(w.rule.biases)
	}
	return p
}

// Close implements tensor.PanelSource.
func (p *panels) Close() error {
	err := p.codes.Close()
	for _, w := range []*window{p.scales, p.biases} {
		if w != nil {
			if bad := w.from.close(); err == nil {
				err = bad
			}
		}
	}
	return err
}

// Panel implements tensor.PanelSource.
func (p *panels) Panel(buffer []byte, first int64) ([]byte, error) {
	n := p.w.rule.panel(first)
	values, err := p.read(first, n)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{Tensor: p.w.Tensor.Name})
	}
	size := p.w.Tensor.DType.Size()
	if int64(cap(buffer)) < n*size {
		buffer = make([]byte, p.longest()*size)
	}
	return encode(buffer[:n*size], values, p.w.Tensor.DType), nil
}

// longest returns how many elements a panel has at most. Most matrices of a checkpoint can be small.
func (p *panels) longest() int64 { return min(panelElements, p.w.Tensor.Elements()) }

// panel returns how many elements are dequantised at once from an element on: whole rows, or a part of one.
func (r *rule) panel(first int64) int64 {
	cols := r.grid.cols
	if rest := cols - first%cols; cols > panelElements || rest < cols {
		return min(rest, panelElements)
	}
	return min(panelElements/cols*cols, r.grid.rows*cols-first)
}

// read returns n dequantised elements of one panel, valid until the next call.
func (p *panels) read(first, n int64) ([]float32, error) {
	r := p.w.rule
	aligned := first &^ 7 // there codes begin at a whole byte
	if p.values == nil {
		p.values, p.raw = make([]float32, p.longest()+8), make([]byte, p.longest()+16)
	}
	values := p.values[:first-aligned+n]
	raw := p.raw[:r.codeBytes(int64(len(values)))]
	if _, err := p.codes.ReadAt(raw, aligned*int64(r.bits)/8); err != nil {
		return nil, err
	}
	r.unpack(values, raw)
	values = values[first-aligned:]
	return values, p.scale(values, first)
}

// scale turns levels into elements, block by block.
func (p *panels) scale(values []float32, first int64) error {
	r, to := p.w.rule, p.w.Tensor.DType
	g := r.grid
	low, high := g.span(first, int64(len(values)))
	scales, err := p.scales.read(low, high-low)
	if err != nil {
		return err
	}
	var biases []float32
	if p.biases != nil {
		if biases, err = p.biases.read(low, high-low); err != nil {
			return err
		}
	}
	for len(values) > 0 {
		row, col := first/g.cols, first%g.cols
		run := min(g.blockCols-col%g.blockCols, g.cols-col, int64(len(values)))
		b := g.block(row, col) - low
		bias := float32(0)
		if biases != nil {
			bias = biases[b]
		}
		for i, level := range values[:run] {
			values[i] = r.value(level, scales[b], bias, to)
		}
		values, first = values[run:], first+run
	}
	return nil
}

// span returns a range of blocks that has those of n elements of one panel.
func (g grid) span(first, n int64) (low, high int64) {
	last := first + n - 1
	if first/g.cols == last/g.cols {
		return g.block(first/g.cols, first%g.cols), g.block(last/g.cols, last%g.cols) + 1
	}
	return g.block(first/g.cols, 0), g.block(last/g.cols, g.cols-1) + 1
}

// encode writes elements in a dtype, rounded.
func encode(dst []byte, values []float32, to tensor.DType) []byte {
	switch to {
	case tensor.F32:
		for i, x := range values {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	case tensor.BF16:
		for i, x := range values {
			u := math.Float32bits(narrow(x, to))
			if x != x {
				u |= 0x400000
			}
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(u>>16))
		}
	case tensor.F16:
		var wide [4]byte
		for i, x := range values {
			binary.LittleEndian.PutUint32(wide[:], math.Float32bits(x))
			toF16(dst[2*i:], wide[:])
		}
	}
	return dst
}
