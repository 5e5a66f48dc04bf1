package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// configField is a field of config.json with what it has to say.
type configField struct {
	// The name, and other names under which a version of transformers reads the same. Every one that
	// is there has to be right.
	names []string

	want    any    // int64, float64, string, bool, nil (the field has no place), or []model.BlockType
	missing any    // what transformers takes where the field is not there; nil if it has to be
	null    any    // what it takes for null; nil if null is wrong
	effect  string // what a wrong value would do
}

// configFields is what config.json has to say of the model of a plan. It has every field of
// RecurrentGemmaConfig of transformers 4.57 and 5.23 that changes what the model computes. Those
// left out choose how weights are initialised before training, or what is returned beside the logits.
//
// Sources: transformers 4.57 and 5.23 (models/recurrent_gemma, configuration_utils.py,
// modeling_rope_utils.py).
func configFields(p *convert.Plan, head headState) []configField {
	c := &p.Config
	layers := int64(len(c.BlockTypes))
	fields := []configField{
		{names: []string{"model_type"}, want: "recurrent_gemma", effect: "transformers would load another model class, or none"},
		{names: []string{"architectures"}, want: []string{"RecurrentGemmaForCausalLM"}, missing: []string{"RecurrentGemmaForCausalLM"}, effect: "programs that go by it would build another model"},
		{names: []string{"vocab_size"}, want: c.VocabSize, missing: int64(256000), effect: "the embedding would not fit"},
		{names: []string{"hidden_size"}, want: c.Width, missing: int64(2560), effect: "no weight would fit, and embeddings would be scaled by the root of another width"},
		{names: []string{"intermediate_size"}, want: 2 * c.MLPExpandedWidth, missing: int64(7680), effect: "transformers takes half of it as the MLP's width, which the weights would not fit"},
		{names: []string{"num_hidden_layers"}, want: layers, missing: int64(26), effect: "blocks would be left out, or added with random weights"},
		{names: []string{"num_attention_heads"}, want: c.NumHeads, missing: int64(10), effect: "attention heads and the blocks of the RG-LRU gates would be cut elsewhere"},
		{names: []string{"num_key_value_heads"}, want: int64(1), missing: c.NumHeads, null: c.NumHeads, effect: "all query heads share one key and value head; k_proj and v_proj would not fit"},
		{names: []string{"head_dim"}, want: c.HeadDim(), missing: c.HeadDim(), effect: "attention heads would be cut elsewhere, and scores scaled otherwise"},
		{names: []string{"block_types"}, want: c.BlockTypes, missing: []model.BlockType{model.Recurrent, model.Recurrent, model.Attention}, effect: "blocks would be of another kind than their weights"},
		{names: []string{"hidden_activation"}, want: "gelu_pytorch_tanh", missing: "gelu_pytorch_tanh", effect: "the MLP and the recurrent block's gate would apply another function"},
		{names: []string{"rms_norm_eps"}, want: 1e-6, missing: 1e-6, effect: "every norm would differ slightly"},
		{names: []string{"logits_soft_cap"}, want: float64(p.HF.LogitsSoftCap), missing: 30.0, effect: softCapEffect(c)},
		{names: []string{"attention_bias"}, want: false, missing: false, effect: "q_proj, k_proj and v_proj would get biases that no weight fills"},
		{names: []string{"attention_dropout"}, want: 0.0, missing: 0.0, effect: "training would drop attention, which the original does not"},
		{names: []string{"rope_theta", "rope_parameters.rope_theta"}, want: 10000.0, missing: 10000.0, effect: "queries and keys would be turned by other angles"},
		{names: []string{"partial_rotary_factor", "rope_parameters.partial_rotary_factor"}, want: 0.5, missing: 0.5, effect: "another part of each head would be turned"},
		{names: []string{"rope_parameters.rope_type"}, want: "default", missing: "default", effect: "transformers 5 refuses it"},
		{names: []string{"rope_scaling", "rope_scaling.rope_type", "rope_scaling.type", "rope_scaling.factor", "rope_scaling.rope_theta"}, effect: "transformers 5 would take it in place of rope_parameters"},
		{names: []string{"quantization_config", "quantization_config.quant_method"}, effect: "the weights would be quantised when they are loaded"},
		{names: []string{"dtype", "torch_dtype"}, want: p.DType.String(), missing: p.DType.String(), null: p.DType.String(), effect: "transformers would round the weights to it, or compute in it"},
		headField(p, head),
	}
	if c.Has(model.Recurrent) {
		fields = append(fields,
			configField{names: []string{"lru_width"}, want: c.LRUWidth, missing: c.Width, null: c.Width, effect: "the recurrence would have another width than its weights"},
			configField{names: []string{"conv1d_width"}, want: c.ConvWidth, missing: int64(4), effect: "the convolution would have another number of taps"})
	}
	if c.Has(model.Attention) {
		fields = append(fields, configField{names: windowNames, want: p.HF.AttentionWindowSize, missing: int64(2048),
			effect: "attention would reach less far, or farther"})
	}
	return fields
}

// windowNames are the names under which transformers reads the attention window.
var windowNames = []string{"attention_window_size", "sliding_window"}

func softCapEffect(c *model.Config) string {
	if c.LogitsSoftCap == 0 {
		return "the model has no soft cap, and transformers always applies one: only a power of two as large as that leaves its logits as they are"
	}
	return "all logits would be bent otherwise"
}

// headField is tie_word_embeddings, which may be false where the head is there, a copy, and has to be where it is
// none.
func headField(p *convert.Plan, head headState) configField {
	f := configField{names: []string{"tie_word_embeddings"}, want: p.HF.TieWordEmbeddings, missing: true, effect: "the output head would be a matrix of its own, with random weights"}
	switch {
	case !p.HF.TieWordEmbeddings && p.HF.EmbeddingDividedBy != 0:
		f.effect = fmt.Sprintf("transformers would compute logits with %s, which is divided by %g, instead of with %s", p.Dests[p.Embedding].Name, float64(p.HF.EmbeddingDividedBy), p.Source.Family.HeadName())
	case !p.HF.TieWordEmbeddings:
		f.effect = "transformers would compute logits with the embedding instead of with " + p.Source.Family.HeadName()
	case len(head.copies) > 0:
		f.want = nil
	}
	return f
}

const skippedOriginal = "nothing to check: an original has its settings in the code that runs it"

// checkConfig holds every field of the config.json beside a converted checkpoint against its
// source. A single file of weights may lack it, and an original has none: then the check is skipped.
func checkConfig(converted *tensor.Checkpoint, p *convert.Plan, head headState) (*Section, error) {
	if p.Layout != model.HuggingFace {
		return &Section{OK: true, Skipped: true, Summary: skippedOriginal, Findings: []Finding{}}, nil
	}
	info, err := fs.Stat(converted.Source, converted.Root)
	single := err == nil && !info.IsDir()
	fields, err := hfconfig.Fields(converted.Source, converted.Beside(hfconfig.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist) && single:
		return &Section{OK: true, Skipped: true, Summary: "not checked: there is no config.json beside " + filepath.Base(converted.Path), Findings: []Finding{}}, nil
	case errors.Is(err, fs.ErrNotExist):
		return &Section{Summary: "there is no config.json", Findings: []Finding{{Kind: WrongField, Field: hfconfig.Name, Want: "a file", Got: "none",
			Detail: "transformers cannot load the directory"}}}, nil
	case err != nil:
		return nil, err
	}
	return judgeConfig(fields, p, head), nil
}

// judgeConfig compares fields, which hfconfig.Fields has read.
func judgeConfig(fields map[string]any, p *convert.Plan, head headState) *Section {
	s := &Section{Findings: []Finding{}}
	checked := 0
	for _, f := range configFields(p, head) {
		if f.names[0] == "tie_word_embeddings" && f.want == nil {
			continue
		}
		checked++
		if f.names[0] == "logits_soft_cap" && noCapEither(fields, p) {
			continue
		}
		s.Findings = append(s.Findings, f.judge(fields, &p.Config)...)
	}
	s.Findings = append(s.Findings, judgeTokens(fields, p.Config.VocabSize)...)
	s.Notes = configNotes(fields, p)
	s.OK = len(s.Findings) == 0
	s.Summary = fmt.Sprintf("config.json agrees in all %d fields", checked)
	if !s.OK {
		var names []string
		for _, f := range s.Findings {
			names = append(names, f.Field)
		}
		s.Summary = fmt.Sprintf("%s of config.json %s", text.Count(len(s.Findings), "field"), are(len(s.Findings), "wrong: ")+strings.Join(names, ", "))
	}
	return s
}

// noCapEither reports whether a model without soft cap has one that stands for none, though another than convert
// would write.
func noCapEither(fields map[string]any, p *convert.Plan) bool {
	n, _ := fields["logits_soft_cap"].(json.Number)
	softCap, err := n.Float64()
	return err == nil && p.Config.LogitsSoftCap == 0 && huggingface.IsNoSoftCap(softCap, p.DType)
}

// judge compares one field under each of its names.
func (f *configField) judge(fields map[string]any, c *model.Config) []Finding {
	var out []Finding
	present := false
	for _, name := range f.names {
		got, ok := fields[name]
		if !ok {
			continue
		}
		present = true
		shown := showField(got)
		if got == nil && f.null != nil {
			got = f.null
			shown = "null, which stands for " + showField(got)
		}
		if f.want == nil && got == nil || f.matches(got, c) {
			continue
		}
		out = append(out, f.finding(name, shown, c))
	}
	if !present && f.want != nil && !f.matches(f.missing, c) {
		shown := "no such field"
		if f.missing != nil {
			shown += ", which stands for " + showField(f.missing)
		}
		out = append(out, f.finding(f.names[0], shown, c))
	}
	return out
}

func (f *configField) finding(name, got string, c *model.Config) Finding {
	return Finding{Kind: WrongField, Field: name, Want: f.shown(), Got: got, Detail: f.explain(got, c)}
}

// shown is what the field has to say.
func (f *configField) shown() string {
	if blocks, ok := f.want.([]model.BlockType); ok {
		return showField((&model.Config{BlockTypes: blocks}).Pattern())
	}
	if f.want == nil {
		return "no such field"
	}
	return showField(f.want)
}

// explain says what the wrong value would do.
func (f *configField) explain(got string, c *model.Config) string {
	if f.names[0] != windowNames[0] {
		return f.effect
	}
	w := c.AttentionWindow
	convention := fmt.Sprintf("; it has to be the original's window, %d, or %d, with which transformers 5 attends to the tokens that the original attends to", w, w+1)
	switch got {
	case fmt.Sprint(w + 2):
		return "this is window + 2: attention would reach one position farther than the original's in transformers 5" + convention
	case fmt.Sprint(w - 1):
		return "this is window - 1: attention would reach less far in every implementation" + convention
	}
	return f.effect + convention
}

// matches reports whether a value, as JSON has it or as a default, means what the field has to say.
func (f *configField) matches(got any, c *model.Config) bool {
	switch want := f.want.(type) {
	case int64:
		switch got := got.(type) {
		case int64:
			return got == want
		case json.Number:
			n, err := strconv.ParseInt(string(got), 10, 64)
			return err == nil && n == want
		}
	case float64:
		switch got := got.(type) {
		case float64:
			return got == want
		case json.Number:
			x, err := got.Float64()
			return err == nil && x == want
		}
	case string:
		word, ok := got.(string)
		return ok && strings.TrimPrefix(word, "torch.") == want
	case bool:
		b, ok := got.(bool)
		return ok && b == want
	case []string:
		switch got := got.(type) {
		case []string:
			return slices.Equal(got, want)
		case []any:
			return slices.Contains(got, any(want[0]))
		}
	case []model.BlockType:
		return matchesBlocks(got, want)
	}
	return false
}

// matchesBlocks repeats a pattern as transformers does: 100 times, cut to the number of blocks.
func matchesBlocks(got any, want []model.BlockType) bool {
	var pattern []string
	switch got := got.(type) {
	case []model.BlockType:
		for _, b := range got {
			pattern = append(pattern, string(b))
		}
	case []any:
		for _, b := range got {
			name, _ := b.(string)
			pattern = append(pattern, name)
		}
	}
	const repeats = 100
	if repeats*len(pattern) < len(want) {
		return false
	}
	for i, b := range want {
		if pattern[i%len(pattern)] != string(b) {
			return false
		}
	}
	return true
}

// judgeTokens finds ids that are no token: transformers refuses such a pad_token_id, and the others
// would never be seen.
func judgeTokens(fields map[string]any, vocabulary int64) []Finding {
	var out []Finding
	for _, name := range []string{"pad_token_id", "bos_token_id", "eos_token_id"} {
		ids, isList := fields[name].([]any)
		if !isList {
			ids = []any{fields[name]}
		}
		for _, id := range ids {
			n, isNumber := id.(json.Number)
			i, err := strconv.ParseInt(string(n), 10, 64)
			if id == nil || isNumber && err == nil && i >= 0 && i < vocabulary {
				continue
			}
			out = append(out, Finding{Kind: WrongField, Field: name, Want: fmt.Sprintf("a token: 0 to %d", vocabulary-1), Got: showField(id),
				Detail: "it is outside the vocabulary"})
		}
	}
	return out
}

// floatFields are those that transformers 5.23 refuses to read from an integer.
var floatFields = []string{"logits_soft_cap", "rms_norm_eps", "w_init_variance_scale"}

// configNotes says what is odd and changes nothing.
func configNotes(fields map[string]any, p *convert.Plan) []string {
	c := &p.Config
	var notes []string
	for _, name := range floatFields {
		if n, ok := fields[name].(json.Number); ok && !strings.ContainsAny(string(n), ".eE") {
			notes = append(notes, fmt.Sprintf("%s is written as the integer %s, which transformers 5.23 refuses; %s.0 is meant", name, n, n))
		}
	}
	_, new := fields["dtype"]
	_, old := fields["torch_dtype"]
	if !new && !old {
		notes = append(notes, "neither dtype nor torch_dtype is there: transformers 4 loads the weights in float32, transformers 5 as they are")
	}
	if !c.Has(model.Attention) {
		notes = append(notes, "there are no attention blocks: attention_window_size has no effect")
		if used, ok := fields["use_cache"].(bool); used || !ok {
			notes = append(notes, "use_cache is not false, and transformers 5 cannot cache a model without attention blocks: it fails unless it is told so at each call")
		}
	}
	for _, id := range []struct{ name, usual string }{{"pad_token_id", "0"}, {"eos_token_id", "1"}, {"bos_token_id", "2"}} {
		if n, ok := fields[id.name].(json.Number); ok && string(n) != id.usual {
			notes = append(notes, fmt.Sprintf("%s is %s; RecurrentGemma has %s. Weights do not tell", id.name, n, id.usual))
		}
	}
	return notes
}

// showField prints a value as JSON has it, cut short.
func showField(v any) string {
	switch v := v.(type) {
	case json.Number:
		return clip(string(v))
	case nil:
		return "null"
	case map[string]any:
		return "an object with " + strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	}
	text, err := json.Marshal(v)
	if err != nil {
		return clip(fmt.Sprint(v))
	}
	return clip(string(text))
}

// clip cuts text that a file made long.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func are(n int, what string) string {
	if n == 1 {
		return "is " + what
	}
	return "are " + what
}
