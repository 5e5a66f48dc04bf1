package logits

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// unusual are settings that models of the family do not have, and whether a recording in bfloat16 of tiny-griffin tells them from the usual ones.
var unusual = []struct {
	name   string
	change func(c *model.Config)
	told   bool
	cause  string
}{
	{"rms_norm_eps 1e-05", func(c *model.Config) { c.Numerics.NormEpsilon = 1e-5 }, false, ""},
	{"rope_theta 30000", func(c *model.Config) { c.Numerics.RopeTheta = 30_000 }, true, "rope_theta 30000; the recording was made with 10000"},
	{"hidden_activation gelu", func(c *model.Config) { c.Numerics.Activation = "gelu" }, false, ""},
	{"logits_soft_cap 22", func(c *model.Config) { c.LogitsSoftCap = 22 }, true, "a soft cap of 22 on the logits; the recording was made with 30"},
	{"logits_soft_cap 50", func(c *model.Config) { c.LogitsSoftCap = 50 }, false, ""},
	{"rope_theta 12000", func(c *model.Config) { c.Numerics.RopeTheta = 12_000 }, false, ""},
}

// A model with an unusual setting is inside with its own recording, and the most that is said is that the setting is not told from the usual one. If the
// recording is of the usual one, that is a fault if the recording tells, although every output is inside; and otherwise it is said. With
// -falsealarms N the models of all cases are run with so many seeds.
func TestRivals(t *testing.T) {
	names, seeds := []string{"tiny-griffin"}, 1
	if *falseAlarmRuns > 0 {
		names, seeds = []string{"tiny-griffin", "odd-griffin", "micro-griffin"}, *falseAlarmRuns
	}
	for _, name := range names {
		c := cases.Open(t, name)
		usual := *c.Model(t, filepath.Join(c.Dir, "hf"))
		usual.Config.LogitsSoftCap, usual.Original.LogitsSoftCap = 30, 30
		for _, p := range []reference.Precision{reference.BFloat16, reference.Float32} {
			for _, u := range unusual {
				own := usual
				u.change(&own.Config)
				u.change(&own.Original)
				count := map[string]int{}
				for seed := range seeds {
					for which, recorded := range map[string]*runtime.Model{"own": &own, "usual": &usual} {
						tokens, positions, packed, batch := trialTokens(recorded)
						s := seedCase{name, recorded, p, tokens, positions, packed, batch, golden.RecordOptions{}}
						g := s.fixtureOf(t, reference.Arithmetic{Precision: p, Order: uint64(7000 + seed), Fused: p == reference.BFloat16 && seed%3 == 0}, seed)
						r := compareWith(t, &own, g)
						g.Close()
						os.Remove(g.Path)
						said := "silent"
						switch {
						case !r.OK && r.Faults[0].Kind == SettingsFault:
							said = "fault"
						case !r.OK:
							said = "outside"
						case len(r.Untold) > 0:
							said = "untold"
						}
						count[which+" "+said]++
						if seeds > 1 {
							continue
						}
						want := map[bool]string{true: "silent", false: "untold"}[u.told || p == reference.Float32]
						if which == "usual" && p == reference.Float32 {
							want = "outside"
						} else if which == "usual" && u.told {
							want = "fault"
						}
						if said != want {
							t.Errorf("%s in %s, recorded with %s: %s, want %s; %s", u.name, p, which, said, want, r.Summary)
						}
						if want == "fault" && said == want && (r.Faults[0].Cause != u.cause || !strings.HasSuffix(r.Headline(), "match within rounding, but together they show other settings") || !strings.HasSuffix(r.Summary, u.cause)) {
							t.Errorf("%s: %q, %q", u.name, r.Headline(), r.Summary)
						}
						if want == "untold" && said == want && !strings.HasPrefix(r.Doubts()[0], u.name+" is not usual for this family, and this recording does not tell it from ") {
							t.Errorf("%q", r.Doubts())
						}
					}
				}
				if seeds > 1 {
					t.Logf("%s in %s, %s: %v", name, p, u.name, count)
				}
				if n := count["own fault"] + count["own outside"]; n > 0 {
					t.Errorf("%s in %s, %s: %d false alarms in %d", name, p, u.name, n, seeds)
				}
			}
		}
	}
}

// A model with the usual settings has no rivals, and an original only the soft cap, because its numbers are in the code that runs it.
func TestRivalsOfUsual(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	for _, path := range c.Checkpoints(t) {
		m := *c.Model(t, path)
		g, err := golden.Open(c.Recording("jax"))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if all := rivals(newInput(&m, g, nil), &Options{}); all != nil {
			t.Errorf("%s: %d", path, len(all))
		}
		m.Config.Numerics = model.Numerics{Activation: "gelu", NormEpsilon: 1e-3, RopeTheta: 500, RotaryFactor: 1}
		m.Original.LogitsSoftCap, m.Original.Numerics = 20, m.Config.Numerics
		softCap := 20.0
		all := rivals(newInput(&m, g, nil), &Options{Given: model.Settings{LogitsSoftCap: &softCap}})
		want := map[bool]int{true: 5, false: 1}[m.Found.Layout == model.HuggingFace]
		if len(all) != want || *all[want-1].setting != (Setting{SoftCapSetting, "20", "30", true}) {
			t.Errorf("%s: %d rivals", path, len(all))
		}
	}
}

// Sites count by the variance of their legal runs, and the standard error is no less than that of independent errors, also if few runs show less.
func TestEvidenceOfSites(t *testing.T) {
	coarse := &siteErrors{runs: [][]TokenError{{{RMS: 2}}, {{RMS: 2}}}}
	fine, exact := &siteErrors{runs: [][]TokenError{{{RMS: 1}}, {{RMS: 1}}}}, &siteErrors{runs: [][]TokenError{{{}}, {{}}}}
	v := &rival{sites: map[*siteErrors]*projections{
		coarse: {square: 12, recorded: 24, absolute: 2, runs: []float64{0, 0}},
		fine:   {square: 1, recorded: 2, absolute: 3, runs: []float64{0, 0}},
		exact:  {square: 1, recorded: 9, absolute: 9, runs: []float64{9, 9}},
	}}
	if got := v.evidence(); got != (evidence{2, 0.5, 1}) {
		t.Errorf("%+v", got)
	}
	v.sites[coarse].runs, v.sites[fine].runs = []float64{16, 0}, []float64{0, -4}
	if got := v.evidence(); got != (evidence{2, 1, 1}) {
		t.Errorf("%+v", got)
	}
}

// The evidence has to be on one side of the middle by more than its errors.
func TestEvidence(t *testing.T) {
	for _, tt := range []struct {
		e    evidence
		want int
	}{
		{evidence{1, 0.05, 1}, 1}, {evidence{0, 0.05, 1}, -1}, {evidence{0.5, 0.05, 1}, 0}, {evidence{0.8, 0.05, 1}, 0}, {evidence{0.83, 0.05, 1}, 1},
		{evidence{0.17, 0.05, 1}, -1}, {evidence{9, 0.2, 1}, 0}, {evidence{9, 0.05, 4}, 0}, {evidence{9, 0, 0}, 1}, {(&rival{}).evidence(), 0},
	} {
		if got := tt.e.shows(); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.e, got, tt.want)
		}
	}
}

// A recording tells an attention window from others if a document reaches beyond it. It is not doubted if it is the published one of the shapes, nor of a
// model without attention.
func TestUntoldWindow(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	m := *c.Model(t, filepath.Join(c.Dir, "hf"))
	g, err := golden.Open(c.Recording("jax")) // its longest document has 24 tokens
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	recurrent, published := m, m
	recurrent.Config.BlockTypes = model.Repeat(len(m.Config.BlockTypes), model.Recurrent)
	published.Config = model.Griffin.Preset("2b").Config
	published.Config.VocabSize, published.Original = m.Config.VocabSize, published.Config
	const beyond, smaller, other = "no document reaches beyond the attention window of ", ": the recording does not tell it from a larger one", ": the recording does not tell it from another"
	for _, tt := range []struct {
		model     runtime.Model
		semantics reference.Semantics
		window    int64
		want      string
	}{
		{m, reference.Original, 22, ""},
		{m, reference.Original, 23, beyond + "23" + smaller},
		{m, reference.Original, 24, beyond + "24" + other},
		{m, reference.Transformers5, 23, ""},
		{m, reference.Transformers5, 24, beyond + "24" + smaller},
		{m, reference.Transformers5, 25, beyond + "25" + other},
		{m, reference.Transformers4, 8, "transformers4 attends without a window: the recording does not tell the attention window of 8 from another"},
		{recurrent, reference.Original, 2048, ""},
		{published, reference.Original, 2048, ""},
		{published, reference.Original, 1024, beyond + "1024" + other},
	} {
		tt.model.Config.AttentionWindow, tt.model.Original.AttentionWindow = tt.window, tt.window
		var r Result
		r.Semantics = tt.semantics.String()
		if s := untoldWindow(newInput(&tt.model, g, &tt.semantics), &Options{Given: model.Settings{AttentionWindow: &tt.window}}); s != nil {
			r.Untold = []*Setting{s}
			if s.Name != WindowSetting || !strings.HasSuffix(tt.want, s.Recorded) || !s.Given {
				t.Errorf("%+v", s)
			}
		}
		if got := strings.Join(r.Doubts(), "; "); got != tt.want {
			t.Errorf("%v, window %d: %q, want %q", tt.semantics, tt.window, got, tt.want)
		}
	}
}
