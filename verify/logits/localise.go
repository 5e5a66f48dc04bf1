package logits

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// localiser finds the places at fault for the results outside the envelope.
type localiser struct {
	ctx       context.Context
	in        *input
	measured  *measurements
	judged    *judgement
	other     *runtime.Model       // or nil
	given     model.Settings       // of the model
	as        *reference.Semantics // that are given, or nil
	reference *reference.Model     // in float64

	faults []*Fault
	found  []hypothesis // the settings that explain them, each once
}

// localise returns the places at fault. If the fixture has the input of every block, each block was judged alone, so that
// every block at fault is found. Otherwise only the first result outside is.
func localise(ctx context.Context, in *input, m *measurements, j *judgement, o *Options) ([]*Fault, error) {
	l := &localiser{ctx: ctx, in: in, measured: m, judged: j, other: o.Other, given: o.Given, as: o.Semantics, reference: in.model.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})}
	recordingFault(l)
	if in.fed {
		for i := range in.blocks() {
			if err := l.blockFaults(i); err != nil {
				return nil, err
			}
		}
		for _, name := range []string{"final_norm", "logits"} {
			if _, err := l.headFault(name, true); err != nil {
				return nil, err
			}
		}
	}
	if err := l.explainBeside(); err != nil {
		return nil, err
	}
	if m.wrongEmbeddings != nil && !l.unsound(hidden(0)) {
		if err := l.embeddingFault(&m.wrongEmbeddings[0].worst); err != nil {
			return nil, err
		}
	}
	if len(l.faults) == 0 {
		if err := l.firstFault(); err != nil {
			return nil, err
		}
	}
	for _, f := range l.faults {
		if err := findBroken(ctx, l, f); err != nil {
			return nil, err
		}
		f.Detail = f.describe()
	}
	return l.faults, nil
}

// add adds a fault that the results of one site show, of which there is at least one.
func (l *localiser) add(block int, half Half, kind FaultKind, proved bool, outside []*Site) *Fault {
	s := outside[0]
	f := &Fault{Block: block, Half: half, Kind: kind, Site: s.Name, Pass: s.Pass, Proved: proved, First: *s.First, Worst: s.Worst, WorstPass: s.Pass}
	for _, o := range outside[1:] {
		if o.Worst.Share > f.Worst.Share {
			f.Worst, f.WorstPass = o.Worst, o.Pass
		}
	}
	f.Where = l.pattern(s.Name, s.Fed)
	l.faults = append(l.faults, f)
	return f
}

// embeddingFault adds the fault of the embeddings before the others, which are found: a fault of the logits that nothing else explains shows
// that a matrix of both is scaled, and not a setting.
func (l *localiser) embeddingFault(worst *wrongElement) error {
	outside := l.judged.outside(hidden(0), false)
	sameInLogits := slices.ContainsFunc(l.faults, func(f *Fault) bool { return f.Kind == LogitsFault && f.Setting == nil })
	f := l.add(-1, "", EmbeddingFault, true, outside[:1])
	l.faults = slices.Insert(l.faults[:len(l.faults)-1], 0, f)
	f.Values = &Values{Recorded: Number(worst.recorded), Checkpoint: Number(worst.computed)}
	f.Tensors = l.tensors(-1, reference.Embedding)
	factor, err := l.embeddingsScaled()
	if err != nil || factor == 0 {
		return err
	}
	f.Cause = fmt.Sprintf("embeddings that are %.4g times those of the recording", factor)
	root, scale := math.Sqrt(float64(l.in.model.Config.Width)), l.in.model.ConfigUnder(l.in.semantics).EmbeddingScale
	if scale {
		root = 1 / root
	}
	if l.in.model.Found.Layout != model.HuggingFace && math.Abs(factor*root-1) < 0.01 && !sameInLogits {
		f.Setting = l.setting(ScaleSetting, strconv.FormatBool(scale), strconv.FormatBool(!scale))
		f.Cause, f.Tensors = f.Setting.String(), nil
	}
	return nil
}

// embeddingsScaled returns the factor by which all embeddings of the model are larger than those of the fixture, 0 if there is none.
func (l *localiser) embeddingsScaled() (float64, error) {
	fixture, err := l.in.read(hidden(0))
	if err != nil {
		return 0, err
	}
	got, err := l.in.runBlock(l.ctx, l.reference, 0, l.in.positions, nil)
	if err != nil {
		return 0, err
	}
	var products, squares float64
	for t := range l.in.tokens {
		for i, x := range fixture.token(t) {
			products += got.in.At(t*fixture.Width+i) * float64(x)
			squares += float64(x) * float64(x)
		}
	}
	factor := products / squares
	if factor == 0 || math.IsInf(factor, 0) || math.IsNaN(factor) || math.Abs(factor-1) < 0.01 {
		return 0, nil
	}
	for t := range l.in.tokens {
		for i, x := range fixture.token(t) {
			if want := factor * float64(x); math.Abs(got.in.At(t*fixture.Width+i)-want) > 0.02*math.Abs(want) {
				return 0, nil
			}
		}
	}
	return factor, nil
}

// blockFaults adds the faults of one block that was given the fixture's own input.
func (l *localiser) blockFaults(i int) error {
	if l.unsound(hidden(i), temporal(i), hidden(i+1)) {
		return nil
	}
	half, out := l.judged.outside(temporal(i), true), l.judged.outside(hidden(i+1), true)
	kind := l.in.blockKind(i)
	if len(half) > 0 {
		if err := l.explain(l.add(i, TemporalHalf, kind, true, half)); err != nil {
			return err
		}
	}
	if len(out) == 0 {
		return nil
	}
	if !l.in.hasSite(temporal(i)) {
		f := l.add(i, "", kind, true, out)
		if err := l.explain(f); err != nil {
			return err
		}
		if f.Tensors == nil && f.Setting == nil {
			f.Tensors = append(l.tensors(i, temporalParameters(kind)...), l.tensors(i, mlpParameters...)...)
		}
		return nil
	}
	if len(half) == 0 {
		return l.explain(l.add(i, MLPHalf, kind, true, out))
	}
	out, err := l.mlpOutside(i)
	if err != nil || len(out) == 0 {
		return err
	}
	f := l.add(i, MLPHalf, kind, true, out)
	f.Where = "" // what the tokens have in common may be the temporal half's
	return l.explain(f)
}

// headFault adds a fault of the final norm or of the logits, if results of that name are outside.
func (l *localiser) headFault(name string, fed bool) (*Fault, error) {
	out := l.judged.outside(name, fed)
	if len(out) == 0 || l.unsound(hidden(l.in.blocks()), name) {
		return nil, nil
	}
	if name == "logits" && fed && len(l.judged.outside("final_norm", true)) > 0 {
		if wrong, err := (&headTrial{l, &Fault{Site: name, Worst: out[0].Worst}}).wrongAlone(); err != nil || !wrong {
			return nil, err // wrong logits follow from a wrong final norm
		}
	}
	kind, parameter := FinalNormFault, reference.FinalNorm
	if name == "logits" {
		kind, parameter = LogitsFault, reference.Embedding
	}
	f := l.add(l.in.blocks(), "", kind, fed, out)
	if name == "logits" && l.in.semantics.DividesByCap() && l.in.model.ConfigUnder(l.in.semantics).LogitsSoftCap == 0 {
		f.Where = fmt.Sprintf("all logits of the checkpoint are zero, because its logits_soft_cap is 0 and %v divides by it", l.in.semantics)
		return f, nil
	}
	f.Tensors = l.tensors(-1, parameter)
	if head := l.in.model.Found.SeparateHead(&l.in.model.Config); head != nil && name == "logits" {
		f.Tensors = []string{head.Tensor.Name}
	}
	if name == "logits" && !l.in.hasSite("final_norm") {
		f.Tensors = append(l.tensors(-1, reference.FinalNorm), f.Tensors...)
	}
	return f, (&headTrial{l, f}).explain()
}

// firstFault adds the first result that is outside when the model runs from the tokens on.
func (l *localiser) firstFault() error {
	i := slices.IndexFunc(l.judged.results, func(s *Site) bool { return !s.OK && !s.Fed && !s.Exact })
	if i < 0 {
		return nil
	}
	s := l.judged.results[i]
	if s.Pass == "decode" {
		l.add(l.in.blocks(), "", DecodingFault, false, []*Site{s}).Where = "only decoding from a state: the same tokens in one pass are inside"
		return nil
	}
	if l.in.fed {
		l.add(0, "", AccumulatedFault, false, []*Site{s}).Where = "each block by itself is inside, but their errors add up to more than those of rounding do"
		return nil
	}
	site, block, _ := golden.ParseSite(s.Name)
	switch site {
	case reference.Hidden:
		l.add(block-1, "", l.in.blockKind(block-1), false, []*Site{s})
		return nil
	case reference.Temporal:
		l.add(block, "", l.in.blockKind(block), false, []*Site{s}).Half = TemporalHalf
		return nil
	}
	f, err := l.headFault(s.Name, false)
	if err != nil {
		return err
	}
	if !l.in.hasSite(hidden(0)) {
		f.Where = strings.TrimPrefix(f.Where+"; the fixture has no hidden states, so that any part of the model may be at fault", "; ")
		f.Tensors = nil
	}
	return nil
}

// temporalParameters returns the parameters of a temporal half.
func temporalParameters(kind FaultKind) []string {
	if kind == AttentionFault {
		return []string{reference.TemporalNorm, reference.ProjQ + reference.Kernel, reference.ProjK + reference.Kernel, reference.ProjV + reference.Kernel,
			reference.ProjFinal + reference.Kernel, reference.ProjFinal + reference.Bias}
	}
	return []string{reference.TemporalNorm, reference.LinearX + reference.Kernel, reference.LinearX + reference.Bias, reference.LinearY + reference.Kernel,
		reference.LinearY + reference.Bias, reference.Conv1D + reference.Kernel, reference.Conv1D + reference.Bias, reference.AParam,
		reference.InputGate + reference.Kernel, reference.InputGate + reference.Bias, reference.AGate + reference.Kernel, reference.AGate + reference.Bias,
		reference.LinearOut + reference.Kernel, reference.LinearOut + reference.Bias}
}

// mlpParameters are the parameters of an MLP half.
var mlpParameters = []string{reference.ChannelNorm, reference.MLPGate + reference.Kernel, reference.MLPGate + reference.Bias,
	reference.MLPUp + reference.Kernel, reference.MLPUp + reference.Bias, reference.MLPDown + reference.Kernel, reference.MLPDown + reference.Bias}

// tensors returns the full names of the tensors that hold parameters of a block (-1: outside the blocks), each once.
func (l *localiser) tensors(block int, parameters ...string) []string {
	var names []string
	for _, p := range parameters {
		if name := l.in.model.Found.TensorName(block, p); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
