package convert

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// FilesOptions choose what goes beside the weights.
type FilesOptions struct {
	Tokenizer        string // path of a SentencePiece model, or ""
	InstructionTuned bool   // chat template, and <end_of_turn> ends generation
}

// HFFiles returns the files that belong beside the weights of a plan.
func HFFiles(p *Plan, o FilesOptions) ([]huggingface.File, error) {
	options := huggingface.Options{Config: configJSON(p), Tokens: specialTokens, VocabSize: p.Config.VocabSize, UseCache: p.Config.Has(Attention),
		Tokenizer: o.Tokenizer, InstructionTuned: o.InstructionTuned}
	if p.config != nil {
		options.Source, options.SourceConfig, options.Changed = p.config.source, p.config.name, changedFields(p)
	}
	d, err := huggingface.Files(options)
	if err != nil {
		return nil, err
	}
	if d.Unnamed > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("the vocabulary has %d tokens more than the tokenizer has pieces; the files made from the tokenizer do not have the added tokens", d.Unnamed))
	}
	if len(d.NotCopied) > 0 {
		var names []string
		for _, name := range d.NotCopied {
			names = append(names, tensor.QuoteName(name))
		}
		p.Notes = append(p.Notes, "not copied, since it may not hold for the new weights: "+tensor.JoinNames(names))
	}
	return d.Files, nil
}

// specialTokens are RecurrentGemma's.
var specialTokens = huggingface.TokenIDs{Pad: 0, EOS: 1, BOS: 2}

// configJSON returns config.json. transformers 5 reads dtype and rope_parameters, transformers 4 and
// other programs torch_dtype, rope_theta and partial_rotary_factor; both accept both.
func configJSON(p *Plan) map[string]any {
	c := &p.Config
	layers := int64(len(c.BlockTypes))
	return map[string]any{
		"architectures":               []string{"RecurrentGemmaForCausalLM"},
		"attention_bias":              false,
		"attention_dropout":           manifest.Float(0),
		"attention_window_size":       p.HF.AttentionWindowSize,
		"block_types":                 c.Pattern(),
		"bos_token_id":                specialTokens.BOS,
		"conv1d_width":                c.ConvWidth,
		"dtype":                       p.DType.String(),
		"eos_token_id":                specialTokens.EOS,
		"final_w_init_variance_scale": manifest.Float(2 / float64(layers)),
		"head_dim":                    c.HeadDim(),
		"hidden_activation":           "gelu_pytorch_tanh",
		"hidden_size":                 c.Width,
		"intermediate_size":           2 * c.MLPExpandedWidth,
		"logits_soft_cap":             p.HF.LogitsSoftCap,
		"lru_width":                   c.LRUWidth,
		"model_type":                  "recurrent_gemma",
		"num_attention_heads":         c.NumHeads,
		"num_hidden_layers":           layers,
		"num_key_value_heads":         1,
		"pad_token_id":                specialTokens.Pad,
		"partial_rotary_factor":       manifest.Float(0.5),
		"rms_norm_eps":                manifest.Float(1e-6),
		"rope_parameters": map[string]any{
			"partial_rotary_factor": manifest.Float(0.5),
			"rope_theta":            manifest.Float(10000),
			"rope_type":             "default",
		},
		"rope_theta":            manifest.Float(10000),
		"tie_word_embeddings":   p.HF.TieWordEmbeddings,
		"torch_dtype":           p.DType.String(),
		"transformers_version":  huggingface.Version,
		"use_cache":             c.Has(Attention),
		"vocab_size":            c.VocabSize,
		"w_init_variance_scale": manifest.Float(0.01),
	}
}

// changedFields returns the fields of the source's config.json that the conversion changes.
func changedFields(p *Plan) []huggingface.Field {
	h := p.config.read
	var set []huggingface.Field
	change := func(changed bool, name string, value any) {
		if changed {
			set = append(set, huggingface.Field{Name: name, Value: value})
		}
	}
	change(h.AttentionWindowSize != p.HF.AttentionWindowSize, "attention_window_size", p.HF.AttentionWindowSize)
	change(h.LogitsSoftCap != float64(p.HF.LogitsSoftCap), "logits_soft_cap", p.HF.LogitsSoftCap)
	change(h.TieWordEmbeddings != p.HF.TieWordEmbeddings, "tie_word_embeddings", p.HF.TieWordEmbeddings)
	change(h.VocabSize != p.Config.VocabSize, "vocab_size", p.Config.VocabSize) // an adapter may add tokens
	if !p.Keep {
		for _, name := range []string{"dtype", "torch_dtype"} {
			change(h.Has(name) || !h.Has("dtype") && !h.Has("torch_dtype"), name, p.DType.String())
		}
	}
	return set
}
