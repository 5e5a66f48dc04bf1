package diff

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// configFields are the fields of a configuration by their names in config.json, nested ones as
// "rope_parameters.rope_theta". Their values are int64, float64, string, bool, nil, or []any of them.
type configFields map[string]any

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
	fields   configFields
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
		refusedA, isRefusedA := a.refused[name] // by transformers; where only one version refuses a value, a note says so
		refusedB, isRefusedB := b.refused[name]
		if d.copies.differ() && isQuantization(name) || inA && inB && isSame(name, x, y) && refusedA.Always() == refusedB.Always() || !inA && !a.complete || !inB && !b.complete {
			continue
		}
		if newer, ok := olderFields[name]; ok && (!inA || !inB || equalValues(x, a.fields[newer]) && equalValues(y, b.fields[newer])) {
			continue
		}
		if name == "block_types" && haveSameBlocks(a, b) {
			continue
		}
		c := ConfigDifference{Field: name, Detail: effectOf(name, x, y), DefaultA: inA && a.isDefault(name), DefaultB: inB && b.isDefault(name)}
		if inA {
			c.A = showValue(x)
		}
		if inB {
			c.B = showValue(y)
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

// isSame reports whether two values of a field mean the same. The names of some functions do.
func isSame(field string, x, y any) bool {
	if field == "hidden_activation" {
		a, isNameA := x.(string)
		b, isNameB := y.(string)
		return isNameA && isNameB && model.SameActivation(a, b)
	}
	return equalValues(x, y)
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
		if s.model == nil && raw["model_type"] != familyType {
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

// familyType is the model_type of the family.
const familyType = "recurrent_gemma"

// configOf returns the configuration of a side, with plain as its config.json has it.
func (d configs) configOf(s *side, plain bool) (*sideConfig, error) {
	if !s.hasOwnConfig() {
		if s.model == nil {
			return &sideConfig{fields: configFields{}}, nil
		}
		return &sideConfig{fields: fieldsOfShapes(&s.model.Config)}, nil
	}
	source, name := s.checkpoint.Source, s.checkpoint.Beside(hfconfig.Name)
	raw, err := hfconfig.Fields(source, name)
	if err != nil {
		return nil, err
	}
	refused := map[string]hfconfig.Refusal{}
	if raw["model_type"] == nil || raw["model_type"] == familyType {
		for _, r := range hfconfig.Refusals(raw) {
			refused[r.Field] = r
		}
	}
	taken, _ := hfconfig.TakenDType(raw)
	for _, name := range hfconfig.DTypeNames { // setDTypes gives it both names
		if r, ok := refused[taken]; ok && raw[name] == nil {
			refused[name] = r
		}
	}
	if plain {
		c := plainConfig(raw, refused)
		c.foldObjects()
		return c, nil
	}
	h, err := model.Griffin.HuggingFace.Read(source, name) // that of tensors under other names too
	if err != nil {
		return nil, err
	}
	var ignored []string
	for _, field := range hfconfig.Ignored {
		if _, ok := raw[field]; ok {
			ignored = append(ignored, field)
		}
	}
	if len(ignored) > 0 {
		d.note("%s: transformers 4.57 and 5.23 ignore %s", storage.Path(source, name), strings.Join(ignored, ", "))
	}
	for _, note := range h.Notes {
		d.note("%s: %s", storage.Path(source, name), note)
	}
	c := &sideConfig{familyFields(h, raw), true, refused, func(field string) bool { return states(raw, field) }}
	c.foldObjects()
	return c, nil
}

// foldObjects makes one field of an object that transformers refuses where it wants a plain value. What is in it has no meaning.
func (c *sideConfig) foldObjects() {
	for name, r := range c.refused {
		object, ok := r.Value.(map[string]any)
		if !ok {
			continue
		}
		maps.DeleteFunc(c.fields, func(field string, _ any) bool { return strings.HasPrefix(field, name+".") })
		if !irrelevant[name] {
			c.fields[name] = plainValue(object)
		}
	}
}

// plainConfig is the configuration of a side as its config.json has it, with null where that is refused.
func plainConfig(raw map[string]any, refused map[string]hfconfig.Refusal) *sideConfig {
	c := &sideConfig{fields: plainFields(raw), complete: true, refused: refused}
	for name, r := range refused {
		if _, there := raw[name]; there && r.Value == nil {
			c.fields[name] = nil
		}
	}
	return c
}

// states reports whether a config.json has a value for a field of familyFields, under any of its names.
func states(raw map[string]any, field string) bool {
	if strings.HasSuffix(field, "dtype") || strings.HasSuffix(field, olderVersion) || strings.Contains(field, ".") {
		return true // they are there only if the file has them, or their other name
	}
	names := []string{field}
	switch field {
	case "attention_window_size":
		names = hfconfig.WindowNames
	case "rope_type":
		names = append(names, "type")
	}
	for full, value := range raw {
		last := full[strings.LastIndexByte(full, '.')+1:]
		if value != nil && (full == last || strings.HasPrefix(full, "rope_")) && slices.Contains(names, last) {
			return true
		}
	}
	return false
}

// hasConfig reports whether there is a config.json beside weights in a format that Hugging Face uses.
func hasConfig(c *tensor.Checkpoint) bool {
	if c.Format != "safetensors" && !strings.HasPrefix(c.Format, "torch") {
		return false
	}
	_, err := fs.Stat(c.Source, c.Beside(hfconfig.Name))
	return !errors.Is(err, fs.ErrNotExist)
}

// fieldsOfShapes returns the fields that the shapes of a model of the family tell. Shapes of a model that is not complete do not tell all.
func fieldsOfShapes(c *model.Config) configFields {
	f := configFields{"vocab_size": c.VocabSize, "hidden_size": c.Width, "intermediate_size": 2 * c.MLPExpandedWidth,
		"num_hidden_layers": int64(len(c.BlockTypes)), "num_attention_heads": c.NumHeads, "block_types": blockTypes(c.BlockTypes)}
	if c.Has(model.Attention) {
		f["num_key_value_heads"], f["head_dim"], f["attention_bias"] = c.KeyHeads(), c.HeadDim(), c.AttentionBias
	}
	if c.Has(model.Recurrent) {
		f["lru_width"], f["conv1d_width"] = c.LRUWidth, c.ConvWidth
	}
	maps.DeleteFunc(f, func(name string, value any) bool {
		return value == int64(0) || name == "block_types" && c.Has(model.UnknownKind)
	})
	return f
}

func blockTypes[T ~string](blocks []T) []any {
	var out []any
	for _, b := range blocks {
		out = append(out, string(b))
	}
	return out
}

// familyFields returns the fields of a config.json of the family with the values that transformers uses,
// whichever version wrote it and whatever it leaves to the defaults, and further fields about the model.
func familyFields(h *hfconfig.Config, raw map[string]any) configFields {
	layers := h.Layers()
	f := configFields{
		"model_type": h.ModelType, "vocab_size": h.VocabSize, "hidden_size": h.HiddenSize, "intermediate_size": h.IntermediateSize,
		"num_hidden_layers": h.NumHiddenLayers, "num_attention_heads": h.NumAttentionHeads, "num_key_value_heads": h.NumKeyValueHeads,
		"logits_soft_cap": h.LogitsSoftCap, "rms_norm_eps": h.RMSNormEps, "rope_theta": h.Rope.Theta,
		"partial_rotary_factor": h.Rope.PartialFactor, "rope_type": h.Rope.Type, "hidden_activation": h.HiddenActivation,
		"attention_bias": h.AttentionBias, "tie_word_embeddings": h.TieWordEmbeddings, "block_types": blockTypes(layers),
		"attention_dropout": 0.0, "pad_token_id": int64(0), "eos_token_id": int64(1), "bos_token_id": int64(2),
		"architectures": []any{"RecurrentGemmaForCausalLM"}, "head_dim": h.HeadDim,
	}
	if slices.Contains(layers, hfconfig.Recurrent) {
		f["lru_width"], f["conv1d_width"] = h.LRUWidth, h.Conv1DWidth
	}
	if slices.Contains(layers, hfconfig.Attention) {
		f["attention_window_size"] = h.AttentionWindowSize
		older := map[string]any{"attention_window_size": h.AttentionWindowSize4, "rope_theta": h.Rope4.Theta, "partial_rotary_factor": h.Rope4.PartialFactor}
		for name, value := range older {
			if h.Has(name) || value == f[name] { // a note says what 4.57 takes where a file does not state it, if that is not what 5.23 takes
				f[name+olderVersion] = value
			}
		}
	}
	for name, value := range plainFields(raw) {
		if _, known := f[name]; !known && !readElsewhere[name] && !slices.Contains(hfconfig.Unsettable, name) || defaults[name] {
			f[name] = value
		}
	}
	return f
}

// defaults are the fields for which familyFields has a default and which hfconfig does not read.
var defaults = map[string]bool{"attention_dropout": true, "pad_token_id": true, "eos_token_id": true, "bos_token_id": true, "architectures": true}

// readElsewhere are other names of fields that hfconfig reads, and fields that it reads only if they matter.
var readElsewhere = map[string]bool{
	"lru_width": true, "conv1d_width": true, "attention_window_size": true, "sliding_window": true,
	"rope_parameters.rope_theta": true, "rope_parameters.partial_rotary_factor": true, "rope_parameters.rope_type": true, "rope_parameters.type": true,
	"rope_scaling.rope_theta": true, "rope_scaling.partial_rotary_factor": true, "rope_scaling.rope_type": true, "rope_scaling.type": true,
	"rope_scaling": true, "_block_types": true, "embeddings_scale_by_sqrt_dim": true,
}

// What transformers 4.57 takes of fields that it reads elsewhere in config.json than 5.23.
const (
	olderVersion = " (transformers 4.57)"
	olderTheta   = "rope_theta" + olderVersion
	olderFactor  = "partial_rotary_factor" + olderVersion
	olderWindow  = "attention_window_size" + olderVersion
)

// olderFields are what older programs take of other fields. They are listed if both sides have them, and the newer ones do not say the same.
var olderFields = map[string]string{
	"torch_dtype": "dtype", olderTheta: "rope_theta", olderFactor: "partial_rotary_factor", olderWindow: "attention_window_size",
}

// irrelevant are fields that do not change what a model computes or how its tokens are read: who wrote the
// file, and how weights are initialized before training.
var irrelevant = map[string]bool{
	"transformers_version": true, "_name_or_path": true, "_attn_implementation_autoset": true, "_commit_hash": true,
	"initializer_range": true, "w_init_variance_scale": true, "final_w_init_variance_scale": true, "initializer_factor": true,
	"use_cache": true, "output_attentions": true, "output_hidden_states": true, "return_dict": true, "torchscript": true,
}

// plainFields returns the relevant fields of any config.json.
func plainFields(raw map[string]any) configFields {
	f := configFields{}
	for name, value := range raw {
		object, isObject := value.(map[string]any)
		if irrelevant[name] || value == nil || isObject && len(object) == 0 && name != "quantization_config" {
			continue
		}
		f[name] = plainValue(value)
	}
	setDTypes(f)
	return f
}

// setDTypes gives the dtype both of its names. Transformers since 4.56 takes dtype where a file has both, and older ones torch_dtype.
func setDTypes(f configFields) {
	newer, older := f["dtype"], f["torch_dtype"]
	for name, value := range map[string]any{"dtype": cmp.Or(newer, older), "torch_dtype": cmp.Or(older, newer)} {
		if word, ok := value.(string); ok {
			value = strings.TrimPrefix(word, "torch.")
		}
		if value != nil {
			f[name] = value
		}
	}
}

// plainValue gives numbers their value, so that 30 equals 30.0.
func plainValue(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		if x, err := v.Float64(); err == nil {
			return x
		}
		return string(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plainValue(v[i])
		}
		return out
	case string, bool, nil:
		return v
	}
	text, err := json.Marshal(value) // an object within a list
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

func equalValues(a, b any) bool {
	switch x := a.(type) {
	case int64:
		switch y := b.(type) {
		case int64:
			return x == y
		case float64:
			return float64(x) == y
		}
		return false
	case float64:
		switch y := b.(type) {
		case int64:
			return x == float64(y)
		case float64:
			return x == y
		}
		return false
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equalValues)
	}
	if _, isList := b.([]any); isList {
		return false
	}
	return a == b
}

// showValue prints a value as JSON, cut short. A list of block types becomes RRA.
func showValue(v any) string {
	if list, ok := v.([]any); ok {
		if letters := hfconfig.Letters(list); letters != "" {
			return tensor.Clip(letters)
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return tensor.Clip(fmt.Sprint(v))
	}
	return tensor.Clip(string(text))
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
	olderTheta:              "queries and keys are rotated by other angles",
	olderFactor:             "another part of each head is rotated",
	olderWindow:             narrower,
	"dtype":                 "transformers loads the weights, or computes, in another dtype",
	"eos_token_id":          "generation stops at another token",
	"pad_token_id":          "batches are padded with another token",
	"bos_token_id":          "prompts begin with another token",
	"block_types":           "the blocks are of other types",
	"vocab_size":            "the embeddings have other sizes",
	"num_hidden_layers":     "the models have different numbers of blocks",
}
