package verify

import (
	"fmt"
	"math"

	"github.com/griffin-ckpt/griffin/reference"
)

// hypotheses lists what is tried to explain the fault of a block, likelier ones first.
func (c *comparison) hypotheses(f *Fault) []hypothesis {
	var all []hypothesis
	if f.Kind == reference.Attention.String() {
		all = append(c.readings(f.Block, attentionNames...), c.attentionHypotheses(f.Block)...)
	} else {
		all = append(c.readings(f.Block, reference.Conv1D+reference.Kernel, reference.AParam), recurrentHypotheses(f.Block)...)
	}
	all = append(all, normHypotheses(f.Block, reference.TemporalNorm, temporalHalf)...)
	all = append(all, normHypotheses(f.Block, reference.ChannelNorm, mlpHalf)...)
	all = append(all, mlpHypotheses(f.Block)...)
	all = append(all, leftOut(f.Block, temporalHalf, temporalNames(f.Kind)[1:])...)
	all = append(all, leftOut(f.Block, mlpHalf, mlpNames[1:])...)
	return append(all, c.others(f)...)
}

var attentionNames = []string{reference.ProjQ + reference.Kernel, reference.ProjK + reference.Kernel, reference.ProjV + reference.Kernel,
	reference.ProjFinal + reference.Kernel}

// readings are the other implementations' ways to read the same weights: that of the fixture's implementation
// first, for two may compute the same.
func (c *comparison) readings(block int, parameters ...string) []hypothesis {
	var all []hypothesis
	order := []reference.Semantics{c.golden.Meta.Semantics}
	for i := range reference.SemanticsNames {
		if s := reference.Semantics(i); s != order[0] {
			order = append(order, s)
		}
	}
	for _, s := range order {
		if s != c.semantics {
			all = append(all, hypothesis{cause: "the semantics of " + s.String(), half: temporalHalf, parameters: parameters,
				change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
					m.Semantics, m.Config = s, c.model.ConfigUnder(s).Reference()
					return m, p
				}})
		}
	}
	return all
}

// editing is a hypothesis that changes parameters of a block.
func editing(cause string, block int, half string, edits map[string]rewrite) hypothesis {
	h := hypothesis{cause: cause, half: half, change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
		m.Weights = edited{Weights: m.Weights, block: block, edits: edits}
		return m, p
	}}
	for _, name := range append(append([]string{reference.TemporalNorm}, temporalNames(reference.Attention.String())...), append(temporalNames(""), append(mlpNames, reference.FinalNorm)...)...) {
		if _, ok := edits[name]; ok {
			h.parameters = append(h.parameters, name)
		}
	}
	return h
}

func (c *comparison) attentionHypotheses(block int) []hypothesis {
	window := func(w int) hypothesis {
		return hypothesis{cause: fmt.Sprintf("an attention window of %d instead of %d", w, c.model.ConfigUnder(c.semantics).AttentionWindow), half: temporalHalf, parameters: attentionNames,
			change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
				m.Config.AttentionWindow = w
				return m, p
			}}
	}
	w := int(c.model.ConfigUnder(c.semantics).AttentionWindow)
	head := math.Sqrt(float64(c.model.Config.HeadDim()))
	scaled := func(cause string, by float64) hypothesis {
		return editing(cause, block, temporalHalf, map[string]rewrite{reference.ProjQ + reference.Kernel: scaledBy(reference.ProjQ+reference.Kernel, by)})
	}
	q, k, v, final := attentionNames[0], attentionNames[1], attentionNames[2], attentionNames[3]
	return []hypothesis{
		window(w - 1), window(w + 1), window(2 * w), window(w / 2),
		{cause: "no rotary position embedding", half: temporalHalf, parameters: attentionNames[:2],
			change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
				if m.Semantics == reference.Transformers5 { // which would see a boundary at every token
					m.Semantics, m.Config.AttentionWindow = reference.Original, w-1
				}
				for i := range p {
					p[i] = 1
				}
				return m, p
			}},
		scaled("scores that are not divided by the root of the head's width", head),
		scaled("scores that are divided by the root of the head's width twice", 1/head),
		editing("keys and values exchanged", block, temporalHalf, map[string]rewrite{k: instead(v), v: instead(k)}),
		editing("the queries' matrix transposed", block, temporalHalf, map[string]rewrite{q: turnedOver(q)}),
		editing("the output's matrix transposed", block, temporalHalf, map[string]rewrite{final: turnedOver(final)}),
	}
}

func scaledBy(name string, by float64) rewrite {
	return mapped(name, func(_ *reference.Parameter, x []float32) {
		for i := range x {
			x[i] = float32(float64(x[i]) * by)
		}
	})
}

func recurrentHypotheses(block int) []hypothesis {
	pair := func(a, b string) map[string]rewrite {
		return map[string]rewrite{a + reference.Kernel: instead(b + reference.Kernel), a + reference.Bias: instead(b + reference.Bias),
			b + reference.Kernel: instead(a + reference.Kernel), b + reference.Bias: instead(a + reference.Bias)}
	}
	one := func(cause, name string, e rewrite) hypothesis {
		return editing(cause, block, temporalHalf, map[string]rewrite{name: e})
	}
	x, y, out := reference.LinearX+reference.Kernel, reference.LinearY+reference.Kernel, reference.LinearOut+reference.Kernel
	conv := reference.Conv1D + reference.Kernel
	return []hypothesis{
		{cause: "inputs of the recurrence that are scaled by sqrt(1 - a²) also at position 0", half: temporalHalf, parameters: []string{reference.AParam},
			change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
				for i := range p {
					p[i]++
				}
				return m, p
			}},
		editing("linear_x and linear_y exchanged", block, temporalHalf, pair(reference.LinearX, reference.LinearY)),
		editing("the two gates of the recurrence exchanged", block, temporalHalf, pair(reference.InputGate, reference.AGate)),
		one("the taps of the convolution in reverse order", conv, mapped(conv, reverseTaps)),
		one("a_param with the other sign", reference.AParam, scaledBy(reference.AParam, -1)),
		one("the input gate's matrices transposed", reference.InputGate+reference.Kernel, mapped(reference.InputGate+reference.Kernel, turnHeads)),
		one("the recurrence gate's matrices transposed", reference.AGate+reference.Kernel, mapped(reference.AGate+reference.Kernel, turnHeads)),
		one("linear_x transposed", x, turnedOver(x)),
		one("linear_y transposed", y, turnedOver(y)),
		one("linear_out transposed", out, turnedOver(out)),
	}
}

// reverseTaps turns the taps of a convolution round, whichever way they are stored.
func reverseTaps(p *reference.Parameter, x []float32) {
	const taps = 4
	width, step, next := len(x)/taps, taps, 1
	if p.InOut || p.Shape[0] == taps {
		step, next = 1, width
	}
	for c := range width {
		for a, b := 0, taps-1; a < b; a, b = a+1, b-1 {
			i, j := c*step+a*next, c*step+b*next
			x[i], x[j] = x[j], x[i]
		}
	}
}

// turnHeads transposes the matrix of each head.
func turnHeads(p *reference.Parameter, x []float32) {
	n := int(p.Shape[len(p.Shape)-1])
	for from := 0; from+n*n <= len(x); from += n * n {
		for i := range n {
			for j := range i {
				a, b := from+i*n+j, from+j*n+i
				x[a], x[b] = x[b], x[a]
			}
		}
	}
}

func normHypotheses(block int, name, half string) []hypothesis {
	return []hypothesis{
		editing("a norm that multiplies by scale instead of 1 + scale", block, half, map[string]rewrite{name: mapped(name, func(_ *reference.Parameter, x []float32) {
			for i := range x {
				x[i]--
			}
		})}),
		editing("a norm without its scale", block, half, map[string]rewrite{name: zeroed(name)}),
	}
}

func mlpHypotheses(block int) []hypothesis {
	return []hypothesis{editing("gate and up exchanged", block, mlpHalf, map[string]rewrite{
		reference.MLPGate + reference.Kernel: instead(reference.MLPUp + reference.Kernel), reference.MLPGate + reference.Bias: instead(reference.MLPUp + reference.Bias),
		reference.MLPUp + reference.Kernel: instead(reference.MLPGate + reference.Kernel), reference.MLPUp + reference.Bias: instead(reference.MLPGate + reference.Bias)})}
}

// leftOut are parameters that are zero.
func leftOut(block int, half string, names []string) []hypothesis {
	var all []hypothesis
	for _, name := range names {
		all = append(all, editing(name+" left out (zero)", block, half, map[string]rewrite{name: zeroed(name)}))
	}
	return all
}

// others are the parameters of the other checkpoint, where there is one: each by itself, then all of a half.
func (c *comparison) others(f *Fault) []hypothesis {
	if c.other == nil || len(c.other.Config.BlockTypes) != c.blocks() {
		return nil
	}
	theirs := c.other.Found.Weights()
	from := func(name string) rewrite {
		return func(func(string) (*reference.Parameter, error)) (*reference.Parameter, error) {
			return theirs.Parameter(f.Block, name)
		}
	}
	var all []hypothesis
	for half, names := range map[string][]string{temporalHalf: temporalNames(f.Kind), mlpHalf: mlpNames} {
		whole := map[string]rewrite{}
		for _, name := range names {
			whole[name] = from(name)
			all = append(all, editing(fmt.Sprintf("%s of %s", name, c.other.Checkpoint.Path), f.Block, half, map[string]rewrite{name: from(name)}))
		}
		all = append(all, editing(fmt.Sprintf("the tensors of %s", c.other.Checkpoint.Path), f.Block, half, whole))
	}
	return all
}
