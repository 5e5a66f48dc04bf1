package verify

import (
	"context"
	"fmt"
	"io"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// countDivided counts the elements that the list divides, and those that multiplying does not restore. It also sets what
// wrong elements should be: the proof has the source's element, not the quotient.
func (w *weightsCheck) countDivided(ctx context.Context) error {
	for i := range w.list.Moves {
		m := &w.list.Moves[i]
		if m.Divide == 0 || w.state[m.Dest] == skipped {
			continue
		}
		if k := int(w.state[m.Dest]); k != right {
			want, err := w.quotient(m.Dest, w.section.Findings.At(k).Index)
			if err != nil {
				return err
			}
			w.wants[k] = want
		}
		to := w.list.Dests[m.Dest].DType
		if m.Source.DType == to {
			w.section.Rounded -= m.View.Elements()
		}
		w.divisor = m.Divide
		w.section.Divided += m.View.Elements()
		inexact, err := countInexact(ctx, m, to)
		if err != nil {
			return err
		}
		w.section.Inexact += inexact
	}
	return nil
}

// quotient returns what an element of a divided tensor should be.
func (w *weightsCheck) quotient(dest int, index []int64) (string, error) {
	expected, err := w.expected(dest)
	if err != nil {
		return "", err
	}
	value, err := elementAt(expected, index)
	return fmt.Sprintf("%g", value), err
}

// countInexact counts the elements of a whole tensor that dividing and multiplying again does not restore.
func countInexact(ctx context.Context, m *moves.Move, to tensor.DType) (inexact int64, err error) {
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
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(elements, left)
		if _, err := io.ReadFull(stream, in[:n*size]); err != nil {
			return 0, tensor.Bad("data ends early").Of(m.Source.Name)
		}
		_, lost := divide(out[:n*to.Size()], in[:n*size])
		inexact += lost
	}
	return inexact, nil
}
