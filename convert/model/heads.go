package model

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
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
		outer, known = outerOf(r.Model), known[:1]
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

// embedByHead takes the output head of a tied Hugging Face model for its embedding if that is not there. transformers 5.23 loads such a
// model; 4.57 leaves its embedding without values. (Measured.)
func (r recognizer) embedByHead() {
	if r.Layout != HuggingFace || len(r.Heads) != 1 || r.Embedding() != nil || r.files.config != nil && !r.files.config.TieWordEmbeddings {
		return
	}
	r.found.first[r.Family.EmbeddingName(r.Layout)] = r.Heads[0].Tensor
	r.Notes = append(r.Notes, fmt.Sprintf("%s stands for the embedding too, as transformers 5.23 loads it; 4.57 leaves the embedding without values", tensor.QuoteName(r.Heads[0].Tensor.Name)))
	r.Heads, r.EmbeddedByHead = nil, true
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

// OwnHead returns the output head that is a matrix of its own, with which no original implementation computes; nil if there is none, or
// if it was not compared. c is the configuration that Configure returned.
func OwnHead(m *Model, c *Config) *Head {
	if m.HeadRelation == SeparateHead || m.HeadRelation == UnknownHead && m.Layout != HuggingFace {
		return m.SeparateHead(c)
	}
	return nil
}

// BeyondOriginal lists what of a model the original implementations do not compute, a phrase each.
func BeyondOriginal(m *Model, c *Config) []string {
	beyond := m.Family.BeyondOriginal(c)
	if h := OwnHead(m, c); h != nil {
		beyond = append(beyond, HeadIgnored(h.Tensor.Name))
	}
	return beyond
}

// HeadIgnored says what the original implementations do with an output head of its own. (Measured.)
func HeadIgnored(name string) string {
	return tensor.QuoteName(name) + " is an output head of its own, and it computes logits with the embedding; its torch code loads a file with the head only with strict=False"
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

// differs is the error for an output head that should be a copy of the embedding and is not.
func differs(m *Model, c *Copy, element int64) error {
	if m.Layout != HuggingFace || m.files.config == nil {
		return tensor.Bad("differs from %s from element %d on, and nothing states that the head is not tied to it", c.Of.Name, element).
			In(m.Checkpoint.Path).Of(c.Tensor.Name)
	}
	return tensor.Bad("differs from %s from element %d on, and config.json ties the head to it: %s", c.Of.Name, element, ComputedWith("the embedding", "this head")).
		In(m.Checkpoint.Path).Of(c.Tensor.Name).
		Advise("set tie_word_embeddings of config.json to false for the model that 5.23 computes, or remove the head for that of 4.57")
}

// ComputedWith says with which of two matrices, which config.json ties and which differ, versions of transformers compute logits. (Measured.)
func ComputedWith(embedding, head string) string {
	return fmt.Sprintf("transformers 4.57 computes logits with %s, and 5.23 with %s", embedding, head)
}

// TiesOther reports whether the config.json of a Hugging Face directory ties an output head to the embedding that differs from it.
func TiesOther(ctx context.Context, m *Model) (bool, error) {
	stated, err := m.StatedConfig()
	if err != nil || stated == nil || !stated.TieWordEmbeddings || m.Embedding() == nil {
		return false, nil // what cannot be read is no matter of this
	}
	for _, c := range m.HeadCopies(&Config{}) {
		if element, err := c.Check(ctx); err != nil || element >= 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// UncomparedHead returns the first output head of a model of whose elements nothing but their bytes can say whether they are the embedding's; nil if
// there is none.
func UncomparedHead(m *Model) *Head {
	for i, c := range m.HeadCopies(&Config{}) {
		if c.Of != nil && !c.sharesStorage() {
			return &m.Heads[i]
		}
	}
	return nil
}

// CheckCopies compares output heads of a model that should be copies of the embedding with it. One that differs is a *tensor.FormatError.
func CheckCopies(ctx context.Context, m *Model, copies []Copy) error {
	for i := range copies {
		element, err := copies[i].Check(ctx)
		if err != nil {
			return err
		}
		if element >= 0 {
			return differs(m, &copies[i], element)
		}
	}
	return nil
}

// CheckHeads compares the output heads that should be copies of the embedding with it, given the
// configuration that Configure returned. One that differs is a *tensor.FormatError.
func (m *Model) CheckHeads(ctx context.Context, c *Config) error {
	if c.SeparateHead {
		return nil
	}
	return CheckCopies(ctx, m, m.HeadCopies(c))
}

// Copy is a tensor that should have the elements of another: the output head of a tied model. Check
// compares them.
type Copy struct {
	Of     *tensor.Tensor
	Tensor *tensor.Tensor
	View   tensor.View // which of Tensor's row-major elements are those of Of, in its order
}

// Check returns the first element of c.Of in which the tensors differ, or -1. It reads both, unless
// they are the same storage.
func (c *Copy) Check(ctx context.Context) (element int64, err error) {
	if c.Tensor.DType != c.Of.DType || !slices.Equal(c.View.Shape, c.Of.Shape) {
		return 0, nil
	}
	if c.sharesStorage() {
		return -1, nil
	}
	ordered, err := tensor.Viewed(c.Tensor, c.View)
	if err != nil {
		return 0, err
	}
	element = -1
	err = readBoth(ctx, c.Of, ordered, func(off int64, p, q []byte) (more bool) {
		if bytes.Equal(p, q) {
			return true
		}
		i := int64(0)
		for p[i] == q[i] {
			i++
		}
		element = (off + i) / c.Of.DType.Size()
		return false
	})
	return element, err
}

// sharesStorage reports whether both tensors are the same bytes of the same file, as torch saves tied
// parameters.
func (c *Copy) sharesStorage() bool {
	if !c.View.IsRowMajor() {
		return false
	}
	a, okA, errA := tensor.Layout(c.Of)
	b, okB, errB := tensor.Layout(c.Tensor)
	if !okA || !okB || errA != nil || errB != nil || !reflect.TypeOf(tensor.Unchecked(a.Store)).Comparable() {
		return false
	}
	return tensor.Unchecked(a.Store) == tensor.Unchecked(b.Store) && a.Base == b.Base && a.DType == b.DType && a.BigEndian == b.BigEndian && a.View.Offset == b.View.Offset &&
		slices.Equal(a.View.Shape, b.View.Shape) && slices.Equal(a.View.Strides, b.View.Strides)
}
