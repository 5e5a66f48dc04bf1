package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// verifyAlone verifies one checkpoint, without a converted one.
func verifyAlone(t *testing.T, path string, o Options) (*Verdict, error) {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return Verify(t.Context(), c, nil, o)
}

// Of two checkpoints that are proven to be the same model the one is run whose layout the fixture's implementation runs.
func TestLogitsOfProvenModels(t *testing.T) {
	c := cases.Open(t, "odd-griffin")
	torch, orbax, hf := filepath.Join(c.Dir, "original", "torch.pt"), filepath.Join(c.Dir, "original", "orbax-zarr3"), filepath.Join(c.Dir, "hf")
	for _, tt := range []struct{ source, converted, recording, run, semantics string }{
		{torch, "", "jax", torch, "original"},
		{torch, "", "hf5", torch, "transformers5"},
		{hf, "", "hf5", hf, "transformers5"},
		{hf, "", "jax", hf, "original"},
		{torch, hf, "jax", torch, "original"},
		{torch, hf, "hf5", hf, "transformers5"},
		{torch, hf, "hf4", hf, "transformers4"},
		{hf, torch, "jax", torch, "original"},
		{hf, torch, "hf5", hf, "transformers5"},
		{hf, hf, "jax", hf, "original"},
		{torch, orbax, "jax", torch, "original"},
		{torch, orbax, "hf5", orbax, "transformers5"},
	} {
		o := Options{Settings: c.Settings, Golden: c.Recording(tt.recording)}
		var v *Verdict
		var err error
		answer := "the same model"
		if tt.converted == "" {
			v, err = verifyAlone(t, tt.source, o)
			answer = "the model that was recorded"
			if tt.source == torch {
				answer += ", with attention window 5, logits soft cap 20 and embedding scale true as given"
			}
		} else {
			v, err = verifyFiles(t, tt.source, tt.converted, o)
		}
		if err != nil || !v.Same || v.Answer() != answer || len(v.Logits) != 1 || v.Logits[0].Checkpoint != tt.run || v.Logits[0].Semantics != tt.semantics || v.Golden != o.Golden {
			t.Errorf("%+v: %+v, %v", tt, v, err)
		}
		if onHF := tt.source == hf || tt.converted == hf; (v.Window != nil) != onHF {
			t.Errorf("%+v: window %+v", tt, v.Window)
		}
	}
}

// Checkpoints that are not the same are both compared with the fixture, and the text says which is which. A converted checkpoint that cannot
// be run is left out.
func TestLogitsOfOtherModels(t *testing.T) {
	b := baseOf(t, "float32, torch")
	recording := cases.Open(t, "odd-griffin").Recording("jax")
	judge := func(spoil func(m *made)) *Verdict {
		m := b.made.clone()
		spoil(m)
		v, err := verifyFiles(t, b.source, m.write(t), Options{Settings: b.settings, Golden: recording, Facts: true})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := judge(func(m *made) { each(func(x float32) float32 { return 1.5 * x })(m.get(in(1, downProj))) })
	if v.Same || len(v.Logits) != 2 || !v.Logits[0].OK || v.Logits[1].OK || v.Logits[1].Checkpoint != v.Converted.Path {
		t.Fatalf("%+v", v)
	}
	checks := v.Checks()
	if last := checks[len(checks)-2:]; !strings.HasPrefix(last[0].Summary, "source: ") || !strings.HasPrefix(last[1].Summary, "converted: ") || last[0].Failures.Len() != 0 || last[1].Failures.Len() != 1 {
		t.Errorf("%+v", last)
	}
	var out strings.Builder
	if err := WriteText(&out, v, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"logits         ok    source: ", "logits         FAIL  converted: ", "\n                     source, run as original, full pass: largest difference ",
		"\n                     converted, run as original, packed rows: largest difference ", "  in the logits of the converted checkpoint: block 1, MLP: first wrong", "because of the weights of " + in(1, downProj)} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "logits: 1 failure") {
		t.Errorf("what wrong weights do is listed as another failure:\n%s", out.String())
	}
	if f := v.Logits[1].Faults; len(f) != 1 || !strings.Contains(f[0].Cause, ", which "+filepath.Base(b.source)+" has as it was recorded") {
		t.Errorf("the source does not explain the fault: %s", v.Logits[1].Summary)
	}

	note := "the logits of the converted checkpoint were not compared: it cannot be run, because of what is wrong with it"
	for what, spoil := range map[string]func(m *made){
		"integers":                   func(m *made) { one(recurrent(aParam), func(e *entry) { e.dtype = tensor.I32 })(m) },
		"nothing is a model":         func(m *made) { m.tensors = m.tensors[:1] },
		"no configuration":           func(m *made) { m.config = nil },
		"other heads":                func(m *made) { m.config["num_attention_heads"] = 5 },
		"a matrix that does not fit": func(m *made) { one(last(gateProj), func(e *entry) { slices.Reverse(e.shape) })(m) },
	} {
		v := judge(spoil)
		if v.Same || len(v.Logits) != 1 || !v.Logits[0].OK || v.Logits[0].Checkpoint != b.source || !slices.Contains(v.Notes, note) || v.Runtime != nil || v.Window != nil || v.Given != nil {
			t.Errorf("%s: %d logits, notes %q, %+v, %+v", what, len(v.Logits), v.Notes, v.Runtime, v.Window)
		}
		if text := textOf(t, v); !strings.Contains(text, "\nlogits         ok    source: ") {
			t.Errorf("%s: the logits of the source are not named:\n%s", what, text)
		}
	}
}

// A wrong conversion in another dtype is not run against the recording, as a right one is not: rounding is no failure.
func TestLogitsOfRoundedWrongConversion(t *testing.T) {
	hf := filepath.Join(cases.Open(t, "odd-griffin").Dir, "hf")
	recording := cases.Open(t, "odd-griffin").Recording("hf5")
	convertedTo := func(d tensor.DType, spoil func(m *made)) *Verdict {
		m := baseOf(t, "float32, torch").made.clone()
		for _, e := range m.tensors {
			e.cast(d)
		}
		m.config["dtype"] = d.String()
		spoil(m)
		v, err := verifyFiles(t, hf, m.write(t), Options{Golden: recording})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const note = "logits of the source: the conversion, %s, was not run against the recording\n"
	wrongValue := func(m *made) { flip(3, 0)(m.get(in(1, downProj))) }
	for _, tt := range []struct {
		what  string
		to    tensor.DType
		spoil func(m *made)
		note  string
	}{
		{"a value", tensor.BF16, wrongValue, "rounded to bfloat16"},
		{"a field", tensor.BF16, func(m *made) { m.config["rms_norm_eps"] = 1e-3 }, "rounded to bfloat16"},
		{"a value of the only tensor of another dtype", tensor.F32, func(m *made) {
			m.get(in(1, downProj)).cast(tensor.BF16)
			wrongValue(m)
		}, "1 tensor rounded to bfloat16"},
		{"a value, not rounded", tensor.F32, wrongValue, ""},
	} {
		v := convertedTo(tt.to, tt.spoil)
		out := textOf(t, v)
		want := 2 // both are run
		if tt.note != "" {
			want = 1
		}
		if v.Same || len(v.Logits) != want || !v.Logits[0].OK || v.Logits[0].Checkpoint != hf {
			t.Errorf("%s: %d logits\n%s", tt.what, len(v.Logits), out)
		}
		if tt.note != "" && (!strings.Contains(out, fmt.Sprintf(note, tt.note)) || strings.Contains(out, "converted checkpoint:")) {
			t.Errorf("%s: no note in, or failures of the logits:\n%s", tt.what, out)
		}
		if wrong := v.Weights.Findings.Len() + v.Config.Findings.Len(); wrong != 1 {
			t.Errorf("%s: %d findings\n%s", tt.what, wrong, out)
		}
	}
}

// Where a half of a block is wrong, the other is not named.
func TestLookAtOneHalf(t *testing.T) {
	m := baseOf(t, "float32, torch").made.clone()
	right := openModel(t, m.write(t), model.Settings{})
	tokens, err := golden.RandomTokens(6, right.Config.VocabSize, 3)
	if err != nil {
		t.Fatal(err)
	}
	recording := filepath.Join(t.TempDir(), "fixture.safetensors")
	if _, err := golden.Record(t.Context(), recording, right.Reference(reference.Original, reference.Arithmetic{}), tokens, golden.RecordOptions{}); err != nil {
		t.Fatal(err)
	}
	each(func(x float32) float32 { return 1.5 * x })(m.get(in(1, downProj)))
	v, err := verifyAlone(t, m.write(t), Options{Golden: recording})
	if err != nil {
		t.Fatal(err)
	}
	const want = "; look at model.layers.1.channel_pre_norm.weight, model.layers.1.mlp_block.*\n"
	if text := textOf(t, v); !strings.Contains(text, want) {
		t.Errorf("no %q: %s", want, text)
	}
}

// A soft cap that a model does not have makes other logits, one that stands for none does not.
func TestLogitsOfSoftCap(t *testing.T) {
	b := dividedBases(t)[0]
	for softCap, ok := range map[float64]bool{30: false, 1 << 21: true} {
		m := b.made.clone()
		m.config["logits_soft_cap"] = softCap
		v, err := verifyFiles(t, b.source, m.write(t), Options{Settings: b.settings, Golden: cases.Open(t, "micro-hawk").Recording("jax")})
		if err != nil || v.Same != ok || slices.ContainsFunc(v.Logits, func(r *logits.Result) bool { return !r.OK }) == ok {
			t.Errorf("%g: %+v, %v", softCap, v, err)
		}
	}
}

// A fixture that is not there is an error, unless only weights are compared.
func TestNoFixture(t *testing.T) {
	c := cases.Open(t, "odd-griffin")
	hf := filepath.Join(c.Dir, "hf")
	o := Options{Golden: filepath.Join(t.TempDir(), "none.safetensors")}
	if _, err := verifyAlone(t, hf, o); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if _, err := verifyFiles(t, hf, hf, o); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	o.WeightsOnly = true
	if v, err := verifyFiles(t, hf, hf, o); err != nil || !v.Same || v.Logits != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

// Nothing beside a directory says whether its window is the original's or one more, but what the original computed with it does, if a
// document is long enough.
func TestWindowOfFixture(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	hf := filepath.Join(c.Dir, "hf")
	matched := matchedBases(t)[0].made.clone().write(t)
	for _, tt := range []struct {
		dir, recording  string
		written, window int64
		source          runtime.Evidence
		ok              bool
	}{
		{hf, "jax", 8, 8, runtime.FromFixture, true},
		{hf, "hf5", 8, 8, runtime.Assumed, true},
		{matched, "jax", 9, 8, runtime.FromFixture, true},
		{matched, "hf5", 9, 9, runtime.Assumed, false},
	} {
		v, err := verifyAlone(t, tt.dir, Options{Golden: c.Recording(tt.recording)})
		if err != nil {
			t.Fatal(err)
		}
		if w := v.Window; v.Same != tt.ok || v.Logits[0].OK != tt.ok || w.Written != tt.written || w.Original != tt.window || w.Source != tt.source {
			t.Errorf("%+v: %t, %+v, %s", tt, v.Same, w, v.Logits[0].Summary)
		}
	}
	// One token more than the window shows it.
	for length, source := range map[int]runtime.Evidence{6: runtime.Assumed, 8: runtime.Assumed, 9: runtime.FromFixture} {
		m := openModel(t, hf, model.Settings{})
		tokens, err := golden.RandomTokens(length, m.Config.VocabSize, 3)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "fixture.safetensors")
		if _, err := golden.Record(t.Context(), path, m.Reference(reference.Original, reference.Arithmetic{}), tokens, golden.RecordOptions{}); err != nil {
			t.Fatal(err)
		}
		for path, source := range map[string]runtime.Evidence{asRecordedBy(t, path, golden.JAX): source, path: runtime.Assumed} { // griffin computes with what it is given
			if v, err := verifyAlone(t, hf, Options{Golden: path}); err != nil || !v.Same || v.Window.Original != 8 || v.Window.Source != source {
				t.Errorf("%d tokens: %+v, %v", length, v.Window, err)
			}
		}
	}
	// What it shows of one of two that are the same is so of the other.
	back := filepath.Join(t.TempDir(), "back.pt")
	source, err := formats.Open(hf, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if _, err := convert.Convert(t.Context(), source, back, convert.Options{To: convert.ToTorch}); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{hf, hf}, {hf, back}, {matched, matched}} {
		o := Options{Golden: c.Recording("jax")}
		if v, err := verifyFiles(t, pair[0], pair[1], o); err != nil || !v.Same || v.Window.Original != 8 || v.Window.Source != runtime.FromFixture {
			t.Errorf("%v: %+v, %v", pair, v.Window, err)
		}
	}
	// Of a converted directory the source says it, whatever the fixture shows.
	v, err := verifyFiles(t, filepath.Join(c.Dir, "original", "torch.pt"), matched, Options{Settings: c.Settings, Golden: c.Recording("jax")})
	if err != nil || !v.Same || v.Window.Written != 9 || v.Window.Original != 8 || v.Window.Source != runtime.FromSource || v.Runtime.From != -1 {
		t.Errorf("%+v, %v", v.Window, err)
	}
	// A window that is neither is a finding, and described by the source's.
	m := matchedBases(t)[0].made.clone()
	m.config["attention_window_size"], m.keeps = 12, true
	if v, err = m.judge(t); err != nil || v.Same || v.Window.Written != 12 || v.Window.Original != 8 {
		t.Errorf("%+v, %v", v.Window, err)
	}
	// What runtimes do is said of the window that it should have.
	does := map[string]bool{}
	for _, f := range v.Runtime.Facts {
		does[f.Runtime+": "+f.Does] = true
	}
	for _, want := range []string{"original: attention sees 9 tokens: its own and 8 before it", "transformers5: as the original, decoding too: attention sees 9 tokens in both"} {
		if !does[want] {
			t.Errorf("no %q: %q", want, slices.Sorted(maps.Keys(does)))
		}
	}
}

// What another runtime does with the directory is a note: where in the fixture's tokens, or in any long document, it diverges, and by how much.
func TestRuntimes(t *testing.T) {
	c := cases.Open(t, "odd-griffin") // of a window of 5
	torch, orbax, hf := filepath.Join(c.Dir, "original", "torch.pt"), filepath.Join(c.Dir, "original", "orbax-zarr3"), filepath.Join(c.Dir, "hf")
	explained, err := openModel(t, hf, model.Settings{}).Explain()
	if err != nil {
		t.Fatal(err)
	}
	facts := runtime.Facts(explained)
	at := func(token int) *logits.Location { return &logits.Location{Token: token, Position: int32(token)} }
	for _, tt := range []struct {
		source, converted, golden string
		runtime                   *runtime.Runtime
		from                      int
		first                     *logits.Location
		tokens                    int // of the metrics
	}{
		{torch, hf, "", nil, 5, nil, 0},
		{torch, hf, "jax", nil, 5, at(5), 20},
		{hf, torch, "jax", nil, 5, at(5), 20},
		{torch, hf, "hf5", runtime.Transformers5, 5, at(5), 20},
		{torch, hf, "jax", runtime.Transformers4, 6, at(6), 18},
		{torch, hf, "jax", runtime.MLX, -1, nil, 0}, // which does not load it
	} {
		o := Options{Settings: c.Settings, Runtime: tt.runtime}
		if tt.golden != "" {
			o.Golden = c.Recording(tt.golden)
		}
		v, err := verifyFiles(t, tt.source, tt.converted, o)
		if err != nil || !v.Same || v.Runtime == nil {
			t.Fatalf("%+v: %+v, %v", tt, v, err)
		}
		r := v.Runtime
		tokens := 0
		if r.Metrics != nil {
			tokens = r.Metrics.Tokens
			if !(r.Metrics.Largest > 0.1) {
				t.Errorf("%+v: metrics %+v", tt, r.Metrics)
			}
		}
		name := runtime.Transformers5.Name
		if tt.runtime != nil {
			name = tt.runtime.Name
		}
		if r.Runtime != name || r.From != tt.from || r.Part != (tt.first != nil) || (r.First == nil) != (tt.first == nil) || r.First != nil && *r.First != *tt.first || tokens != tt.tokens || !reflect.DeepEqual(r.Facts, facts) || (r.Reason != "") != r.Part || r.Pass != "" {
			t.Errorf("%+v: %+v, first %+v, %d tokens", tt, r, r.First, tokens)
		}
	}
	for _, pair := range [][2]string{{torch, orbax}, {orbax, torch}} { // one runtime runs both
		if v, err := verifyFiles(t, pair[0], pair[1], Options{Settings: c.Settings}); err != nil || !v.Same || v.Runtime != nil || v.Window != nil {
			t.Errorf("%q: %+v, %v", pair, v, err)
		}
	}
	// Of another model the logits of all tokens are compared, if it has the same sizes.
	m := baseOf(t, "float32, torch").made.clone()
	each(func(x float32) float32 { return 1.5 * x })(m.get(in(1, downProj)))
	dir := m.write(t)
	v, err := verifyFiles(t, torch, dir, Options{Settings: c.Settings, Golden: c.Recording("jax")})
	if err != nil || v.Same || v.Runtime == nil || v.Runtime.Metrics == nil || v.Runtime.Metrics.Tokens != 30 {
		t.Errorf("%+v, %v", v.Runtime, err)
	}
	m = baseOf(t, "float32, torch").made.clone()
	one(embedding, func(e *entry) { e.shape[0]--; e.data = e.data[:e.shape[0]*e.shape[1]*e.size()] })(m)
	m.config["vocab_size"] = 60
	if v, err = verifyFiles(t, torch, m.write(t), Options{Settings: c.Settings}); err != nil || v.Same || v.Runtime == nil || v.Runtime.Metrics != nil || v.Runtime.From != 5 {
		t.Errorf("of another vocabulary: %+v, %v", v.Runtime, err)
	}
	m = baseOf(t, "float32, torch").made.clone()
	m.tensors = slices.DeleteFunc(m.tensors, func(e *entry) bool { return strings.HasPrefix(e.name, "model.layers.2.") })
	m.config["num_hidden_layers"] = 2
	if v, err = verifyFiles(t, torch, m.write(t), Options{Settings: c.Settings}); err != nil || v.Same || v.Another() || v.Runtime != nil {
		t.Errorf("of fewer layers: %+v, %v", v.Runtime, err)
	}
	// Without attention they diverge only at the boundary of packed documents. Rounded weights make other logits everywhere.
	hawk := cases.Open(t, "micro-hawk")
	for i, b := range dividedBases(t)[:2] {
		dir := b.made.write(t)
		for recording, tokens := range map[string][2]int{"jax": {28, 36}, "torch": {0, 36}} { // torch recorded no packed rows
			v, err := verifyFiles(t, b.source, dir, Options{Settings: hawk.Settings, Golden: hawk.Recording(recording)})
			if err != nil || !v.Same || v.Runtime == nil {
				t.Fatalf("%s, %s: %+v, %v", b.name, recording, v, err)
			}
			r := v.Runtime
			if r.From != -1 || r.Part != (recording == "jax") || r.Part && (*r.First != logits.Location{Token: 4} || r.Pass != "packed") || (r.Metrics != nil) != (tokens[i] > 0) || r.Metrics != nil && (r.Metrics.Tokens != tokens[i] || !(r.Metrics.Largest > 0)) {
				t.Errorf("%s, %s: %+v, %+v", b.name, recording, r, r.Metrics)
			}
			if parted := r.Part && i == 1; (r.Rounding != nil) != parted || parted && (r.Rounding.Largest >= r.Metrics.Largest || r.Rounding.Tokens <= r.Metrics.Tokens || r.SourceAs != "original" || r.ConvertedAs != "transformers5") {
				t.Errorf("%s, %s: rounding %+v of %+v", b.name, recording, r.Rounding, r)
			}
			if apart := strings.HasSuffix(r.Summary, " at every position"+map[bool]string{false: " of a document"}[r.Part]+", apart from rounding to bfloat16"); apart != (i == 1) {
				t.Errorf("%s: %s", b.name, r.Summary)
			}
		}
	}
}

// A fixture whose sizes are those of neither checkpoint, or not of a checkpoint alone, is the wrong one, which is an error before anything is verified.
// One that has those of the conversion is compared.
func TestFixtureOfAnotherModel(t *testing.T) {
	tiny, odd := cases.Open(t, "tiny-griffin"), cases.Open(t, "odd-griffin")
	torch, hf, other := filepath.Join(odd.Dir, "original", "torch.pt"), filepath.Join(odd.Dir, "hf"), filepath.Join(tiny.Dir, "hf")
	const sizes = "hidden.0 is 32 wide, but the model's is 36; it has hidden.4, but the model has 3 blocks; logits is 128 wide, but the model's is 61"
	o := Options{Settings: odd.Settings, Golden: tiny.Recording("jax")}
	var wrong *model.OptionError
	if v, err := verifyFiles(t, torch, hf, o); v != nil || !errors.As(err, &wrong) || wrong.Option != "Golden" || !strings.HasPrefix(wrong.Problem, o.Golden+" is of another model than the source: ") || !strings.HasSuffix(wrong.Problem, "; "+sizes) {
		t.Errorf("%+v, %v", v, err)
	}
	o.WeightsOnly = true
	if v, err := verifyFiles(t, torch, hf, o); err != nil || !v.Same {
		t.Errorf("only weights: %+v, %v", v, err)
	}
	o.WeightsOnly = false
	v, err := verifyFiles(t, torch, other, o) // of the conversion
	if err != nil || v.Same || len(v.Logits) != 2 || v.Logits[0].OK || !strings.HasPrefix(v.Logits[0].Summary, "the fixture is of another model: ") || !v.Logits[1].OK || v.Runtime != nil || slices.ContainsFunc(v.Notes, doubts) {
		t.Errorf("%+v, %v", v, err)
	}
	o.Golden = odd.Recording("jax")
	v, err = verifyFiles(t, torch, other, o) // of the source
	if err != nil || v.Same || len(v.Logits) != 2 || !v.Logits[0].OK || v.Logits[1].OK || !strings.HasPrefix(v.Logits[1].Summary, "the fixture is of another model: ") {
		t.Errorf("%+v, %v", v, err)
	}
	v, err = verifyAlone(t, other, Options{Golden: o.Golden})
	if wrong = nil; v != nil || !errors.As(err, &wrong) || wrong.Option != "Golden" || !strings.HasPrefix(wrong.Problem, o.Golden+" is of another model than the checkpoint: ") || !strings.Contains(wrong.Hint, "this checkpoint") {
		t.Errorf("%+v, %v", v, err)
	}
}

// A token that is just outside the vocabulary is of another model.
func TestTokenOutside(t *testing.T) {
	tiny, odd := cases.Open(t, "tiny-griffin"), cases.Open(t, "odd-griffin")
	m := openModel(t, filepath.Join(tiny.Dir, "hf"), model.Settings{})
	path := filepath.Join(t.TempDir(), "fixture.safetensors")
	tokens := &golden.Tokens{IDs: []int32{3, 61, 5, 60, 1, 2, 7, 9}, Batch: 1, Length: 8}
	if _, err := golden.Record(t.Context(), path, m.Reference(reference.Original, reference.Arithmetic{}), tokens, golden.RecordOptions{}); err != nil {
		t.Fatal(err)
	}
	v, err := verifyAlone(t, filepath.Join(odd.Dir, "hf"), Options{Golden: path})
	if v != nil || err == nil || !strings.Contains(err.Error(), " is of another model than the checkpoint: its token 1 is 61, but the vocabulary has 61; ") {
		t.Errorf("%+v, %v", v, err)
	}
}

// A fixture that records the digest of other weights of the same sizes is the wrong one too, if what the source computes is not what it has.
func TestFixtureOfOtherWeights(t *testing.T) {
	b := baseOf(t, "float32, torch")
	torch, right := b.source, b.made.clone().write(t)
	m := b.made.clone()
	each(func(x float32) float32 { return 1.5 * x })(m.get(in(1, downProj)))
	wrong := m.write(t)
	record := func(path string, settings model.Settings, as reference.Semantics, digests ...string) string {
		return recordFixture(t, path, settings, as, digests...)
	}
	six := int64(6)
	otherWindow := b.settings
	otherWindow.AttentionWindow = &six
	another := b.made.clone()
	each(func(x float32) float32 { return 1.25 * x })(another.get(in(1, downProj)))
	for _, tt := range []struct {
		name, source, converted, golden string
		refused                         bool
	}{
		{"other weights in the layout of the source", right, torch, record(wrong, model.Settings{}, reference.Original), true},
		{"other weights in the layout of the conversion", torch, right, record(wrong, model.Settings{}, reference.Original), false},
		{"other weights than both, which differ", right, another.write(t), record(wrong, model.Settings{}, reference.Original), true},
		{"other weights by an unknown digest", right, right, record(wrong, model.Settings{}, reference.Original, "huggingface sha1:00"), false},
		{"of the conversion", right, wrong, record(wrong, model.Settings{}, reference.Original), false},
		{"of the conversion, by a digest of the layout of the source", torch, wrong, record(wrong, model.Settings{}, reference.Original, "torch blake3:"+strings.Repeat("0", 64)), false},
		{"of the conversion, by no digest that can be compared", right, wrong, record(wrong, model.Settings{}, reference.Original, "flax blake3:"+strings.Repeat("0", 64)), false},
		{"of the source", right, wrong, record(right, model.Settings{}, reference.Original), false},
		{"of the source with another window", torch, right, record(torch, otherWindow, reference.Original), false},
		{"other weights that compute the same", right, right, record(right, model.Settings{}, reference.Original, "huggingface blake3:"+strings.Repeat("0", 64)), false},
	} {
		v, err := verifyFiles(t, tt.source, tt.converted, Options{Settings: settingsFor(tt.source, torch, b.settings), Golden: tt.golden})
		var option *model.OptionError
		if refused := errors.As(err, &option) && option.Option == "Golden" && strings.Contains(option.Problem, "of other weights than the source: it records huggingface blake3:"); refused != tt.refused || !refused && (err != nil || v.Same != strings.HasSuffix(tt.name, "the same")) {
			t.Errorf("%s: %+v, %v", tt.name, v, err)
		}
		if v == nil {
			continue
		}
		beside := map[bool]string{tt.name == "of the conversion": "; the recording is of the conversion's weights", strings.HasPrefix(tt.name, "of the conversion, by"): "; the conversion computes what was recorded"}[true]
		doubted := slices.ContainsFunc(v.Notes, func(n string) bool { return strings.HasPrefix(n, "the fixture need not be") })
		if _, said, _ := strings.Cut(v.Logits[0].Headline(), "by more than rounding"); said != beside || doubted {
			t.Errorf("%s: %q, want %q; %q", tt.name, said, beside, v.Notes)
		}
	}
	if v, err := verifyAlone(t, right, Options{Golden: record(wrong, model.Settings{}, reference.Original)}); err != nil || v.Same {
		t.Errorf("a checkpoint alone is what the fixture judges: %+v, %v", v, err)
	}
}

// asRecordedBy returns a copy of a fixture that says that another implementation recorded it.
func asRecordedBy(t *testing.T, path string, implementation golden.Implementation) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(content)
	header := bytes.Replace(content[8:8+n], []byte(`"implementation":"griffin"`), fmt.Appendf(nil, `"implementation":%q`, implementation), 1)
	if len(header) == int(n) {
		t.Fatalf("%s: the header does not say that griffin recorded it", path)
	}
	copied := filepath.Join(t.TempDir(), "fixture.safetensors")
	if err := os.WriteFile(copied, slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, content[8+n:]), 0o666); err != nil {
		t.Fatal(err)
	}
	return copied
}

// recordFixture records what griffin computes with a checkpoint, and the digest of its weights or another.
func recordFixture(t *testing.T, path string, settings model.Settings, as reference.Semantics, digests ...string) string {
	t.Helper()
	m := openModel(t, path, settings)
	tokens, err := golden.RandomTokens(12, m.Config.VocabSize, 3)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := m.Digest(t.Context(), digest.Default, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(digests) > 0 {
		weights = digests[0]
	}
	out := filepath.Join(t.TempDir(), "fixture.safetensors")
	if _, err := golden.Record(t.Context(), out, m.Reference(as, reference.Arithmetic{}), tokens, golden.RecordOptions{Digest: func(context.Context) (string, error) { return weights, nil }, DigestLength: len(weights)}); err != nil {
		t.Fatal(err)
	}
	return out
}

// settingsFor returns settings for an original; a directory has its own.
func settingsFor(path, original string, s model.Settings) model.Settings {
	if path != original {
		return model.Settings{}
	}
	return s
}

// Settings that were given, and that the recording contradicts, explain what is outside. Those that it does not contradict are noted: nothing proves them.
func TestGivenSettings(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	torch := filepath.Join(c.Dir, "original", "torch.pt")
	for _, tt := range []struct {
		window  int64
		softCap float64
		scale   bool
		want    []logits.Setting
		note    string
	}{
		{8, 30, true, nil, ""},
		{8, 30, false, []logits.Setting{{Name: logits.ScaleSetting, Value: "false", Recorded: "true", Given: true}}, "given, not proven: attention window 8, logits soft cap 30;"},
		{6, 20, true, []logits.Setting{{Name: logits.WindowSetting, Value: "6", Recorded: "8", Given: true}}, "given, not proven: logits soft cap 20;"},
		{8, 3, true, []logits.Setting{{Name: logits.SoftCapSetting, Value: "3", Recorded: "30", Given: true}}, "given, not proven: attention window 8;"},
		{8, 0, true, []logits.Setting{{Name: logits.SoftCapSetting, Value: "0", Recorded: "30", Given: true}}, "given, not proven: attention window 8;"},
		{3, 0, false, []logits.Setting{{Name: logits.ScaleSetting, Value: "false", Recorded: "true", Given: true}, {Name: logits.WindowSetting, Value: "3", Recorded: "8", Given: true},
			{Name: logits.SoftCapSetting, Value: "0", Recorded: "30", Given: true}}, ""},
	} {
		v, err := verifyAlone(t, torch, Options{Golden: c.Recording("jax"), Settings: model.Settings{AttentionWindow: &tt.window, LogitsSoftCap: &tt.softCap, EmbeddingScale: &tt.scale}})
		if err != nil {
			t.Fatal(err)
		}
		var got []logits.Setting
		for _, f := range v.Logits[0].Faults {
			if f.Setting == nil || f.Tensors != nil {
				t.Fatalf("%+v: %s: %q", tt, f.Detail, f.Tensors)
			}
			got = append(got, *f.Setting)
		}
		if answer := v.Answer(); tt.want != nil && (v.Same || !strings.HasPrefix(answer, "not proven: the ") || !strings.HasSuffix(answer, " given "+map[bool]string{true: "is", false: "are"}[len(tt.want) == 1]+" not the recording's")) {
			t.Errorf("%+v: %s", tt, answer)
		}
		noted := slices.ContainsFunc(v.Notes, func(note string) bool { return tt.note != "" && strings.HasPrefix(note, tt.note) })
		if !slices.Equal(got, tt.want) || noted != (tt.note != "") || tt.note == "" && strings.Contains(strings.Join(v.Notes, " "), "not proven") {
			t.Errorf("%+v: %+v, notes %q", tt, got, v.Notes)
		}
	}
}

// A single wrong logit is explained by no setting: what would explain the others is tried on its token too.
func TestOneLogit(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	path := editRecording(t, c.Recording("jax"), "logits", func(x []float32) { x[128+5] += 7 }) // logit 5 of token 1 of the first row
	v, err := verifyAlone(t, filepath.Join(c.Dir, "original", "torch.pt"), Options{Golden: path, Settings: c.Settings})
	if err != nil || v.Same || len(v.Logits[0].Faults) != 1 {
		t.Fatalf("%+v, %v", v.Logits, err)
	}
	if f := v.Logits[0].Faults[0]; f.Cause != "" || f.Setting != nil || f.Worst.Token != 1 || f.Worst.Channel != 5 {
		t.Errorf("%+v", f)
	}
}

// Progress goes through each stage once, up to its total. It is not known how long the search for a cause is.
func TestProgress(t *testing.T) {
	b := baseOf(t, "float32, torch")
	m := b.made.clone()
	flip(0, 0)(m.get(finalNorm))
	type state struct{ done, total int64 }
	stages := map[string]state{}
	var order []string
	o := Options{Settings: b.settings, Golden: cases.Open(t, "odd-griffin").Recording("jax"), Progress: func(stage string, done, total int64) {
		before, known := stages[stage]
		if !known {
			order = append(order, stage)
		}
		if stage == "looking for the cause" {
			if done <= 0 || total != -1 {
				t.Errorf("%s: %d of %d", stage, done, total)
			}
			stages[stage] = state{done, total}
			return
		}
		if done > total || total <= 0 || stage != "running" && (done < before.done && done != 0 || known && total != before.total) {
			t.Errorf("%s: %d of %d after %+v", stage, done, total, before)
		}
		stages[stage] = state{max(done, before.done), total}
	}}
	if _, err := verifyFiles(t, b.source, m.write(t), o); err != nil {
		t.Fatal(err)
	}
	if want := []string{"comparing weights", "explaining differences", "running", "looking for the cause"}; !slices.Equal(order, want) {
		t.Errorf("%q, not %q", order, want)
	}
	weights := int64(0)
	for _, e := range m.tensors {
		weights += int64(len(e.data))
	}
	for stage, total := range map[string]int64{"comparing weights": weights, "explaining differences": int64(len(m.get(finalNorm).data))} {
		if s := stages[stage]; s.done != total || s.total != total {
			t.Errorf("%s: %+v, not %d", stage, s, total)
		}
	}
	if s := stages["running"]; float64(s.done) < 0.9*float64(s.total) || s.total < weights {
		t.Errorf("running: %+v of %d bytes", s, weights)
	}
}

// Facts tell whether others have the same: digests, sizes and settings of each checkpoint and of the fixture.
func TestFacts(t *testing.T) {
	c := cases.Open(t, "odd-griffin")
	torch, hf := filepath.Join(c.Dir, "original", "torch.pt"), filepath.Join(c.Dir, "hf")
	v, err := verifyFiles(t, torch, hf, Options{Settings: c.Settings, Golden: c.Recording("jax"), Facts: true})
	if err != nil {
		t.Fatal(err)
	}
	a, b, g := v.Facts.Source, v.Facts.Converted, v.Facts.Golden
	want := Shapes{VocabSize: 61, Width: 36, MLPExpandedWidth: 52, NumHeads: 3, LRUWidth: 30, AttentionWindow: 5, LogitsSoftCap: 20, EmbeddingScale: true}
	for _, f := range []*CheckpointFacts{a, b} {
		if f.Config == nil || f.Parameters != 30876 || !slices.Equal(f.Config.BlockTypes, []string{"attention", "recurrent", "attention"}) || !strings.Contains(f.Digest, " blake3:") {
			t.Fatalf("%+v", f)
		}
		got := *f.Config
		if got.BlockTypes = nil; !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if a.Path != torch || b.Path != hf || a.Layout != "torch" || b.Layout != "huggingface" || a.Digest == b.Digest || a.ConfigBLAKE3 != "" || len(b.ConfigBLAKE3) != 64 || b.ConfigSHA256 != "" {
		t.Errorf("%+v, %+v", a, b)
	}
	info, err := os.Stat(c.Recording("jax"))
	if err != nil {
		t.Fatal(err)
	}
	if g.Path != c.Recording("jax") || g.Bytes != info.Size() || len(g.BLAKE3) != 64 || g.Batch != 2 || g.Length != 15 || !g.Packed || g.DecodeStart != 7 || g.DType != "float32" || g.Semantics != "original" {
		t.Errorf("%+v", g)
	}
	// The digests of weights that were not compared are the same.
	for path, want := range map[string]*CheckpointFacts{torch: a, hf: b} {
		v, err := verifyAlone(t, path, Options{Settings: map[string]model.Settings{torch: c.Settings}[path], Facts: true})
		if err != nil || v.Facts.Converted != nil || v.Facts.Golden != nil || v.Facts.Source.Digest != want.Digest || v.Facts.Source.ConfigBLAKE3 != want.ConfigBLAKE3 {
			t.Errorf("%s: %+v, %v", path, v.Facts, err)
		}
	}
	// A directory that matches a runtime has the original's window among its sizes, and its own number beside it.
	m := matchedBases(t)[1]
	if v, err = verifyFiles(t, m.source, m.made.write(t), Options{Settings: m.settings, Facts: true}); err != nil {
		t.Fatal(err)
	}
	if f := v.Facts; f.Source.Config.AttentionWindow != 5 || f.Source.Config.AttentionWindowSize != 0 || f.Converted.Config.AttentionWindow != 5 || f.Converted.Config.AttentionWindowSize != 6 {
		t.Errorf("%+v, %+v", f.Source.Config, f.Converted.Config)
	}
	if v.Facts.Golden != nil {
		t.Errorf("%+v", v.Facts.Golden)
	}
	// What is not a complete model has no sizes, and the digest is that of its tensors.
	part := baseOf(t, "float32, torch").made.clone()
	part.tensors = part.tensors[:2]
	if v, err = verifyFiles(t, torch, part.write(t), Options{Settings: c.Settings, Facts: true}); err != nil || v.Facts.Converted.Config != nil || !strings.HasPrefix(v.Facts.Converted.Digest, "tensors blake3:") || v.Facts.Converted.ConfigBLAKE3 == "" || v.Facts.Source.Digest != a.Digest {
		t.Errorf("%+v, %+v, %v", v.Facts.Converted, v.Facts.Source, err)
	}
	if v, err = verifyFiles(t, torch, hf, Options{Settings: c.Settings}); err != nil || v.Facts != nil {
		t.Errorf("facts that nobody asked for: %+v, %v", v.Facts, err)
	}
}
