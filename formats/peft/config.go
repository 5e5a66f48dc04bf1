package peft

import (
	"encoding/json"
	"io/fs"
	"math"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// LoRA is the peft_type of the adapters that can be merged.
const LoRA = "LORA"

// Config is the part of an adapter_config.json that concerns what the adapter does to its base. If Type is not LoRA,
// only Type, Base and Version are set.
type Config struct {
	Type    string // peft_type
	Base    string // base_model_name_or_path on the machine that made the adapter, "" if not given
	Version string // of PEFT, "" if not recorded

	Rank          int64
	Alpha         float64
	RSLoRA        bool     // the scaling is alpha / sqrt(rank), not alpha / rank
	DoRA          bool     // each row of a merged matrix is scaled to a trained length
	Bias          string   // which biases were trained: "none", "all" or "lora_only"
	Targets       []string // names of the adapted modules, or suffixes of the names
	TargetPattern string   // or a regular expression for the names, or "all-linear"
	SavedModules  []string // fully trained modules

	SharesHead bool // ensure_weight_tying: what is trained of the embedding is also the head's

	targeted, excluded          selector // modules, by target_modules and exclude_modules
	onlyLayers                  []int64  // layers_to_transform; empty for all
	layersPattern               []string // names that precede the number of a layer
	rankPatterns, alphaPatterns []pattern
	tokens                      map[string][]int64 // token indices by embedding, "" for any embedding
	refused                     []string           // why the adapter cannot be merged exactly
}

const maxConfig = 4 << 20 // bytes; configurations of EVA and AdaLoRA list each module

func readConfig(source fs.FS, name string) (*Config, error) {
	text, err := storage.ReadFile(source, name, maxConfig)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text)
	return c, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
}

// parseConfig parses an adapter_config.json.
func parseConfig(text []byte) (*Config, error) {
	const maxDepth = 16
	value, err := strictjson.Parse(text, maxDepth)
	if err != nil {
		return nil, err
	}
	o, ok := value.(*strictjson.Object)
	if !ok {
		return nil, tensor.Bad("is not a JSON object")
	}
	c := &Config{}
	r := &reader{object: o}
	c.Type = r.text("peft_type")
	c.Base = r.text("base_model_name_or_path")
	c.Version = r.text("peft_version")
	if r.err == nil && c.Type == "" {
		return nil, tensor.Bad("has no peft_type, so it is not the configuration of an adapter")
	}
	if c.Type == LoRA {
		c.read(r)
	} else {
		c.refused = []string{"peft_type " + tensor.Clip(c.Type) + ", and only LORA can be merged"}
	}
	return c, r.err
}

// read sets the fields of a LoRA.
func (c *Config) read(r *reader) {
	c.Rank = r.integer("r", 8)
	c.Alpha = r.number("lora_alpha", 8)
	c.RSLoRA, c.DoRA = r.flag("use_rslora"), r.flag("use_dora")
	c.Bias = r.text("bias")
	c.SavedModules = r.names("modules_to_save")
	if v, _ := r.object.Get("target_modules"); v != nil {
		if s, ok := v.(string); ok {
			c.TargetPattern = s
		} else {
			c.Targets = r.names("target_modules")
		}
	}
	c.SharesHead = r.flag("ensure_weight_tying")
	c.targeted, c.excluded = r.selector("target_modules"), r.selector("exclude_modules")
	c.onlyLayers, c.layersPattern = r.layers("layers_to_transform"), r.names("layers_pattern")
	c.rankPatterns, c.alphaPatterns = r.patterns("rank_pattern"), r.patterns("alpha_pattern")
	c.tokens = r.tokens("trainable_token_indices")
	for _, p := range c.rankPatterns {
		if p.value != math.Trunc(p.value) || p.value < 1 || p.value > maxRank {
			r.fail("field \"rank_pattern\" gives %s the rank %v", tensor.QuoteName(p.text), p.value)
		}
	}
	if r.err == nil && (c.Rank < 1 || c.Rank > maxRank) {
		r.fail("field \"r\" is %d; a rank is 1 to %d", c.Rank, int64(maxRank))
	}
	if c.Bias != "" && !slices.Contains([]string{"none", "all", "lora_only"}, c.Bias) {
		r.fail("field \"bias\" is %s, not none, all or lora_only", strictjson.Describe(c.Bias))
	}
	c.refused = refusals(r.object)
}

// maxRank is more than the width of any layer of the family.
const maxRank = 1 << 14

// reader reads fields of an object and records the first error.
type reader struct {
	object *strictjson.Object
	err    error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = tensor.Bad(format, args...)
	}
}

func (r *reader) wrong(name string, v any, want string) {
	r.fail("field %q is %s, not %s", name, strictjson.Describe(v), want)
}

func (r *reader) text(name string) string {
	v, _ := r.object.Get(name)
	s, ok := v.(string)
	if v != nil && !ok {
		r.wrong(name, v, "a string")
	}
	return s
}

func (r *reader) flag(name string) bool {
	v, _ := r.object.Get(name)
	b, ok := v.(bool)
	if v != nil && !ok {
		r.wrong(name, v, "true or false")
	}
	return b
}

func (r *reader) integer(name string, absent int64) int64 {
	v, ok := r.object.Get(name)
	if !ok {
		return absent
	}
	n, ok := strictjson.Int(v)
	if !ok {
		r.wrong(name, v, "an integer")
	}
	return n
}

func (r *reader) number(name string, absent float64) float64 {
	v, ok := r.object.Get(name)
	if !ok {
		return absent
	}
	x, ok := finite(v)
	if !ok {
		r.wrong(name, v, "a finite number")
	}
	return x
}

func finite(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	x, err := n.Float64()
	return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
}

// names reads a list of names. A single name is a list of one.
func (r *reader) names(name string) []string {
	v, _ := r.object.Get(name)
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				r.wrong(name, item, "a name")
				return nil
			}
			out = append(out, s)
		}
		slices.Sort(out) // PEFT writes a set in any order
		return slices.Compact(out)
	}
	r.wrong(name, v, "a list of names")
	return nil
}

// tokens reads trainable_token_indices: a list for the embedding, or a list for each named module.
func (r *reader) tokens(name string) map[string][]int64 {
	v, _ := r.object.Get(name)
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return map[string][]int64{"": r.indices(name, v)}
	case *strictjson.Object:
		out := map[string][]int64{}
		for _, module := range v.Keys() {
			list, _ := v.Get(module)
			items, ok := list.([]any)
			if !ok {
				r.wrong(name, list, "a list of tokens")
			}
			out[module] = r.indices(name, items)
		}
		return out
	}
	r.wrong(name, v, "a list of tokens")
	return nil
}

func (r *reader) indices(name string, items []any) []int64 {
	out := make([]int64, 0, len(items))
	for _, item := range items {
		n, ok := strictjson.Int(item)
		if !ok || n < 0 {
			r.wrong(name, item, "a token")
			return nil
		}
		out = append(out, n)
	}
	sorted := slices.Sorted(slices.Values(out))
	if len(slices.Compact(sorted)) < len(out) {
		r.fail("field %q lists a token twice", name)
	}
	return out
}
