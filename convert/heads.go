package convert

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Head is a matrix beside the model that logits could be computed with: a copy of the embedding
// where the head is tied, as it is in all published models, or one of its own in some fine-tunes.
type Head struct {
	Tensor *tensor.Tensor
	op     op // from the tensor to transformers' lm_head.weight
}

// View returns the elements of h.Tensor as transformers' lm_head.weight has them: [vocabulary,
// width].
func (h *Head) View() tensor.View {
	v, _ := h.op.apply(tensor.RowMajor(h.Tensor.Shape...))
	return v
}

// headName is a way to name an output head in the original layouts, which have none of their own.
type headName struct {
	name   string
	op     op
	always bool // else only where it has the shape of one: it may as well be a classifier
}

var headNames = []headName{
	{"lm_head.weight", same, true},
	{"lm_head.kernel", transposed, true},
	{"lm_head.w", transposed, false},
	{"output_head.weight", same, false},
	{"output_head.kernel", transposed, false},
	{"output_head.w", transposed, false},
	{"head.weight", same, false},
	{"head.kernel", transposed, false},
	{"head.w", transposed, false},
}

// mayBeHead adds a tensor to m.Heads if its name is that of an output head, beside or in the model.
func (m *Model) mayBeHead(t *tensor.Tensor) bool {
	outer, known := m.Prefix, headNames
	if m.Layout == HuggingFace {
		outer, known = strings.TrimSuffix(outer, "model."), headNames[:1]
	}
	for _, prefix := range []string{m.Prefix, outer} {
		rest, under := strings.CutPrefix(t.Name, prefix)
		if !under {
			continue
		}
		for _, h := range known {
			if unwrap(rest) == h.name && (h.always || len(t.Shape) == 2) {
				m.Heads = append(m.Heads, Head{t, h.op})
				return true
			}
		}
	}
	return false
}

// sortHeads makes those heads extra tensors that, now that the sizes are known, have not the shape
// of one.
func (m *Model) sortHeads() {
	m.Heads = slices.DeleteFunc(m.Heads, func(h Head) bool {
		if strings.Contains(h.Tensor.Name, "lm_head.") || slices.Equal(h.View().Shape, m.headShape()) {
			return false
		}
		m.Extra = append(m.Extra, h.Tensor)
		return true
	})
}

func (m *Model) headShape() []int64 { return []int64{m.sizes['V'], m.sizes['W']} }

// SettleHead compares the output heads with the embedding and sets m.Config.SeparateHead where one
// differs from it. It reads weights where there is a head that is not the very storage of the
// embedding. Where a config.json says whether the head is tied, that counts, and nothing is read.
//
// It is to be called before NewPlan or Complete: without it heads are taken for copies of the
// embedding, and CheckCopies or CheckHead refuses one that is none.
func (m *Model) SettleHead(ctx context.Context) error {
	if m.Layout == HuggingFace && !m.headChanged {
		if h, _, err := m.hfConfig(); h != nil || err != nil {
			return err
		}
	}
	m.Config.SeparateHead = false
	embedding := m.embedding()
	if embedding == nil {
		return nil // NewPlan says what is missing
	}
	var own []Head
	for i := range m.Heads {
		h := &m.Heads[i]
		if !slices.Equal(h.View().Shape, embedding.Shape) {
			return nil // NewPlan says that it does not fit
		}
		copied := Copy{Of: embedding, Tensor: h.Tensor, View: h.View()}
		if h.Tensor.DType == embedding.DType {
			at, err := copied.differs(ctx)
			if err != nil {
				return err
			}
			if at < 0 {
				continue
			}
		}
		own = append(own, *h)
	}
	if len(own) > 1 {
		return tensor.Bad("a second output head of its own, beside %s", tensor.QuoteName(own[0].Tensor.Name)).
			In(m.Checkpoint.Path).Of(own[1].Tensor.Name)
	}
	if len(own) == 1 {
		m.Config.SeparateHead = true
		m.Heads = slices.DeleteFunc(m.Heads, func(h Head) bool { return h.Tensor == own[0].Tensor })
		m.Heads = slices.Insert(m.Heads, 0, own[0])
	}
	return nil
}

// OwnHead returns the head that is no copy of the embedding, or nil. c is the model's configuration as
// Complete returns it.
func (m *Model) OwnHead(c *Config) *Head {
	if !c.SeparateHead || len(m.Heads) == 0 {
		return nil
	}
	return &m.Heads[0]
}

// headCopies lists the heads that are left out, because they hold what the embedding does.
func (m *Model) headCopies(c *Config) []Copy {
	var out []Copy
	for i := range m.Heads {
		if h := &m.Heads[i]; !c.SeparateHead || i > 0 {
			out = append(out, Copy{Of: m.embedding(), Tensor: h.Tensor, View: h.View()})
		}
	}
	return out
}

// checkHeads refuses output heads that do not fit the embedding. Whether one that fits is a copy of it
// is for SettleHead to say.
func (m *Model) checkHeads(e *PlanError) {
	embedding := m.embedding()
	if embedding == nil {
		return
	}
	for i := range m.Heads {
		h := &m.Heads[i]
		if len(h.Tensor.Shape) != 2 || !slices.Equal(h.View().Shape, embedding.Shape) {
			e.Misshapen = append(e.Misshapen, Problem{h.Tensor.Name, fmt.Sprintf("%s, which is no output head for an embedding of %s",
				tensor.ShapeString(h.Tensor.Shape), tensor.ShapeString(embedding.Shape))})
		} else if !isWeightType(h.Tensor.DType) {
			e.Mistyped = append(e.Mistyped, Problem{h.Tensor.Name, fmt.Sprintf("%s; weights are float64, float32, bfloat16 or float16", h.Tensor.DType)})
		}
	}
}
