package logits

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// outsideAt is a result outside the envelope, at token 2.
func outsideAt(name, pass string, fed bool) *Site {
	return &Site{Name: name, Pass: pass, Fed: fed, First: &Location{Token: 2}, Worst: Location{Token: 3, Share: 5}}
}

// If no block is proved to be at fault, the first result that is outside when the model runs from the tokens on says where the fault is.
func TestFirstFault(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	inside, exact := &Site{Name: "hidden.1", OK: true}, outsideAt("hidden.0", "", false)
	exact.Exact = true
	norm, head := m.Found.TensorName(reference.Outer, reference.FinalNorm), m.Found.TensorName(reference.Outer, reference.Embedding)
	const anywhere = "the fixture has no hidden states, so that any part of the model may be at fault"
	for _, tt := range []struct {
		recorded string
		results  []*Site
		want     string // block, kind, half and site
		where    string // part of it
		tensors  []string
	}{
		{"hidden.1", []*Site{inside, exact, outsideAt("hidden.1", "", true)}, "", "", nil},
		{"hidden.1", []*Site{inside, exact, outsideAt("hidden.2", "", false), outsideAt("hidden.4", "", false)}, "1 recurrent  hidden.2", "", nil},
		{"hidden.1", []*Site{outsideAt("hidden.3", "packed", false)}, "2 attention  hidden.3", "", nil},
		{"hidden.1", []*Site{outsideAt("temporal.2", "", false)}, "2 attention temporal temporal.2", "", nil},
		{"hidden.1", []*Site{outsideAt("temporal.1", "", false)}, "1 recurrent temporal temporal.1", "", nil},
		{"hidden.1", []*Site{outsideAt("logits", "decode", false)}, "5 decoding  logits", "only decoding from a state", nil},
		{"*", []*Site{outsideAt("hidden.3", "", false)}, "0 accumulated  hidden.3", "each block by itself is inside", nil},
		{"*", []*Site{outsideAt("logits", "decode", false)}, "5 decoding  logits", "only decoding from a state", nil},
		{"hidden.0", []*Site{outsideAt("final_norm", "", false)}, "5 final norm  final_norm", "", []string{norm}},
		{"hidden.0", []*Site{outsideAt("logits", "", false)}, "5 logits  logits", "", []string{norm, head}},
		{"logits", []*Site{outsideAt("logits", "", false)}, "5 logits  logits", anywhere, nil},
	} {
		in := newInput(m, run.only(strings.Fields(tt.recorded)...), nil)
		l := &localiser{ctx: t.Context(), in: in, measured: &measurements{}, judged: &judgement{results: tt.results}}
		if err := l.firstFault(); err != nil {
			t.Fatal(err)
		}
		var got, where string
		var tensors []string
		if len(l.faults) == 1 {
			f := l.faults[0]
			got, where, tensors = fmt.Sprintf("%d %s %s %s", f.Block, f.Kind, f.Half, f.Site), f.Where, f.Tensors
			if f.Proved || f.First.Token != 2 || f.Worst.Token != 3 {
				t.Errorf("%+v", f)
			}
		}
		if got != tt.want || tt.where == "" && where != "" || !strings.HasPrefix(where, tt.where) || !slices.Equal(tensors, tt.tensors) || len(l.faults) > 1 {
			t.Errorf("%s of %s: %q, %q, %q, want %q", tt.results[0].Name, tt.recorded, got, where, tensors, tt.want)
		}
	}
}

// Embeddings that lack the factor are a matter of that setting, unless the logits are wrong too and no setting explains those: then it is the
// matrix of both.
func TestScaledEmbeddingsBesideLogits(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	for _, row := range run.results["hidden.0"] {
		for i := range row {
			row[i] /= math.Sqrt(float64(m.Config.Width))
		}
	}
	in := newInput(m, run.only("hidden.0"), nil)
	for _, tt := range []struct {
		beside  *Fault
		setting bool
	}{
		{nil, true},
		{&Fault{Kind: LogitsFault}, false},
		{&Fault{Kind: LogitsFault, Setting: &Setting{Name: SoftCapSetting}}, true},
		{&Fault{Kind: FinalNormFault}, true},
	} {
		l := &localiser{ctx: t.Context(), in: in, measured: &measurements{}, judged: &judgement{results: []*Site{outsideAt("hidden.0", "", false)}},
			reference: m.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})}
		if tt.beside != nil {
			l.faults = []*Fault{tt.beside, {Kind: RecurrentFault}}
		}
		if err := l.embeddingFault(&wrongElement{recorded: 1, computed: 2}); err != nil {
			t.Fatal(err)
		}
		got := l.faults[0]
		if got.Kind != EmbeddingFault || got.Block != -1 || (got.Setting != nil) != tt.setting || (got.Tensors == nil) != tt.setting || got.Values.Recorded != 1 || got.Values.Checkpoint != 2 {
			t.Errorf("beside %+v: %+v", tt.beside, got)
		}
		if tt.beside != nil && (len(l.faults) != 3 || l.faults[1] != tt.beside || l.faults[2].Kind != RecurrentFault) {
			t.Errorf("%d faults", len(l.faults))
		}
	}
}

// What a recording that is not finite says of a block or of the head is nothing.
func TestUnsoundBlocks(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	in := newInput(m, run.only("*"), nil)
	outside := []*Site{outsideAt("temporal.1", "", true), outsideAt("hidden.2", "", true), outsideAt("final_norm", "", true), outsideAt("logits", "", true)}
	for _, name := range []string{"hidden.1", "temporal.1", "hidden.2"} {
		l := &localiser{in: in, measured: &measurements{sites: []*siteErrors{spoiledSite(name, false, 1, 0)}}, judged: &judgement{results: outside}}
		if err := l.blockFaults(1); err != nil || len(l.faults) > 0 {
			t.Errorf("%s: %v, %d faults", name, err, len(l.faults))
		}
	}
	for name, sites := range map[string][]string{"final_norm": {"hidden.5", "final_norm"}, "logits": {"hidden.5", "logits"}} {
		for _, site := range sites {
			l := &localiser{in: in, measured: &measurements{sites: []*siteErrors{spoiledSite(site, false, 1, 0)}}, judged: &judgement{results: slices.Delete(slices.Clone(outside), 2, 3)}}
			if name == "final_norm" {
				l.judged.results = outside
			}
			if f, err := l.headFault(name, true); err != nil || f != nil || len(l.faults) > 0 {
				t.Errorf("%s: %v, %d faults", site, err, len(l.faults))
			}
		}
	}
	l := &localiser{in: in, measured: &measurements{}, judged: &judgement{results: outside}}
	if f, err := l.headFault("logits", true); err != nil || f != nil { // they follow from the final norm
		t.Errorf("%v, %+v", err, f)
	}
}

// Tensors are named once, and only those that the model has.
func TestTensorsOfParameters(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	l := &localiser{in: &input{model: f.Model(t, f.Checkpoints(t)[0])}}
	gate, attention := l.tensors(0, reference.MLPGate+reference.Kernel), l.tensors(0, reference.ProjQ+reference.Kernel)
	if both := l.tensors(0, reference.MLPGate+reference.Kernel, reference.ProjQ+reference.Kernel, reference.MLPGate+reference.Kernel); len(gate) != 1 || len(attention) != 0 || !slices.Equal(both, gate) {
		t.Errorf("%q, %q, %q", gate, attention, both)
	}
}

// A result outside in several passes is worst where its share is largest.
func TestWorstOfFault(t *testing.T) {
	l := &localiser{measured: &measurements{}}
	for _, shares := range [][]Number{{5, 7, 6}, {7, 5, 6}, {5, 6, 7}} {
		var all []*Site
		for i, share := range shares {
			s := outsideAt("hidden.1", []string{"", "packed", "decode"}[i], true)
			s.Worst = Location{Token: i, Share: share}
			all = append(all, s)
		}
		if f := l.add(0, "", RecurrentFault, true, all); f.Worst.Share != 7 || shares[f.Worst.Token] != 7 || f.Pass != "" {
			t.Errorf("%v: %+v", shares, f.Worst)
		}
	}
}

// Values of tokens that a pass lacks are nil.
func TestTokensOfRecording(t *testing.T) {
	if x := (*fixtureValues)(nil).token(0); x != nil {
		t.Errorf("%v", x)
	}
	v := &fixtureValues{Activations: reference.Activations{Width: 2, Float32: []float32{1, 2, 3, 4}}, recorded: []bool{false, true}}
	if x, y := v.token(0), v.token(1); x != nil || !slices.Equal(y, []float32{3, 4}) {
		t.Errorf("%v, %v", x, y)
	}
}

// A token beyond the vocabulary shows another model, wherever it is.
func TestTokensBeyondVocabulary(t *testing.T) {
	c := &model.Config{VocabSize: 4}
	for want, tokens := range map[string][]int32{"": {0, 3}, "its token 0 is 4, but the vocabulary has 4": {4, 1}, "its token 1 is 9, but the vocabulary has 4": {3, 9, 4}} {
		if got := Mismatch(c, &golden.Fixture{Passes: []golden.Pass{{Tokens: tokens}}}); got != want {
			t.Errorf("%d: %q, want %q", tokens, got, want)
		}
	}
}

// Wrong positions of one kind are no coincidence if as many at random are that with a probability below 1%.
func TestOnlyOfAKind(t *testing.T) {
	first := func(p docPosition) bool { return p.token == 0 }
	for _, tt := range []struct {
		wrong, right, alike int // right ones that are of the kind too
		want                bool
	}{{1, 99, 0, false}, {1, 100, 0, true}, {2, 12, 0, false}, {2, 13, 0, true}, {2, 13, 1, false}, {3, 7, 0, true}, {3, 6, 0, false}} {
		right := append(make([]docPosition, tt.alike), slices.Repeat([]docPosition{{token: 1}}, tt.right-tt.alike)...)
		if got := only(make([]docPosition, tt.wrong), right, first); got != tt.want {
			t.Errorf("%d wrong, %d right, %d of the kind: %t", tt.wrong, tt.right, tt.alike, got)
		}
	}
	if only([]docPosition{{token: 0}, {token: 1}}, slices.Repeat([]docPosition{{token: 1}}, 1000), first) {
		t.Error("a wrong position of another kind")
	}
}

// As many runs go through a block together as the memory has room for, and at least one.
func TestRunsTogether(t *testing.T) {
	for tokens, want := range map[int]int{1 << 10: 630, 1 << 20: 1} { // 65 activations of 8 bytes a token, in 320 MiB
		in := &input{model: &runtime.Model{Config: model.Config{MLPExpandedWidth: 5, Width: 7, LRUWidth: 11}}, tokens: make([]int32, tokens)}
		if got := in.together(); got != want {
			t.Errorf("%d tokens: %d, want %d", tokens, got, want)
		}
	}
}

// The scale of a token's error is that of all legal runs.
func TestScaleOfAllRuns(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	got, err := measure(t.Context(), newInput(m, newTrialRun(t, m).only("hidden.1"), nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := got.site("hidden.1", false)
	own, all := make([]float64, len(s.rmsScale)), 0.0
	for _, run := range s.runs {
		for token, e := range run {
			own[token] += e.RMS * e.RMS / float64(len(s.runs))
			all += e.RMS * e.RMS / float64(len(s.runs)*len(run))
		}
	}
	for token, scale := range s.rmsScale {
		if want := tokenScale(own[token], all); math.Abs(scale/want-1) > 1e-9 {
			t.Errorf("token %d: %g, want %g", token, scale, want)
		}
	}
}

// Logits without any error have a noise of nothing, in decibels.
func TestMetricsOfTheSame(t *testing.T) {
	var m meter
	addLogits(&m, 0, 0, []float32{3, 2, 1}, []float64{3, 2, 1})
	if got := m.metrics(); !math.IsInf(float64(got.NMSE), -1) || got.Largest != 0 || got.Top1 != 1 {
		t.Errorf("%+v", got)
	}
}
