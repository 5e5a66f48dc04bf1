package model

import (
	"regexp"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// foreignModels are contents of checkpoints that are recognised by well-known names of tensors. The
// first pattern that any name matches counts, so that special ones come first.
var foreignModels = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a LoRA adapter", regexp.MustCompile(`(^|[._])lora_(A|B|a|b|embedding_A|embedding_B)(\.|$)|lora_(up|down)\.`)},
	{"quantised weights", regexp.MustCompile(`\.(qweight|qzeros|SCB|quant_state\.\S+)$`)},
	{"a Mamba model", regexp.MustCompile(`mixer\.(A_log|dt_bias|dt_proj\.weight|in_proj\.weight)$`)},
	{"an RWKV model", regexp.MustCompile(`\.(att|attention)\.time_(decay|mix_k|first|faaaa)`)},
	{"a Gemma model in its Flax layout", regexp.MustCompile(`layer_\d+[./]attn[./](q_einsum|kv_einsum|attn_vec_einsum|qkv_einsum)`)},
	{"a Gemma- or Llama-like transformer", regexp.MustCompile(`layers\.\d+\.(self_attn|attention)\.(q_proj|qkv_proj|k_proj|wq|wk)\.weight$`)},
	{"a Gemma-like transformer", regexp.MustCompile(`layers\.\d+\.self_attn\.(qkv_proj|o_proj)\.(weight|weight_scaler)$`)},
	{"a GPT-2 model", regexp.MustCompile(`(^|\.)h\.\d+\.attn\.c_attn\.weight$`)},
	{"a GPT-NeoX or BLOOM model", regexp.MustCompile(`attention\.query_key_value\.weight$`)},
	{"a BERT-like encoder", regexp.MustCompile(`encoder\.layer\.\d+\.attention\.self\.query\.weight$`)},
	{"a T5 model", regexp.MustCompile(`(encoder|decoder)\.block\.\d+\.layer\.\d+\.(SelfAttention|EncDecAttention|DenseReluDense)\.`)},
	{"a Whisper or BART model", regexp.MustCompile(`(encoder|decoder)\.layers\.\d+\.(self_attn|encoder_attn)\.out_proj\.weight$`)},
	{"a vision transformer", regexp.MustCompile(`(patch_embed|patch_embedding|patch_embeddings)\.`)},
	{"a diffusion model", regexp.MustCompile(`(down_blocks|input_blocks|up_blocks)\.\d+\.`)},
	{"a convolutional network", regexp.MustCompile(`(^|\.)(layer\d+\.\d+\.conv\d+|features\.\d+)\.weight$`)},
	{"optimizer state only", regexp.MustCompile(`(^|\.)(exp_avg|exp_avg_sq|momentum_buffer|mu|nu)(\.|$)`)},
}

// notOfFamily describes what a checkpoint without a model of the family looks like.
func notOfFamily(c *tensor.Checkpoint, f *Family, optimizerOnly bool) error {
	tensors := c.Tensors()
	if len(tensors) == 0 {
		return tensor.Bad("holds no tensors, so no %s model", f.Name).In(c.Path)
	}
	if c.Format == peft.Format {
		return tensor.Bad("an adapter, and not a model").In(c.Path).Because(ReasonAdapter)
	}
	if optimizerOnly {
		return tensor.Bad("holds the optimizer state of a %s model, but not its parameters: %s", f.Name, firstNames(tensors)).In(c.Path)
	}
	for _, l := range foreignModels {
		for _, t := range tensors[:min(len(tensors), 10_000)] {
			if len(t.Name) <= maxName && l.pattern.MatchString(strings.ReplaceAll(t.Name, "/", ".")) {
				return tensor.Bad("not a %s model; it looks like %s: %s", f.Name, l.what, firstNames(tensors)).In(c.Path)
			}
		}
	}
	return tensor.Bad("not a %s model: no tensor has a name of its blocks; it holds %s", f.Name, firstNames(tensors)).In(c.Path).Because(ReasonNotOfFamily).
		Advise("names of the original begin with %s0, those of transformers with %s%s0", f.Blocks[Flax], f.Roots[HuggingFace], f.Blocks[HuggingFace])
}

// firstNames lists the names of the first few tensors.
func firstNames(tensors []*tensor.Tensor) string {
	var names []string
	for _, t := range slices.SortedFunc(slices.Values(tensors), func(a, b *tensor.Tensor) int { return tensor.CompareNames(a.Name, b.Name) }) {
		names = append(names, tensor.QuoteName(t.Name))
		if len(names) == 4 && len(tensors) > 5 {
			return strings.Join(names, ", ") + ", …"
		}
	}
	return strings.Join(names, ", ")
}
