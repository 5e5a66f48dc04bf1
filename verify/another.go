package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// otherSizes says in which sizes, as the shapes of its tensors show them, a model differs from the one that it should be: "width 36,
// not 32; 3 layers, not 5". It is "" if they are the same. A size that no tensor shows says nothing.
func otherSizes(got, want *model.Config) string {
	var parts []string
	for _, s := range []struct {
		name      string
		got, want int64
	}{
		{"width", got.Width, want.Width}, {"layers", int64(len(got.BlockTypes)), int64(len(want.BlockTypes))}, {"vocabulary", got.VocabSize, want.VocabSize},
		{"MLP width", got.MLPExpandedWidth, want.MLPExpandedWidth}, {"heads", got.NumHeads, want.NumHeads}, {"RG-LRU width", got.LRUWidth, want.LRUWidth},
	} {
		switch {
		case s.got == s.want, s.got <= 0:
		case s.name == "layers", s.name == "heads":
			parts = append(parts, fmt.Sprintf("%s, not %d", text.Count(s.got, strings.TrimSuffix(s.name, "s")), s.want))
		default:
			parts = append(parts, fmt.Sprintf("%s %d, not %d", s.name, s.got, s.want))
		}
	}
	isRight := func(got, want model.BlockType) bool { return got == want || got == model.UnknownKind }
	if len(got.BlockTypes) == len(want.BlockTypes) && !slices.EqualFunc(got.BlockTypes, want.BlockTypes, isRight) {
		parts = append(parts, "recurrent and attention layers in another order")
	}
	return strings.Join(parts, "; ")
}

// isAnother reports whether what was found is wholly another model, so that a list of its tensors would only repeat that: more than
// half of the tensors that were expected are wrong, and no other name was found for one.
func (c *structure) isAnother() bool {
	return c.renaming == nil && 2*(c.count(isMissing)+c.count(isMisshapen)) > len(c.plan.Dests)
}

// count counts the findings of a kind.
func (c *structure) count(kind structureKind) (n int) {
	for i := range c.wrong {
		if c.wrong[i].kind == kind {
			n++
		}
	}
	return n
}

// describeAnother says what another model is.
func (c *structure) describeAnother(sizes string) string {
	if sizes != "" {
		return "another model: " + sizes
	}
	return fmt.Sprintf("another model: it lacks %d of %s, and has %d others", c.count(isMissing), text.Count(len(c.plan.Dests), "tensor"), c.count(isExtra))
}
