package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
)

// Fault is a place where the model and the fixture part, and that is at fault itself.
type Fault struct {
	Block  int    `json:"block"`          // -1 for the embedding, the number of blocks for the final norm and the logits
	Half   string `json:"half,omitempty"` // of the block: "temporal" or "mlp"; "" where the fixture does not tell
	Kind   string `json:"kind"`           // "embedding", "recurrent", "attention", "final norm", "logits", "decoding"
	Site   string `json:"site"`           // whose numbers lie outside
	Pass   string `json:"pass,omitempty"` // "", "packed" or "decode": the first in which they do
	Proved bool   `json:"proved"`         // it was given the fixture's own input, so that nothing before it is to blame
	First  Place  `json:"first"`          // the first token outside
	Worst  Place  `json:"worst"`          // the token and channel farthest outside
	Cause  string `json:"cause,omitempty"`
	// Cause is a change of the model under which every number comes to lie inside, where one is found
	// among those that are tried; Where is what the tokens and channels outside have in common.
	Where   string   `json:"where,omitempty"`
	Tensors []string `json:"tensors"` // that may be at fault, by their full names
	Detail  string   `json:"detail"`  // a sentence with all of it
}

// The halves of a block.
const (
	temporalHalf = "temporal"
	mlpHalf      = "mlp"
)

// localise finds the places at fault, where something is outside.
//
// Where the fixture has the input of every block, each block was fed with it, so that all those at
// fault show by themselves. Otherwise the first result outside is all that can be said.
func (c *comparison) localise() error {
	if c.exact != nil {
		c.embeddingFault()
	}
	if c.feed {
		for i := range c.blocks() {
			if err := c.blockFaults(i); err != nil {
				return err
			}
		}
		for _, name := range []string{"final_norm", "logits"} {
			if err := c.headFault(name, true); err != nil {
				return err
			}
		}
	}
	if len(c.result.Faults) == 0 {
		if err := c.chainFault(); err != nil {
			return err
		}
	}
	for _, f := range c.result.Faults {
		f.describe(c)
	}
	return nil
}

// outside returns the results of a name that are outside, by pass.
func (c *comparison) outside(name string, fed bool) []*SiteResult {
	var out []*SiteResult
	for _, s := range c.result.Sites {
		if s.Name == name && s.Fed == fed && !s.OK {
			out = append(out, s)
		}
	}
	return out
}

// add adds the fault that results at a site show. They are not empty.
func (c *comparison) addFault(block int, half, kind string, proved bool, outside []*SiteResult) *Fault {
	s := outside[0]
	f := &Fault{Block: block, Half: half, Kind: kind, Site: s.Name, Pass: s.Pass, Proved: proved, First: *s.First, Worst: s.Worst}
	for _, o := range outside[1:] {
		if o.Worst.Share > f.Worst.Share {
			f.Worst = o.Worst
		}
	}
	f.Where = c.pattern(s.Name, s.Fed)
	c.result.Faults = append(c.result.Faults, f)
	return f
}

func (c *comparison) embeddingFault() {
	for _, s := range c.result.Sites {
		if s.Exact && !s.OK {
			f := c.addFault(-1, "", "embedding", true, []*SiteResult{s})
			f.Tensors = c.names(-1, reference.Embedding)
			if ratio := float64(c.exact.got) / float64(c.exact.want); !c.exactByScale(ratio) {
				f.Where = fmt.Sprintf("%v is %v, want %v", s.Name, c.exact.got, c.exact.want)
			} else {
				f.Cause = fmt.Sprintf("embeddings are scaled by another number than the root of the width: %.6g times as much", ratio)
			}
			return
		}
	}
}

// exactByScale reports whether the fixture's embeddings are ours but for one factor.
func (c *comparison) exactByScale(ratio float64) bool {
	of, err := c.read(hidden(0))
	if err != nil || ratio == 0 || math.IsInf(ratio, 0) || math.IsNaN(ratio) || math.Abs(ratio-1) < 0.01 {
		return false
	}
	got, err := c.embedded()
	if err != nil {
		return false
	}
	for t := range c.tokens {
		for i, x := range of.at(c, t) {
			if want := got.At(t*of.Width+i) * ratio; math.Abs(float64(x)-want) > 0.02*math.Abs(want) {
				return false
			}
		}
	}
	return true
}

// embedded returns the embeddings in float64.
func (c *comparison) embedded() (*reference.Activations, error) {
	got, err := c.block(c.yardstick, 0, nil)
	return got.in, err
}

// blockFaults looks at one block that was fed the fixture's input.
func (c *comparison) blockFaults(i int) error {
	half, out := c.outside(temporal(i), true), c.outside(hidden(i+1), true)
	kind := c.model.Reference(c.semantics, reference.Arithmetic{}).Config.BlockTypes[i].String()
	recorded := c.recorded(temporal(i))
	if len(half) > 0 {
		f := c.addFault(i, temporalHalf, kind, true, half)
		if err := c.explain(f); err != nil {
			return err
		}
	}
	switch {
	case len(out) == 0:
		return nil
	case !recorded:
		f := c.addFault(i, "", kind, true, out)
		if err := c.explain(f); err != nil {
			return err
		}
		if f.Half == "" && f.Tensors == nil {
			f.Tensors = append(c.names(i, temporalNames(kind)...), c.names(i, mlpNames...)...)
		}
		return nil
	}
	// The MLP by itself: given what the fixture has after the temporal half.
	wrong, err := c.mlpOutside(i)
	if err != nil {
		return err
	}
	if wrong || len(half) == 0 {
		return c.explain(c.addFault(i, mlpHalf, kind, true, out))
	}
	return nil
}

// headFault looks at the final norm, or the logits.
func (c *comparison) headFault(name string, fed bool) error {
	out := c.outside(name, fed)
	if len(out) == 0 || name == "logits" && fed && len(c.outside("final_norm", true)) > 0 {
		return nil // logits follow from the final norm
	}
	kind, parameter := "final norm", reference.FinalNorm
	if name == "logits" {
		kind, parameter = "logits", reference.Embedding
	}
	f := c.addFault(c.blocks(), "", kind, fed, out)
	f.Tensors = c.names(-1, parameter)
	if head := c.model.Found.HeadName(&c.model.Config); head != "" && name == "logits" {
		f.Tensors = []string{head}
	}
	if name == "logits" && !c.recorded("final_norm") {
		f.Tensors = append(c.names(-1, reference.FinalNorm), f.Tensors...)
	}
	return c.explainHead(f)
}

// chainFault reports the first result outside of the model as run from the tokens on.
func (c *comparison) chainFault() error {
	for _, s := range c.result.Sites {
		if s.OK || s.Fed || s.Exact {
			continue
		}
		kind, block, _ := golden.ParseSite(s.Name)
		numbered := kind == reference.Hidden || kind == reference.Temporal
		switch {
		case s.Pass == "decode":
			f := c.addFault(c.blocks(), "", "decoding", false, []*SiteResult{s})
			f.Where = "only decoding from a state: the same tokens in one pass are inside"
			return nil
		case numbered && !c.feed:
			if kind == reference.Hidden {
				block--
			}
			f := c.addFault(block, "", c.model.Reference(c.semantics, reference.Arithmetic{}).Config.BlockTypes[block].String(), false, []*SiteResult{s})
			if kind == reference.Temporal {
				f.Half = temporalHalf
			}
			return nil
		case !numbered && !c.feed:
			if err := c.headFault(s.Name, false); err != nil {
				return err
			}
			f := c.result.Faults[len(c.result.Faults)-1]
			if f.Cause == "" && !c.recorded(hidden(0)) {
				f.Where = strings.TrimPrefix(f.Where+"; the fixture has no hidden states, so that any part of the model may be at fault", "; ")
				f.Tensors = nil
			}
			return nil
		default: // every block by itself is inside, and their errors add up to more than they should
			c.addFault(0, "", "accumulated", false, []*SiteResult{s}).Where = "each block by itself is inside, but their errors add up to more than those of rounding do"
			return nil
		}
	}
	return nil
}

// describe writes the sentence.
func (f *Fault) describe(c *comparison) {
	var b strings.Builder
	switch {
	case f.Kind == "decoding":
		b.WriteString("decoding")
	case f.Kind == "accumulated":
		fmt.Fprintf(&b, "%s", f.Site)
	case f.Block < 0 || f.Block == c.blocks():
		fmt.Fprintf(&b, "%s", f.Kind)
	case f.Half == mlpHalf:
		fmt.Fprintf(&b, "block %d, MLP", f.Block)
	case f.Half == temporalHalf:
		fmt.Fprintf(&b, "block %d, temporal half (%s)", f.Block, f.Kind)
	default:
		fmt.Fprintf(&b, "block %d (%s)", f.Block, f.Kind)
	}
	pass := ""
	if f.Pass != "" {
		pass = f.Pass + " "
	}
	fmt.Fprintf(&b, ": first wrong at %stoken %d of row %d (position %d), worst at token %d of row %d, channel %d", pass,
		f.First.Token, f.First.Row, f.First.Position, f.Worst.Token, f.Worst.Row, f.Worst.Channel)
	if share := float64(f.Worst.Share); !math.IsInf(share, 0) && share > 1 {
		fmt.Fprintf(&b, ", %.3g times the envelope", share)
	}
	if f.Where != "" {
		fmt.Fprintf(&b, "; %s", f.Where)
	}
	if f.Cause != "" {
		fmt.Fprintf(&b, "; explained by: %s", f.Cause)
	}
	f.Detail = b.String()
}

// temporalNames are the parameters of a temporal half.
func temporalNames(kind string) []string {
	if kind == reference.Attention.String() {
		return []string{reference.TemporalNorm, reference.ProjQ + reference.Kernel, reference.ProjK + reference.Kernel, reference.ProjV + reference.Kernel,
			reference.ProjFinal + reference.Kernel, reference.ProjFinal + reference.Bias}
	}
	return []string{reference.TemporalNorm, reference.LinearX + reference.Kernel, reference.LinearX + reference.Bias, reference.LinearY + reference.Kernel,
		reference.LinearY + reference.Bias, reference.Conv1D + reference.Kernel, reference.Conv1D + reference.Bias, reference.AParam,
		reference.InputGate + reference.Kernel, reference.InputGate + reference.Bias, reference.AGate + reference.Kernel, reference.AGate + reference.Bias,
		reference.LinearOut + reference.Kernel, reference.LinearOut + reference.Bias}
}

// mlpNames are the parameters of an MLP half.
var mlpNames = []string{reference.ChannelNorm, reference.MLPGate + reference.Kernel, reference.MLPGate + reference.Bias,
	reference.MLPUp + reference.Kernel, reference.MLPUp + reference.Bias, reference.MLPDown + reference.Kernel, reference.MLPDown + reference.Bias}

// names returns the full names of the tensors that hold parameters, each once.
func (c *comparison) names(block int, parameters ...string) []string {
	var names []string
	for _, p := range parameters {
		if name := c.model.Found.TensorName(block, p); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
