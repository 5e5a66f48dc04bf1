package model

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// HeadRelation is the relation of the untied output head of a Hugging Face directory to the embedding.
type HeadRelation uint8

// The relations.
const (
	UnknownHead  HeadRelation = iota // not compared, or not a Hugging Face directory that unties the head
	SeparateHead                     // a matrix of its own
	CopiedHead                       // the elements of the embedding
	UnscaledHead                     // the embedding of a model that does not scale it: the directory's embedding is the head divided by huggingface.EmbeddingScale
)

// resolveRelation compares the untied head of a Hugging Face directory with the embedding, and with
// the embedding multiplied. It reads both matrices until the relation is known.
func resolveRelation(ctx context.Context, m *Model) error {
	if m.Layout != HuggingFace || len(m.Heads) == 0 {
		return nil
	}
	untied := m.Config.SeparateHead
	if config := m.files.config; config != nil && !m.headChanged {
		untied = !config.TieWordEmbeddings
	}
	if !untied {
		return nil
	}
	embedding, head := m.Embedding(), m.Heads[0].Tensor
	m.HeadRelation = SeparateHead
	if embedding == nil || embedding.DType != head.DType || !slices.Equal(embedding.Shape, head.Shape) {
		return nil
	}
	var err error
	m.HeadRelation, err = relate(ctx, embedding, head, huggingface.EmbeddingScale(m.Config.Width))
	return err
}

// relate compares an embedding with the head, and with the head divided by a number.
func relate(ctx context.Context, embedding, head *tensor.Tensor, by float64) (HeadRelation, error) {
	divide, err := tensor.NewDivide(head.DType, embedding.DType, by)
	couldBeUnscaled := err == nil
	couldBeCopied := true
	quotient := make([]byte, compareStep)
	err = readBoth(ctx, embedding, head, func(_ int64, p, q []byte) (more bool) {
		couldBeCopied = couldBeCopied && bytes.Equal(p, q)
		if couldBeUnscaled {
			divide(quotient[:len(q)], q)
			couldBeUnscaled = bytes.Equal(p, quotient[:len(q)])
		}
		return couldBeCopied || couldBeUnscaled
	})
	switch {
	case err != nil:
		return UnknownHead, err
	case couldBeCopied:
		return CopiedHead, nil
	case couldBeUnscaled:
		return UnscaledHead, nil
	}
	return SeparateHead, nil
}

// compareStep is the number of bytes of two tensors that are compared at a time.
const compareStep = 1 << 20

// readBoth reads two tensors of equal size from front to back, and calls do with corresponding bytes
// and their offset until it returns false.
func readBoth(ctx context.Context, a, b *tensor.Tensor, do func(off int64, p, q []byte) (more bool)) error {
	first, err := a.Data.Stream(0)
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := b.Data.Stream(0)
	if err != nil {
		return err
	}
	defer second.Close()
	p, q := make([]byte, compareStep), make([]byte, compareStep)
	for off, total := int64(0), a.Bytes(); off < total; off += compareStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(compareStep, total-off)
		for _, x := range []struct {
			t  *tensor.Tensor
			r  io.Reader
			to []byte
		}{{a, first, p[:n]}, {b, second, q[:n]}} {
			if err := tensor.ReadFull(x.r, x.to); err != nil {
				return tensor.Annotate(err, tensor.Location{Tensor: x.t.Name})
			}
		}
		if !do(off, p[:n], q[:n]) {
			return nil
		}
	}
	return nil
}
