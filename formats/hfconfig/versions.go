package hfconfig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

// SlidingWindow is the other name of attention_window_size. transformers 5.23 takes its value whether attention_window_size is there
// or not, and before or after it (attribute_map of RecurrentGemmaConfig); transformers 4.57 ignores it.
const SlidingWindow = "sliding_window"

// WindowNames are the names of the attention window. transformers 5.23 takes the first of them that is there.
var WindowNames = []string{SlidingWindow, "attention_window_size"}

// DefaultWindow is the attention window of a file that does not state any.
const DefaultWindow = 2048

// FloatFields are the fields that transformers 5.23 refuses to read from an integer.
var FloatFields = []string{"logits_soft_cap", "rms_norm_eps", "w_init_variance_scale"}

// Ignored lists the fields of a config.json that transformers 4.40 wrote, and that transformers 4.57 and 5.23 ignore, but for those that Notes names because
// they state another model.
func Ignored(fields map[string]any) (names []string) {
	if _, ok := fields[oldPattern]; ok && ignoredPattern(fields) == "" {
		names = append(names, oldPattern)
	}
	if value, ok := fields[scaleField]; ok && value != false {
		names = append(names, scaleField)
	}
	return names
}

const (
	oldPattern = "_block_types"
	scaleField = "embeddings_scale_by_sqrt_dim"
)

// Unsettable are properties of RecurrentGemmaConfig that have no setter: transformers 5.23 refuses to load a config.json with a field of
// that name, whatever its value. transformers 4.57 refuses two of them too, and ignores the others. (Measured.)
var Unsettable = []string{"layer_types", "layers_block_type", "use_return_dict", "is_heterogeneous", "per_layer_attributes"}

// NewActivations are the functions that transformers 4.57 does not have.
var NewActivations = []string{"hardswish", "sqrtsoftplus"}

// IsInteger reports whether a JSON value is a number without fraction and exponent, which Python reads as an int.
func IsInteger(value any) bool {
	n, ok := value.(json.Number)
	return ok && !strings.ContainsAny(string(n), ".eE")
}

// Notes says where transformers 4.57 and 5.23 read the fields of a config.json differently, which they refuse, and which they ignore although
// these state another model. fields are those of the function Fields.
func Notes(fields map[string]any) []string {
	var notes []string
	if alias, ok := fields[SlidingWindow].(json.Number); ok {
		old, isThere := fields["attention_window_size"]
		if !isThere {
			notes = append(notes, fmt.Sprintf("sliding_window is %s, which transformers 5.23 takes as the attention window; 4.57 ignores it and takes its default, %d", alias, DefaultWindow))
		} else if old != alias {
			notes = append(notes, fmt.Sprintf("sliding_window is %s, which transformers 5.23 takes as the attention window; 4.57 ignores it and takes attention_window_size, %s",
				alias, strictjson.Describe(old)))
		}
	}
	for _, name := range FloatFields {
		if IsInteger(fields[name]) {
			asFloat := fmt.Sprintf("as a float it is %s.0", fields[name])
			if isZeroCap(name, fields[name]) {
				asFloat = "as a float, 0.0, it makes all logits zero"
			}
			notes = append(notes, fmt.Sprintf("%s is written as the integer %s, which transformers 5.23 refuses and 4.57 reads; %s", name, fields[name], asFloat))
		}
	}
	notes = append(notes, refusalNotes(fields)...)
	if note := ignoredPattern(fields); note != "" {
		notes = append(notes, note)
	}
	if fields[scaleField] == false {
		notes = append(notes, "embeddings_scale_by_sqrt_dim is false, which transformers 4.57 and 5.23 ignore: they multiply embeddings by sqrt(hidden_size)")
	}
	return notes
}

// isZeroCap reports whether a field is the soft cap, and 0: transformers divides by it.
func isZeroCap(name string, value any) bool {
	return name == "logits_soft_cap" && value == json.Number("0")
}

// refusalNotes returns the notes of the Refusals, but for those that Notes words otherwise.
func refusalNotes(fields map[string]any) []string {
	var notes []string
	for _, r := range Refusals(fields) {
		isNoted := !r.Newer || slices.Contains(FloatFields, r.Field) && IsInteger(r.Value)
		if !isNoted {
			notes = append(notes, r.Note())
		}
	}
	return notes
}

// VersionNotes returns c.Notes without the notes that repeat what Departures and Refusals say.
func (c *Config) VersionNotes() []string {
	return slices.DeleteFunc(slices.Clone(c.Notes), func(note string) bool {
		return slices.Contains(c.refused, note) || slices.ContainsFunc(Unsettable, func(name string) bool { return note == unsettableNote(name) })
	})
}

func unsettableNote(name string) string {
	if name == "layers_block_type" || name == "use_return_dict" {
		return fmt.Sprintf("%s is there: neither transformers 5.23 nor 4.57 loads a config.json with this field", name)
	}
	return fmt.Sprintf("%s is there: transformers 5.23 does not load a config.json with this field, and 4.57 ignores it", name)
}

// Unsupported4 says why transformers 4.57 cannot run a model that 5.23 runs: a sentence for each field. (Measured.)
func (c *Config) Unsupported4() []string {
	var out []string
	if slices.Contains(NewActivations, c.HiddenActivation) {
		out = append(out, fmt.Sprintf("hidden_activation is %s, which transformers 4.57 does not have", c.HiddenActivation))
	}
	if !slices.Contains(c.Layers(), Attention) {
		return out
	}
	if c.NumAttentionHeads*c.HeadDim != c.HiddenSize {
		out = append(out, fmt.Sprintf("%d heads of %d channels do not make hidden_size %d, as transformers 4.57 needs it", c.NumAttentionHeads, c.HeadDim, c.HiddenSize))
	}
	factor := c.Rope.PartialFactor
	switch c.Rotation4(factor) {
	case RotationFails:
		out = append(out, fmt.Sprintf("partial_rotary_factor is %v and heads have %d channels: transformers 4.57 rotates the first half of each head, in pairs, or fails", factor, c.HeadDim))
	case RotationBroadcasts:
		out = append(out, fmt.Sprintf("partial_rotary_factor is %v and heads have 2 channels: transformers 4.57 computes with another number of channels, without an error", factor))
	}
	return out
}

// Rotation4 is what transformers 4.57 does with heads: it cuts them in two and rotates the first part.
type Rotation4 uint8

// The cases.
const (
	RotationRuns       Rotation4 = iota
	RotationFails                // parts and rotary embedding do not fit
	RotationBroadcasts           // a part of one channel takes the number of channels of the rotary embedding, which is even
)

// Rotation4 returns what transformers 4.57 does with heads for a rotary factor. (Measured. It cuts a head into int(1/factor)
// parts of equal size, and needs two.)
func (c *Config) Rotation4(factor float64) Rotation4 {
	if factor == 0 {
		return RotationFails
	}
	rotated := (int64(float64(c.HeadDim)*factor) + 1) / 2 * 2
	switch parts := int(1 / factor); {
	case c.HeadDim == 2 && parts >= 2:
		return RotationBroadcasts
	case parts != 2 || rotated != (c.HeadDim+1)/2:
		return RotationFails
	}
	return RotationRuns
}

// ignoredPattern says that _block_types states other blocks than transformers takes; "" if it does not.
func ignoredPattern(fields map[string]any) string {
	stated, ok := fields[oldPattern].([]any)
	if !ok {
		return ""
	}
	taken, from := defaultBlocks, "the default pattern"
	if list, ok := fields["block_types"].([]any); ok {
		taken, from = words(list), "block_types"
	}
	layers := int64(defaultLayers)
	if n, ok := strictjson.Int(fields["num_hidden_layers"]); ok {
		layers = n
	}
	if slices.Equal(repeat(words(stated), layers), repeat(taken, layers)) {
		return ""
	}
	return fmt.Sprintf("_block_types is [%s], which transformers 4.57 and 5.23 ignore: they take %s, [%s]", strings.Join(words(stated), " "), from, strings.Join(taken, " "))
}

func words(list []any) []string {
	var out []string
	for _, item := range list {
		out = append(out, fmt.Sprint(item))
	}
	return out
}
