// Package hfconfig reads the config.json of a Hugging Face directory of a RecurrentGemma model, as any version of
// transformers writes it.
package hfconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Name is the name of the file.
const Name = "config.json"

// Config is the fields of RecurrentGemmaConfig that affect results. Fields that are not in the file have the defaults of
// transformers.
type Config struct {
	ModelType           string
	VocabSize           int64
	HiddenSize          int64
	IntermediateSize    int64 // twice the expanded width of the MLP
	NumHiddenLayers     int64
	NumAttentionHeads   int64
	NumKeyValueHeads    int64
	HeadDim             int64
	LRUWidth            int64
	Conv1DWidth         int64
	AttentionWindowSize int64 // of SlidingWindow if the file has that field
	LogitsSoftCap       float64
	RMSNormEps          float64
	Rope                Rope
	HiddenActivation    string
	AttentionBias       bool
	TieWordEmbeddings   bool
	BlockTypes          []string // pattern, see Layers

	// AttentionWindowSize4 is the window that transformers 4.57 takes, which ignores SlidingWindow.
	AttentionWindowSize4 int64
	// Rope4 is what transformers 4.57 takes, which reads rope_theta and partial_rotary_factor at the top level only.
	Rope4 Rope
	// Integers are the values of those FloatFields that are written as integers.
	Integers map[string]float64
	// Unscaled says that embeddings_scale_by_sqrt_dim is false, which mlx-lm obeys and transformers ignores.
	Unscaled bool
	// Repatterned says that _block_types, which transformers ignores, states other blocks than it takes.
	Repatterned bool
	// PerLayer says that per_layer_config is there and not empty.
	PerLayer bool
	// Notes are those of the function Notes.
	Notes []string

	present map[string]bool
	refused []string // those of Notes that Refusals repeat
}

// Rope is the parameters of the rotary embedding.
type Rope struct {
	Theta         float64
	PartialFactor float64 // part of each head that is rotated
	Type          string
}

// Has reports whether the file has a field, so that its value is not a default.
func (c *Config) Has(field string) bool { return c.present[field] }

// MaxSize is the size, in bytes, of the longest config.json that is read. Real files have about 1000.
const MaxSize = 1 << 20

const (
	defaultLayers     = 26
	defaultVocabulary = 256000
)

var defaultBlocks = []string{Recurrent, Recurrent, Attention}

var defaultRope = Rope{Theta: 10000, PartialFactor: 0.5, Type: "default"}

// The values in BlockTypes.
const (
	Recurrent = "recurrent"
	Attention = "attention"
)

// Read reads a config.json of transformers 4, which has the fields rope_theta and partial_rotary_factor, or 5, which has
// them in rope_parameters. Text that is not JSON, a field of the wrong type, and a field with two different values are
// a *tensor.FormatError.
func Read(source fs.FS, name string) (*Config, error) {
	object, err := load(source, name)
	if err != nil {
		return nil, err
	}
	c, err := interpret(object)
	return c, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
}

// Fields returns the fields of a config.json by name, without checking them. A value is a string, json.Number, bool,
// []any or nil. The name of a field in a nested object begins with the name of the object:
// "rope_parameters.rope_theta". An object without fields is a map[string]any. Text that is not JSON is a *tensor.FormatError.
func Fields(source fs.FS, name string) (map[string]any, error) {
	object, err := load(source, name)
	if err != nil {
		return nil, err
	}
	return flat(object), nil
}

// Parse reads the content of a config.json, as Read does.
func Parse(text []byte) (*Config, error) {
	object, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	return interpret(object)
}

// ParseFields returns the fields of the content of a config.json, as Fields does.
func ParseFields(text []byte) (map[string]any, error) {
	object, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	return flat(object), nil
}

func flat(object *strictjson.Object) map[string]any {
	fields := map[string]any{}
	flatten(fields, "", object)
	return fields
}

func flatten(fields map[string]any, prefix string, object *strictjson.Object) {
	for _, key := range object.Keys() {
		value, _ := object.Get(key)
		if inner, ok := value.(*strictjson.Object); ok {
			if len(inner.Keys()) == 0 {
				fields[prefix+key] = map[string]any{}
			}
			flatten(fields, prefix+key+".", inner)
			continue
		}
		fields[prefix+key] = value
	}
}

// load reads the file.
func load(source fs.FS, name string) (*strictjson.Object, error) {
	text, err := storage.ReadFile(source, name, MaxSize)
	if err != nil {
		return nil, err
	}
	object, err := parseObject(text)
	return object, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
}

func parseObject(text []byte) (*strictjson.Object, error) {
	const maxDepth = 16
	value, err := strictjson.Parse(text, maxDepth)
	if err != nil {
		return nil, inLine(err, text)
	}
	object, ok := value.(*strictjson.Object)
	if !ok {
		return nil, tensor.Bad("is not a JSON object")
	}
	return object, nil
}

// inLine names the line of an error in a text, which people write by hand, in place of the offset.
func inLine(err error, text []byte) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) && bad.Offset >= 0 && bad.Offset <= int64(len(text)) {
		before := text[:bad.Offset]
		bad.Within(fmt.Sprintf("line %d, column %d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')))
		bad.Offset = -1
	}
	return err
}

// interpret sets the fields and the defaults of transformers.
func interpret(object *strictjson.Object) (*Config, error) {
	c := &Config{
		ModelType: "recurrent_gemma", NumHiddenLayers: defaultLayers, VocabSize: defaultVocabulary, HiddenSize: 2560, IntermediateSize: 3 * 2560,
		NumAttentionHeads: 10, Conv1DWidth: 4, AttentionWindowSize: DefaultWindow, LogitsSoftCap: 30, RMSNormEps: 1e-6,
		Rope: defaultRope, Rope4: defaultRope, HiddenActivation: "gelu_pytorch_tanh",
		TieWordEmbeddings: true, BlockTypes: slices.Clone(defaultBlocks), present: map[string]bool{}, Integers: map[string]float64{},
	}
	for _, key := range object.Keys() {
		c.present[key] = true
	}
	if err := c.fields(object); err != nil {
		return nil, err
	}
	if err := c.versions(object); err != nil {
		return nil, err
	}
	if err := c.rope(object); err != nil {
		return nil, err
	}
	if err := c.blocks(object); err != nil {
		return nil, err
	}
	switch perLayer, _ := object.Get("per_layer_config"); v := perLayer.(type) {
	case nil:
	case *strictjson.Object:
		c.PerLayer = len(v.Keys()) > 0
	default:
		c.PerLayer = true
	}
	if c.LRUWidth == 0 {
		c.LRUWidth = c.HiddenSize
	}
	if c.NumKeyValueHeads == 0 {
		c.NumKeyValueHeads = c.NumAttentionHeads
	}
	if c.HeadDim == 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	for _, name := range Unsettable {
		if c.Has(name) {
			c.Notes = append(c.Notes, unsettableNote(name))
		}
	}
	if slices.Contains(c.Layers(), Attention) {
		c.Notes = append(c.Notes, c.ropeNotes()...)
	}
	c.Notes = append(c.Notes, c.Unsupported4()...)
	return c, nil
}

// fields sets the fields that have a single value.
func (c *Config) fields(object *strictjson.Object) error {
	for _, f := range []struct {
		name string
		to   any
		null bool // null means the default
	}{
		{"model_type", &c.ModelType, false},
		{"vocab_size", &c.VocabSize, false},
		{"hidden_size", &c.HiddenSize, false},
		{"intermediate_size", &c.IntermediateSize, false},
		{"num_hidden_layers", &c.NumHiddenLayers, false},
		{"num_attention_heads", &c.NumAttentionHeads, false},
		{"num_key_value_heads", &c.NumKeyValueHeads, true},
		{"head_dim", &c.HeadDim, false},
		{"lru_width", &c.LRUWidth, true},
		{"conv1d_width", &c.Conv1DWidth, false},
		{"attention_window_size", &c.AttentionWindowSize, false},
		{"logits_soft_cap", &c.LogitsSoftCap, false},
		{"rms_norm_eps", &c.RMSNormEps, false},
		{"hidden_activation", &c.HiddenActivation, false},
		{"attention_bias", &c.AttentionBias, false},
		{"tie_word_embeddings", &c.TieWordEmbeddings, false},
	} {
		v, ok := object.Get(f.name)
		if !ok || v == nil && f.null {
			continue
		}
		if err := assign(f.to, v); err != nil {
			bad := tensor.Bad("field %q is %v", f.name, err)
			if v == nil && f.to == any(&c.LogitsSoftCap) {
				bad.Advise("write the soft cap; in float32 and bfloat16, 1048576.0 stands for none")
			}
			return bad
		}
	}
	return nil
}

// versions sets what versions of transformers read differently.
func (c *Config) versions(object *strictjson.Object) error {
	c.AttentionWindowSize4 = c.AttentionWindowSize
	if v, ok := object.Get(SlidingWindow); ok {
		if err := assign(&c.AttentionWindowSize, v); err != nil {
			return tensor.Bad("field %q is %v", SlidingWindow, err)
		}
	}
	for _, name := range FloatFields {
		v, _ := object.Get(name)
		if !IsInteger(v) {
			continue
		}
		var x float64
		if err := assign(&x, v); err != nil {
			return tensor.Bad("field %q is %v", name, err)
		}
		c.Integers[name] = x
	}
	fields := map[string]any{}
	flatten(fields, "", object)
	c.refused = refusalNotes(fields)
	c.Notes, c.Unscaled, c.Repatterned = Notes(fields), fields["embeddings_scale_by_sqrt_dim"] == false, ignoredPattern(fields) != ""
	return nil
}

// blocks sets BlockTypes.
func (c *Config) blocks(object *strictjson.Object) error {
	v, ok := object.Get("block_types")
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return tensor.Bad("field \"block_types\" is not a list of block types")
	}
	c.BlockTypes = nil
	for _, item := range list {
		kind, ok := item.(string)
		if !ok || kind != Recurrent && kind != Attention {
			return tensor.Bad("field \"block_types\" has %q, which is neither \"recurrent\" nor \"attention\"", fmt.Sprint(item))
		}
		c.BlockTypes = append(c.BlockTypes, kind)
	}
	return nil
}

// assign sets a field to a JSON value.
func assign(to, v any) error {
	switch to := to.(type) {
	case *int64:
		n, ok := strictjson.Int(v)
		if !ok || n < 1 || n > math.MaxInt32 {
			return fmt.Errorf("%s, not an integer from 1 to %d", strictjson.Describe(v), math.MaxInt32)
		}
		*to = n
	case *float64:
		n, ok := v.(json.Number)
		x, err := n.Float64()
		if !ok || err != nil {
			return fmt.Errorf("%s, not a number", strictjson.Describe(v))
		}
		*to = x
	case *string:
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("%s, not a string", strictjson.Describe(v))
		}
		*to = s
	case *bool:
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("%s, not true or false", strictjson.Describe(v))
		}
		*to = b
	}
	return nil
}

// Letters writes block types as letters: "RRA"; "" if a list has anything else.
func Letters[T any](blocks []T) string {
	letters := make([]byte, len(blocks))
	for i, b := range blocks {
		switch fmt.Sprint(b) {
		case Recurrent:
			letters[i] = 'R'
		case Attention:
			letters[i] = 'A'
		default:
			return ""
		}
	}
	return string(letters)
}

// Layers returns the type of each layer. transformers repeats BlockTypes 100 times and takes the first NumHiddenLayers
// of them. If the pattern is too short, there are fewer.
func (c *Config) Layers() []string {
	return repeat(c.BlockTypes, c.NumHiddenLayers)
}

func repeat(pattern []string, n int64) []string {
	const repeats = 100
	layers := make([]string, max(0, min(n, repeats*int64(len(pattern)))))
	for i := range layers {
		layers[i] = pattern[i%len(pattern)]
	}
	return layers
}
