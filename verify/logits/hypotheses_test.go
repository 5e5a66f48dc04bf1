package logits

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// The windows that are tried are the one at which the recording departs from one without a window, and those just below it, but never the model's
// own, which is 8.
func TestWindowsTried(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	for window, want := range map[float64][]string{
		1: {"2", "1"}, 7: {"7, or with the semantics of transformers5", "6"}, 9: {"10", "9"}, 21: {"22", "21", "20"}, 30: {"at least 24"}, // 24 tokens
	} {
		run := brokenTrialRun(t, m, breakage{2, "window of", window})
		h := headTrialOf(t, m, run.only("hidden.2", "packed.hidden.2", "temporal.2", "packed.temporal.2"), "temporal.2", 1e-4)
		tried, err := h.newTrial(&Fault{Block: 2, Half: TemporalHalf, Kind: AttentionFault})
		if err != nil {
			t.Fatal(err)
		}
		all, err := tried.windows()
		var got []string
		for _, x := range all {
			got = append(got, strings.TrimPrefix(x.cause, "an attention window of 8; the recording was made with "))
			if x.half != TemporalHalf || x.setting.Name != WindowSetting {
				t.Errorf("%s: %q, %+v", x.cause, x.half, x.setting)
			}
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %v: %q, want %q", window, err, got, want)
		}
	}
}

// Of other semantics, those of the fixture's implementation are tried first, and never those that the model is run with.
func TestOtherSemanticsTried(t *testing.T) {
	for _, tt := range []struct {
		fixture, model reference.Semantics
		want           []string
	}{
		{reference.Original, reference.Original, []string{"transformers4", "transformers5"}},
		{reference.Transformers5, reference.Original, []string{"transformers5", "transformers4"}},
		{reference.Transformers4, reference.Transformers4, []string{"original", "transformers5"}},
		{reference.Original, reference.Transformers5, []string{"original", "transformers4"}},
		{reference.MLX, reference.Original, []string{"mlx-lm", "transformers4", "transformers5"}},
	} {
		l := &localiser{in: &input{semantics: tt.model, fixture: &golden.Fixture{Meta: golden.Meta{Semantics: tt.fixture}}}}
		var got []string
		for _, h := range l.otherSemantics() {
			got = append(got, h.setting.Recorded)
			if h.setting.Name != SemanticsSetting || h.setting.Value != tt.model.String() || h.half != TemporalHalf {
				t.Errorf("%+v, %q", h.setting, h.half)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("a fixture of %v: %q, want %q", tt.fixture, got, tt.want)
		}
	}
}

// squares are weights of 2 × 2 elements: 3, 4, 5, 6.
type squares struct{}

func (squares) Parameter(int, string) (*reference.Parameter, error) {
	var data []byte
	for i := range 4 {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i+3)))
	}
	return &reference.Parameter{DType: tensor.F32, Shape: []int64{2, 2}, Data: reference.Bytes(data)}, nil
}

// A hypothesis undoes what its cause says that the checkpoint does otherwise than the recording.
func TestHypothesesUndo(t *testing.T) {
	const block = 1
	of := func(semantics reference.Semantics, window int64) *localiser {
		c := model.Config{Width: 32, NumHeads: 2, AttentionWindow: window, LogitsSoftCap: 30}
		return &localiser{in: &input{semantics: semantics, model: &runtime.Model{Config: c, Original: c}}}
	}
	all := slices.Concat(of(reference.Original, 8).attentionHypotheses(block), recurrentHypotheses(block), normHypotheses(block, reference.TemporalNorm, TemporalHalf),
		leftOut(block, MLPHalf, []string{reference.MLPUp + reference.Bias}))
	for cause, want := range map[string]struct {
		parameter string
		first     float32
		position  int32 // what 6 becomes
	}{
		"rotary position":            {reference.ProjQ + reference.Kernel, 3, 1},
		"too small by the root":      {reference.ProjQ + reference.Kernel, 12, 6},
		"too large by the root":      {reference.ProjQ + reference.Kernel, 0.75, 6},
		"not scaled by sqrt(1 - a²)": {reference.AParam, 3, 7},
		"with the other sign":        {reference.AParam, -3, 6},
		"larger by 1":                {reference.TemporalNorm, 2, 6},
		"a norm with a scale":        {reference.TemporalNorm, 0, 6},
		"mlp.up.bias, which":         {reference.MLPUp + reference.Bias, 0, 6},
	} {
		i := slices.IndexFunc(all, func(h hypothesis) bool { return strings.Contains(h.cause, cause) })
		if i < 0 {
			t.Errorf("nothing is tried for %q", cause)
			continue
		}
		m, p := all[i].change(&reference.Model{Weights: squares{}}, []int32{6})
		raw := make([]byte, 4)
		parameter, err := m.Weights.Parameter(block, want.parameter)
		if err == nil {
			_, err = parameter.Data.ReadAt(raw, 0)
		}
		if got := math.Float32frombits(binary.LittleEndian.Uint32(raw)); err != nil || got != want.first || p[0] != want.position {
			t.Errorf("%s: %v: %v, want %v; position %d", cause, err, got, want.first, p[0])
		}
	}

	// Without rotary position embedding, transformers 5 takes no boundaries from positions, but still attends to one token less.
	for window, want := range map[int64]bool{8: true, 2: true, 1: false} {
		h := of(reference.Transformers5, window).attentionHypotheses(block)[0]
		tried := strings.HasPrefix(h.cause, "rotary")
		if tried != want {
			t.Errorf("a window of %d: %s", window, h.cause)
		}
		if tried {
			m, _ := h.change(&reference.Model{Semantics: reference.Transformers5, Config: reference.Config{AttentionWindow: int(window)}}, nil)
			if m.Semantics != reference.Original || m.Config.AttentionWindow != int(window)-1 {
				t.Errorf("a window of %d: %v, %d", window, m.Semantics, m.Config.AttentionWindow)
			}
		}
	}
	if h := of(reference.Original, 1).attentionHypotheses(block)[0]; !strings.HasPrefix(h.cause, "rotary") {
		t.Errorf("a window of 1: %s", h.cause)
	}
}
