package convert

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// headRelation is what the output head of a Hugging Face directory that unties it is to the embedding.
type headRelation uint8

const (
	headUnknown headRelation = iota // SettleScale was not called
	headOwn                         // a matrix of its own
	headCopied                      // the same elements
	headWhole                       // the embedding of a model that does not scale it, which embed_tokens has divided
)

// SettleScale finds out what the untied head of a Hugging Face directory is: one of its own, a copy of
// the embedding, or what a model without embedding scale has for both, of which embed_tokens is the
// quotient by sqrt(width). NewPlan needs to know to make an original of it, or to change its types. It
// reads both matrices until they are told apart, and nothing of other models.
func (m *Model) SettleScale(ctx context.Context) error {
	if m.Layout != HuggingFace || len(m.Heads) == 0 {
		return nil
	}
	h, _, err := m.hfConfig()
	if err != nil {
		return err
	}
	if h != nil && h.TieWordEmbeddings && !m.headChanged || m.headChanged && !m.Config.SeparateHead || h == nil && !m.Config.SeparateHead {
		return nil
	}
	embedding, head := m.embedding(), m.Heads[0].Tensor
	m.relation = headOwn
	if embedding == nil || embedding.DType != head.DType || !slices.Equal(embedding.Shape, head.Shape) {
		return nil
	}
	m.relation, err = relate(ctx, embedding, head, huggingface.EmbeddingScale(m.Config.Width))
	return err
}

// relate compares an embedding with the head, and with the head divided.
func relate(ctx context.Context, embedding, head *tensor.Tensor, by float64) (headRelation, error) {
	divide, err := tensor.NewDivide(head.DType, embedding.DType, by)
	couldBeWhole := err == nil
	couldBeCopied := true
	a, err := embedding.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	b, err := head.Data.Stream(0)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	p, q, quotient := make([]byte, compareStep), make([]byte, compareStep), make([]byte, compareStep)
	for left := embedding.Bytes(); left > 0 && (couldBeCopied || couldBeWhole); left -= compareStep {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(compareStep, left)
		if _, err := io.ReadFull(a, p[:n]); err != nil {
			return 0, tensor.Annotate(tensor.ShortRead(err), tensor.Location{Tensor: embedding.Name})
		}
		if _, err := io.ReadFull(b, q[:n]); err != nil {
			return 0, tensor.Annotate(tensor.ShortRead(err), tensor.Location{Tensor: head.Name})
		}
		couldBeCopied = couldBeCopied && bytes.Equal(p[:n], q[:n])
		if couldBeWhole {
			divide(quotient[:n], q[:n])
			couldBeWhole = bytes.Equal(p[:n], quotient[:n])
		}
	}
	switch {
	case couldBeCopied:
		return headCopied, nil
	case couldBeWhole:
		return headWhole, nil
	}
	return headOwn, nil
}
