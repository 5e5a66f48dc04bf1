package verify

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Only a directory with a config.json states all settings.
func TestAllSettingsAreStated(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	hf, torch := filepath.Join(c.Dir, "hf"), filepath.Join(c.Dir, "original", "torch.pt")
	alone := t.TempDir()
	if err := os.CopyFS(alone, os.DirFS(hf)); err != nil {
		t.Fatal(err)
	}
	remove(t, alone, "config.json")
	beside := t.TempDir() // an original
	for from, to := range map[string]string{torch: "torch.pt", filepath.Join(hf, "config.json"): "config.json"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(beside, to), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{hf: true, alone: false, torch: false, filepath.Join(beside, "torch.pt"): false} {
		checkpoint, err := formats.Open(path, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer checkpoint.Close()
		m, err := model.Recognize(checkpoint, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := isStated(m); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

// A recording of the weights of two checkpoints that are the same disproves neither, but for what is wrong in it itself, and for what a setting explains,
// which is judged apart.
func TestExcusedByRecordedWeights(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	c.Settings = model.Settings{}
	hf := c.Model(t, filepath.Join(c.Dir, "hf")).Found
	for _, tt := range []struct {
		name    string
		weights logits.Weights
		differ  bool // the checkpoints do
		fault   logits.Fault
		excused bool
	}{
		{"a block", logits.SameWeights, false, logits.Fault{Kind: logits.AttentionFault}, true},
		{"other weights", logits.OtherWeights, false, logits.Fault{Kind: logits.AttentionFault}, false},
		{"weights of which nothing is known", "", false, logits.Fault{Kind: logits.AttentionFault}, false},
		{"checkpoints that differ", logits.SameWeights, true, logits.Fault{Kind: logits.AttentionFault}, false},
		{"the recording", logits.SameWeights, false, logits.Fault{Kind: logits.RecordingFault}, false},
		{"a setting", logits.SameWeights, false, logits.Fault{Kind: logits.AttentionFault, Setting: &logits.Setting{Name: logits.ScaleSetting}}, false},
	} {
		section := &Section{OK: !tt.differ}
		v := &Verdict{Structure: section, Config: section, Weights: &WeightsSection{Section: *section}, excuses: map[*logits.Fault]string{}}
		check := &computation{run: &run{verdict: v, sourceModel: hf}}
		for range 2 { // as of both checkpoints
			check.excuseRecorded(&logits.Result{Weights: tt.weights, Faults: []*logits.Fault{&tt.fault}})
		}
		if _, excused := v.excuses[&tt.fault]; excused != tt.excused || len(v.Notes) > 1 || (len(v.Notes) == 1) != tt.excused {
			t.Errorf("%s: %t, notes %q", tt.name, excused, v.Notes)
		}
	}
}

// A recording of the source's weights under another config.json excuses no pair that differs, and is not called one of the conversion's weights. Nothing
// is known of the weights of another layout.
func TestRecordedUnderAnotherConfigOfWrongConversion(t *testing.T) {
	b := baseOf(t, "float32, torch")
	source := b.made.clone().write(t)
	spoiled := b.made.clone()
	flip(0, 30)(spoiled.get(spoiled.all("down_proj")[0]))
	converted, orbax := spoiled.write(t), filepath.Join(t.TempDir(), "orbax")
	c, err := formats.Open(converted, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := convert.Convert(t.Context(), c, orbax, convert.Options{To: convert.ToOrbax}); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{"rms_norm_eps": 1e-5, "rope_parameters.rope_theta": 777777.0} {
		other := b.made.clone()
		field(name, constant(value))(other)
		recording := recordFixture(t, other.write(t), model.Settings{}, reference.Transformers5)
		for path, weights := range map[string]logits.Weights{converted: logits.OtherWeights, orbax: ""} {
			v, err := verifyFiles(t, source, path, Options{Golden: recording})
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Logits) != 2 || v.Logits[0].Weights != logits.SameWeights || v.Logits[1].Weights != weights || v.Logits[0].Beside != "" || v.Answer() != "not the same model" ||
				len(v.excuses) > 0 || strings.Contains(strings.Join(v.Notes, "\n"), "give a recording") {
				t.Errorf("%s, %s: %q, %q, %q: %s", name, path, v.Logits[0].Beside, v.Logits[1].Weights, slices.Collect(maps.Values(v.excuses)), textOf(t, v))
			}
		}
	}
}

// What is said in a few words of a checkpoint that fails although it computes what was recorded.
func TestAnswerOfComputedLogits(t *testing.T) {
	right, wrong := &logits.Result{OK: true}, &logits.Result{}
	for _, tt := range []struct {
		v    Verdict
		want string
	}{
		{Verdict{Same: true, Logits: []*logits.Result{right}}, "the model that was recorded"},
		{Verdict{Logits: []*logits.Result{right}}, "the model that was recorded, but not what transformers loads from this directory"},
		{Verdict{Logits: []*logits.Result{wrong}}, "not the model that was recorded"},
		{Verdict{}, "not the model that was recorded"},
		{Verdict{Converted: &Subject{}, Logits: []*logits.Result{right, right}}, "not the same model"},
		{Verdict{Converted: &Subject{}, Logits: []*logits.Result{right, wrong}}, "not the same model"},
		{Verdict{Unproven: "x", Logits: []*logits.Result{right}}, "not proven: x"},
	} {
		if got := tt.v.Answer(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.v, got, tt.want)
		}
	}
}

// A few faults of different weights are listed each by itself.
func TestFaultsOfManyWeights(t *testing.T) {
	for n, want := range map[int]int{1: 1, 4: 4, 5: 1, 9: 1} {
		v := &Verdict{Source: &Subject{Path: "a"}, Converted: &Subject{Path: "b"}, Weights: &WeightsSection{}}
		l := &logits.Result{Checkpoint: "b"}
		var findings []Finding
		for i := range n {
			name := "t" + string(rune('a'+i)) // no layer, so that each is a group
			findings = append(findings, Finding{Kind: WrongWeights, Tensor: name, Detail: "detail " + name})
			l.Faults = append(l.Faults, &logits.Fault{Kind: logits.RecurrentFault, Block: i, Detail: name, Tensors: []string{name}})
		}
		v.Weights.Findings = strictjson.Items(findings...)
		if got := v.Faults(l); len(got) != want {
			t.Errorf("%d faults: %d", n, len(got))
		}
	}
}

// Where no more than half of the elements differ, by less than rounding, they were changed: the source need not be what was rounded.
func TestHalfIsRounded(t *testing.T) {
	rounded := baseOf(t, "float32 to bfloat16, Orbax").made
	for more, want := range []bool{false, true} {
		changed := rounded.clone()
		norm := changed.get(changed.all("final_norm")[0])
		norm.cast(tensor.F32)
		for i := range norm.count()/2 + int64(more) {
			flip(i, 0)(norm)
		}
		v, err := verifyFiles(t, rounded.write(t), changed.write(t), Options{})
		if err != nil || v.Same || norm.count()%2 != 0 {
			t.Fatalf("%v, %v", v, err)
		}
		if got := strings.Contains(textOf(t, v), "the other way round: the source is this rounded to bfloat16"); got != want {
			t.Errorf("half and %d: %s", more, textOf(t, v))
		}
	}
}

// Where the record of the source says which window is the original's, that of a conversion to an original does not matter, whatever was changed in it.
func TestWindowOfTwoRecords(t *testing.T) {
	_, source := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	c, err := formats.Open(source, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	converted := filepath.Join(t.TempDir(), "made")
	if _, err := convert.Convert(t.Context(), c, converted, convert.Options{To: convert.ToOrbax}); err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(converted, manifest.Name), replaced(`"attention_window": 8`, `"attention_window": 7`))
	v, err := verifyFiles(t, source, converted, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w := v.Window; v.Same || w == nil || w.Source != runtime.FromManifest || w.Summary != "attention_window_size is 8, the original's window" {
		t.Errorf("%+v: %s", v.Window, textOf(t, v))
	}
}

// A wrong field is said to keep transformers from loading the model where it does, and to have an effect where a version loads it.
func TestRefusedFields(t *testing.T) {
	const only5 = "transformers 5.23 does not load the model"
	number := func(s string) json.Number { return json.Number(s) }
	softCap, tied := configField{names: []string{"logits_soft_cap"}, want: 30.0, effect: "e"}, configField{names: []string{"tie_word_embeddings"}, want: true, effect: "e"}
	dtype := configField{names: []string{"dtype", "torch_dtype"}, want: "bfloat16", effect: "e"}
	for _, tt := range []struct {
		f      configField
		fields map[string]any
		want   string
	}{
		{softCap, map[string]any{"logits_soft_cap": number("20.0")}, "logits_soft_cap: 20, not 30; e"},
		{softCap, map[string]any{"logits_soft_cap": number("20")}, "logits_soft_cap: 20, not 30; e; " + only5},
		{softCap, map[string]any{"logits_soft_cap": nil}, "logits_soft_cap: null, not 30; transformers wants float: neither transformers 5.23 nor 4.57 loads the model"},
		{softCap, map[string]any{"logits_soft_cap": "20"}, `logits_soft_cap: "20", not 30; a text, not a number: transformers 5.23 refuses to load it, and older versions fail to compute with it`},
		{tied, map[string]any{"tie_word_embeddings": "true"}, `tie_word_embeddings: "true", not true; a text, not true or false: transformers 5.23 refuses to load it, and older versions take any text for true`},
		{tied, map[string]any{"tie_word_embeddings": number("0.5")}, `tie_word_embeddings: 0.5, not true; transformers wants bool: ` + only5},
		{configField{names: []string{"hidden_activation"}, want: "gelu", effect: "e"}, map[string]any{"hidden_activation": []any{"recurrent"}}, `hidden_activation: ["recurrent"], not "gelu"; transformers wants str: ` + only5},
		{configField{names: []string{"block_types"}, want: []model.BlockType{model.Attention}, effect: "e"}, map[string]any{"block_types": []any{"recurrent", "attention"}}, "block_types: RA, not A; e"},
		{configField{names: []string{"vocab_size"}, want: int64(128), missing: int64(256000), effect: "e"}, map[string]any{"vocab_size.a": 1}, "vocab_size: an object with a, not 128; transformers wants int: transformers 5.23 does not load the model"},
		{configField{names: []string{"attention_bias"}, want: false, missing: false, effect: "e"}, map[string]any{"attention_bias.a": 1}, "attention_bias: an object with a, not false; transformers wants bool: transformers 5.23 does not load the model"},
		{dtype, map[string]any{"dtype": "float16"}, `dtype: "float16", not "bfloat16"; e`},
		{dtype, map[string]any{"dtype": "bf16"}, `dtype: "bf16", not "bfloat16"; transformers wants a floating-point type of torch: neither transformers 5.23 nor 4.57 loads the model`},
		{dtype, map[string]any{"dtype": "float16", "torch_dtype": "float32"}, `dtype: "float16", not "bfloat16"; e|torch_dtype: "float32", not "bfloat16"; transformers 5.23 and 4.57 take dtype instead, and older versions this`},
		{dtype, map[string]any{"dtype": "float16", "torch_dtype": "float16"}, `dtype: "float16", not "bfloat16"; e|torch_dtype: "float16", not "bfloat16"; e`},
		{dtype, map[string]any{"dtype": nil, "torch_dtype": nil}, `dtype: null, not "bfloat16"; e|torch_dtype: null, not "bfloat16"; e`},
	} {
		tt.fields["model_type"] = "recurrent_gemma"
		var got []string
		for _, f := range tt.f.check(tt.fields) {
			got = append(got, f.String())
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%v:\ngot  %q\nwant %q", tt.fields, got, tt.want)
		}
	}
}

// What transformers refuses of config.json is found as it is written there. Quantised weights are as they were recorded, and an original has no config.json.
func TestRefusalsAlone(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	for _, tt := range []struct{ from, to, want string }{
		{`"use_cache": true`, `"use_cache": null`, "use_cache: null, not bool"},
		{`"use_cache": true`, `"use_cache": {"a": 1}`, "use_cache: an object with a, not bool"},
		{`"dtype": "bfloat16"`, `"dtype": {"": "bf16"}`, `dtype: "bf16", not a floating-point type of torch`},
		{`"use_cache": true`, `"quantization_config": null`, ""},
	} {
		v := verifyEdited(t, c, tt.from, tt.to)
		got := ""
		if v.Config != nil {
			got = textsOf(v.Config.Findings)
		}
		if got != tt.want || v.Same != (tt.want == "") {
			t.Errorf("%s: %q: %s", tt.to, got, textOf(t, v))
		}
	}
}

// A conversion that cuts digits off instead of rounding them is said to.
func TestTruncatedConversion(t *testing.T) {
	b := baseOf(t, "float32 to bfloat16, Orbax")
	cut := b.made.clone()
	for i, x := range b.made.exact(embeddingName) {
		cut.get(embeddingName).setBits(int64(i), uint64(math.Float32bits(x)>>16))
	}
	v, err := verifyFiles(t, b.source, cut.write(t), Options{Settings: b.settings})
	if err != nil || v.Weights.Findings.Len() != 1 || v.Weights.Findings.At(0).Detail != "truncated to bfloat16, not rounded to nearest" {
		t.Errorf("%v: %s", err, textOf(t, v))
	}
}

// The weights of a conversion are the source's only if nothing lacks, nothing is added and nothing was rounded, whatever its config.json has.
func TestSameWeights(t *testing.T) {
	right, wrong := &Section{OK: true}, &Section{}
	for _, tt := range []struct {
		name string
		v    Verdict
		want bool
	}{
		{"the same", Verdict{Structure: right, Config: right, Weights: &WeightsSection{Section: *right}}, true},
		{"another configuration", Verdict{Structure: right, Config: wrong, Weights: &WeightsSection{Section: *right}}, true},
		{"another structure", Verdict{Structure: wrong, Weights: &WeightsSection{Section: *right}}, false},
		{"other weights", Verdict{Structure: right, Weights: &WeightsSection{Section: *wrong}}, false},
		{"rounded", Verdict{Structure: right, Weights: &WeightsSection{Section: *right, Rounded: 1}}, false},
		{"a quantised copy", Verdict{Structure: right, Weights: &WeightsSection{Section: *right}, Quantized: &QuantizedSection{}}, false},
		{"a checkpoint alone", Verdict{}, false},
	} {
		if got := sameWeights(&tt.v); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// What the record of a conversion says of its window does not decide where the source says it, or where the directory was written with another.
func TestWindowOfRecordedConversion(t *testing.T) {
	for _, tt := range []struct {
		name     string
		original bool // is the source; otherwise it is a directory with a window of 8 that has no record
		made     int64
		edited   string // the window in the record of the conversion
		evidence runtime.Evidence
		summary  string
	}{
		{"a changed record beside an original", true, 8, "7", runtime.FromSource, "attention_window_size is 8, the original's window"},
		{"a right record beside an original", true, 8, "8", runtime.FromSource, "attention_window_size is 8, the original's window"},
		{"one more, recorded as the original's", false, 9, "9", runtime.Assumed, "attention_window_size is 9, and that of the source 8: nothing says which of them is the original's window, or one more"},
	} {
		source, converted := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(tt.made, 30, true)})
		rewrite(t, filepath.Join(converted, manifest.Name), replaced(fmt.Sprintf(`"attention_window": %d`, tt.made), `"attention_window": `+tt.edited))
		o := Options{Settings: settingsOf(8, 30, true)}
		if !tt.original {
			_, source = convertTiny(t, "source", convert.Options{To: convert.ToHF, Settings: o.Settings})
			remove(t, source, manifest.Name)
			o = Options{}
		}
		v, err := verifyFiles(t, source, converted, o)
		if err != nil {
			t.Fatal(err)
		}
		if w := v.Window; w == nil || w.Original != 8 || w.Source != tt.evidence || w.Summary != tt.summary {
			t.Errorf("%s: %+v", tt.name, w)
		}
	}
}

// A recording is asked what it is of if the source fails, or a conversion that is the same.
func TestSourceFails(t *testing.T) {
	source := &runtime.Model{Checkpoint: &tensor.Checkpoint{Path: "a"}}
	result := func(path string, ok bool) *logits.Result { return &logits.Result{Checkpoint: path, OK: ok} }
	for _, tt := range []struct {
		name    string
		differ  bool // the checkpoints do
		results []*logits.Result
		want    bool
	}{
		{"nothing was run", true, nil, false},
		{"the source", true, []*logits.Result{result("a", false), result("b", true)}, true},
		{"the source is right", true, []*logits.Result{result("a", true), result("b", false)}, false},
		{"the conversion alone", true, []*logits.Result{result("b", false)}, false},
		{"a conversion that is the same", false, []*logits.Result{result("b", false)}, true},
		{"a conversion that is the same, and right", false, []*logits.Result{result("b", true)}, false},
	} {
		section := &Section{OK: !tt.differ}
		v := &Verdict{Structure: section, Config: section, Weights: &WeightsSection{Section: *section}, Logits: tt.results}
		check := &computation{run: &run{verdict: v}, source: source}
		if got := check.sourceFails(); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// What was given is not called unproven where config.json states it too.
func TestGivenThatIsStated(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	original, dir := convertTiny(t, "hf", convert.Options{To: convert.ToHF, Settings: settingsOf(8, 30, true)})
	remove(t, dir, manifest.Name)
	rewrite(t, filepath.Join(dir, "config.json"), replaced(`"rms_norm_eps": 1e-06`, `"rms_norm_eps": 0.01`))
	for path, noted := range map[string]bool{dir: false, original: true} {
		recording := c.Recording("jax")
		if path == original {
			recording = recordFixture(t, dir, model.Settings{}, reference.Original)
		}
		v, err := verifyAlone(t, path, Options{Golden: recording, Settings: settingsOf(8, 30, true)})
		if err != nil || v.Same || slices.ContainsFunc(v.Notes, doubts) != noted {
			t.Errorf("%s: %v, %s", path, err, textOf(t, v))
		}
	}
}
