package logits

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// rival is the usual value of a setting that the model has another value of. What each output shows of such a difference may be less than rounding
// errors, but all elements of all outputs together show more: the error of the recording is projected on the difference that the usual value makes.
// The projection is near 0 if the recording was made with the model's own value, near 1 if it was made with the usual one; and those of the legal runs
// show how near.
type rival struct {
	setting *Setting
	model   *reference.Model // in float64, with the usual value
	sites   map[*siteErrors]*projections
}

// projections are sums over the elements of a site of products with the difference, relative to the mean square of each token.
type projections struct {
	square   float64   // of the difference itself
	absolute float64   // of its absolute values with the root of the mean square
	recorded float64   // of the error of the recording
	runs     []float64 // of the errors of each legal run
}

// The usual values of the family. (Those of the numbers are the original's.)
const (
	usualActivation = "gelu_pytorch_tanh"
	usualSoftCap    = 30
)

// rivals lists the usual values of the settings that the model has other values of. An original has its numbers in the code that runs it.
func rivals(in *input, o *Options) []*rival {
	l := &localiser{in: in, given: o.Given, as: o.Semantics, reference: in.model.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})}
	var all []hypothesis
	if in.model.Found.Layout == model.HuggingFace {
		all = usualNumerics(l)
	}
	if own := in.model.ConfigUnder(in.semantics).LogitsSoftCap; own != usualSoftCap {
		s := l.setting(SoftCapSetting, in.softCapText(own), strconv.Itoa(usualSoftCap))
		all = append(all, withSetting(s, "", func(m *reference.Model) { m.Config.LogitsSoftCap = usualSoftCap }))
	}
	var out []*rival
	for _, h := range all {
		m := *l.reference
		h.change(&m, nil)
		out = append(out, &rival{setting: h.setting, model: &m, sites: map[*siteErrors]*projections{}})
	}
	return out
}

// usualNumerics lists the numbers and the function of the original that are not those of the model.
func usualNumerics(l *localiser) []hypothesis {
	usual := reference.OriginalVariant()
	all := numbers(l, EpsilonSetting, "", func(v *reference.Variant) *float64 { return &v.NormEpsilon }, usual.NormEpsilon)
	if l.in.model.Config.Has(model.Attention) {
		all = append(all, numbers(l, ThetaSetting, TemporalHalf, func(v *reference.Variant) *float64 { return &v.RopeTheta }, usual.RopeTheta)...)
		all = append(all, numbers(l, RotarySetting, TemporalHalf, func(v *reference.Variant) *float64 { return &v.RotaryFactor }, usual.RotaryFactor)...)
	}
	if own := l.in.model.Config.Numerics.Activation; own != "" && !model.SameActivation(own, usualActivation) {
		all = append(all, numeric(l, ActivationSetting, "", own, usualActivation, func(v *reference.Variant) { v.Activation = usual.Activation }))
	}
	return all
}

// recording stands for the fixture where legal runs are counted.
const recording = -1

// project adds token t of a site, as a legal run or the recording has it, to the sums of the rivals. It is the i-th of the results: the truth, and what
// it is with the usual value of each rival.
func (r *runs) project(s *siteErrors, run, t int, x []float32, i int, truth *reference.Activations, usual []*reference.Activations) {
	if s.fed != r.in.fed || s.exact || s.fixture[t] == nil {
		return
	}
	own := tokenOf(truth, i).Float64
	for k, v := range r.rivals {
		sums := v.sites[s]
		if sums == nil {
			sums = &projections{runs: make([]float64, len(r.legal))}
			v.sites[s] = sums
		}
		var norm, square, product, absolute float64
		for c, y := range tokenOf(usual[k], i).Float64 {
			d := y - own[c]
			norm, square, product, absolute = norm+own[c]*own[c], square+d*d, product+d*(float64(x[c])-own[c]), absolute+math.Abs(d)
		}
		if mean := norm / float64(len(own)); !(mean > 0) {
			continue
		} else if run == recording {
			sums.square, sums.recorded, sums.absolute = sums.square+square/mean, sums.recorded+product/mean, sums.absolute+absolute/math.Sqrt(mean)
		} else {
			sums.runs[run] += product / mean
		}
	}
}

// How certain it has to be that a recording was made with the usual value, or with the model's own: the projection on the difference is 1 or 0, and has
// to be on one side of the middle by so many standard errors, and by what an implementation that always errs to the same side by a part of its rounding
// errors may add. (JAX's gelu in bfloat16 adds 0.07 of them.)
const (
	rivalDeviations = 4
	rivalBias       = 1.0 / 8
)

// evidence is what a recording shows of a rival.
type evidence struct {
	projection float64 // of the recording on the difference
	deviation  float64 // its standard error: that of the legal runs, which are few, but no less than that of independent errors
	bias       float64 // what errors to one side, each as large as rounding errors usually are, would add at most
}

// evidence sums up the sites. Each counts by the variance of the errors of its legal runs.
func (v *rival) evidence() evidence {
	var square, recorded, absolute float64
	var runs []float64
	for s, sums := range v.sites {
		variance := s.variance()
		if !(variance > 0) {
			continue
		}
		square, recorded, absolute = square+sums.square/variance, recorded+sums.recorded/variance, absolute+sums.absolute/math.Sqrt(variance)
		if runs == nil {
			runs = make([]float64, len(sums.runs))
		}
		for k, x := range sums.runs {
			runs[k] += x / variance
		}
	}
	if !(square > 0) {
		return evidence{deviation: math.Inf(1)}
	}
	squares := 0.0
	for _, x := range runs {
		squares += x * x / float64(len(runs))
	}
	return evidence{recorded / square, max(math.Sqrt(squares)/square, 1/math.Sqrt(square)), absolute / square}
}

// variance returns the mean square of the errors of the legal runs.
func (s *siteErrors) variance() float64 {
	sum, n := 0.0, 0.0
	for _, run := range s.runs {
		for _, e := range run {
			sum, n = sum+e.RMS*e.RMS, n+1
		}
	}
	return sum / n
}

// shows returns 1 if the recording was made with the usual value, -1 if it was made with the model's own, and 0 if it does not tell them apart.
func (e evidence) shows() int {
	reach, margin := rivalDeviations*e.deviation+rivalBias*e.bias, e.projection-0.5
	switch {
	case !(reach <= 0.5) || !(math.Abs(margin) > reach):
		return 0
	case margin > 0:
		return 1
	}
	return -1
}

// judgeRivals makes settings that a model has unusual values of faults, if the recording shows that it was made with the usual ones; those that it does
// not tell apart are listed. It is for a result that is inside.
func (r *Result) judgeRivals(all []*rival) {
	for _, v := range all {
		switch v.evidence().shows() {
		case 0:
			r.Untold = append(r.Untold, v.setting)
		case 1:
			r.OK = false
			f := &Fault{Block: -1, Kind: SettingsFault, Cause: v.setting.String(), Setting: v.setting, Where: "every output is inside, but all together show the difference", Tensors: []string{}}
			f.Detail = f.describe()
			r.Faults = append(r.Faults, f)
		}
	}
}

// untoldWindow returns the attention window of the model if the recording would be the same with a larger one. It is nil if the recording shows the
// window, if the model has none, and if the window is the one that is published for the shapes of the model.
func untoldWindow(in *input, o *Options) *Setting {
	m := in.model
	if !m.Config.Has(model.Attention) {
		return nil
	}
	if p := m.Found.Family.PresetByShape(&m.Config); p != nil && p.Config.AttentionWindow == m.Original.AttentionWindow {
		return nil
	}
	masks := func(window int) []reference.TokenMask {
		return reference.TokenMasks(in.semantics, window, int(m.Config.ConvWidth), in.positions, in.batch)
	}
	own := masks(in.window())
	if !slices.Equal(own, masks(math.MaxInt32)) {
		return nil
	}
	other := "another"
	if !slices.Equal(own, masks(in.window()-1)) {
		other = "a larger one"
	}
	return (&localiser{given: o.Given, as: o.Semantics}).setting(WindowSetting, strconv.Itoa(in.window()), other)
}

// Doubts says of each of Untold that the recording does not tell the setting from other values, and why.
func (r *Result) Doubts() (all []string) {
	for _, s := range r.Untold {
		if s.Name != WindowSetting {
			all = append(all, fmt.Sprintf("%s %s is not usual for this family, and this recording does not tell it from %s", s.Name, s.Value, s.Recorded))
			continue
		}
		why := fmt.Sprintf("no document reaches beyond the attention window of %s: the recording does not tell it from %s", s.Value, s.Recorded)
		if as, err := reference.ParseSemantics(r.Semantics); err == nil && as.Unlimited() {
			why = fmt.Sprintf("%s attends without a window: the recording does not tell the attention window of %s from %s", as, s.Value, s.Recorded)
		}
		all = append(all, why)
	}
	return all
}
