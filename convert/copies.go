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
	Tensor *tensor.Tensor
	View   tensor.View // which of Tensor's row-major elements are those of Of, in its order
}

// CheckCopies reads the tensors of p.Copies and reports one that differs as *tensor.FormatError. It
// is to be called before anything is written, and returns ctx.Err() once that is set.
func (p *Plan) CheckCopies(ctx context.Context) error {
	for _, c := range p.Copies {
		at, err := c.differs(ctx)
		if err != nil {
			return err
		}
		if at >= 0 {
			return tensor.Bad("differs from %s from element %d on, and the head is said to be tied to it", c.Of.Name, at).
				In(p.Source.Checkpoint.Path).Of(c.Tensor.Name).
				Advise("transformers ignores such a head; remove it, or set tie_word_embeddings of config.json to false")
		}
	}
	return nil
}

// differs returns the first element, of c.Of, in which the tensors differ, or -1.
func (c *Copy) differs(ctx context.Context) (int64, error) {
	if c.Tensor.DType != c.Of.DType || !slices.Equal(c.View.Shape, c.Of.Shape) {
		return 0, nil
	}
	if c.View.IsRowMajor() {
		if c.shared() {
			return -1, nil
		}
		return firstDifference(ctx, c.Of.Data, c.Tensor.Data, c.Of)
	}
	shown, err := tensor.Viewed(c.Tensor, c.View)
	if err != nil {
		return 0, err
	}
	return firstDifference(ctx, c.Of.Data, shown.Data, c.Of)
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

// compareStep is how much of two tensors is compared at a time.
const compareStep = 1 << 20

// firstDifference returns the first element in which two streams of a tensor's type and size differ, or
// -1.
func firstDifference(ctx context.Context, first, second tensor.Data, t *tensor.Tensor) (int64, error) {
	a, err := first.Stream(0)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	b, err := second.Stream(0)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	p, q := make([]byte, compareStep), make([]byte, compareStep)
	for at, total := int64(0), t.Bytes(); at < total; at += compareStep {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(compareStep, total-at)
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
			return (at + i) / t.DType.Size(), nil
		}
	}
	return -1, nil
}
