package model

import (
	"context"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Head is an output head: a copy of the embedding if the head is tied, as in all published models, or
// a matrix of its own, as in some fine-tunes.
type Head struct {
	Tensor *tensor.Tensor
	Op     Op // from the tensor to transformers' head, [vocabulary, width]
}

// View returns the elements of h.Tensor as transformers' head has them: [vocabulary, width].
func (h *Head) View() tensor.View {
	v, _ := h.Op.apply(tensor.RowMajor(h.Tensor.Shape...))
	return v
}

// fits reports whether the head has the shape of an embedding.
func (h *Head) fits(embedding *tensor.Tensor) bool {
	return len(h.Tensor.Shape) == 2 && slices.Equal(h.View().Shape, embedding.Shape)
}

// addHead adds a tensor to r.Heads if its name is that of an output head, beside the model or in it.
func (r recognizer) addHead(t *tensor.Tensor) bool {
	outer, known := r.Prefix, r.Family.Heads
	if r.Layout == HuggingFace {
		outer, known = strings.TrimSuffix(outer, r.Family.Roots[HuggingFace]), known[:1]
	}
	for _, prefix := range []string{r.Prefix, outer} {
		rest, under := strings.CutPrefix(t.Name, prefix)
		if !under {
			continue
		}
		for _, h := range known {
			if unwrap(rest) == h.Name && (h.Always || len(t.Shape) == 2) {
				r.Heads = append(r.Heads, Head{t, h.Op})
				return true
			}
		}
	}
	return false
}

// dropMisshapenHeads makes extra tensors of those heads that do not have the shape of one, now that
// the sizes are known. A tensor that is named like transformers' head stays one.
func (r recognizer) dropMisshapenHeads() {
	name, _, _ := strings.Cut(r.Family.HeadName(), ".")
	r.Heads = slices.DeleteFunc(r.Heads, func(h Head) bool {
		if strings.Contains(h.Tensor.Name, name+".") || slices.Equal(h.View().Shape, headShape(r.Model)) {
			return false
		}
		r.Extra = append(r.Extra, h.Tensor)
		return true
	})
}

// headShape returns the shape of an output head of a model.
func headShape(m *Model) []int64 {
	return m.sizes.shapeIn(m.Family.rule(m.Family.Embedding), HuggingFace)
}

// resolveHead compares the output heads of a model with the embedding. A head that differs is the model's
// separate head, and comes first. If a config.json states whether the head is tied, that counts, and
// nothing is read.
func resolveHead(ctx context.Context, m *Model) error {
	if m.Layout == HuggingFace && !m.headChanged && (m.files.config != nil || m.files.configErr != nil) {
		return m.files.configErr
	}
	m.Config.SeparateHead = false
	embedding := m.Embedding()
	if embedding == nil {
		return nil // Problems reports it
	}
	var separate []Head
	for _, h := range m.Heads {
		if !h.fits(embedding) {
			return nil // Problems reports it
		}
		copied := Copy{Of: embedding, Tensor: h.Tensor, View: h.View()}
		if h.Tensor.DType == embedding.DType {
			at, err := copied.Check(ctx)
			if err != nil {
				return err
			}
			if at < 0 {
				continue
			}
		}
		separate = append(separate, h)
	}
	if len(separate) > 1 {
		return tensor.Bad("a second output head that differs from the embedding, beside %s", tensor.QuoteName(separate[0].Tensor.Name)).
			In(m.Checkpoint.Path).Of(separate[1].Tensor.Name)
	}
	if len(separate) == 1 {
		m.Config.SeparateHead = true
		m.Heads = slices.DeleteFunc(m.Heads, func(h Head) bool { return h.Tensor == separate[0].Tensor })
		m.Heads = slices.Insert(m.Heads, 0, separate[0])
	}
	return nil
}

// SeparateHead returns the output head that is not tied to the embedding, nil if there is none. c is
// the configuration that Configure returned.
func (m *Model) SeparateHead(c *Config) *Head {
	if !c.SeparateHead || len(m.Heads) == 0 {
		return nil
	}
	return &m.Heads[0]
}

// HeadCopies returns the output heads that should have the elements of the embedding, given the
// configuration that Configure returned.
func (m *Model) HeadCopies(c *Config) []Copy {
	var out []Copy
	for i := range m.Heads {
		if h := &m.Heads[i]; !c.SeparateHead || i > 0 {
			out = append(out, Copy{Of: m.Embedding(), Tensor: h.Tensor, View: h.View()})
		}
	}
	return out
}

// CheckHeads compares the output heads that should be copies of the embedding with it, given the
// configuration that Configure returned. One that differs is a *tensor.FormatError.
func (m *Model) CheckHeads(ctx context.Context, c *Config) error {
	if c.SeparateHead {
		return nil
	}
	for _, copied := range m.HeadCopies(c) {
		element, err := copied.Check(ctx)
		if err != nil {
			return err
		}
		if element >= 0 {
			return tensor.Bad("differs from %s from element %d on, and nothing states that the head is not tied to it", copied.Of.Name, element).
				In(m.Checkpoint.Path).Of(copied.Tensor.Name)
		}
	}
	return nil
}
