package verify

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

func TestTextSaysAll(t *testing.T) {
	const hostile = "\x1b[31m\u202e"
	v := &Verdict{Converted: &Subject{Path: hostile}, Structure: &Section{Summary: hostile, Notes: []string{hostile}}, Config: &Section{Summary: hostile, Skipped: true}, Weights: &WeightsSection{Section: Section{Summary: hostile}},
		Logits: []*logits.Result{{Summary: hostile, Faults: []*logits.Fault{{Kind: logits.RecurrentFault, Tensors: []string{hostile}, Detail: hostile}}}},
		Notes:  []string{hostile}}
	for range 30 {
		v.Structure.Findings = v.Structure.Findings.Append(Finding{Kind: WrongWeights, Tensor: hostile, SourceName: hostile, Got: hostile, Detail: hostile})
	}
	var b strings.Builder
	if err := WriteText(&b, v, "--all"); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.ContainsAny(text, "\x1b\u202e") {
		t.Error("the text steers a terminal")
	}
	for _, want := range []string{"structure      FAIL", "configuration  --", "weights        FAIL", "logits         FAIL", "structure: 30 failures", "look at", "\nnot the same model\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%.1000s", want, text)
		}
	}
	if err := WriteText(&failing{}, v, ""); err == nil {
		t.Error("a failed write was not reported")
	}
}

// failing is a full disk.
type failing struct{}

func (*failing) Write([]byte) (int, error) { return 0, errors.New("full") }

// What is not finite in tensors of several layers is counted in one line, if all of it was counted.
func TestLinesOfNotFinite(t *testing.T) {
	for _, tt := range []struct {
		counts []stats.NotFinite
		want   string
	}{
		{[]stats.NotFinite{{NaN: 2}, {NaN: 1, Inf: 1}}, "; 3 NaN and 1 infinity in the conversion"}, {[]stats.NotFinite{{NaN: 2}, {NaN: uncountedNaN}}, "; NaN in the conversion"},
		{[]stats.NotFinite{{Inf: 2}, {Inf: 1}}, "; 3 infinities in the conversion"}, {[]stats.NotFinite{{}, {}}, "elements differ"},
	} {
		var findings []Finding
		for layer, n := range tt.counts {
			findings = append(findings, Finding{Kind: WrongWeights, Tensor: fmt.Sprintf("model.layers.%d.a", layer), Differing: 1, Elements: 9, notFinite: n, Detail: sayNotFinite(n)})
		}
		lines, _, _ := (&Verdict{}).lines(strictjson.Items(findings...), 9)
		if len(lines) != 1 || !strings.HasSuffix(lines[0], tt.want) {
			t.Errorf("%q, want one with %q", lines, tt.want)
		}
	}
}

// What is wrong in the same way in several layers, or in several tensors of a layer, is one line. The rest is counted.
func TestLines(t *testing.T) {
	var findings []Finding
	for layer := range 30 {
		for _, name := range []string{"a.weight", "b.weight"} {
			findings = append(findings, Finding{Kind: WrongWeights, Tensor: fmt.Sprintf("model.layers.%d.%s", layer, name), SourceName: fmt.Sprintf("blocks.%d.%s", layer, name), Index: []int64{int64(layer)},
				Want: "1", Got: "2", Differing: 5, Elements: 10, Detail: fmt.Sprintf("swapped with model.layers.%d.c (blocks.%d.c)", layer, layer)})
		}
	}
	findings = append(findings, Finding{Kind: MissingTensor, Tensor: "model.norm", Want: "float32 [2]"}, Finding{Kind: MisshapenTensor, Tensor: "model.embed", Want: "[2]", Got: "[3]"},
		Finding{Kind: MistypedTensor, Tensor: "model.embed", Want: "float32", Got: "int8"}, Finding{Kind: MissingTensor, Tensor: "model.layers.4.x", Want: "float32 [2]"},
		Finding{Kind: MissingTensor, Tensor: "model.layers.7.x", Want: "float32 [2]"}, Finding{Kind: MissingTensor, Tensor: "model.layers.7.y", Want: "float32 [3]"},
		Finding{Kind: WrongField, Field: "conversion.json: tensors", Want: "1", Got: "2"}, Finding{Kind: WrongField, Field: "conversion.json: tensors", Want: "3", Got: "4"})
	for layer := range 5 {
		findings = append(findings, Finding{Kind: MissingTensor, Tensor: fmt.Sprintf("model.layers.%d.%s", 6*layer, strings.Repeat("long.", 12)), Want: "float32 [4]"},
			Finding{Kind: MissingTensor, Tensor: fmt.Sprintf("model.layers.%d.%s", 6*layer, strings.Repeat("longer.", 10)), Want: "float32 [4]"})
	}
	for _, name := range []string{"q", "k", "v", "o"} {
		findings = append(findings, Finding{Kind: MissingTensor, Tensor: "model.tail.4." + name, Want: "float32 [" + name + "]"})
	}
	for _, name := range []string{"p", "q"} {
		findings = append(findings, Finding{Kind: ExtraTensor, Tensor: "model.side.3." + name, Got: "int8 [" + name + "]"}, Finding{Kind: MisshapenTensor, Tensor: "model.other.3." + name, Want: "[2]", Got: "[" + name + "]"})
	}
	expected := &convert.Plan{}
	for _, name := range []string{"q", "k", "v", "o"} {
		expected.Dests = append(expected.Dests, moves.Dest{Name: "model.tail.4." + name})
	}
	for layer := range 30 {
		expected.Config.BlockTypes = append(expected.Config.BlockTypes, []model.BlockType{"attention", "recurrent"}[min(1, layer%6)])
		expected.Dests = append(expected.Dests, moves.Dest{Name: fmt.Sprintf("model.layers.%d.a.weight", layer)})
	}
	want := []string{
		"all layers (30) of model.layers: a.weight, b.weight: 60 tensors, 300 of 600 elements differ; swapped with c",
		"model.norm: missing, float32 [2]",
		"model.embed: [3] instead of [2]",
		"model.embed: int8 instead of float32",
		"layers 4, 7 of model.layers: x: 2 tensors missing, float32 [2]",
		"model.layers.7.y: missing, float32 [3]",
		"conversion.json: tensors: 2, not 1",
		"conversion.json: tensors: 4, not 3",
		"attention layers (5) of model.layers: " + strings.Repeat("long.", 12) + ",\n      " + strings.Repeat("longer.", 10) + ":\n      10 tensors missing, float32 [4]",
		"layer 4 of model.tail is missing (4 tensors)",
		"model.side.3.{p, q}: 2 tensors that the model does not have",
		"model.other.3.p: [p] instead of [2]",
		"model.other.3.q: [q] instead of [2]",
	}
	v := &Verdict{expected: &expectedTensors{expected}}
	for _, most := range []int{len(want) + 1, len(want), 3} {
		got, groups, n := v.lines(strictjson.Items(findings...), most)
		if !slices.Equal(got, want[:min(most, len(want))]) || groups != len(want) || n != len(findings) {
			t.Errorf("%d, %d\n%s", groups, n, strings.Join(got, "\n"))
		}
	}
	for i, where := range map[int]string{1: "model.norm", 6: "conversion.json: tensors"} {
		if got := v.GroupFindings(strictjson.Items(findings...))[i].Where(strictjson.Items(findings...)); !slices.Equal(got, []string{where}) {
			t.Errorf("%q, want %q", got, where)
		}
	}
	v = &Verdict{Converted: &Subject{}, Structure: &Section{}}
	for i := range 50 {
		v.Structure.Findings = v.Structure.Findings.Append(Finding{Kind: ExtraTensor, Tensor: fmt.Sprintf("x%d", i), Got: "int8 [1]"})
	}
	for all, want := range map[string]int{"--all": maxLines, "": 50} {
		var b strings.Builder
		if err := WriteText(&b, v, all); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "not a tensor of the model"); n != want || strings.Contains(b.String(), "... 30 more (--all)") != (all != "") {
			t.Errorf("%q: %d lines\n%s", all, n, b.String())
		}
	}
}

// A fault of the logits names few tensors. If weights are wrong that it names, both are one failure, and the line stands below the weights'.
func TestFaultLine(t *testing.T) {
	v := &Verdict{Weights: &WeightsSection{Converted: strictjson.Items(TensorDigest{Name: "m.6.a", From: []string{"b.6.a"}, OK: true}, TensorDigest{Name: "m.6.c", From: []string{"b.6.c"}}),
		Section: Section{Findings: strictjson.Items(Finding{Kind: WrongWeights, Tensor: "m.6.c", SourceName: "b.6.b + b.6.c", Index: []int64{0}, Want: "1", Got: "2", Differing: 1, Elements: 2})}}}
	for _, tt := range []struct {
		tensors []string
		want    string
	}{
		{nil, "block 6"},
		{[]string{"m.6.a"}, "block 6; look at m.6.a (b.6.a)"},
		{[]string{"m.6.a", "m.6.b", "m.6.d.x", "m.6.d.y", "n"}, "block 6; look at m.6.*, n"},
		{[]string{"m.6.d.x", "m.6.d.y", "m.6.d.xy", "m.7.z"}, "block 6; look at m.6.d.*, m.7.z"},
		{[]string{"m.6.a", "b.6.c", "m.6.d"}, "block 6; because of the weights of m.6.c"},
		{[]string{"b.6.a", "m.6.x", "m.6.y"}, "block 6; look at b.6.a (m.6.a), m.6.x, m.6.y"},
	} {
		if got := v.faultLine(v.place(&logits.Result{}, &logits.Fault{Detail: "block 6", Tensors: tt.tensors})); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.tensors, got, tt.want)
		}
	}
	var many []string // for a page as for the text
	for i := range 9 {
		many = append(many, fmt.Sprintf("x%d.1.a", i), fmt.Sprintf("x%d.1.b", i))
	}
	placed := v.place(&logits.Result{}, &logits.Fault{Detail: "all", Tensors: many})
	if got, line := strings.Join(placed.Look, "; "), v.faultLine(placed); got != "x0.1.*; x1.1.*; x2.1.*; x3.1.*; x4.1.*; x5.1.*; 3 more" || line != "all; look at x0.1.*, x1.1.*, x2.1.*, x3.1.*, x4.1.*, x5.1.* and 3 more" {
		t.Errorf("%q, %q", got, line)
	}
	placed = v.place(&logits.Result{}, &logits.Fault{Detail: "all", Tensors: many[:14]})
	if line := v.faultLine(placed); len(placed.Look) != 7 || line != "all; look at x0.1.*, x1.1.*, x2.1.*, x3.1.*, x4.1.*, x5.1.*, x6.1.*" {
		t.Errorf("%q", line)
	}
	v.Logits = []*logits.Result{{Faults: []*logits.Fault{{Detail: "block 6; explained by: x", Cause: "x", Tensors: []string{"b.6.c"}}, {Detail: "block 7", Tensors: []string{"b.7.a"}}}}}
	var b strings.Builder
	if err := WriteText(&b, v, ""); err != nil {
		t.Fatal(err)
	}
	const want = "\nweights: 1 failure, and what follows in the logits\n  m.6.c (b.6.b + b.6.c): 1 of 2 elements differs; [0] is 2, not 1\n  in the logits: block 6; because of the weights of m.6.c\n" +
		"\nlogits: 1 failure\n  block 7; look at b.7.a\n\nnot the model that was recorded\n"
	if text := b.String(); !strings.HasSuffix(text, want) {
		t.Errorf("%s", text)
	}
}

// Names that have the same beginning are one, in every layer, unless others have it too.
func TestFold(t *testing.T) {
	for _, tt := range [][3]string{
		{"m.0.a", "m.0.a"},
		{"m.0.a m.0.b", "m.0.*"},
		{"m.0.a m.1.a", "m.0.a m.1.a"},
		{"m.0.a.x n m.0.a.y", "m.0.a.* n"},
		{"m.2.a.x n m.2.a.y m.0.a.x m.0.a.y m.1.a.x m.1.a.y m.5.a.x m.5.a.y m.1.c", "m.{0,2,5}.a.* n m.1.*"},
		{"m.2.a n m.0.a m.1.a k m.7.a", "m.{0-2,7}.a n k"},
		{"m.0.a.x m.0.a.y m.0.n.w", "m.0.a.* m.0.n.w", "m.0.b.x m.0.o.w"},
		{"m.0.a.x m.0.a.y m.1.a.x m.1.a.y m.2.a.x m.2.a.y", "m.0.a.x m.0.a.y m.1.a.* m.2.a.*", "m.0.a.z m.2.b"},
		{"m.0.a.x.w m.0.a m.0.a.x.b m.0.a.y.w", "m.0.a.x.* m.0.a.y.w m.0.a", "m.0.a.y.b"},
		{"m.0.a.x m.0.a.y n m.1.a.x m.1.a.y m.2.a.x m.2.a.y m.0.b m.1.b m.2.b", "m.{0-2}.a.* m.{0-2}.b n", "m.0.c m.1.c m.2.c"},
		{"m.0.a.x m.0.a.x m.0.b m.0.b", "m.0.a.x m.0.a.x m.0.b m.0.b", "m.0.a.y"},
	} {
		var all []*tensor.Tensor
		for _, name := range strings.Fields(tt[0] + " " + tt[2]) {
			all = append(all, &tensor.Tensor{Name: name})
		}
		if got := strings.Join(fold(strings.Fields(tt[0]), nil, layersOf(all)), " "); got != tt[1] {
			t.Errorf("%s: %s, want %s", tt[0], got, tt[1])
		}
	}
}

// Of what wrong weights do to the logits a few places are shown, but no single one is left out.
func TestConsequences(t *testing.T) {
	for _, tt := range []struct {
		faults int
		all    string
		shown  int
		more   string
	}{{30, "--all", 3, "  ... and in 27 more places of the logits (--all)\n"}, {30, "", 30, ""}, {5, "--all", 3, "  ... and in 2 more places of the logits (--all)\n"}, {4, "--all", 4, ""}} {
		v := &Verdict{Weights: &WeightsSection{Section: Section{Findings: strictjson.Items(Finding{Kind: WrongWeights, Tensor: "m.6.c", Differing: 1, Elements: 2})}}, Logits: []*logits.Result{{}}}
		for i := range tt.faults {
			v.Logits[0].Faults = append(v.Logits[0].Faults, &logits.Fault{Detail: fmt.Sprint("block ", i), Tensors: []string{"m.6.c"}})
		}
		var b strings.Builder
		if err := WriteText(&b, v, tt.all); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); strings.Count(text, "because of the weights of m.6.c") != tt.shown || !strings.Contains(text, tt.more) || strings.Contains(text, "more places") != (tt.more != "") {
			t.Errorf("%+v:\n%s", tt, text)
		}
	}
}

// The line of a check of the logits names the checkpoint where both were compared, and the metrics follow, shares in percent.
func TestLinesOfLogits(t *testing.T) {
	of := func(path string) *logits.Result {
		return &logits.Result{OK: true, Summary: "as recorded", Checkpoint: path, Semantics: "original", Metrics: []logits.PassMetrics{{
			Fixture: logits.Metrics{Largest: 0.5, Mean: 0.25, NMSE: -40, KLMean: 0.01, KLP95: 0.02, KLMax: 0.03, Top1: 0.5, Top10: 0.75}}}}
	}
	const metrics = ", run as original, full pass: largest difference 0.5, mean 0.25, NMSE -40.0 dB, KL mean 0.01, 95% 0.02, largest 0.03, top-1 50%, top-10 75%\n"
	for _, tt := range []struct {
		v         Verdict
		summaries []string
		sides     []string
	}{
		{Verdict{Source: &Subject{Path: "a"}, Logits: []*logits.Result{of("a")}}, []string{"as recorded"}, []string{"model"}},
		{Verdict{Source: &Subject{Path: "a"}, Converted: &Subject{Path: "b"}, Logits: []*logits.Result{of("b")}}, []string{"as recorded"}, []string{"converted"}},
		{Verdict{Source: &Subject{Path: "a"}, Converted: &Subject{Path: "b"}, Logits: []*logits.Result{of("a"), of("b")}}, []string{"source: as recorded", "converted: as recorded"}, []string{"source", "converted"}},
	} {
		want := ""
		for i, s := range tt.summaries {
			want += "logits         ok    " + s + "\n                     " + tt.sides[i] + metrics
		}
		var b strings.Builder
		tt.v.Same = true
		if err := WriteText(&b, &tt.v, "--all"); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(b.String(), want+"\nthe ") {
			t.Errorf("%s\nwant\n%s", b.String(), want)
		}
		for i, c := range tt.v.Checks() {
			if c.Summary != tt.summaries[i] {
				t.Errorf("%q, want %q", c.Summary, tt.summaries[i])
			}
		}
	}
}

// Passes whose logits are not finite have one line, which names them.
func TestMetricsOfNotFinite(t *testing.T) {
	nan := Number(math.NaN())
	one := logits.PassMetrics{Fixture: logits.Metrics{Largest: 0.25}}
	bad := func(pass string) logits.PassMetrics {
		return logits.PassMetrics{Pass: pass, Fixture: logits.Metrics{Largest: nan, Mean: nan, Top1: nan}}
	}
	for _, tt := range []struct {
		metrics []logits.PassMetrics
		want    []string // what the lines begin with
	}{
		{nil, nil},
		{[]logits.PassMetrics{one}, []string{"model, run as original, full pass: largest difference 0.25, "}},
		{[]logits.PassMetrics{bad(""), bad("decode"), bad("packed")}, []string{"model, run as original, full pass, decoding, packed rows: logits that are not finite"}},
		{[]logits.PassMetrics{one, bad("packed")}, []string{"model, run as original, full pass: largest difference 0.25, ", "model, run as original, packed rows: logits that are not finite"}},
	} {
		got := metricsLines("model", &logits.Result{Semantics: "original", Metrics: tt.metrics})
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// What a change of dtypes, and the division of the embedding, did to what is computed is said, and how far that is from the source.
func TestLost(t *testing.T) {
	for _, tt := range []struct {
		w             *WeightsSection
		altered, lost string
	}{
		{nil, "", ""},
		{&WeightsSection{}, "", ""},
		{&WeightsSection{Rounded: 3, Widened: 3, Kept: true, RoundedTo: "float32"}, "", "rounding in float32"},
		{&WeightsSection{Rounded: 3, RoundedTo: "bfloat16"}, "rounded to bfloat16", "rounding to bfloat16"},
		{&WeightsSection{Rounded: 3, Kept: true, RoundedTo: "bfloat16"}, "", "rounding in bfloat16"},
		{&WeightsSection{Rounded: 3, Widened: 1, RoundedTo: "bfloat16", DTypes: "2 tensors rounded to bfloat16, 1 tensor as float32"}, "2 tensors rounded to bfloat16, 1 tensor as float32", "rounding"},
		{&WeightsSection{Rounded: 3, RoundedTo: "float16", Overflowed: 1, Inexact: 1}, "rounded to float16", "rounding to float16; what dividing the embedding lost"},
		{&WeightsSection{Rounded: 3, Widened: 3, Kept: true, RoundedTo: "float32", Inexact: 1}, "whose embedding transformers does not restore exactly", "rounding in float32; what dividing the embedding lost"},
	} {
		if altered, lost := tt.w.altered(), strings.Join(tt.w.lost(), "; "); altered != tt.altered || lost != tt.lost {
			t.Errorf("%+v: %q, %q", tt.w, altered, lost)
		}
	}
}

// The lines of the distance say as which runtimes the sides were run, and what besides rounding is in it.
func TestDistanceLines(t *testing.T) {
	near, far, unknown := &logits.Metrics{Largest: 0.25, Top1: 0.5}, &logits.Metrics{Largest: 2}, &logits.Metrics{Largest: Number(math.NaN())}
	const nearWords, farWords = "largest difference 0.25, mean 0, KL mean 0, largest 0, top-1 50%", "largest difference 2, mean 0, KL mean 0, largest 0, top-1 0%"
	const of = "conversion against source, "
	for _, tt := range []struct {
		r    RuntimeResult
		want []string
	}{
		{RuntimeResult{}, nil},
		{RuntimeResult{Metrics: near, SourceAs: "mlx", ConvertedAs: "mlx"}, []string{of + "both run as mlx, at the tokens of the recording: " + nearWords}},
		{RuntimeResult{Metrics: near, SourceAs: "original", ConvertedAs: "mlx"}, []string{of + "run as mlx and original, at the tokens of the recording: " + nearWords}},
		{RuntimeResult{Metrics: unknown, SourceAs: "mlx", ConvertedAs: "mlx"}, []string{of + "both run as mlx, at the tokens of the recording: logits that are not finite"}},
		{RuntimeResult{Part: true, Metrics: far, Rounding: near, SourceAs: "original", ConvertedAs: "mlx"}, []string{
			of + "both run as original, at the tokens of the recording: " + nearWords, of + "run as mlx and original, rounding and divergence together, at the tokens of the recording: " + farWords}},
		{RuntimeResult{Part: true, Pass: "packed", Metrics: far, Rounding: near, SourceAs: "original", ConvertedAs: "mlx"}, []string{
			of + "both run as original, at the tokens of the recording: " + nearWords, of + "run as mlx and original, rounding and divergence together, at the tokens of its packed rows: " + farWords}},
	} {
		if got := distanceLines(&tt.r); !slices.Equal(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// The verdict names what it allows.
func TestAnswer(t *testing.T) {
	for _, tt := range []struct {
		v    Verdict
		want string
	}{
		{Verdict{Same: true}, "the model that was recorded"},
		{Verdict{Same: true, Converted: &Subject{}, Weights: &WeightsSection{}}, "the same model"},
		{Verdict{Same: true, Converted: &Subject{}, Weights: &WeightsSection{Rounded: 3, RoundedTo: "float16"}}, "the same model, rounded to float16"},
		{Verdict{Same: true, Converted: &Subject{}, Weights: &WeightsSection{Rounded: 3, RoundedTo: "float16", Overflowed: 1}}, "the same model, rounded to float16 (1 element became infinite)"},
		{Verdict{Same: true, Converted: &Subject{}, Weights: &WeightsSection{Inexact: 2}}, "the same model, but for 2 elements of the embedding that transformers does not restore exactly"},
		{Verdict{Same: true, Converted: &Subject{}, Settings: &Settings{Recorded: []string{"attention_window"}}}, "the same model, with settings as recorded, not proven"},
		{Verdict{Converted: &Subject{}, Weights: &WeightsSection{Rounded: 3, RoundedTo: "float16"}}, "not the same model"},
		{Verdict{Same: true, Converted: &Subject{}, Model: "ema", Adapter: "runs/tuned/", Weights: &WeightsSection{Rounded: 3, RoundedTo: "float16"}}, "the same model, named ema in the source, with the adapter tuned merged, rounded to float16"},
		{Verdict{Same: true, Converted: &Subject{}, LeftOut: []string{"score.weight"}}, "the same model, without score.weight of the source"},
		{Verdict{Same: true, Converted: &Subject{}, LeftOut: []string{"a", "b"}}, "the same model, without 2 tensors of the source"},
		{Verdict{Same: true, Converted: &Subject{}, Unread: []string{"mask"}}, "the same model, without mask, which was not read"},
		{Verdict{Same: true, Unread: []string{"mask", "other"}}, "the model that was recorded, without 2 tensors, which were not read"},
		{Verdict{Same: true, Converted: &Subject{}, LeftOut: []string{"a\x1b[31m"}}, `the same model, without "a\x1b[31m" of the source`},
		{Verdict{Same: true, Converted: &Subject{}, Adapter: "runs/adapter"}, "the same model, with the adapter merged"},
		{Verdict{Same: true, Model: ".", Adapter: "tuned", dequantized: true}, "the model that was recorded, the one at the top level of the checkpoint, with the adapter tuned merged, run dequantised"},
		{Verdict{Same: true, WeightsOnly: true, Converted: &Subject{}, Weights: &WeightsSection{Rounded: 3, RoundedTo: "float16"}}, "the same weights, rounded to float16, configuration and logits not compared"},
		{Verdict{WeightsOnly: true, Converted: &Subject{}}, "not the same model"},
		{Verdict{Converted: &Subject{}, Adapter: "tuned", LeftOut: []string{"a"}}, "not the same model"},
	} {
		if got := tt.v.Answer(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if got, want := KindOf(&tt.v), strings.NewReplacer("1 element ", "elements ", "2 elements", "elements", "2 tensors", "tensors").Replace(tt.want); got != want {
			t.Errorf("kind %q, want %q", got, want)
		}
	}
}

// Wholly another model is said in a line, with the sizes that differ. What it lacks is not listed, unless all is.
func TestAnotherModel(t *testing.T) {
	settings := cases.Open(t, "tiny-griffin").Settings
	dir := cases.Testdata(t)
	of := func(model string) *Verdict {
		v, err := verifyFiles(t, dir+"/tiny-griffin/original/torch.pt", dir+"/"+model, Options{Settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := of("odd-griffin/hf")
	const sizes = "another model: width 36, not 32; 3 layers, not 5; vocabulary 61, not 128; MLP width 52, not 96; 3 heads, not 4; RG-LRU width 30, not 48"
	if v.Same || !v.Another() || v.Structure.Summary != sizes || v.Structure.Findings.Len() < 50 {
		t.Errorf("%t, %d findings: %s", v.Same, v.Structure.Findings.Len(), v.Structure.Summary)
	}
	held := 0
	for _, f := range v.Config.Findings.All() {
		if slices.Contains([]string{"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "block_types", "lru_width"}, f.Field) {
			if held++; f.Detail != "the tensors of the conversion are as this says" {
				t.Error(f.String())
			}
		}
	}
	if held < 4 {
		t.Errorf("%d sizes of config.json differ", held)
	}
	for all, most := range map[string]int{"--all": 8, "": 200} {
		var b strings.Builder
		if err := WriteText(&b, v, all); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n > most || (n < 20) != (all != "") || !strings.HasSuffix(b.String(), "\n\nnot the same model\n") {
			t.Errorf("%q: %d lines\n%s", all, n, b.String())
		}
	}
	for _, tt := range []struct {
		v         *Verdict
		all, want string
	}{
		{v, "--all", fmt.Sprintf("\n\n%d failures of another model are not listed (--all)\n\nnot the same model\n", v.Structure.Findings.Len()+v.Config.Findings.Len())},
		{v, "", ""},
		{&Verdict{another: true, Structure: &Section{Findings: strictjson.Items(Finding{Tensor: "x"})}, Config: &Section{}}, "--all", "\n\n1 failure of another model is not listed (--all)\n\nnot the model that was recorded\n"},
		{&Verdict{Structure: &Section{}, Config: &Section{}}, "--all", ""},
	} {
		var b strings.Builder
		if err := WriteText(&b, tt.v, tt.all); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); !strings.HasSuffix(text, tt.want) || strings.Contains(text, "not listed") != (tt.want != "") {
			t.Errorf("%q: %s\nwant %s", tt.all, text, tt.want)
		}
	}
	if v = of("../formats/safetensors/testdata/names.safetensors"); !v.Another() || !strings.HasPrefix(v.Structure.Summary, "another model: it lacks 99 of 99 tensors, and has ") {
		t.Errorf("of another family: %s", v.Structure.Summary)
	}
}

// Of random weights there is a line for all layers, wherever elements are the same by chance.
func TestTextOfRandomWeights(t *testing.T) {
	m := baseOf(t, "bfloat16, torch").made.clone()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, e := range m.tensors {
		values := e.values()
		for i := range values {
			values[i] = float32(rng.NormFloat64() / 10)
		}
		e.set(values)
	}
	v, err := m.judge(t)
	if err != nil {
		t.Fatal(err)
	}
	if lines, _, _ := v.lines(v.Weights.Findings, 100); len(lines) != 3 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}
