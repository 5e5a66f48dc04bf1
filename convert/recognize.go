package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Model is a Griffin-family model found in a checkpoint.
type Model struct {
	Checkpoint *tensor.Checkpoint
	Layout     Layout
	Prefix     string // of the names of the model's tensors, such as "params."
	Config     Config // what shapes tell; window, cap and scale are not set
	Preset     string // the preset that has these shapes, or ""

	Tensors []*tensor.Tensor // those of the model, heads and extra ones included, in the checkpoint's order
	Heads   []Head           // output heads: copies of the embedding where the head is tied; see SettleHead
	Extra   []*tensor.Tensor // in the model's subtree, but no parameter of the family
	Rest    []*tensor.Tensor // all others, those of other models included
	Others  []string         // names of further models in the checkpoint, as RecognizeNamed takes them

	KeepExtra bool          // Extra is to be kept, and so no reason to refuse the model; the caller's to set
	Adapter   *peft.Adapter // what WithAdapter put on the model, or nil

	asked       string // the name by which the model was asked for
	record      *manifest.Adapter
	adapted     map[*tensor.Tensor]bool // tensors that the adapter changes
	headChanged bool                    // the adapter's: config.json no longer says whether the head is tied
	resized     bool                    // the adapter's: config.json no longer says how large the vocabulary is

	found  map[string][]*tensor.Tensor // by name from the model's root on, without wrappers
	blocks []int                       // the numbers of the blocks, ascending
	sizes  sizes                       // by which shapes are judged
	clash  string                      // why the sizes fit no model, or ""

	relation headRelation          // of an untied head; see SettleScale
	form     *manifest.HuggingFace // of a Hugging Face directory, as its conversion.json has it and its config.json still does
	noCap    bool                  // the soft cap of its config.json stands for none, says conversion.json

	looksUncapped bool // and it does by its size
}

// Recognize finds the Griffin-family model in a checkpoint, under any wrapper, beside whatever
// else there is. It reads no weights. A checkpoint without one, or with several, is a
// *tensor.FormatError that says so; a model that is incomplete is returned, and refused by NewPlan.
func Recognize(c *tensor.Checkpoint) (*Model, error) { return RecognizeNamed(c, "") }

// RecognizeNamed is Recognize where a checkpoint may hold several models: name is that of the
// subtree whose model is meant, such as "ema_params" ("." for the top level), or "" where there is
// only one. A name under which there is no model is a *SettingsError.
func RecognizeNamed(c *tensor.Checkpoint, name string) (*Model, error) {
	all := candidates(c.Tensors())
	chosen, err := choose(c, all, name)
	if err != nil {
		return nil, err
	}
	m := &Model{Checkpoint: c, Prefix: chosen.prefix, asked: name, found: chosen.found}
	m.Layout = tellLayout(chosen)
	m.share(chosen, m.others(chosen, all, name != ""))
	m.measure(chosen.naming)
	m.Config = m.config()
	for _, a := range "VWEHKLDC" {
		if m.sizes[a] < 0 {
			return nil, tensor.Bad("a model with an empty axis").In(c.Path)
		}
	}
	m.sortHeads()
	if p := presetByShape(&m.Config); p != nil {
		m.Preset = p.name
	}
	return m, nil
}

// tellLayout tells Flax from torch by the names of dense layers: "kernel" or "weight".
func tellLayout(c *candidate) Layout {
	if c.naming == huggingFace {
		return HuggingFace
	}
	kernels, weights := 0, 0
	for key := range c.found {
		switch {
		case strings.HasSuffix(key, ".kernel"):
			kernels++
		case strings.HasSuffix(key, ".weight"):
			weights++
		}
	}
	if weights > kernels {
		return Torch
	}
	return Flax
}

// share sorts the checkpoint's tensors into those of the model and the rest, to which those of other
// models belong.
func (m *Model) share(c *candidate, others map[*tensor.Tensor]bool) {
	known := map[*tensor.Tensor]bool{}
	expected := map[string]bool{}
	for _, r := range rules {
		expected[r.at[m.Layout].tail] = true
	}
	numbers := map[int]bool{}
	for key, ts := range c.found {
		block, tail := splitBlock(key, blockRoots[m.Layout])
		if block >= 0 {
			numbers[block] = true
		}
		for _, t := range ts {
			known[t] = expected[tail]
		}
	}
	for n := range numbers {
		m.blocks = append(m.blocks, n)
	}
	slices.Sort(m.blocks)
	for _, t := range m.Checkpoint.Tensors() {
		rest, under := strings.CutPrefix(t.Name, m.Prefix)
		isParameter, isNamed := known[t]
		switch {
		case isParameter:
			m.Tensors = append(m.Tensors, t)
		case others[t]:
			m.Rest = append(m.Rest, t)
		case m.mayBeHead(t):
			m.Tensors = append(m.Tensors, t)
		case isNamed || under && !isBeside(t, rest) && !strings.HasSuffix(rest, ".rotary_emb.inv_freq"):
			m.Extra = append(m.Extra, t)
			m.Tensors = append(m.Tensors, t)
		default:
			m.Rest = append(m.Rest, t)
		}
	}
}

// measure finds the length of each axis: what most tensors say. One that is turned or cut is
// outvoted, and found by its shape later.
func (m *Model) measure(n naming) {
	votes := map[byte]map[int64]int{}
	for i := range rules {
		r := &rules[i]
		axes := r.axesIn(m.Layout)
		for _, b := range m.blocksOf(r) {
			for _, t := range m.found[parameter{r, b}.name(m.Layout)] {
				if len(t.Shape) != len(axes) {
					continue
				}
				for k, a := range axes {
					if votes[a] == nil {
						votes[a] = map[int64]int{}
					}
					votes[a][t.Shape[k]]++
				}
			}
		}
	}
	m.sizes['1'], m.sizes['2'] = 1, 2
	for _, a := range []byte("VWEHKLDC") {
		most := 0
		for length, count := range votes[a] {
			if count > most || count == most && length > m.sizes[a] {
				most, m.sizes[a] = count, length
			}
		}
		if most > 0 && m.sizes[a] == 0 {
			m.sizes[a] = -1
		}
	}
	m.agree()
}

func (m *Model) blocksOf(r *rule) []int {
	if r.scope == once {
		return []int{-1}
	}
	return m.blocks
}

// agree makes the number of heads one: that of the RG-LRU gates, and that of the attention blocks,
// which have one key head as wide as a query head.
func (m *Model) agree() {
	s := &m.sizes
	if s['H'] > 0 {
		if s['D'] > 0 && s['L'] > 0 && s['L'] != s['H']*s['D'] {
			m.clash = fmt.Sprintf("the RG-LRU gates are %d of %d channels each, but the RG-LRU has %d", s['H'], s['D'], s['L'])
		}
		if s['K'] > 0 && s['W'] > 0 && s['K']*s['H'] != s['W'] {
			m.clash = fmt.Sprintf("keys of %d channels make %s heads of a width of %d, but the RG-LRU gates say %d",
				s['K'], ratio(s['W'], s['K']), s['W'], s['H'])
			if s['W']%s['H'] == 0 {
				s['K'] = s['W'] / s['H']
			}
		}
	} else if s['K'] > 0 && s['W'] > 0 {
		if s['W']%s['K'] != 0 {
			m.clash = fmt.Sprintf("keys of %d channels do not divide a width of %d into heads", s['K'], s['W'])
		}
		s['H'] = s['W'] / s['K']
	}
}

func ratio(a, b int64) string {
	if a%b == 0 {
		return strconv.FormatInt(a/b, 10)
	}
	return strconv.FormatFloat(float64(a)/float64(b), 'g', 4, 64)
}

// config returns what the sizes and the names of the blocks tell.
func (m *Model) config() Config {
	s := &m.sizes
	c := Config{VocabSize: s['V'], Width: s['W'], MLPExpandedWidth: s['E'], NumHeads: s['H'], LRUWidth: s['L'], ConvWidth: s['C']}
	for _, b := range m.blocks {
		c.BlockTypes = append(c.BlockTypes, m.blockType(b))
	}
	if !c.Has(Recurrent) {
		c.LRUWidth, c.ConvWidth = c.Width, 4
	}
	return c
}

// blockType tells the kind of a block by whose tensors it has more of.
func (m *Model) blockType(b int) BlockType {
	recurrent, attention := 0, 0
	for i := range rules {
		if len(m.found[parameter{&rules[i], b}.name(m.Layout)]) > 0 {
			switch rules[i].scope {
			case recurrentBlock:
				recurrent++
			case attentionBlock:
				attention++
			}
		}
	}
	if attention > recurrent {
		return Attention
	}
	return Recurrent
}

// Parameters returns the number of elements of the model's tensors, output heads left out unless
// SettleHead found that they are no copies of the embedding.
func (m *Model) Parameters() int64 {
	var n int64
	for _, t := range m.Tensors {
		n += t.Elements()
	}
	if !m.Config.SeparateHead {
		for _, h := range m.Heads {
			n -= h.Tensor.Elements()
		}
	}
	return n
}
