package convert

import (
	"bytes"
	"context"
	"io"
	"reflect"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Copy is a tensor that the destination does without, because another holds the same: the output
// head of a tied model. That it does is not known before CheckCopies.
type Copy struct {
	Of     *tensor.Tensor // what is kept
	Tensor *tensor.Tensor // of the same dtype and shape
}

// CheckCopies reads the tensors of p.Copies and reports one that differs as *tensor.FormatError. It
// is to be called before anything is written, and returns ctx.Err() once that is set.
func (p *Plan) CheckCopies(ctx context.Context) error {
	for _, c := range p.Copies {
		if c.shared() {
			continue
		}
		at, err := c.firstDifference(ctx)
		if err != nil {
			return err
		}
		if at >= 0 {
			return tensor.Bad("differs from %s from element %d on: an output head of its own has no plain Hugging Face form", c.Of.Name, at).
				In(p.Source.Checkpoint.Path).Of(c.Tensor.Name)
		}
	}
	return nil
}

// shared reports whether both tensors are the same bytes of the same file, as torch saves tied
// parameters.
func (c *Copy) shared() bool {
	a, okA, errA := tensor.Layout(c.Of)
	b, okB, errB := tensor.Layout(c.Tensor)
	if !okA || !okB || errA != nil || errB != nil || !reflect.TypeOf(a.Store).Comparable() {
		return false
	}
	return a.Store == b.Store && a.Base == b.Base && a.DType == b.DType && a.BigEndian == b.BigEndian && a.View.Offset == b.View.Offset &&
		slices.Equal(a.View.Shape, b.View.Shape) && slices.Equal(a.View.Strides, b.View.Strides)
}

// firstDifference returns the first element in which the tensors differ, or -1.
func (c *Copy) firstDifference(ctx context.Context) (int64, error) {
	a, err := c.Of.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	b, err := c.Tensor.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	const chunk = 1 << 20
	p, q := make([]byte, chunk), make([]byte, chunk)
	for at, total := int64(0), c.Of.Bytes(); at < total; at += chunk {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(chunk, total-at)
		if _, err := io.ReadFull(a, p[:n]); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(b, q[:n]); err != nil {
			return 0, err
		}
		if !bytes.Equal(p[:n], q[:n]) {
			i := int64(0)
			for p[i] == q[i] {
				i++
			}
			return (at + i) / c.Of.DType.Size(), nil
		}
	}
	return -1, nil
}
