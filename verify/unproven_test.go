package verify

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// A verdict proves nothing, instead of that the models differ, only if all that fails is what was given, or the recording.
func TestUnproven(t *testing.T) {
	section := func(kinds ...FindingKind) *Section {
		var all []Finding
		for _, kind := range kinds {
			all = append(all, Finding{Kind: kind, Field: "attention_window"})
		}
		return &Section{OK: len(kinds) == 0, Findings: strictjson.Items(all...)}
	}
	failed := func(faults ...*logits.Fault) []*logits.Result { return []*logits.Result{{Faults: faults}} }
	fault := func(name logits.SettingName, given bool) *logits.Fault {
		return &logits.Fault{Setting: &logits.Setting{Name: name, Given: given}}
	}
	right, wrong, given := section(), section(WrongField), section(GivenSetting)
	other := []*logits.Result{{Weights: logits.OtherWeights, Faults: []*logits.Fault{{}}}}
	const window, recording, weights = "the attention window that was given is not the ", "the recording is not finite", "the recording is of other weights"
	for _, tt := range []struct {
		name string
		v    Verdict
		want string // how it begins
	}{
		{"what was given", Verdict{Structure: right, Config: given, Weights: &WeightsSection{Section: *right}}, window},
		{"what was given, and a field", Verdict{Structure: right, Config: section(GivenSetting, WrongField)}, ""},
		{"a field", Verdict{Structure: right, Config: wrong}, ""},
		{"a configuration that fails for another reason", Verdict{Structure: right, Config: &Section{}}, ""},
		{"the structure too", Verdict{Structure: wrong, Config: given}, ""},
		{"a structure that could not be compared", Verdict{Structure: &Section{Skipped: true}, Config: given}, window},
		{"the weights too", Verdict{Structure: right, Config: given, Weights: &WeightsSection{Section: *wrong}}, ""},
		{"a quantised copy", Verdict{Structure: right, Config: given, Quantized: &QuantizedSection{Section: *right}}, ""},
		{"logits by what was given", Verdict{Logits: failed(fault(logits.WindowSetting, true))}, window + "recording's"},
		{"logits by two settings", Verdict{Logits: failed(fault(logits.WindowSetting, true), fault(logits.ScaleSetting, true), fault(logits.WindowSetting, true))},
			"the attention window and the embedding scale that were given are not the recording's"},
		{"logits by the semantics", Verdict{Logits: failed(fault(logits.SemanticsSetting, true))}, "the semantics that were given are not the recording's"},
		{"logits by a setting of the checkpoint", Verdict{Logits: failed(fault(logits.WindowSetting, false))}, ""},
		{"logits by what was given, which the conversion states", Verdict{Logits: failed(fault(logits.SoftCapSetting, true))}, ""},
		{"logits by what was given, and a layer", Verdict{Logits: failed(fault(logits.WindowSetting, true), &logits.Fault{})}, ""},
		{"logits for no known reason", Verdict{Logits: failed()}, ""},
		{"a recording that is not finite", Verdict{Logits: failed(&logits.Fault{Kind: logits.RecordingFault})}, recording},
		{"a recording of other weights", Verdict{Logits: failed(&logits.Fault{Kind: logits.WeightsFault})}, weights},
		{"a recording that is likely of other weights", Verdict{Logits: []*logits.Result{{Weights: logits.UnlikeWeights, Faults: []*logits.Fault{{Kind: logits.WeightsFault}}}}}, "the recording is likely of other weights or of another model"},
		{"other weights by their digest", Verdict{Converted: &Subject{}, Logits: other}, weights},
		{"other weights by their digest, of a checkpoint alone", Verdict{Logits: other}, ""},
		{"both sides for one reason", Verdict{Logits: append(failed(fault(logits.WindowSetting, true)), failed(fault(logits.WindowSetting, true))...)}, window + "recording's"},
		{"one side", Verdict{Logits: append([]*logits.Result{{OK: true}}, failed(&logits.Fault{Kind: logits.RecordingFault})...)}, recording},
		{"one side for no known reason", Verdict{Logits: append(failed(&logits.Fault{Kind: logits.RecordingFault}), failed()...)}, ""},
		{"what was given, and the recording", Verdict{Config: given, Logits: failed(&logits.Fault{Kind: logits.RecordingFault})}, window},
		{"nothing", Verdict{Structure: right, Config: right}, ""},
	} {
		tt.v.conclude(func(s *logits.Setting) bool { return s.Name == logits.SoftCapSetting })
		if got := tt.v.Unproven; tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || strings.Count(got, "; ") > 0 != (tt.name == "what was given, and the recording") {
			t.Errorf("%s: %q, not %q", tt.name, got, tt.want)
		}
		if tt.v.Same != (tt.name == "nothing") {
			t.Errorf("%s: the same %t", tt.name, tt.v.Same)
		}
	}
}
