package logits

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/reference"
)

// hypotheses lists the changes that are tried to explain the fault of a block, likelier ones first. If the model is not run with the
// semantics that the fixture names, those are likelier than another window.
func (l *localiser) hypotheses(f *Fault, t *trial) ([]hypothesis, error) {
	all := l.otherSemantics()
	if f.Kind == AttentionFault && f.Half != MLPHalf {
		windows, err := t.windows()
		if err != nil {
			return nil, err
		}
		if l.in.semantics == l.in.fixture.Meta.Semantics {
			all = append(windows, all...)
		} else {
			all = append(all, windows...)
		}
	}
	all = append(all, numerics(l, f.Kind)...)
	if f.Kind == AttentionFault {
		all = append(all, l.attentionHypotheses(f.Block)...)
	} else {
		all = append(all, recurrentHypotheses(f.Block)...)
	}
	all = append(all, normHypotheses(f.Block, reference.TemporalNorm, TemporalHalf)...)
	all = append(all, normHypotheses(f.Block, reference.ChannelNorm, MLPHalf)...)
	all = append(all, editing("gate and up exchanged", f.Block, MLPHalf, exchanged(reference.MLPGate, reference.MLPUp)))
	all = append(all, leftOut(f.Block, TemporalHalf, temporalParameters(f.Kind)[1:])...)
	all = append(all, leftOut(f.Block, MLPHalf, mlpParameters[1:])...)
	return append(all, l.otherWeights(f)...), nil
}

var attentionKernels = []string{reference.ProjQ + reference.Kernel, reference.ProjK + reference.Kernel, reference.ProjV + reference.Kernel,
	reference.ProjFinal + reference.Kernel}

// otherSemantics lists the semantics of other implementations with the same weights. Those of the fixture's implementation
// come first, because two may compute the same.
func (l *localiser) otherSemantics() []hypothesis {
	var all []hypothesis
	order := []reference.Semantics{l.in.fixture.Meta.Semantics}
	for _, s := range []reference.Semantics{reference.Original, reference.Transformers4, reference.Transformers5} { // others compute what these do
		if s != order[0] {
			order = append(order, s)
		}
	}
	for _, s := range order {
		if s != l.in.semantics {
			all = append(all, withSetting(l.setting(SemanticsSetting, l.in.semantics.String(), s.String()), TemporalHalf, func(m *reference.Model) {
				m.Semantics, m.Config = s, l.in.model.ConfigUnder(s).Reference()
			}))
		}
	}
	return all
}

// windows lists the attention windows with which a block may have been recorded. With a window that no document fills, the first position
// that is outside is the first at which the window of the recording matters; a little later if its effect is small.
func (t *trial) windows() ([]hypothesis, error) {
	w, longest, positions := t.l.in.window(), 0, t.l.in.docPositions()
	for _, p := range positions {
		longest = max(longest, p.token+1)
	}
	of := func(window int, recorded string) hypothesis {
		return withSetting(t.l.setting(WindowSetting, strconv.Itoa(w), recorded), TemporalHalf, func(m *reference.Model) { m.Config.AttentionWindow = window })
	}
	unlimited := of(longest, fmt.Sprintf("at least %d", longest))
	got, err := t.run(unlimited)
	if err != nil {
		return nil, err
	}
	first := longest
	for at, p := range positions {
		if p.token < first && t.outside(got, at) {
			first = p.token
		}
	}
	if first == longest {
		return []hypothesis{unlimited}, nil
	}
	var all []hypothesis
	for other := first; other >= max(1, first-2); other-- {
		if other != w {
			h := of(other, strconv.Itoa(other))
			if t.l.in.semantics == reference.Original && other == w-1 {
				h.cause += ", or with the semantics of transformers5" // which attend to the same tokens
			}
			all = append(all, h)
		}
	}
	return all, nil
}

// editing is a hypothesis that edits parameters of a block.
func editing(cause string, block int, half Half, edits map[string]edit) hypothesis {
	h := hypothesis{cause: cause, half: half, change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
		m.Weights = editedWeights{Weights: m.Weights, block: block, edits: edits}
		return m, p
	}}
	for _, name := range allParameters {
		if _, ok := edits[name]; ok {
			h.parameters = append(h.parameters, name)
		}
	}
	return h
}

// allParameters are the parameters that hypotheses edit, in the order in which faults name their tensors.
var allParameters = slices.Concat(temporalParameters(AttentionFault), temporalParameters(RecurrentFault)[1:], mlpParameters, []string{reference.FinalNorm})

func (l *localiser) attentionHypotheses(block int) []hypothesis {
	w := l.in.window()
	var all []hypothesis
	if l.in.semantics != reference.Transformers5 || w > 1 {
		all = append(all, hypothesis{cause: "rotary position embedding, which the recording was made without", half: TemporalHalf, parameters: attentionKernels[:2],
			change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
				if m.Semantics == reference.Transformers5 { // to which positions that do not count on are document boundaries
					m.Semantics, m.Config.AttentionWindow = reference.Original, w-1
				}
				for i := range p {
					p[i] = 1
				}
				return m, p
			}})
	}
	rootHeadDim := math.Sqrt(float64(l.in.model.Config.HeadDim()))
	one := func(cause, name string, e edit) hypothesis {
		return editing(cause, block, TemporalHalf, map[string]edit{name: e})
	}
	q, k, v, final := attentionKernels[0], attentionKernels[1], attentionKernels[2], attentionKernels[3]
	return append(all,
		one("scores that are too small by the root of the head's width", q, scaledBy(q, rootHeadDim)),
		one("scores that are too large by the root of the head's width", q, scaledBy(q, 1/rootHeadDim)),
		editing("keys and values exchanged", block, TemporalHalf, map[string]edit{k: replaced(v), v: replaced(k)}),
		one("the queries' matrix transposed", q, transposed(q)),
		one("the output's matrix transposed", final, transposed(final)))
}

func recurrentHypotheses(block int) []hypothesis {
	one := func(cause, name string, e func(name string) edit) hypothesis {
		return editing(cause, block, TemporalHalf, map[string]edit{name: e(name)})
	}
	return []hypothesis{
		{cause: "inputs of the recurrence that are not scaled by sqrt(1 - a²) at position 0, as those of the recording are", half: TemporalHalf, parameters: []string{reference.AParam},
			change: func(m *reference.Model, p []int32) (*reference.Model, []int32) {
				for i := range p {
					p[i]++
				}
				return m, p
			}},
		editing("linear_x and linear_y exchanged", block, TemporalHalf, exchanged(reference.LinearX, reference.LinearY)),
		editing("the two gates of the recurrence exchanged", block, TemporalHalf, exchanged(reference.InputGate, reference.AGate)),
		one("the taps of the convolution in reverse order", reference.Conv1D+reference.Kernel, tapsReversed),
		one("a_param with the other sign", reference.AParam, func(name string) edit { return scaledBy(name, -1) }),
		one("the input gate's matrices transposed", reference.InputGate+reference.Kernel, headsTransposed),
		one("the recurrence gate's matrices transposed", reference.AGate+reference.Kernel, headsTransposed),
		one("linear_x transposed", reference.LinearX+reference.Kernel, transposed),
		one("linear_y transposed", reference.LinearY+reference.Kernel, transposed),
		one("linear_out transposed", reference.LinearOut+reference.Kernel, transposed),
	}
}

func normHypotheses(block int, name string, half Half) []hypothesis {
	return []hypothesis{
		editing("a norm whose scale is larger by 1 than that of the recording, as if 1 had been added twice", block, half, map[string]edit{name: mapped(name, func(_ *reference.Parameter, x []float32) {
			for i := range x {
				x[i]--
			}
		})}),
		editing("a norm with a scale, which the recording was made without", block, half, map[string]edit{name: zeroed(name)}),
	}
}

// leftOut lists parameters, each of which may be zero.
func leftOut(block int, half Half, names []string) []hypothesis {
	var all []hypothesis
	for _, name := range names {
		all = append(all, editing(name+", which the recording was made without (zero)", block, half, map[string]edit{name: zeroed(name)}))
	}
	return all
}

// otherWeights lists the parameters of the other checkpoint, if there is one: each alone, then all of a half.
func (l *localiser) otherWeights(f *Fault) []hypothesis {
	if l.other == nil || !sameSizes(&l.other.Config, &l.in.model.Config) {
		return nil
	}
	other, checkpoint := l.other.Found.Weights(), storage.BaseName(l.other.Checkpoint.Path)
	var all []hypothesis
	for _, x := range []struct {
		half  Half
		names []string
	}{{TemporalHalf, temporalParameters(f.Kind)}, {MLPHalf, mlpParameters}} {
		together := map[string]edit{}
		for _, name := range x.names {
			together[name] = fromWeights(other, f.Block, name)
			all = append(all, editing(fmt.Sprintf("%s, which %s has as it was recorded", name, checkpoint), f.Block, x.half, map[string]edit{name: together[name]}))
		}
		all = append(all, editing(fmt.Sprintf("the tensors, which %s has as they were recorded", checkpoint), f.Block, x.half, together))
	}
	return all
}

// sameSizes reports whether the blocks of two models have parameters of the same shapes.
func sameSizes(a, b *model.Config) bool {
	return a.Width == b.Width && a.MLPExpandedWidth == b.MLPExpandedWidth && a.NumHeads == b.NumHeads && a.LRUWidth == b.LRUWidth && slices.Equal(a.BlockTypes, b.BlockTypes)
}
