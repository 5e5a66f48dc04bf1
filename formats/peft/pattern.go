package peft

import (
	"math"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// pattern is an entry of rank_pattern or alpha_pattern: a regular expression for the name of a module, or for the part of
// the name after a dot, and a number. The first pattern that matches a module gives its number.
type pattern struct {
	text  string
	value float64

	expression *regexp.Regexp // nil if text has only letters, digits, "_", "-" and dots
	cost       int64          // of a match, per byte of the name
}

// Limits of patterns. When PEFT assigns ranks, it writes a plain name for each module. Other expressions are written by
// people.
const (
	maxPatterns    = 20_000
	maxExpressions = 200
	maxExpression  = 500            // bytes
	maxMatching    = int64(1) << 31 // steps of matching all expressions with all names
)

// patterns reads a field that maps expressions to numbers.
func (r *reader) patterns(name string) []pattern {
	v, _ := r.object.Get(name)
	o, ok := v.(*strictjson.Object)
	if v == nil || !ok {
		if v != nil {
			r.wrong(name, v, "an object")
		}
		return nil
	}
	if o.Len() > maxPatterns {
		r.fail("field %q has %d patterns, more than %d", name, o.Len(), maxPatterns)
		return nil
	}
	var out []pattern
	expressions := 0
	for _, key := range o.Keys() {
		v, _ := o.Get(key)
		x, ok := finite(v)
		if !ok {
			r.wrong(name, v, "a finite number for "+tensor.QuoteName(key))
			return nil
		}
		p, err := newPattern(key, x)
		if err != nil {
			r.fail("field %q: %v", name, err)
			return nil
		}
		if p.expression != nil {
			expressions++
		}
		out = append(out, p)
	}
	if expressions > maxExpressions {
		r.fail("field %q has %d regular expressions, more than %d", name, expressions, maxExpressions)
		return nil
	}
	return out
}

func newPattern(text string, value float64) (pattern, error) {
	p := pattern{text: text, value: value}
	if !strings.ContainsFunc(text, func(r rune) bool { return !isPlain(r) }) {
		return p, nil
	}
	if len(text) > maxExpression {
		return p, tensor.Bad("regular expression of %d bytes: %s", len(text), tensor.QuoteName(text))
	}
	whole := `^(?:.*\.)?(?:` + text + `)$`
	parsed, err := syntax.Parse(whole, syntax.Perl)
	if err != nil {
		return p, tensor.Bad("%s is not a regular expression that griffin supports", tensor.QuoteName(text))
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return p, tensor.Bad("%s is not a regular expression that griffin supports", tensor.QuoteName(text))
	}
	p.cost = int64(len(program.Inst))
	p.expression, err = regexp.Compile(whole)
	return p, err
}

func isPlain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.'
}

// matches reports whether the pattern matches a module.
func (p *pattern) matches(module string) bool {
	if p.expression != nil {
		return p.expression.MatchString(module)
	}
	before := len(module) - len(p.text)
	if before < 0 || before > 0 && module[before-1] != '.' {
		return false
	}
	for i := range len(p.text) {
		if p.text[i] != '.' && p.text[i] != module[before+i] {
			return false
		}
	}
	return true
}

// valueOf returns the number of the first pattern that matches a module.
func valueOf(patterns []pattern, module string, otherwise float64) float64 {
	for i := range patterns {
		if patterns[i].matches(module) {
			return patterns[i].value
		}
	}
	return otherwise
}

// scaleOf returns the rank of a module's factors and the factor of their product.
func (c *Config) scaleOf(module string) (rank int64, scale float64) {
	rank = int64(valueOf(c.rankPatterns, module, float64(c.Rank)))
	alpha := valueOf(c.alphaPatterns, module, c.Alpha)
	if c.RSLoRA {
		return rank, alpha / math.Sqrt(float64(rank))
	}
	return rank, alpha / float64(rank)
}

// checkEffort refuses patterns that would take minutes to match.
func (c *Config) checkEffort(names int64) error {
	steps := int64(0)
	for _, list := range [][]pattern{c.rankPatterns, c.alphaPatterns} {
		for i := range list {
			steps += list[i].cost
		}
	}
	if steps > 0 && names > maxMatching/steps {
		return tensor.Bad("matching rank_pattern and alpha_pattern with all modules takes too long")
	}
	return nil
}
