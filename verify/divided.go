package verify

import (
	"fmt"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// divides reports whether the plan divides the elements of a tensor.
func (w *weights) divides(dest int) bool {
	return slices.ContainsFunc(w.plan.Moves, func(m moves.Move) bool { return m.Dest == dest && m.Divide != 0 })
}

// wantQuotients gives findings of tensors that are divided what the element should be: the proof has the source's.
func (w *weights) wantQuotients() error {
	for i, d := range w.plan.Dests {
		f := w.wrong[i]
		if f == nil || !w.divides(i) {
			continue
		}
		element := int64(0)
		for k, n := range d.Shape {
			element = element*n + f.Index[k]
		}
		p, err := w.demand(w.plan.List, i, []int64{element})
		if err != nil {
			return err
		}
		f.Want = fmt.Sprintf("%g", values(d.DType, p)[0])
	}
	return nil
}

// countDivided counts the elements that the plan divides, and those that are lost by it.
func (w *weights) countDivided() error {
	for i := range w.plan.Moves {
		m := &w.plan.Moves[i]
		if m.Divide == 0 || w.left[m.Dest] {
			continue
		}
		to := w.plan.Dests[m.Dest].DType
		if m.Source.DType == to {
			w.section.Rounded -= m.View.Elements()
		}
		w.divisor = m.Divide
		w.section.Divided += m.View.Elements()
		lost, err := w.lost(m, to)
		if err != nil {
			return err
		}
		w.section.Inexact += lost
	}
	return nil
}

// lost counts the elements of a whole tensor that are not given back by multiplying what they were divided by.
func (w *weights) lost(m *moves.Move, to tensor.DType) (lost int64, err error) {
	divide, err := tensor.NewDivide(m.Source.DType, to, m.Divide)
	if err != nil {
		return 0, err
	}
	stream, err := m.Source.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	const elements = 1 << 16
	size := m.Source.DType.Size()
	in, out := make([]byte, elements*size), make([]byte, elements*to.Size())
	for left := m.Source.Elements(); left > 0; left -= elements {
		if err := w.ctx.Err(); err != nil {
			return 0, err
		}
		n := min(elements, left)
		if _, err := io.ReadFull(stream, in[:n*size]); err != nil {
			return 0, tensor.Bad("data ends early").In(w.plan.Source.Checkpoint.Path).Of(m.Source.Name)
		}
		_, inexact := divide(out[:n*to.Size()], in[:n*size])
		lost += inexact
	}
	return lost, nil
}
