package diff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/internal/config"
)

// configs compares the configurations of a differ's sides.
type configs struct{ *differ }

// compare compares the configurations by their meaning. A side without config.json has only the
// fields that its shapes tell; the others are left out.
func (d configs) compare(ctx context.Context) error {
	if len(d.options.Only) > 0 {
		return nil
	}
	d.compareExistence()
	plain, err := d.asTheyAre()
	if err != nil {
		return err
	}
	a, err := d.configOf(d.a, plain)
	if err != nil {
		return err
	}
	b, err := d.configOf(d.b, plain)
	if err != nil {
		return err
	}
	d.compareFields(a, b)
	if a.complete && b.complete {
		return d.compareFiles(ctx)
	}
	return nil
}

// sideConfig is the configuration of a side.
type sideConfig struct {
	fields   config.Fields
	complete bool                        // config.json was read; otherwise only shapes are known
	refused  map[string]hfconfig.Refusal // fields with which transformers does not load config.json, by their names here
	states   func(field string) bool     // reports whether config.json has a field, so that its value is no default; nil if the fields are only those that it has
}

// isDefault reports whether the value of a field is what transformers takes because the file does not state it.
func (c *sideConfig) isDefault(field string) bool { return c.states != nil && !c.states(field) }

// compareFields lists the fields that differ. A side that is not complete has only those that differ if they are there.
func (d configs) compareFields(a, b *sideConfig) {
	all := maps.Clone(a.fields)
	maps.Copy(all, b.fields)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, inA := a.fields[name]
		y, inB := b.fields[name]
		refusedA, isRefusedA := a.refused[name] // whether transformers refuses the value; where only one of its versions does, a note says so
		refusedB, isRefusedB := b.refused[name]
		if d.copies.differ() && isQuantization(name) || inA && inB && config.Same(name, x, y) && refusedA.Always() == refusedB.Always() || !inA && !a.complete || !inB && !b.complete {
			continue
		}
		if newer, ok := config.Newer[name]; ok && (!inA || !inB || config.Equal(x, a.fields[newer]) && config.Equal(y, b.fields[newer])) {
			continue
		}
		if name == "block_types" && haveSameBlocks(a, b) {
			continue
		}
		c := ConfigDifference{Field: name, Detail: effectOf(name, x, y), DefaultA: inA && a.isDefault(name), DefaultB: inB && b.isDefault(name)}
		if inA {
			c.A = config.Show(x)
		}
		if inB {
			c.B = config.Show(y)
		}
		if isRefusedA {
			c.refuse("A", &c.A, &refusedA)
		}
		if isRefusedB {
			c.refuse("B", &c.B, &refusedB)
		}
		d.result.Config = append(d.result.Config, c)
	}
}

// haveSameBlocks reports whether the models have different numbers of blocks, and those that both have are of the same types.
func haveSameBlocks(a, b *sideConfig) bool {
	x, _ := a.fields["block_types"].([]any)
	y, _ := b.fields["block_types"].([]any)
	both := min(len(x), len(y))
	return len(x) != len(y) && slices.Equal(x[:both], y[:both]) &&
		a.fields["num_hidden_layers"] == int64(len(x)) && b.fields["num_hidden_layers"] == int64(len(y))
}

// refuse says that transformers does not load the value of a side, which is shown as config.json has it.
func (c *ConfigDifference) refuse(side string, shown *string, r *hfconfig.Refusal) {
	c.Detail = fmt.Sprintf("in %s %s", side, r.Detail())
	if r.Value != nil {
		*shown = r.Shown()
	}
}

// effectOf says what a difference in a field does: a number or a truth value as text does not do what another value does.
func effectOf(name string, x, y any) string {
	for side, v := range [][2]any{{x, y}, {y, x}} {
		if _, isText := v[0].(string); !isText {
			continue
		}
		switch v[1].(type) {
		case int64, float64, bool:
			_, isBool := v[1].(bool)
			return fmt.Sprintf("in %c %s", 'A'+side, hfconfig.AsText(name, isBool))
		}
	}
	if name == "dtype" && (x == nil) != (y == nil) {
		return fmt.Sprintf("without it, in %c, transformers 5.23 takes the dtype of the weights, and 4.57 float32", map[bool]rune{true: 'A', false: 'B'}[x == nil])
	}
	if n, ok := x.(int64); ok && effects[name] == narrower {
		if m, ok := y.(int64); ok {
			return fmt.Sprintf("attention reaches less far in %c", map[bool]rune{true: 'A', false: 'B'}[n < m])
		}
	}
	if zero, ok := zeroCap(x, y); ok && name == "logits_soft_cap" {
		return fmt.Sprintf("in transformers, which divides by it, all logits are zero in %c", zero)
	}
	return effects[name]
}

// zeroCap returns the side whose soft cap is 0, the other being another number.
func zeroCap(x, y any) (side rune, ok bool) {
	a, isA := x.(float64)
	b, isB := y.(float64)
	if !isA || !isB || (a == 0) == (b == 0) {
		return 0, false
	}
	if a == 0 {
		return 'A', true
	}
	return 'B', true
}

// isQuantization reports whether a field describes the quantisation.
func isQuantization(field string) bool {
	return strings.HasPrefix(field, "quantization_config.") || strings.HasPrefix(field, "quantization.")
}

// asTheyAre reports whether the fields of both sides are compared as the files have them, because defaults of the family would be compared
// with nothing: a side is no model of the family and has a config.json that is not of the family either, or one that transformers cannot
// read, which is noted.
func (d configs) asTheyAre() (plain bool, err error) {
	for _, s := range []*side{d.a, d.b} {
		if !s.hasOwnConfig() {
			continue
		}
		source, name := s.checkpoint.Source, s.checkpoint.Beside(hfconfig.Name)
		raw, err := hfconfig.Fields(source, name)
		if err != nil {
			return false, err
		}
		if s.model == nil && raw["model_type"] != config.FamilyType {
			plain = true
			continue
		}
		var bad *tensor.FormatError
		if _, err := model.Griffin.HuggingFace.Read(source, name); errors.As(err, &bad) {
			plain = true
			d.note("%s cannot be read by transformers (%s): the fields are compared as the files have them", storage.Path(source, name), bad.Problem)
		} else if err != nil {
			return false, err
		}
	}
	return plain, nil
}

// hasOwnConfig reports whether a side has a config.json that describes it, which one beside an original does not.
func (s *side) hasOwnConfig() bool {
	return (s.model == nil || s.model.Layout == model.HuggingFace) && hasConfig(s.checkpoint)
}

// isPart reports whether a model lacks whole blocks, or tensors that are in no block. It is then one of several files, or so, and how many blocks
// the whole model has is not known.
func isPart(m *model.Model) bool {
	var problems *model.MismatchError
	return errors.As(m.Problems(), &problems) && slices.ContainsFunc(problems.Missing, func(p model.Problem) bool {
		_, layer, _ := SplitLayer(p.Tensor)
		return layer < 0 || p.Detail == model.WholeBlock
	})
}

// configOf returns the configuration of a side, with plain as its config.json has it.
func (d configs) configOf(s *side, plain bool) (*sideConfig, error) {
	if !s.hasOwnConfig() {
		if s.model == nil {
			return &sideConfig{fields: config.Fields{}}, nil
		}
		fields := config.OfShapes(&s.model.Config)
		if s.isPart {
			delete(fields, "num_hidden_layers")
			delete(fields, "block_types")
		}
		return &sideConfig{fields: fields}, nil
	}
	source, name := s.checkpoint.Source, s.checkpoint.Beside(hfconfig.Name)
	raw, err := hfconfig.Fields(source, name)
	if err != nil {
		return nil, err
	}
	refused := config.Refused(raw)
	if plain {
		return &sideConfig{fields: config.AsWritten(raw, refused), complete: true, refused: refused}, nil
	}
	h, err := model.Griffin.HuggingFace.Read(source, name) // that of tensors under other names too
	if err != nil {
		return nil, err
	}
	if ignored := hfconfig.Ignored(raw); len(ignored) > 0 {
		d.note("%s: transformers 4.57 and 5.23 ignore %s", storage.Path(source, name), strings.Join(ignored, ", "))
	}
	for _, note := range h.Notes {
		d.note("%s: %s", storage.Path(source, name), note)
	}
	return &sideConfig{config.OfFamily(h, raw, refused), true, refused, func(field string) bool { return config.States(raw, field) }}, nil
}

// hasConfig reports whether there is a config.json beside weights in a format that Hugging Face uses.
func hasConfig(c *tensor.Checkpoint) bool {
	if c.Format != "safetensors" && !strings.HasPrefix(c.Format, "torch") {
		return false
	}
	_, err := fs.Stat(c.Source, c.Beside(hfconfig.Name))
	return !errors.Is(err, fs.ErrNotExist)
}

// narrower is what a difference in the attention window does. Which of the sides is narrower, the numbers say.
const narrower = "attention reaches less far in one of them"

// effects say what a difference in a field does to the model.
var effects = map[string]string{
	"attention_window_size": narrower,
	"logits_soft_cap":       "logits are capped differently",
	"rms_norm_eps":          "every norm differs slightly",
	"rope_theta":            "queries and keys are rotated by other angles",
	"partial_rotary_factor": "another part of each head is rotated",
	"num_key_value_heads":   "queries share the heads of keys and values otherwise",
	"attention_bias":        "queries, keys and values have biases in one of them",
	"conv1d_width":          "the convolution reaches over another number of tokens",
	"num_attention_heads":   "heads, and the blocks of the RG-LRU gates, are split differently",
	"hidden_activation":     "the MLP and the recurrent block's gate apply another function",
	"tie_word_embeddings":   "only one of them ties the output head to the embedding",
	"architectures":         "programs that read it build another model",
	"head_dim":              "attention heads are split differently, and scores scaled by another factor",
	"torch_dtype":           "transformers before 4.56, and other programs, load the weights, or compute, in another dtype",
	config.OlderTheta:       "queries and keys are rotated by other angles",
	config.OlderFactor:      "another part of each head is rotated",
	config.OlderWindow:      narrower,
	"dtype":                 "transformers loads the weights, or computes, in another dtype",
	"eos_token_id":          "generation stops at another token",
	"pad_token_id":          "batches are padded with another token",
	"bos_token_id":          "prompts begin with another token",
	"block_types":           "the blocks are of other types",
	"vocab_size":            "the embeddings have other sizes",
	"num_hidden_layers":     "the models have different numbers of blocks",
}
