package logits

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// headTrialOf tries what explains the result of a head that was recorded. Errors may be as large as allowed, relative to the channels.
func headTrialOf(t *testing.T, m *runtime.Model, g *golden.Fixture, site string, allowed float64) *headTrial {
	in := newInput(m, g, nil)
	scale := slices.Repeat([]float64{allowed}, len(in.tokens))
	l := &localiser{ctx: t.Context(), in: in, measured: &measurements{sites: []*siteErrors{{name: site, fed: true, rmsScale: scale, maxScale: scale, least: make([][2]float64, len(scale))}}},
		judged: &judgement{envelope: &Envelope{Fed: Factors{1, 1}}}, reference: m.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})}
	return &headTrial{l, &Fault{Block: in.blocks(), Kind: LogitsFault, Site: site, Worst: Location{Row: 1, Token: 5}, Tensors: []string{"head"}}}
}

// headModels are a model, in an original and in Hugging Face's layout, and what a pass gives of it. Its soft cap is 30.
type headModels struct {
	original, hf *runtime.Model
	run          *trialRun
}

func newHeadModels(t *testing.T) *headModels {
	f := cases.Open(t, "tiny-griffin")
	paths := f.Checkpoints(t)
	m := &headModels{original: f.Model(t, paths[0]), hf: f.Model(t, paths[len(paths)-1])}
	m.run = newTrialRun(t, m.original)
	return m
}

// recorded returns a fixture with the inputs of all blocks, and with logits of a soft cap (0: none).
func (m *headModels) recorded(softCap float64, beside ...string) *golden.Fixture {
	run := m.run
	run.broken = breakage{-1, "soft cap of", softCap}
	names := slices.Concat([]string{"logits", "packed.logits"}, beside)
	for _, name := range names[:2] {
		run.results[name] = nil
		for _, y := range run.results[strings.TrimSuffix(name, "logits")+"final_norm"] {
			run.results[name] = append(run.results[name], run.logits(y, run.load(reference.Outer, reference.Embedding)))
		}
	}
	return m.withInputs(names...)
}

// withInputs returns a fixture with some results and the inputs of all blocks and of the head.
func (m *headModels) withInputs(names ...string) *golden.Fixture {
	for i := range len(m.run.config.BlockTypes) + 1 {
		names = append(names, hidden(i), "packed."+hidden(i))
	}
	return m.run.only(names...)
}

// The soft cap with which logits were recorded is found if they show it: a published one, or any of two digits. Where the envelope does not
// tell it from others, it is not named alone.
func TestSoftCapOfRecording(t *testing.T) {
	m := newHeadModels(t)
	for _, tt := range []struct {
		name    string
		model   *runtime.Model
		softCap float64 // of the recording
		other   float64 // of the other checkpoint; 0 for none
		allowed float64
		shown   float64
		want    string
	}{
		{"any", m.original, 17, 0, 1e-5, 17, "a soft cap of 30 on the logits; the recording was made with 17"},
		{"a small one", m.original, 0.25, 0, 1e-5, 0.25, "a soft cap of 30 on the logits; the recording was made with 0.25"},
		{"a published one", m.original, 50, 0, 1e-5, 50, "a soft cap of 30 on the logits; the recording was made with 50"},
		{"none", m.original, 0, 0, 1e-5, 0, "a soft cap of 30 on the logits; the recording was made without one"},
		{"one that explains it as well is 10% smaller", m.original, 0.156, 0, 0.1, 0, ""},
		{"one that explains it as well is 10% larger", m.original, 0.164, 0, 0.1, 0, ""},
		{"of three digits", m.original, 17.3, 0, 1e-5, 17, ""},
		{"that of the other checkpoint, of three digits", m.original, 17.3, 17.3, 1e-5, 17, "a soft cap of 30 on the logits; the recording was made with 17.3"},
		{"that of the other checkpoint, which does not explain it", m.original, 17, 18, 1e-5, 17, "a soft cap of 30 on the logits; the recording was made with 17"},
		{"a wide envelope", m.original, 17, 0, 1e9, 0, "a soft cap of 30 on the logits; the recording was made with a larger one, or none"},
		{"a wide envelope, which explains other numbers as well", m.hf, 17, 0, 1e9, 0, "a soft cap of 30 on the logits; the recording was made with a larger one, or none"},
	} {
		h := headTrialOf(t, tt.model, m.recorded(tt.softCap), "logits", tt.allowed)
		if tt.other != 0 {
			other := *m.original
			other.Original.LogitsSoftCap, other.Config.LogitsSoftCap = tt.other, tt.other
			h.other = &other
		}
		shown, err := h.shownSoftCap()
		if err == nil {
			err = h.explain()
		}
		if explained := h.fault.Setting != nil; err != nil || shown != tt.shown || h.fault.Cause != tt.want || explained != (tt.want != "") || explained == (h.fault.Tensors != nil) {
			t.Errorf("%s: %v, %v is shown; %q, want %q; %q", tt.name, err, shown, h.fault.Cause, tt.want, h.fault.Tensors)
		}
	}
}

// The soft caps that are tried are those of published models and the one that the recording shows, each once, and never the model's own.
func TestSoftCapsTried(t *testing.T) {
	m := newHeadModels(t)
	for softCap, want := range map[float64][]string{50: {"0", "50"}, 17: {"0", "50", "17"}} {
		softCaps, err := headTrialOf(t, m.original, m.recorded(softCap), "logits", 1e-5).softCaps()
		var got []string
		for _, x := range softCaps {
			got = append(got, x.setting.Recorded)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}

	m.recorded(0)
	for _, row := range m.run.results["logits"] { // larger than without a soft cap
		for i := range row {
			row[i] *= 2
		}
	}
	if shown, err := headTrialOf(t, m.original, m.withInputs("logits", "packed.logits"), "logits", 1e-5).shownSoftCap(); err != nil || shown != 0 {
		t.Errorf("%v, %v", shown, err)
	}
}

// A final norm is explained by a number of config.json, or by the way in which its scale is used, which no setting says. Logits are explained
// by its numbers too, unless it was recorded.
func TestFinalNormExplained(t *testing.T) {
	m := newHeadModels(t)
	norms := []string{"final_norm", "packed.final_norm"}
	for _, tt := range []struct {
		model   *runtime.Model
		setting SettingName
	}{{m.original, ""}, {m.hf, EpsilonSetting}} {
		h := headTrialOf(t, tt.model, m.recorded(30, norms...), "final_norm", 1e9)
		err := h.explain()
		if s := h.fault.Setting; err != nil || h.fault.Cause == "" || (s != nil) != (tt.setting != "") || s != nil && s.Name != tt.setting || (s == nil) != (h.fault.Tensors != nil) {
			t.Errorf("%v: %q: %+v, %q", err, h.fault.Cause, s, h.fault.Tensors)
		}
	}
	for beside, want := range map[string]SettingName{"": EpsilonSetting, "final_norm": ""} {
		var with []string
		if beside != "" {
			with = norms
		}
		h := headTrialOf(t, m.hf, m.recorded(30, with...), "logits", 1e-2)
		err := h.explain()
		var got SettingName
		if h.fault.Setting != nil {
			got = h.fault.Setting.Name
		}
		if err != nil || got != want {
			t.Errorf("beside %q: %v: %q, want %q", beside, err, h.fault.Cause, want)
		}
	}
}

// Nothing is tried without the input of the head. What cannot be read is an error.
func TestHeadThatIsNotRun(t *testing.T) {
	m := newHeadModels(t)
	h := headTrialOf(t, m.original, m.recorded(17), "logits", 1e-5)
	h.in.fed = false
	if err := h.explain(); err != nil || h.fault.Cause != "" {
		t.Errorf("%v, %q", err, h.fault.Cause)
	}
	stop := errors.New("stop")
	h = headTrialOf(t, m.original, m.recorded(17), "logits", 1e-5)
	h.reference.Weights = failingWeights{stop}
	if shown, err := h.shownSoftCap(); shown != 0 || !errors.Is(err, stop) {
		t.Errorf("%v, %v", shown, err)
	}
	if err := h.explain(); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// failingWeights cannot be read.
type failingWeights struct{ error }

func (w failingWeights) Parameter(int, string) (*reference.Parameter, error) { return nil, w.error }

// A hypothesis about the head is tried on about 16 tokens of all, and on the worst of each pass.
func TestTried(t *testing.T) {
	for _, tt := range []struct {
		batch, length, passes int
		worst                 Location
		want                  string
	}{
		{2, 24, 2, Location{Row: 1, Token: 5}, "[0 6 12 18 24 30 36 42 48 54 60 66 72 78 84 90 29 77]"},
		{2, 24, 2, Location{}, "[0 6 12 18 24 30 36 42 48 54 60 66 72 78 84 90 0 48]"},
		{1, 4, 1, Location{Token: 3}, "[0 1 2 3 3]"},
		{3, 2, 2, Location{Row: 2, Token: 1}, "[0 1 2 3 4 5 6 7 8 9 10 11 5 11]"},
	} {
		in := &input{fixture: &golden.Fixture{Passes: make([]golden.Pass, tt.passes)}, length: tt.length, tokens: make([]int32, tt.batch*tt.length*tt.passes)}
		in.fixture.Passes[0].Batch = tt.batch
		h := &headTrial{&localiser{in: in}, &Fault{Worst: tt.worst}}
		if got := fmt.Sprint(h.tried()); got != tt.want {
			t.Errorf("%d, %d, %d: %s, want %s", tt.batch, tt.length, tt.passes, got, tt.want)
		}
	}
}
