package logits

import (
	"fmt"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// numericLocaliser has a model of some numbers, and another checkpoint with others (nil: none).
func numericLocaliser(layout model.Layout, own model.Numerics, other *model.Numerics) *localiser {
	m := &runtime.Model{Found: &model.Model{Layout: layout}, Config: model.Config{Numerics: own}}
	l := &localiser{in: &input{model: m, fixture: &golden.Fixture{}}, reference: &reference.Model{Config: m.Config.Reference()}}
	if other != nil {
		l.other = &runtime.Model{Config: model.Config{Numerics: *other}}
	}
	return l
}

var publishedNumerics = model.Numerics{Activation: "gelu_pytorch_tanh", NormEpsilon: 1e-6, RopeTheta: 10_000, RotaryFactor: 0.5}

// The numbers with which a block may have been recorded are those of published models and of the other checkpoint, each once, and never the
// model's own. Each is one of the halves that compute with it.
func TestNumerics(t *testing.T) {
	far := model.Numerics{Activation: "relu", NormEpsilon: 1e-3, RopeTheta: 500, RotaryFactor: 0.25}
	synonym := publishedNumerics
	synonym.Activation = "gelu_new" // the same function
	erf := publishedNumerics
	erf.Activation = "gelu_python" // the same function as gelu, by another name
	for _, tt := range []struct {
		name   string
		layout model.Layout
		own    model.Numerics
		other  *model.Numerics
		kind   FaultKind
		want   []string
	}{
		{"attention", model.HuggingFace, publishedNumerics, nil, AttentionFault,
			[]string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "partial_rotary_factor 1 temporal", "hidden_activation gelu mlp"}},
		{"recurrent", model.HuggingFace, publishedNumerics, nil, RecurrentFault, []string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu "}},
		{"other numbers", model.HuggingFace, far, nil, AttentionFault, []string{"rms_norm_eps 1e-06 ", "rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "rope_theta 10000 temporal",
			"partial_rotary_factor 0.5 temporal", "partial_rotary_factor 1 temporal", "hidden_activation gelu_pytorch_tanh mlp", "hidden_activation gelu mlp"}},
		{"the other checkpoint's", model.HuggingFace, publishedNumerics, &far, AttentionFault, []string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "rms_norm_eps 0.001 ", "rope_theta 500 temporal",
			"partial_rotary_factor 1 temporal", "partial_rotary_factor 0.25 temporal", "hidden_activation gelu mlp", "hidden_activation relu mlp"}},
		{"the same as the other's", model.HuggingFace, far, &far, RecurrentFault,
			[]string{"rms_norm_eps 1e-06 ", "rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu_pytorch_tanh ", "hidden_activation gelu "}},
		{"the other's are published", model.HuggingFace, far, &publishedNumerics, RecurrentFault,
			[]string{"rms_norm_eps 1e-06 ", "rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu_pytorch_tanh ", "hidden_activation gelu "}},
		{"the other states none", model.HuggingFace, publishedNumerics, &model.Numerics{}, RecurrentFault, []string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu "}},
		{"an activation by another name", model.HuggingFace, synonym, nil, RecurrentFault, []string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu "}},
		{"the other's activation by another name", model.HuggingFace, synonym, &publishedNumerics, RecurrentFault, []string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu "}},
		{"the other activation", model.HuggingFace, erf, nil, RecurrentFault, []string{"rms_norm_eps 1e-05 ", "rms_norm_eps 1e-08 ", "hidden_activation gelu_pytorch_tanh "}},
		{"an original", model.Flax, publishedNumerics, &far, AttentionFault, nil},
	} {
		l := numericLocaliser(tt.layout, tt.own, tt.other)
		var got []string
		for _, h := range numerics(l, tt.kind) {
			got = append(got, fmt.Sprintf("%s %s %s", h.setting.Name, h.setting.Recorded, h.half))
			if !h.setting.IsNumeric() || h.cause != h.setting.String() || h.setting.Given {
				t.Errorf("%s: %s: %+v", tt.name, h.cause, h.setting)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if all := epsilons(numericLocaliser(model.Flax, publishedNumerics, &far)); len(all) > 0 {
		t.Errorf("%d epsilons of an original", len(all))
	}
	// A directory that transformers ran may have had other numbers than the original, with which that is compared.
	l := numericLocaliser(model.Flax, publishedNumerics, nil)
	l.in.fixture.Meta.Semantics = reference.Transformers5
	if all := numerics(l, RecurrentFault); len(all) != 3 || all[2].setting.Recorded != "gelu" || len(epsilons(l)) != 2 {
		t.Errorf("%d of an original that is compared with a recording of transformers", len(all))
	}
}

// A number that is tried is in place of the model's own, and changes nothing else: neither the model itself nor another of its numbers.
func TestNumericChanges(t *testing.T) {
	own := model.Numerics{Activation: "relu", NormEpsilon: 1e-3, RopeTheta: 500, RotaryFactor: 0.25}
	l := numericLocaliser(model.HuggingFace, own, nil)
	before := *l.reference.Config.Variant
	seen := map[string]bool{}
	for _, h := range numerics(l, AttentionFault) {
		want := before
		switch h.setting.Name + " " + SettingName(h.setting.Recorded) {
		case "rms_norm_eps 1e-06":
			want.NormEpsilon = 1e-6
		case "rope_theta 10000":
			want.RopeTheta = 10_000
		case "partial_rotary_factor 1":
			want.RotaryFactor = 1
		case "hidden_activation gelu":
			want.Activation = reference.GELU
		default:
			continue
		}
		seen[string(h.setting.Name)+" "+h.setting.Value] = true
		m, positions := *l.reference, []int32{0, 1}
		changed, p := h.change(&m, positions)
		if *changed.Config.Variant != want || *l.reference.Config.Variant != before || !slices.Equal(p, []int32{0, 1}) {
			t.Errorf("%s: %+v, want %+v", h.cause, *changed.Config.Variant, want)
		}
	}
	for _, name := range []string{"rms_norm_eps 0.001", "rope_theta 500", "partial_rotary_factor 0.25", "hidden_activation relu"} {
		if !seen[name] {
			t.Errorf("nothing is tried in place of %s", name)
		}
	}
	if v := variantOf(nil); v != reference.OriginalVariant() {
		t.Errorf("the original's is %+v", v)
	}
}

// Only numbers that config.json has for all blocks are numeric, and they are told by their names.
func TestNumericSettings(t *testing.T) {
	for name, want := range map[SettingName]bool{EpsilonSetting: true, ThetaSetting: true, RotarySetting: true, ActivationSetting: true,
		WindowSetting: false, SoftCapSetting: false, ScaleSetting: false, SemanticsSetting: false} {
		if got := (&Setting{Name: name}).IsNumeric(); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (*Setting)(nil).IsNumeric() {
		t.Error("no setting is numeric")
	}
	for s, want := range map[Setting]string{
		{ThetaSetting, "10000", "500", false}:   "rope_theta 10000; the recording was made with 500",
		{RotarySetting, "0", "true", false}:     "partial_rotary_factor 0; the recording was made with true",
		{EpsilonSetting, "1e-06", "0", false}:   "rms_norm_eps 1e-06; the recording was made with 0",
		{WindowSetting, "0", "0", false}:        "an attention window of 0; the recording was made with 0",
		{SoftCapSetting, "0", "0", false}:       "no soft cap on the logits; the recording was made without one",
		{SoftCapSetting, "2", "true", false}:    "a soft cap of 2 on the logits; the recording was made with true",
		{SemanticsSetting, "mlx-lm", "0", true}: "the semantics of mlx-lm, as given; the recording was made with those of 0",
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
