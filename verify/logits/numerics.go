package logits

import (
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
)

// The settings of config.json that models of the original have in common.
const (
	EpsilonSetting    SettingName = "rms_norm_eps"
	ThetaSetting      SettingName = "rope_theta"
	RotarySetting     SettingName = "partial_rotary_factor"
	ActivationSetting SettingName = "hidden_activation"
)

// IsNumeric reports whether a setting is one that config.json has for all blocks.
func (s *Setting) IsNumeric() bool {
	return s != nil && slices.Contains([]SettingName{EpsilonSetting, ThetaSetting, RotarySetting, ActivationSetting}, s.Name)
}

// numerics lists the numbers and functions of config.json with which a block may have been recorded: those of published models and of the other
// checkpoint. Each is a hypothesis of the halves that compute with it.
func numerics(l *localiser, kind FaultKind) []hypothesis {
	if !mayHaveNumerics(l) {
		return nil
	}
	all := epsilons(l)
	if kind == AttentionFault {
		all = append(all, numbers(l, ThetaSetting, TemporalHalf, func(v *reference.Variant) *float64 { return &v.RopeTheta }, 10_000)...)
		all = append(all, numbers(l, RotarySetting, TemporalHalf, func(v *reference.Variant) *float64 { return &v.RotaryFactor }, 0.5, 1)...)
	}
	return append(all, activations(l, kind)...)
}

// mayHaveNumerics reports whether the recording may have been made with other numbers and functions than those of the model: of an original by its own
// implementation it cannot, which has them in its code.
func mayHaveNumerics(l *localiser) bool {
	return l.in.model.Found.Layout == model.HuggingFace || l.in.fixture.Meta.Semantics != reference.Original
}

// epsilons lists what may be added to the mean square in norms.
func epsilons(l *localiser) []hypothesis {
	if !mayHaveNumerics(l) {
		return nil
	}
	return numbers(l, EpsilonSetting, "", func(v *reference.Variant) *float64 { return &v.NormEpsilon }, 1e-6, 1e-5, 1e-8)
}

// numbers lists numbers that may be in place of one of the model's, which field finds.
func numbers(l *localiser, name SettingName, half Half, field func(v *reference.Variant) *float64, others ...float64) []hypothesis {
	if l.other != nil {
		other := variantOf(l.other.Config.Reference().Variant)
		others = append(others, *field(&other))
	}
	own := variantOf(l.reference.Config.Variant)
	text := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	var all []hypothesis
	for i, x := range others {
		if x != *field(&own) && !slices.Contains(others[:i], x) {
			all = append(all, numeric(l, name, half, text(*field(&own)), text(x), func(v *reference.Variant) { *field(v) = x }))
		}
	}
	return all
}

// activations lists the activations with which a block may have been recorded. An attention block has one in its MLP only.
func activations(l *localiser, kind FaultKind) []hypothesis {
	half := Half("")
	if kind == AttentionFault {
		half = MLPHalf
	}
	own, names := l.in.model.Config.Numerics.Activation, []string{"gelu_pytorch_tanh", "gelu"}
	if l.other != nil && l.other.Config.Numerics.Activation != "" {
		names = append(names, l.other.Config.Numerics.Activation)
	}
	var all []hypothesis
	for i, name := range names {
		if model.SameActivation(name, own) || slices.Contains(names[:i], name) {
			continue
		}
		c := model.Config{Numerics: l.in.model.Config.Numerics}
		c.Numerics.Activation = name
		activation := variantOf(c.Reference().Variant).Activation
		all = append(all, numeric(l, ActivationSetting, half, own, name, func(v *reference.Variant) { v.Activation = activation }))
	}
	return all
}

// numeric is a hypothesis about a part of the model's variant.
func numeric(l *localiser, name SettingName, half Half, own, recorded string, change func(v *reference.Variant)) hypothesis {
	return withSetting(l.setting(name, own, recorded), half, func(m *reference.Model) {
		v := variantOf(m.Config.Variant)
		change(&v)
		m.Config.Variant = &v
	})
}

// variantOf returns a variant, or that of the original for nil.
func variantOf(v *reference.Variant) reference.Variant {
	if v == nil {
		return reference.OriginalVariant()
	}
	return *v
}
