package logits

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
)

// A setting of blocks that explains a fault is kept once, to explain others with it.
func TestKeptSettings(t *testing.T) {
	l := &localiser{}
	for _, s := range []*Setting{nil, {Name: EpsilonSetting, Recorded: "1e-05"}, {Name: ScaleSetting}, {Name: EpsilonSetting, Recorded: "1e-03"}, {Name: SoftCapSetting}, {Name: WindowSetting, Recorded: "6"}, {Name: WindowSetting, Recorded: "7"}} {
		l.keep(hypothesis{setting: s})
	}
	var kept []string
	for _, h := range l.found {
		kept = append(kept, string(h.setting.Name)+" "+h.setting.Recorded)
	}
	if got := strings.Join(kept, ", "); got != string(EpsilonSetting)+" 1e-05, "+string(WindowSetting)+" 6" {
		t.Errorf("kept %s", got)
	}
}

// A recording is called likely of other weights if no output is near to it. With a digest, the digest decides.
func TestUnlikeWeights(t *testing.T) {
	for _, tt := range []struct {
		fault  Fault
		unlike bool
		title  string
	}{
		{Fault{Kind: WeightsFault}, true, "Likely other weights or another model"},
		{Fault{Kind: WeightsFault, Cause: "x"}, false, "Weights"},
		{Fault{Kind: RecordingFault}, false, "The recording"},
		{Fault{Kind: LogitsFault}, false, "Logits"},
	} {
		if got := tt.fault.Title(); got != tt.title || tt.fault.Unlike() != tt.unlike {
			t.Errorf("%+v: %q, unlike: %t", tt.fault, got, tt.fault.Unlike())
		}
	}
}

// Logits that are divided by a soft cap of 0 are zero whatever the weights are, so that no tensor is to be looked at.
func TestLogitsDividedByZero(t *testing.T) {
	m := newHeadModels(t)
	for _, tt := range []struct {
		site      string
		semantics reference.Semantics
		softCap   float64
		zero      bool
	}{
		{"logits", reference.Transformers5, 0, true},
		{"final_norm", reference.Transformers5, 0, false},
		{"logits", reference.Transformers5, 30, false},
		{"logits", reference.Original, 0, false},
	} {
		model := *m.hf
		model.Config.LogitsSoftCap, model.Original.LogitsSoftCap = tt.softCap, tt.softCap
		in := newInput(&model, m.run.only("hidden.0"), nil)
		in.semantics = tt.semantics
		l := &localiser{ctx: t.Context(), in: in, measured: &measurements{}, judged: &judgement{results: []*Site{outsideAt(tt.site, "", false)}}}
		f, err := l.headFault(tt.site, false)
		if err != nil {
			t.Fatal(err)
		}
		if zero := strings.HasPrefix(f.Where, "all logits of the checkpoint are zero"); zero != tt.zero || zero != (f.Tensors == nil) {
			t.Errorf("%s under %v, soft cap %g: %q, %q", tt.site, tt.semantics, tt.softCap, f.Where, f.Tensors)
		}
	}
}
