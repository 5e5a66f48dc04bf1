package convert

import (
	"regexp"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// lookalikes are other things that checkpoints hold, told by names that are well known. The first
// that any tensor matches is it, so that the more special come first.
var lookalikes = []struct {
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

// notGriffin says what a checkpoint without a Griffin-family model looks like.
func notGriffin(c *tensor.Checkpoint, mirrored bool) error {
	tensors := c.Tensors()
	if len(tensors) == 0 {
		return tensor.Bad("holds no tensors, so no Griffin model").In(c.Path)
	}
	if c.Format == peft.Format {
		return tensor.Bad("an adapter, and no model of its own").In(c.Path).Advise("griffin convert --adapter %s BASE DST merges it into its base", c.Path)
	}
	if mirrored {
		return tensor.Bad("holds the optimizer state of a Griffin model, but not its parameters: %s", firstNames(tensors)).In(c.Path)
	}
	for _, l := range lookalikes {
		for _, t := range tensors[:min(len(tensors), 10_000)] {
			if len(t.Name) <= maxName && l.pattern.MatchString(strings.ReplaceAll(t.Name, "/", ".")) {
				return tensor.Bad("not a Griffin model; it looks like %s: %s", l.what, firstNames(tensors)).In(c.Path)
			}
		}
	}
	return tensor.Bad("not a Griffin model: no tensor has a name of its blocks; it holds %s", firstNames(tensors)).In(c.Path).
		Advise("griffin inspect shows the names; those of the original begin with blocks.0, those of transformers with model.layers.0")
}

// firstNames lists a few tensors.
func firstNames(tensors []*tensor.Tensor) string {
	var names []string
	for _, t := range tensors {
		names = append(names, tensor.QuoteName(t.Name))
		if len(names) == 4 && len(tensors) > 5 {
			return strings.Join(names, ", ") + ", …"
		}
	}
	return strings.Join(names, ", ")
}
