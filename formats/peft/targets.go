package peft

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
)

// selector chooses modules by their full names: by a regular expression for the whole name, or by names or suffixes.
type selector struct {
	names      []string
	expression *regexp.Regexp // nil if names choose
	unreadable bool           // an expression that Go's syntax does not have
}

// selector reads a field that is a list of names or a regular expression.
func (r *reader) selector(name string) selector {
	v, _ := r.object.Get(name)
	text, ok := v.(string)
	if !ok {
		return selector{names: r.names(name)}
	}
	if len(text) > maxPattern {
		return selector{unreadable: true}
	}
	expression, err := regexp.Compile(`^(?:` + text + `)$`)
	return selector{expression: expression, unreadable: err != nil}
}

// maxPattern bounds the bytes of an expression for modules: programs write such expressions with all kinds of layers.
const maxPattern = 10_000

func (s selector) chooses(module string) bool {
	if s.expression != nil {
		return s.expression.MatchString(module)
	}
	return slices.ContainsFunc(s.names, func(name string) bool { return module == name || strings.HasSuffix(module, "."+name) })
}

// layers reads layers_to_transform, a number or a list.
func (r *reader) layers(name string) []int64 {
	v, _ := r.object.Get(name)
	items, ok := v.([]any)
	if !ok && v != nil {
		items = []any{v}
	}
	var out []int64
	for _, item := range items {
		n, ok := strictjson.Int(item)
		if !ok {
			r.wrong(name, v, "a layer or a list of layers")
		}
		out = append(out, n)
	}
	return out
}

// TargetsKnown reports whether Adapts can tell the adapted modules: whether the expressions of the configuration
// are of a syntax that Go has too.
func (c *Config) TargetsKnown() bool { return !c.targeted.unreadable && !c.excluded.unreadable }

// Saves reports whether modules_to_save names a module of the base, or a module that contains it. PEFT compares the
// ends of names, not whole parts.
func (c *Config) Saves(module string) bool {
	for ok := true; ok; {
		if slices.ContainsFunc(c.SavedModules, func(name string) bool { return name != "" && strings.HasSuffix(module, name) }) {
			return true
		}
		i := strings.LastIndexByte(module, '.')
		ok = i >= 0
		module = module[:max(i, 0)]
	}
	return false
}

// Adapts reports whether target_modules, with the fields that limit it, names a module of the base. "all-linear" names
// none, since PEFT replaces it by names when it makes an adapter.
// Source: check_target_module_exists in tuners/tuners_utils.py.
func (c *Config) Adapts(module string) bool {
	if c.Saves(module) || c.excluded.chooses(module) {
		return false
	}
	if c.targeted.expression != nil || slices.Contains(c.targeted.names, module) {
		return c.targeted.chooses(module)
	}
	return c.targeted.chooses(module) && (len(c.onlyLayers) == 0 || slices.Contains(c.onlyLayers, c.layerOf(module)))
}

// layerOf returns the number of the layer that holds a module, -1 for none: the first number after one of the names in
// layers_pattern or, without them, after any name that something precedes.
func (c *Config) layerOf(module string) int64 {
	parts := strings.Split(module, ".")
	for i := 1; i < len(parts)-1; i++ {
		n, err := strconv.ParseInt(parts[i], 10, 64)
		if err == nil && (len(c.layersPattern) == 0 && i > 1 || slices.Contains(c.layersPattern, parts[i-1])) {
			return n
		}
	}
	return -1
}

// TrainsTokens reports whether trainable_token_indices names rows of an embedding.
func (c *Config) TrainsTokens() bool {
	for _, indices := range c.tokens {
		if len(indices) > 0 {
			return true
		}
	}
	return false
}
