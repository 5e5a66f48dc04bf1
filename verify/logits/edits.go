package logits

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// edit makes a parameter of a block from the parameters that the block has.
type edit func(get func(name string) (*reference.Parameter, error)) (*reference.Parameter, error)

// editedWeights are weights in which some parameters of one block are edited.
type editedWeights struct {
	reference.Weights
	block int
	edits map[string]edit
}

// Parameter implements reference.Weights.
func (e editedWeights) Parameter(block int, name string) (*reference.Parameter, error) {
	if edit, ok := e.edits[name]; ok && block == e.block {
		return edit(func(name string) (*reference.Parameter, error) { return e.Weights.Parameter(block, name) })
	}
	return e.Weights.Parameter(block, name)
}

// zeroedWeights returns weights of which some parameters of a block are zero.
func zeroedWeights(w reference.Weights, block int, names ...string) reference.Weights {
	e := editedWeights{Weights: w, block: block, edits: map[string]edit{}}
	for _, name := range names {
		e.edits[name] = zeroed(name)
	}
	return e
}

// mapped changes the values of a parameter: f is given them in the order in which they are stored.
func mapped(name string, f func(p *reference.Parameter, x []float32)) edit {
	return func(get func(string) (*reference.Parameter, error)) (*reference.Parameter, error) {
		p, err := get(name)
		if err != nil {
			return nil, err
		}
		n := int64(1)
		for _, d := range p.Shape {
			n *= d
		}
		raw, wide := make([]byte, n*p.DType.Size()), make([]byte, 4*n)
		if got, err := p.Data.ReadAt(raw, 0); got < len(raw) {
			return nil, err
		}
		closeData(p)
		cast, err := tensor.NewCast(p.DType, tensor.F32)
		if err != nil {
			return nil, err
		}
		cast(wide, raw)
		x := make([]float32, n)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(wide[4*i:]))
		}
		f(p, x)
		for i := range x {
			binary.LittleEndian.PutUint32(wide[4*i:], math.Float32bits(x[i]))
		}
		return &reference.Parameter{DType: tensor.F32, Shape: p.Shape, InOut: p.InOut, Data: reference.Bytes(wide)}, nil
	}
}

func closeData(p *reference.Parameter) {
	if closer, ok := p.Data.(io.Closer); ok {
		closer.Close()
	}
}

func zeroed(name string) edit {
	return mapped(name, func(_ *reference.Parameter, x []float32) { clear(x) })
}

func scaledBy(name string, by float64) edit {
	return mapped(name, func(_ *reference.Parameter, x []float32) {
		for i := range x {
			x[i] = float32(float64(x[i]) * by)
		}
	})
}

// replaced takes another parameter of the block.
func replaced(by string) edit {
	return func(get func(string) (*reference.Parameter, error)) (*reference.Parameter, error) { return get(by) }
}

// exchanged exchanges two dense layers, with their biases.
func exchanged(a, b string) map[string]edit {
	return map[string]edit{a + reference.Kernel: replaced(b + reference.Kernel), a + reference.Bias: replaced(b + reference.Bias),
		b + reference.Kernel: replaced(a + reference.Kernel), b + reference.Bias: replaced(a + reference.Bias)}
}

// transposed transposes a square matrix; others are not applicable.
func transposed(name string) edit {
	return func(get func(string) (*reference.Parameter, error)) (*reference.Parameter, error) {
		p, err := get(name)
		if err != nil {
			return nil, err
		}
		if len(p.Shape) != 2 || p.Shape[0] != p.Shape[1] {
			closeData(p)
			return nil, errNotApplicable
		}
		t := *p
		t.InOut = !p.InOut
		return &t, nil
	}
}

// headsTransposed transposes the matrix of each head.
func headsTransposed(name string) edit {
	return mapped(name, func(p *reference.Parameter, x []float32) {
		n := int(p.Shape[len(p.Shape)-1])
		for from := 0; from+n*n <= len(x); from += n * n {
			for i := range n {
				for j := range i {
					a, b := from+i*n+j, from+j*n+i
					x[a], x[b] = x[b], x[a]
				}
			}
		}
	})
}

// tapsReversed reverses the taps of a convolution, whichever axis they are on.
func tapsReversed(name string) edit {
	return mapped(name, func(p *reference.Parameter, x []float32) {
		const taps = 4
		width, step, next := len(x)/taps, taps, 1
		if p.InOut || p.Shape[0] == taps {
			step, next = 1, width
		}
		for c := range width {
			for a, b := 0, taps-1; a < b; a, b = a+1, b-1 {
				i, j := c*step+a*next, c*step+b*next
				x[i], x[j] = x[j], x[i]
			}
		}
	})
}

// fromWeights takes a parameter of a block of other weights; it is not applicable if they lack it.
func fromWeights(other reference.Weights, block int, name string) edit {
	return func(func(string) (*reference.Parameter, error)) (*reference.Parameter, error) {
		p, err := other.Parameter(block, name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotApplicable, err)
		}
		return p, nil
	}
}
