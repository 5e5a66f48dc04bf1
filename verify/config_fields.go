package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
)

// configField is a field of config.json with the value that it should have.
type configField struct {
	// The name, and other names under which a version of transformers reads the same. Each that is present has to be
	// right.
	names []string

	want    any // int64, float64, string, bool, []string, []model.BlockType, or nil if the field should be absent
	missing any // what transformers takes if the field is absent; nil if it is required
	null    any // what transformers takes for null; nil if null is wrong

	accepts func(got any) bool   // further values that are right, or nil
	effect  string               // what a wrong value would do
	holds   any                  // what the tensors of the converted checkpoint have, like want: a wrong value that is theirs has no other effect, and any other is wrong if they form a whole model; or nil
	explain func(got any) string // replaces effect, or nil
}

// configFields lists what config.json should have for the model of a plan: every field of RecurrentGemmaConfig of
// transformers 4.57 and 5.23 that changes what the model computes. The others choose how weights are initialised before
// training, or what is returned with the logits.
//
// Sources: transformers 4.57 and 5.23 (models/recurrent_gemma, configuration_utils.py,
// modeling_rope_utils.py). sourceFields are those of the source's config.json, nil if it has none. found is the model in
// the converted checkpoint, or nil.
func configFields(p *convert.Plan, found *model.Model, head headState, sourceFields map[string]any) []configField {
	c, n := &p.Config, p.Config.Numerics
	layers := int64(len(c.BlockTypes))
	var sizes model.Config
	if found != nil {
		if sizes = found.Config; !sizes.Has(model.Recurrent) {
			sizes.LRUWidth = 0 // no tensor shows it
		}
	}
	fields := []configField{
		{names: []string{"model_type"}, want: "recurrent_gemma", effect: "transformers would load another model class, or none"},
		{names: []string{"architectures"}, want: []string{"RecurrentGemmaForCausalLM"}, missing: []string{"RecurrentGemmaForCausalLM"}, effect: "programs that read it would build another model",
			accepts: statedArchitectures(p, sourceFields)},
		{names: []string{"vocab_size"}, want: c.VocabSize, missing: int64(256000), holds: sizes.VocabSize, effect: "the embedding would not fit"},
		{names: []string{"hidden_size"}, want: c.Width, missing: int64(2560), holds: sizes.Width, effect: "no weight would fit, and embeddings would be scaled by the root of another width"},
		{names: []string{"intermediate_size"}, want: 2 * c.MLPExpandedWidth, missing: int64(7680), holds: 2 * sizes.MLPExpandedWidth, accepts: halvesTo(c.MLPExpandedWidth), effect: "transformers takes half of it as the width of the MLP, and the weights would not fit"},
		{names: []string{"num_hidden_layers"}, want: layers, missing: int64(26), holds: int64(len(sizes.BlockTypes)), effect: "blocks would be left out, or added with random weights"},
		{names: []string{"num_attention_heads"}, want: c.NumHeads, missing: int64(10), holds: sizes.NumHeads, effect: "attention heads and the blocks of the RG-LRU gates would be split differently"},
		{names: []string{"block_types"}, want: c.BlockTypes, holds: sizes.BlockTypes, missing: []model.BlockType{model.Recurrent, model.Recurrent, model.Attention}, effect: "blocks would be of another kind than their weights"},
		{names: []string{"hidden_activation"}, want: n.Activation, missing: "gelu_pytorch_tanh", accepts: standsForActivation(n.Activation),
			effect: "the MLP and the recurrent block's gate would apply another function"},
		{names: []string{"rms_norm_eps"}, want: n.NormEpsilon, missing: 1e-6, effect: "every norm would differ slightly"},
		{names: []string{"logits_soft_cap"}, want: float64(p.HF.LogitsSoftCap), missing: 30.0, explain: softCapEffect(c), accepts: standsForNoCap(p)},
		{names: []string{"attention_dropout"}, want: 0.0, missing: 0.0, effect: "training would apply dropout to attention, which the original does not"},
		{names: []string{"rope_parameters.rope_type", "rope_parameters.type"}, want: "default", missing: "default", effect: "transformers 5 rejects it"},
		{names: []string{"rope_scaling", "rope_scaling.rope_type", "rope_scaling.type", "rope_scaling.factor", "rope_scaling.rope_theta"}, effect: "transformers 5 would use it instead of rope_parameters"},
		{names: []string{"quantization_config", "quantization_config.quant_method"}, effect: "the weights would be quantised when they are loaded"},
		{names: hfconfig.DTypeNames, want: p.DType.String(), missing: p.DType.String(), null: p.DType.String(), accepts: func(got any) bool { return hfconfig.NamesDType(got, p.DType) }, effect: "transformers would round the weights to it, or compute in it"},
	}
	if f := headField(p, head); f != nil {
		fields = append(fields, *f)
	}
	if c.Has(model.Recurrent) {
		fields = append(fields,
			configField{names: []string{"lru_width"}, want: c.LRUWidth, holds: sizes.LRUWidth, missing: c.Width, null: c.Width, effect: "the recurrence would have another width than its weights"},
			configField{names: []string{"conv1d_width"}, want: c.ConvWidth, missing: int64(4), effect: "the convolution would have another number of taps"})
	}
	if c.Has(model.Attention) {
		fields = append(fields, attentionFields(c)...)
		fields = append(fields, configField{names: hfconfig.WindowNames, want: p.HF.AttentionWindowSize, missing: int64(hfconfig.DefaultWindow), explain: windowEffect(c.AttentionWindow, statedWindow(p.Source))})
	}
	return fields
}

// statedArchitectures returns a function that accepts the architectures that the source's config.json states, as that of
// a classifier, if the conversion has all tensors of the source: without its head it would be another model.
func statedArchitectures(p *convert.Plan, sourceFields map[string]any) func(got any) bool {
	return func(got any) bool {
		stated := sourceFields["architectures"]
		return stated != nil && reflect.DeepEqual(got, stated) && (len(p.Source.Extra) == 0 || len(p.Extra) > 0)
	}
}

// attentionFields lists the fields that only attention blocks use.
func attentionFields(c *model.Config) []configField {
	n := c.Numerics
	return []configField{
		{names: []string{"num_key_value_heads"}, want: c.KeyHeads(), missing: c.NumHeads, null: c.NumHeads, effect: keyHeadsEffect(c)},
		{names: []string{"head_dim"}, want: c.HeadDim(), missing: c.Width / c.NumHeads, effect: "attention heads would be split differently, and scores scaled by another factor"},
		{names: []string{"attention_bias"}, want: c.AttentionBias, missing: false, effect: biasEffect(c)},
		{names: []string{"rope_theta", "rope_parameters.rope_theta"}, want: n.RopeTheta, missing: 10000.0, effect: "queries and keys would be rotated by other angles"},
		{names: []string{"partial_rotary_factor", "rope_parameters.partial_rotary_factor"}, want: n.RotaryFactor, missing: 0.5, effect: "another part of each head would be rotated"},
	}
}

func keyHeadsEffect(c *model.Config) string {
	if c.KeyHeads() == 1 {
		return "all query heads share one key and value head; k_proj and v_proj would not fit"
	}
	return "k_proj and v_proj would not fit"
}

func biasEffect(c *model.Config) string {
	if c.AttentionBias {
		return "the biases of q_proj, k_proj and v_proj would be ignored"
	}
	return "q_proj, k_proj and v_proj would get biases without weights"
}

// standsForActivation returns a function that accepts other names of an activation.
func standsForActivation(name string) func(got any) bool {
	return func(got any) bool {
		other, ok := got.(string)
		return ok && model.SameActivation(other, name)
	}
}

// statedWindow returns the window that the config.json of a source has; 0 for an original.
func statedWindow(source *model.Model) int64 {
	if source.Layout != model.HuggingFace {
		return 0
	}
	return statement.Window(source.Checkpoint)
}

// windowEffect returns what wrong values of the attention window would do. stated is the one in the config.json of the source, 0 if it has none.
func windowEffect(window, stated int64) func(got any) string {
	return func(got any) string {
		should := fmt.Sprintf("; it should be the original's window, %d, or %d, with which transformers 5 attends to the same tokens as the original", window, window+1)
		if stated != 0 {
			should = fmt.Sprintf("; the source has %d", stated)
		}
		effect := "attention would reach less far, or farther"
		switch n, ok := wholeNumber(got); {
		case !ok:
		case n == window+2:
			effect = "this is window + 2: attention would reach one position farther than the original's in transformers 5"
		case n == window-1:
			effect = "this is window - 1: attention would reach less far in every implementation"
		case n < window, n < stated:
			effect = "attention would reach less far"
		default:
			effect = "attention would reach farther"
		}
		return effect + should
	}
}

// halvesTo returns a function that accepts the numbers of which half, rounded down, is n.
func halvesTo(n int64) func(got any) bool {
	return func(got any) bool {
		twice, ok := wholeNumber(got)
		return ok && twice/2 == n
	}
}

// softCapEffect returns what wrong values of the soft cap would do.
func softCapEffect(c *model.Config) func(got any) string {
	return func(got any) string {
		switch zero := (&configField{want: 0.0}).matches(got); {
		case zero && c.LogitsSoftCap == 0:
			return "the model has no soft cap, but transformers divides by it: all logits would be zero"
		case zero:
			return "all logits would be zero in transformers, which divides by it"
		case c.LogitsSoftCap == 0:
			return "the model has no soft cap, but transformers always applies one: only a power of two that is large enough leaves the logits unchanged"
		}
		return "all logits would be capped differently"
	}
}

// standsForNoCap returns a function that accepts any soft cap that stands for none, if the model has none.
func standsForNoCap(p *convert.Plan) func(got any) bool {
	return func(got any) bool {
		n, _ := got.(json.Number)
		softCap, err := n.Float64()
		return err == nil && p.Config.LogitsSoftCap == 0 && huggingface.IsNoSoftCap(softCap, p.DType)
	}
}

// headField returns the field tie_word_embeddings; nil if either value is right, because the head is present as a copy of
// the embedding.
func headField(p *convert.Plan, head headState) *configField {
	f := &configField{names: []string{"tie_word_embeddings"}, want: p.HF.TieWordEmbeddings, missing: true, effect: "the output head would be a separate matrix with random weights"}
	embedding, own := "the embedding", p.Source.Family.HeadName()
	if by := p.HF.EmbeddingDividedBy; by != 0 {
		embedding = fmt.Sprintf("%s (divided by %g)", p.Dests[p.Embedding].Name, float64(by))
	}
	switch {
	case !p.HF.TieWordEmbeddings && head.tiesOther:
		f.effect = model.ComputedWith(embedding, own)
	case !p.HF.TieWordEmbeddings:
		f.effect = fmt.Sprintf("transformers would compute logits with %s instead of with %s", embedding, own)
	case len(head.copies) > 0:
		return nil
	}
	return f
}

// check compares one field under each of its names.
func (f *configField) check(fields map[string]any) []Finding {
	var out []Finding
	present := false
	for _, name := range f.names {
		got, ok := fields[name]
		if !ok {
			if got, ok = refusedObject(fields, name); !ok {
				continue
			}
		}
		present = true
		shown := showField(got)
		if list, ok := got.([]any); ok && f.isBlocks() {
			shown = cmp.Or(tensor.Clip(hfconfig.Letters(list)), shown)
		}
		if got == nil && f.null != nil {
			got = f.null
			shown = "null, which stands for " + showField(got)
		}
		if f.want == nil && got == nil || f.matches(got) || f.accepts != nil && f.accepts(got) {
			continue
		}
		out = append(out, f.refusedFinding(fields, f.finding(name, got, shown)))
	}
	if !present && f.want != nil && !f.matches(f.missing) {
		shown := noField
		if f.missing != nil {
			shown += ", which stands for " + showField(f.missing)
		}
		out = append(out, f.finding(f.names[0], f.missing, shown))
	}
	return out
}

// refusedObject returns an object that transformers refuses as the value of a field. fields has what is in it.
func refusedObject(fields map[string]any, name string) (object any, ok bool) {
	if r := refused(fields, name); r != nil {
		_, ok = r.Value.(map[string]any)
		object = r.Value
	}
	return object, ok
}

// contradicting finds a value that is the source's, while the tensors of the converted checkpoint, which form a whole model, are others.
func (f *configField) contradicting(fields map[string]any) []Finding {
	blocks, _ := f.holds.([]model.BlockType)
	if f.holds == nil || reflect.ValueOf(f.holds).IsZero() || slices.Contains(blocks, model.UnknownKind) || reflect.DeepEqual(f.holds, f.want) {
		return nil
	}
	held := *f
	held.want, held.accepts = f.holds, nil
	out := held.check(fields)
	for i := range out {
		out[i].Detail = "it contradicts the tensors of the conversion: " + f.effect
	}
	return out
}

// refusedFinding says of a wrong value what keeps transformers from loading it, if anything does, in place of what it would do.
func (f *configField) refusedFinding(fields map[string]any, wrong Finding) Finding {
	value, name := fields[wrong.Field], wrong.Field
	if taken, dtype := hfconfig.TakenDType(fields); slices.Contains(hfconfig.DTypeNames, name) && taken != "" {
		name = taken
		if !reflect.DeepEqual(value, dtype) {
			wrong.Detail = "transformers 5.23 and 4.57 take " + taken + " instead, and older versions this"
			return wrong
		}
	}
	switch r := refused(fields, name); {
	case r == nil, isText(value) && (f.isNumber() || f.isBool()):
	case hfconfig.IsInteger(value): // the version that loads it takes the value
		wrong.Detail += "; " + r.Effect()
	default:
		wrong.Detail = r.Detail()
	}
	return wrong
}

func (f *configField) finding(name string, got any, shown string) Finding {
	effect := f.effect
	switch held := *f; {
	case isText(got) && (f.isNumber() || f.isBool()):
		effect = hfconfig.AsText(name, f.isBool())
	case f.explain != nil:
		effect = f.explain(got)
	case f.holds != nil:
		held.want = f.holds
		if held.matches(got) {
			effect = "the tensors of the conversion are as this says"
		}
	}
	want := f.shown()
	if number, ok := got.(json.Number); ok && shown == showField(got) {
		shown, want = sameNotation(number, f.want, shown, want)
	}
	return Finding{Kind: WrongField, Field: name, Want: want, Got: shown, Detail: effect}
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

func (f *configField) isNumber() bool {
	switch f.want.(type) {
	case int64, float64:
		return true
	}
	return false
}

func (f *configField) isBool() bool {
	_, ok := f.want.(bool)
	return ok
}

// sameNotation writes two different numbers in one notation, with an exponent if one of them needs it. What is no such pair stays as it is
// shown.
func sameNotation(got json.Number, want any, shownGot, shownWant string) (string, string) {
	x, err := got.Float64()
	y, isFloat := want.(float64)
	if err != nil || !isFloat || x == y {
		return shownGot, shownWant
	}
	format := byte('f')
	for _, v := range []float64{x, y} {
		if size := math.Abs(v); size != 0 && (size < 1e-4 || size >= 1e15) {
			format = 'e'
		}
	}
	notation := func(v float64) string {
		if v == 0 {
			return "0"
		}
		return strconv.FormatFloat(v, format, -1, 64)
	}
	return notation(x), notation(y)
}

func (f *configField) isBlocks() bool { _, ok := f.want.([]model.BlockType); return ok }

// shown writes the value that the field should have.
func (f *configField) shown() string {
	if blocks, ok := f.want.([]model.BlockType); ok {
		return tensor.Clip(hfconfig.Letters((&model.Config{BlockTypes: blocks}).Pattern()))
	}
	if f.want == nil {
		return noField
	}
	return showField(f.want)
}

// matches reports whether a value, from JSON or a default, is the one that the field should have.
func (f *configField) matches(got any) bool {
	switch want := f.want.(type) {
	case int64:
		n, ok := wholeNumber(got)
		return ok && n == want
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
		return ok && word == want
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

// wholeNumber returns a number from JSON, or a default, as an integer.
func wholeNumber(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case json.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		return n, err == nil
	}
	return 0, false
}

// matchesBlocks reports whether a pattern, repeated as transformers does, gives the blocks: 100 times, cut to the number of
// blocks.
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

// What should be where something is that should not be there.
const (
	noField = "no such field"
	noFile  = "no such file"
)

// showField writes a value as JSON, cut short.
func showField(v any) string {
	switch v := v.(type) {
	case json.Number:
		return tensor.Clip(string(v))
	case nil:
		return "null"
	case map[string]any:
		if len(v) == 0 {
			return "an empty object"
		}
		return "an object with " + strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	}
	text, err := json.Marshal(v)
	if err != nil {
		return tensor.Clip(fmt.Sprint(v))
	}
	return tensor.Clip(string(text))
}
