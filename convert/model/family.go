package model

import (
	"io/fs"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Family describes a family of models: how each layout names and arranges its parameters, what
// follows from their shapes, and what Hugging Face calls its configuration. No other code knows the
// names of a family, so that another family is another value of this type.
type Family struct {
	Name string // in messages

	// Rules lists the parameters in the order of transformers' state dict, which decides the shard of
	// a tensor.
	Rules  []Rule
	Roots  PerLayout // precede all names in a checkpoint that the implementation reads: "model."
	Blocks PerLayout // precede the number of a block: "layers."; the same for both original layouts

	Embedding string     // Rule.Name of the embedding, whose axes are vocabulary and width
	Heads     []HeadName // names of the output head; transformers' is the first, and has no Op
	Ignored   []string   // endings of names of tensors that are not parameters and may be left out
	Sensitive []string   // parts of the names of parameters that quantised copies should leave alone

	Kinds   []BlockType // kinds of blocks; one whose tensors fit two kinds equally is of the first
	Pattern []BlockType // which the published models repeat
	Axes    string      // the letters that Rule.Axes uses, without digits

	// Sizes returns the lengths of the axes of a model.
	Sizes func(c *Config) Sizes
	// Resolve completes the lengths that shapes show with those that follow from them, and in a Hugging Face directory from its
	// config.json, if it has one. It returns a description of the conflict if they contradict each other.
	Resolve func(s *Sizes, l Layout, stated *hfconfig.Config) (conflict string)
	// Config returns the configuration that the lengths and the kinds of the blocks show, and which parameters there are.
	Config func(s *Sizes, blocks []BlockType, has func(parameter string) bool) Config
	// BeyondOriginal lists what in a configuration the original implementations do not compute, a phrase for each field.
	BeyondOriginal func(c *Config) []string

	Presets       []Preset
	DefaultWindow int64 // attention window that is written for a model without attention blocks

	HuggingFace ConfigFile
}

// HeadName is a name of an output head.
type HeadName struct {
	Name   string // from the model's root on, or beside the model
	Op     Op     // from the tensor to [vocabulary, width]
	Always bool   // otherwise the tensor is a head only if it is a matrix: it could be a classifier
}

// ConfigFile says how a family's config.json states a configuration.
type ConfigFile struct {
	Tokens huggingface.TokenIDs

	// Read reads a config.json: hfconfig.Read, or a reader that sets the same fields from others.
	Read func(source fs.FS, name string) (*hfconfig.Config, error)
	// Fields returns the content of a config.json. c is in the original's terms; form has the numbers
	// that express them.
	Fields func(c *Config, form *manifest.HuggingFace, dtype tensor.DType) map[string]any
	// Changed returns those of the fields that a config.json states otherwise.
	Changed func(stated *hfconfig.Config, c *Config, form *manifest.HuggingFace) []huggingface.Field
	// Check lists what in a config.json the family does not compute, and what contradicts the shapes
	// from which c follows.
	Check func(stated *hfconfig.Config, c *Config) []string
	// Refuse says why transformers cannot run a model; "" if it can.
	Refuse func(c *Config) string
	// UseCache reports whether transformers can use its cache with a model.
	UseCache func(c *Config) bool
}

// Rule is one parameter of a family: how each layout names and arranges it. The parameter itself is
// the tensor of the Hugging Face layout. Two parameters may share a tensor of an original layout.
type Rule struct {
	Scope Scope
	Name  string // what package reference calls the parameter
	Axes  string // of the parameter, a letter each; a digit is an axis of that length
	At    [layoutCount]Location
	If    func(c *Config) bool // which models have the parameter; nil for all
}

// Location is the place of a parameter in a layout.
type Location struct {
	Tail string // the name without what precedes it: "blocks.N.", "model.layers.N." and the like; "" if the layout does not have it
	Op   Op     // from the tensor to the parameter
}

// NewRule returns a Rule.
func NewRule(s Scope, name, axes, flax string, fromFlax Op, torch string, fromTorch Op, huggingFace string) Rule {
	return Rule{Scope: s, Name: name, Axes: axes, At: [layoutCount]Location{
		Flax: {flax, fromFlax}, Torch: {torch, fromTorch}, HuggingFace: {Tail: huggingFace},
	}}
}

// hfRule returns a Rule of a parameter that only the Hugging Face layout has, in some models.
func hfRule(s Scope, name, axes, huggingFace string, when func(c *Config) bool) Rule {
	return Rule{Scope: s, Name: name, Axes: axes, At: [layoutCount]Location{HuggingFace: {Tail: huggingFace}}, If: when}
}

// Scope is the part of a model that has a parameter.
type Scope struct {
	block bool
	kind  BlockType // "" for every kind
}

// Once is the scope of a parameter that a model has once, EveryBlock of one that each block has.
var (
	Once       = Scope{}
	EveryBlock = Scope{block: true}
)

// EachBlock is the scope of a parameter that each block of a kind has.
func EachBlock(kind BlockType) Scope { return Scope{true, kind} }

func (s Scope) includes(kind BlockType) bool { return s.block && (s.kind == "" || s.kind == kind) }

// Sizes has the length of each axis, by its letter. 0 is a length that is not known.
type Sizes [128]int64

// parameter is one parameter of one model: a rule, and the block if the rule is of blocks.
type parameter struct {
	rule  *Rule
	block int // -1 outside blocks
}

// parameters lists the parameters of a model, in the order of the rules: those of each block together.
func (f *Family) parameters(c *Config) []parameter {
	var out []parameter
	includes := func(r *Rule, kind BlockType) bool { return r.Scope.includes(kind) && (r.If == nil || r.If(c)) }
	for at := 0; at < len(f.Rules); {
		end := at + 1
		for end < len(f.Rules) && f.Rules[end].Scope.block == f.Rules[at].Scope.block {
			end++
		}
		if !f.Rules[at].Scope.block {
			for i := at; i < end; i++ {
				out = append(out, parameter{&f.Rules[i], -1})
			}
			at = end
			continue
		}
		for b, kind := range c.BlockTypes {
			for i := at; i < end; i++ {
				if includes(&f.Rules[i], kind) {
					out = append(out, parameter{&f.Rules[i], b})
				}
			}
		}
		at = end
	}
	return out
}

// nameOf returns the name of a parameter in a layout, from the model's root on: without "params.",
// "model." and other wrappers.
func (f *Family) nameOf(p parameter, l Layout) string {
	tail := p.rule.At[l].Tail
	if p.block < 0 {
		return tail
	}
	return f.Blocks[l] + strconv.Itoa(p.block) + "." + tail
}

// rule returns the rule of that name, or nil.
func (f *Family) rule(name string) *Rule {
	for i := range f.Rules {
		if f.Rules[i].Name == name {
			return &f.Rules[i]
		}
	}
	return nil
}

// EmbeddingName returns the name of the embedding in a layout, from the model's root on.
func (f *Family) EmbeddingName(l Layout) string { return f.rule(f.Embedding).At[l].Tail }

// HeadName returns the name of the output head in the Hugging Face layout. Beside a model of an
// original layout it has the same name, from the model's root on.
func (f *Family) HeadName() string { return f.Heads[0].Name }

// Parameters returns the number of elements of all parameters of a model. A tied head counts once.
func (f *Family) Parameters(c *Config) int64 {
	sizes := f.Sizes(c)
	var n int64
	for _, p := range f.parameters(c) {
		n += sizes.elements(p.rule)
	}
	return n
}

// axesIn returns the letters of the axes of the tensor that has the parameter in a layout.
func (r *Rule) axesIn(l Layout) []byte {
	return rearrange(r.At[l].Op.inverse(), []byte(r.Axes), func(n int64) byte { return byte('0' + n) })
}

// between returns the Op from the tensor of a parameter in one layout to that in another. If both
// layouts have several parameters in that tensor in the same way, it is the Op of the whole tensor.
func (r *Rule) between(from, to Layout) Op { return r.At[from].Op.then(r.At[to].Op.inverse()) }

// length returns the length of the axis that a letter or a digit stands for.
func (s *Sizes) length(axis byte) int64 {
	if axis >= '0' && axis <= '9' {
		return int64(axis - '0')
	}
	return s[axis]
}

// shapeIn returns the shape of the tensor that has the parameter in a layout.
func (s *Sizes) shapeIn(r *Rule, l Layout) []int64 {
	axes := r.axesIn(l)
	shape := make([]int64, len(axes))
	for i, a := range axes {
		shape[i] = s.length(a)
	}
	return shape
}

func (s *Sizes) elements(r *Rule) int64 {
	n := int64(1)
	for _, a := range []byte(r.Axes) {
		n *= s.length(a)
	}
	return n
}

// knows reports whether the lengths of all axes of the parameter are known.
func (s *Sizes) knows(r *Rule) bool {
	return !strings.ContainsFunc(r.Axes, func(a rune) bool { return s.length(byte(a)) == 0 })
}
