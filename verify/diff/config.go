package diff

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// facts are what a side says of its model, by the name of the field of config.json that has it: int64,
// float64, string, bool, nil or []any of them. Of a nested field the name is "rope_parameters.rope_theta".
type facts map[string]any

// compareConfigs holds against each other what the sides say of their models. Where one of them has no
// config.json it can say only what shapes tell, and the rest is left out.
func (d *differ) compareConfigs() error {
	if len(d.options.Only) > 0 {
		return nil
	}
	a, wholeA, err := d.facts(d.a)
	if err != nil {
		return err
	}
	b, wholeB, err := d.facts(d.b)
	if err != nil {
		return err
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		va, inA := a[name]
		vb, inB := b[name]
		if inA && inB && sameFact(va, vb) || !inA && !wholeA || !inB && !wholeB {
			continue
		}
		c := ConfigDifference{Field: name, Detail: effects[name]}
		if inA {
			c.A = showFact(va)
		}
		if inB {
			c.B = showFact(vb)
		}
		d.result.Config = append(d.result.Config, c)
	}
	return nil
}

// facts returns what a side says, and whether that is a whole configuration.
func (d *differ) facts(s *side) (facts, bool, error) {
	if s.model != nil && s.model.Layout != convert.HuggingFace {
		return shapeFacts(&s.model.Config), false, nil
	}
	source, name := s.checkpoint.Source, s.checkpoint.Beside(hfconfig.Name)
	if !hasConfig(s.checkpoint) {
		if s.model != nil {
			return shapeFacts(&s.model.Config), false, nil
		}
		return facts{}, false, nil
	}
	fields, err := hfconfig.Fields(source, name)
	if err != nil {
		return nil, false, err
	}
	if s.model == nil {
		return plainFacts(fields), true, nil
	}
	h, err := hfconfig.Read(source, name)
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		d.note(fmt.Sprintf("%s is not one that transformers reads (%s): its fields are compared as they are", storage.Path(source, name), bad.Problem))
		return plainFacts(fields), true, nil
	} else if err != nil {
		return nil, false, err
	}
	return familyFacts(h, fields), true, nil
}

// hasConfig reports whether there is a config.json beside weights in a format that Hugging Face uses.
func hasConfig(c *tensor.Checkpoint) bool {
	if c.Format != "safetensors" && !strings.HasPrefix(c.Format, "torch") {
		return false
	}
	_, err := fs.Stat(c.Source, c.Beside(hfconfig.Name))
	return !errors.Is(err, fs.ErrNotExist)
}

// shapeFacts returns what shapes tell of a model of the family.
func shapeFacts(c *convert.Config) facts {
	f := facts{"vocab_size": c.VocabSize, "hidden_size": c.Width, "intermediate_size": 2 * c.MLPExpandedWidth,
		"num_hidden_layers": int64(len(c.BlockTypes)), "num_attention_heads": c.NumHeads, "block_types": blockTypes(c.BlockTypes)}
	if c.Has(convert.Recurrent) {
		f["lru_width"], f["conv1d_width"] = c.LRUWidth, c.ConvWidth
	}
	return f
}

func blockTypes[T ~string](blocks []T) []any {
	var out []any
	for _, b := range blocks {
		out = append(out, string(b))
	}
	return out
}

// familyFacts returns what transformers takes from a config.json of the family, whichever version wrote it
// and whatever it leaves to the defaults, and further fields that say something about the model.
func familyFacts(h *hfconfig.Config, fields map[string]any) facts {
	layers := h.Layers()
	f := facts{
		"model_type": h.ModelType, "vocab_size": h.VocabSize, "hidden_size": h.HiddenSize, "intermediate_size": h.IntermediateSize,
		"num_hidden_layers": h.NumHiddenLayers, "num_attention_heads": h.NumAttentionHeads, "num_key_value_heads": h.NumKeyValueHeads,
		"logits_soft_cap": h.LogitsSoftCap, "rms_norm_eps": h.RMSNormEps, "rope_theta": h.RopeTheta,
		"partial_rotary_factor": h.PartialRotaryFactor, "rope_type": h.RopeType, "hidden_activation": h.HiddenActivation,
		"attention_bias": h.AttentionBias, "tie_word_embeddings": h.TieWordEmbeddings, "block_types": blockTypes(layers),
		"attention_dropout": 0.0, "pad_token_id": int64(0), "eos_token_id": int64(1), "bos_token_id": int64(2),
	}
	if slices.Contains(layers, hfconfig.Recurrent) {
		f["lru_width"], f["conv1d_width"] = h.LRUWidth, h.Conv1DWidth
	}
	if slices.Contains(layers, hfconfig.Attention) {
		f["attention_window_size"] = h.AttentionWindowSize
	}
	for name, value := range plainFacts(fields) {
		if _, known := f[name]; !known && !defaulted[name] || ofTheFile[name] {
			f[name] = value
		}
	}
	return f
}

// ofTheFile are fields that familyFacts has a default for and hfconfig does not read.
var ofTheFile = map[string]bool{"attention_dropout": true, "pad_token_id": true, "eos_token_id": true, "bos_token_id": true}

// defaulted are fields that hfconfig reads where they matter, by all of their names.
var defaulted = map[string]bool{
	"lru_width": true, "conv1d_width": true, "attention_window_size": true, "sliding_window": true, "head_dim": true,
	"rope_parameters.rope_theta": true, "rope_parameters.partial_rotary_factor": true, "rope_parameters.rope_type": true,
	"rope_scaling": true, "quantization_config": true,
}

// silent are fields that say nothing about what a model computes or how its tokens are read: who wrote
// the file, and how weights are drawn before training.
var silent = map[string]bool{
	"transformers_version": true, "_name_or_path": true, "_attn_implementation_autoset": true, "_commit_hash": true,
	"initializer_range": true, "w_init_variance_scale": true, "final_w_init_variance_scale": true, "initializer_factor": true,
	"use_cache": true, "output_attentions": true, "output_hidden_states": true, "return_dict": true, "torchscript": true, "architectures": true,
}

// plainFacts returns the fields of any config.json that say something about the model.
func plainFacts(fields map[string]any) facts {
	f := facts{}
	for name, value := range fields {
		if silent[name] || value == nil {
			continue
		}
		if name == "torch_dtype" {
			name = "dtype"
		}
		f[name] = plainFact(value)
	}
	if word, ok := f["dtype"].(string); ok {
		f["dtype"] = strings.TrimPrefix(word, "torch.")
	}
	return f
}

// plainFact gives numbers their value, so that 30 is 30.0.
func plainFact(value any) any {
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
			out[i] = plainFact(v[i])
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

func sameFact(a, b any) bool {
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
		return ok && slices.EqualFunc(x, y, sameFact)
	}
	if _, isList := b.([]any); isList {
		return false
	}
	return a == b
}

// showFact prints a value as JSON, cut short; a list of blocks as a word for each kind would be long, so
// that it becomes RRA.
func showFact(v any) string {
	if list, ok := v.([]any); ok && len(list) > 0 {
		letters := ""
		for _, item := range list {
			switch item {
			case hfconfig.Recurrent:
				letters += "R"
			case hfconfig.Attention:
				letters += "A"
			}
		}
		if len(letters) == len(list) {
			return tensor.Clip(letters)
		}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return tensor.Clip(fmt.Sprint(v))
	}
	return tensor.Clip(string(text))
}

// effects say what a field does to the model.
var effects = map[string]string{
	"attention_window_size": "attention reaches less far in one of them",
	"logits_soft_cap":       "logits are bent otherwise",
	"rms_norm_eps":          "every norm differs slightly",
	"rope_theta":            "queries and keys are turned by other angles",
	"partial_rotary_factor": "another part of each head is turned",
	"num_attention_heads":   "heads, and the blocks of the RG-LRU gates, are cut elsewhere",
	"hidden_activation":     "the MLP applies another function",
	"tie_word_embeddings":   "logits are computed with a matrix of their own in one of them",
	"dtype":                 "transformers rounds the weights to another type, or computes in it",
	"eos_token_id":          "generation ends elsewhere",
	"pad_token_id":          "batches are filled up with another token",
	"bos_token_id":          "prompts begin with another token",
	"block_types":           "blocks are of other kinds",
	"vocab_size":            "the embeddings have other sizes",
	"num_hidden_layers":     "the models are of different depth",
}
