package report_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// odd is what a file may call things.
const odd = "<script>alert(1)</script>\"'&\x1b[31m\u202e{{.Style}}</style>"

var hostileCommand = []string{"griffin", "verify", odd}

// hostileVerdict has every field that comes from files filled with odd, and numbers that are none.
func hostileVerdict() *verify.Verdict {
	bad := logits.Site{Name: "hidden.1", Fed: true, RMS: verify.Number(math.NaN()), RMSAllowed: 0.1, Max: verify.Number(math.Inf(1)), Worst: logits.Location{Share: verify.Number(math.Inf(1))}, First: &logits.Location{}}
	head := logits.Site{Name: "logits", OK: true, RMS: 0.01, RMSAllowed: 0.1}
	const tokens = 2000
	pass := golden.Pass{Batch: 2, Length: tokens / 2, Tokens: make([]int32, tokens), Positions: make([]int32, tokens)}
	metrics := logits.PassMetrics{Fixture: logits.Metrics{KLMean: verify.Number(math.NaN()), NMSE: verify.Number(math.Inf(-1))}}
	for i := range tokens {
		pass.Positions[i] = int32(i % pass.Length)
		e := logits.TokenError{RMS: float64(i) / tokens, Max: math.Inf(1)}
		if i%3 == 0 {
			e.RMS = math.NaN()
		}
		for _, s := range []*logits.Site{&bad, &head} {
			s.Errors, s.Allowed = append(s.Errors, e), append(s.Allowed, [2]float64{0.1, 0.1})
		}
		metrics.Tokens = append(metrics.Tokens, logits.TokenMetrics{Row: i / 1000, Token: i % 1000, KL: e.RMS})
		metrics.Scatter = append(metrics.Scatter, [2]float32{float32(i), float32(e.RMS)})
	}
	facts := &verify.CheckpointFacts{Subject: verify.Subject{Path: odd, Format: odd, Layout: odd, Prefix: odd}, Digest: odd,
		Config: &verify.Shapes{Preset: odd, BlockTypes: []string{"recurrent", "attention"}, AttentionWindow: 8, LogitsSoftCap: verify.Number(math.NaN())}}
	v := &verify.Verdict{Griffin: "devel", Source: &facts.Subject, Converted: &facts.Subject, Golden: odd, Model: odd, Adapter: odd, LeftOut: []string{odd},
		Settings:  &verify.Settings{Preset: odd},
		Structure: &verify.Section{Summary: odd, Notes: []string{odd}},
		Config:    &verify.Section{Summary: odd, Skipped: true},
		Weights:   &verify.WeightsSection{Section: verify.Section{Summary: odd}, Converted: strictjson.Items(verify.TensorDigest{Name: odd, From: []string{odd}, Rule: odd, DType: "bfloat16"})},
		Logits: []*logits.Result{{Summary: odd, Checkpoint: odd, Implementation: odd, Semantics: "original", DType: odd, Window: 8,
			Envelope: &logits.Envelope{Runs: []string{odd}}, Sites: []*logits.Site{&bad, &head}, Passes: []golden.Pass{pass}, Metrics: []logits.PassMetrics{metrics},
			Faults: []*logits.Fault{{Block: 0, Half: logits.MLPHalf, Kind: "recurrent", Site: "hidden.1", Proved: true, Cause: odd, Where: odd, Tensors: []string{odd}, Detail: odd}}}},
		Runtime: &verify.RuntimeResult{Runtime: "transformers5", Summary: odd, Metrics: &logits.Metrics{}},
		Notes:   []string{odd}}
	for i := range 30 {
		v.Structure.Findings = v.Structure.Findings.Append(verify.Finding{Kind: verify.WrongWeights, Tensor: fmt.Sprint(odd, i), SourceName: odd, ConvertedName: odd,
			Index: []int64{1, 2}, Want: odd, Got: odd, Differing: 1, Elements: 2, Detail: odd})
	}
	v.Facts = &verify.Facts{Source: facts, Converted: facts, Adapter: &manifest.Adapter{Name: odd, Type: odd, Base: odd, Files: []manifest.File{{Name: odd}}},
		Golden: &verify.GoldenFacts{Path: odd, Implementation: odd, Versions: map[string]string{odd: odd}, DType: odd, Backend: odd, Flags: map[string]string{odd: odd}, ModelDigest: odd}}
	return v
}

func TestReportIsSafeWhateverFilesSay(t *testing.T) {
	v := hostileVerdict()
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	for _, want := range []string{"Not the same model", "Block 0, MLP half", "&lt;script&gt;", "the worst is shown", "All 30", "[1, 2]"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if len(page) > 2<<20 {
		t.Errorf("the page has %d bytes for %d tokens", len(page), len(v.Logits[0].Passes[0].Tokens))
	}
	if again := fileOf(t, "again.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) }); again != page {
		t.Error("the same verdict gave another page")
	}
}

// Figures of what fails are said to be that, and a directory that is refused because of it is no fact about the implementations.
func TestRuntimesOfThePage(t *testing.T) {
	const fact, figures, fails = "This is a fact about the implementations", "at most 2.29 from the source", "With what fails, at the tokens compared,"
	const mended = "It is described with the config.json and the names of tensors that it should have"
	known := []runtime.Fact{{Runtime: "transformers5", Prompt: "any"}}
	const ofConverted, ofSource = "does with the converted checkpoint<", "does with the source<"
	finite := logits.Metrics{Largest: 2.29, Tokens: 40, Differ: 22}
	for _, tt := range []struct {
		name      string
		ok        bool
		unproven  string
		r         verify.RuntimeResult
		converted string // its layout
		want, not []string
	}{
		{"right", true, "", verify.RuntimeResult{Metrics: &finite, Facts: known}, "huggingface", []string{fact, figures, "At the tokens compared, ", ofConverted}, []string{fails, mended}},
		{"from a token on", true, "", verify.RuntimeResult{Metrics: &finite, MetricsFrom: 8}, "huggingface", []string{"At the tokens from token 8 of each row on, the converted"}, nil},
		{"run alike", true, "", verify.RuntimeResult{Metrics: &finite, SourceAs: "original", ConvertedAs: "original"}, "huggingface", []string{"At the tokens compared, both run as original, the converted"}, []string{"what rounding changes"}},
		{"rounded, and run by others", true, "", verify.RuntimeResult{Metrics: &finite, Rounding: &logits.Metrics{Largest: 0.125}, SourceAs: "original", ConvertedAs: "mlx"}, "huggingface",
			[]string{"At the tokens compared, the conversion run as mlx and the source as original, the converted", "Both run as original, the converted checkpoint's logits are at most 0.125 from"}, nil},
		{"wrong", false, "", verify.RuntimeResult{Metrics: &finite, Facts: known, Mended: []string{"config.json", "names of tensors"}}, "huggingface", []string{fact, figures, fails, ofConverted, mended}, []string{"At the tokens compared"}},
		{"wrong weights", false, "", verify.RuntimeResult{Metrics: &finite, Facts: known}, "huggingface", []string{fact, figures, fails, ofConverted}, []string{"It is described with"}},
		{"wrong, of the original's layout", false, "", verify.RuntimeResult{Facts: known}, "torch", []string{ofSource}, []string{mended}},
		{"wrong and not finite", false, "", verify.RuntimeResult{Metrics: &logits.Metrics{Largest: verify.Number(math.NaN())}}, "huggingface", []string{fails + " logits are not finite"}, []string{"at most NaN"}},
		{"not proven", false, "the recording is not finite", verify.RuntimeResult{Metrics: &finite, Facts: known}, "huggingface", []string{fact, figures}, []string{fails, mended}},
		{"refused", true, "", verify.RuntimeResult{Refused: true}, "huggingface", []string{fact}, nil},
		{"refused, because it is wrong", false, "", verify.RuntimeResult{Refused: true}, "huggingface", nil, []string{fact}},
		{"two directories", true, "", verify.RuntimeResult{}, "huggingface", nil, []string{fact}},
	} {
		subject, converted := verify.Subject{Path: "a", Layout: "torch"}, verify.Subject{Path: "b", Layout: tt.converted}
		if tt.converted != "huggingface" || tt.name == "two directories" {
			subject.Layout = "huggingface"
		}
		facts := &verify.CheckpointFacts{Subject: subject}
		v := &verify.Verdict{Same: tt.ok, Unproven: tt.unproven, Source: &subject, Converted: &converted, Runtime: &tt.r, Structure: &verify.Section{OK: true}, Config: &verify.Section{OK: tt.ok, Summary: "checked"}, Facts: &verify.Facts{Source: facts, Converted: facts}}
		page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{}) })
		for _, want := range tt.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page lacks %q", tt.name, want)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(page, not) {
				t.Errorf("%s: the page has %q", tt.name, not)
			}
		}
	}
}

// Elements are sorted by their values, and what else may be in their place is not.
func TestElementsAreSortedByValue(t *testing.T) {
	findings := []verify.Finding{{Kind: verify.WrongWeights, Tensor: "x", Want: "-0.125 (0xbe00)", Got: "1e-05 (0x3728)"}, {Kind: verify.MissingTensor, Tensor: "y", Want: "float32 [2]"}}
	for i := range 30 { // so many that there is a table
		findings = append(findings, verify.Finding{Kind: verify.WrongWeights, Tensor: fmt.Sprint(i), Want: "1 (0x3f80)", Got: "2 (0x4000)"})
	}
	facts := &verify.CheckpointFacts{Subject: verify.Subject{Path: "x", Layout: "huggingface"}}
	v := &verify.Verdict{Source: &facts.Subject, Weights: &verify.WeightsSection{Section: verify.Section{Findings: strictjson.Items(findings...)}}, Facts: &verify.Facts{Source: facts}}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{}) })
	for _, want := range []string{`class="short" data-sort="-0.125">-0.125 (0xbe00)<`, `class="short" data-sort="1e-05">1e-05 (0x3728)<`, `"should be">float32 [2]<`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestCardIsCompleteAndPlain(t *testing.T) {
	v := hostileVerdict()
	text := fileOf(t, "card.json", func(path string) error { return report.WriteCard(path, v, hostileCommand) })
	var c report.Card
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if c.Schema != report.CardSchema || c.Same || len(c.Checks) != 4 || c.Checks[0].Failures.Len() != 30 || c.Command[2] != filepath.Base(odd) || c.Golden.Path != filepath.Base(odd) {
		t.Errorf("the card reads back as %+v", c)
	}
	if len(c.Logits) != 1 || !math.IsInf(float64(c.Logits[0].Worst), 1) || !math.IsNaN(float64(c.Logits[0].Metrics[0].Fixture.KLMean)) {
		t.Error("numbers that are not finite were lost")
	}
}

// TestReportOfLittle: a verdict of one check, or on a fixture that does not fit, has a page, too.
func TestReportOfLittle(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Format: "torch-zip", Layout: "torch"}
	for name, v := range map[string]*verify.Verdict{
		"nothing": {Same: true, Source: &subject},
		"unfit":   {Source: &subject, Logits: []*logits.Result{{Summary: "the fixture is of another model", Checkpoint: "a.pt"}}},
		"weights": {Same: true, Source: &subject, Converted: &subject, Weights: &verify.WeightsSection{Section: verify.Section{OK: true}, Tensors: 1, Elements: 2, Bytes: 5_365_724_160}},
	} {
		v.Facts = &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}}
		page := fileOf(t, name, func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
		checkPage(t, page)
		if name == "weights" && !strings.Contains(page, "1 tensor, 2 elements, 5.37 GB, each element compared") {
			t.Error("the page does not give the size of the weights")
		}
		if !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
			t.Errorf("%s: the page ends in %q", name, page[len(page)-50:])
		}
	}
}

// TestTokensOfNaN: among logits that are NaN no token is the most likely.
func TestTokensOfNaN(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Format: "torch-zip", Layout: "torch"}
	metrics := logits.PassMetrics{Tokens: []logits.TokenMetrics{{Top: [2]int{7, -1}, KL: math.NaN(), Largest: math.NaN()}, {Top: [2]int{-1, -1}, KL: math.NaN(), Largest: math.NaN()}}}
	v := &verify.Verdict{Source: &subject, Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}},
		Logits: []*logits.Result{{Checkpoint: "a.pt", Metrics: []logits.PassMetrics{metrics}}}}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	_, tokens, _ := strings.Cut(page, "Worst tokens")
	if n, none := strings.Count(tokens, ">not finite<"), strings.Count(tokens, ">none<"); n != 4 || none != 3 || strings.Contains(tokens, ">NaN<") || strings.Contains(tokens, ">-1<") || strings.Count(tokens, `<tr class="bad">`) != 2 || !strings.Contains(tokens, "In red: the most likely next token is not the same") {
		t.Errorf("%d cells of the worst tokens are not finite, not 4, and %d none, not 3: %.2000s", n, none, tokens)
	}
}

// TestWrongWeightsAndTheirLogits: a fault of the logits that wrong weights cause is part of their finding, and not counted again.
func TestWrongWeightsAndTheirLogits(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Format: "torch-zip", Layout: "torch"}
	fault := func(block int, tensor string) *logits.Fault {
		share, values := 3.0, (*logits.Values)(nil)
		if block == 2 { // a wrong embedding has values, and no share of a limit
			share, values = math.Inf(1), &logits.Values{Recorded: 0.25, Checkpoint: verify.Number(math.NaN())}
		}
		return &logits.Fault{Worst: logits.Location{Share: verify.Number(share)}, Block: block, Half: logits.MLPHalf, Kind: "recurrent", Site: "hidden.1", Tensors: []string{tensor}, Detail: "wrong",
			Values: values}
	}
	v := &verify.Verdict{Source: &subject, Converted: &subject,
		Weights: &verify.WeightsSection{Section: verify.Section{Findings: strictjson.Items(verify.Finding{Kind: verify.WrongWeights, Tensor: "layers.1.w", Differing: 1, Elements: 2})}},
		Logits:  []*logits.Result{{Checkpoint: "a.pt", Faults: []*logits.Fault{fault(1, "layers.1.w"), fault(2, "layers.2.w")}}},
		Facts:   &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}, Converted: &verify.CheckpointFacts{Subject: subject}}}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	for text, want := range map[string]int{"2 failures in the weights and logits.": 1, "In the logits: block 1, MLP half": 1, "channel 0: 3 times the limit": 1, "channel 0: the recording has 0.25, this checkpoint gives NaN": 1, "Logits: 1 place": 1, "<h4>Block 1": 0, "<h4>Block 2": 1} {
		if n := strings.Count(page, text); n != want {
			t.Errorf("%q is %d times in the page, not %d", text, n, want)
		}
	}
}

// TestFaultsOutsideTheModel: where the recording or all weights are at fault, no part of the model has a plot as the place of it. A fault of
// recorded weights says that they are right.
func TestFaultsOutsideTheModel(t *testing.T) {
	subject := verify.Subject{Path: "a", Format: "safetensors", Layout: "huggingface"}
	for _, tt := range []struct {
		kind    logits.FaultKind
		weights logits.Weights
		plots   int
		says    string
	}{
		{logits.RecurrentFault, logits.SameWeights, 1, "<dt>proven</dt><dd>its weights are those that were recorded, so that the configuration (one of rms_norm_eps"},
		{logits.RecordingFault, "", 0, "The recording"}, {logits.WeightsFault, logits.OtherWeights, 0, "Weights</h4>"},
		{logits.WeightsFault, logits.UnlikeWeights, 0, "Likely other weights or another model</h4>\n<dl>\n<dt>meaning</dt><dd>wrong</dd>\n"},
		{logits.WeightsFault, logits.UnlikeWeights, 0, ">logits: likely other weights or another model</a>"},
		{logits.SettingsFault, "", 0, "Settings"},
	} {
		f := &logits.Fault{Kind: tt.kind, Half: logits.MLPHalf, Site: "hidden.1", Tensors: []string{"w"}, Detail: "wrong"}
		switch {
		case tt.kind == logits.SettingsFault:
			f.Site = ""
		case tt.weights == logits.OtherWeights:
			f.Cause = "other weights than those of the fixture"
		}
		site := &logits.Site{Name: "hidden.1", Errors: []logits.TokenError{{RMS: 1, Max: 1}}, Allowed: [][2]float64{{1, 1}}}
		v := &verify.Verdict{Source: &subject, Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}},
			Logits: []*logits.Result{{Checkpoint: "a", Weights: tt.weights, Faults: []*logits.Fault{f}, Sites: []*logits.Site{site}, Passes: []golden.Pass{{Batch: 1, Length: 1, Tokens: []int32{1}, Positions: []int32{0}}}}}}
		page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
		checkPage(t, page)
		if n := strings.Count(page, "At fault: "); (n > 0) != (tt.plots > 0) || !strings.Contains(strings.ReplaceAll(page, "<wbr>", ""), tt.says) || strings.Contains(page, "<dt>first wrong</dt>") != (f.Site != "" && !f.Unlike()) {
			t.Errorf("%s: %d plots of the place at fault; %q is missing?", tt.kind, n, tt.says)
		}
	}
}

// A fault of several blocks says in which of them and in which pass it is first wrong, and worst.
func TestFoldedFault(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Format: "torch-zip", Layout: "torch"}
	v := &verify.Verdict{Source: &subject, Logits: []*logits.Result{{Checkpoint: "a.pt"}}, Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}}}
	for i := range 4 {
		v.Logits[0].Faults = append(v.Logits[0].Faults, &logits.Fault{Block: i, Kind: logits.RecurrentFault, Half: logits.MLPHalf, Site: fmt.Sprint("hidden.", i+1), First: logits.Location{Token: 9 - i, Position: 4}, Worst: logits.Location{Row: 1}, WorstPass: "packed"})
	}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{}) })
	for _, want := range []string{"<dd>block 3, token 6 of row 0 (position 4)</dd>", "<dd>block 0, packed token 0 of row 1, channel 0", "<code>hidden.4</code> and in an output of each other place"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// TestFindingsOfLayers: what is wrong in the same way in several layers is described once, with the first of its faults, which are one if they are alike.
func TestFindingsOfLayers(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Format: "torch-zip", Layout: "torch"}
	v := &verify.Verdict{Source: &subject, Converted: &subject, Weights: &verify.WeightsSection{}, Logits: []*logits.Result{{Checkpoint: "a.pt"}},
		Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}, Converted: &verify.CheckpointFacts{Subject: subject}}}
	for i := range 20 {
		name := fmt.Sprintf("layers.%d.w", i)
		v.Weights.Findings = v.Weights.Findings.Append(verify.Finding{Kind: verify.WrongWeights, Tensor: name, SourceName: name, ConvertedName: name, Differing: 1, Elements: 2})
		v.Logits[0].Faults = append(v.Logits[0].Faults, &logits.Fault{Block: i, Half: logits.MLPHalf, Kind: "recurrent", Site: "hidden.1", Tensors: []string{name, "head"}[:1+i/16], Where: fmt.Sprint(i < 16), Worst: logits.Location{Token: i}, Detail: "wrong"})
	}
	v.Weights.Findings = v.Weights.Findings.Append(verify.Finding{Kind: verify.WrongWeights, Tensor: "head", SourceName: "head", ConvertedName: "head"})
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	for text, want := range map[string]int{"weights: all layers (20) of layers: w</a>": 1, `<div class="fault"`: 3, "20; 20 of 40 elements differ": 1, "In the logits: blocks 0 to 15, MLP": 1, "more places in the logits": 0,
		"\">In the logits: blocks 16 to 19, MLP": 1, "<summary>All 21": 1, "; because of these tensors, and <a href=\"#finding0-1\">head</a></li>": 1, "worst in block 16 at token 16 of row 0": 1, "look at": 0} {
		if n := strings.Count(page, text); n != want {
			t.Errorf("%q is %d times in the page, not %d", text, n, want)
		}
	}
}

// The page describes a fault that two wrong tensors cause below the first of them, and links to the other.
func TestFaultOfTwoTensors(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Layout: "torch"}
	v := &verify.Verdict{Source: &subject, Converted: &subject, Weights: &verify.WeightsSection{}, Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}, Converted: &verify.CheckpointFacts{Subject: subject}}}
	for i, name := range []string{"gate", "up"} {
		v.Weights.Findings = v.Weights.Findings.Append(verify.Finding{Kind: verify.WrongWeights, Tensor: name, SourceName: name, ConvertedName: name, Differing: int64(i + 1), Elements: 4})
	}
	v.Logits = []*logits.Result{{Checkpoint: "a.pt", Faults: []*logits.Fault{{Kind: "recurrent", Site: "hidden.1", Tensors: []string{"gate", "up"}, Detail: "wrong"}}}}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{}) })
	if want := `<dt>cause</dt><dd>this tensor, and <a href="#finding0-1">up</a></dd>`; !strings.Contains(page, want) {
		t.Errorf("the page lacks %s", want)
	}
}

// What else a wrong tensor causes is hidden if that are several lines, one for each place. That a place was computed from the recording's input says
// nothing of those before it, which may be at fault too.
func TestPlacesOfOneTensor(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Layout: "torch"}
	v := &verify.Verdict{Source: &subject, Converted: &subject, Weights: &verify.WeightsSection{}, Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}, Converted: &verify.CheckpointFacts{Subject: subject}}}
	v.Weights.Findings = strictjson.Items(verify.Finding{Kind: verify.WrongWeights, Tensor: "w", SourceName: "w", ConvertedName: "w"})
	l := &logits.Result{Checkpoint: "a.pt", Blocks: make([]model.BlockType, 1)}
	for i, kind := range []logits.FaultKind{logits.RecurrentFault, logits.EmbeddingFault, logits.FinalNormFault} {
		l.Faults = append(l.Faults, &logits.Fault{Block: -min(i, 1), Kind: kind, Site: "x", Proved: true, Where: string(kind), Tensors: []string{"w"}, Detail: "wrong"})
	}
	v.Logits = []*logits.Result{l}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	for text, want := range map[string]int{"<summary>2 more places in the logits": 1, "own input: what is before it has no part in this": 1} {
		if n := strings.Count(page, text); n != want {
			t.Errorf("%q is %d times in the page, not %d", text, n, want)
		}
	}
}

// A fault of the logits that stands with a wrong field of config.json names the others that cause it, and no tensors, which are right.
func TestFindingsOfFields(t *testing.T) {
	source, converted := verify.Subject{Path: "a.pt", Layout: "torch"}, verify.Subject{Path: "b", Layout: "huggingface"}
	v := &verify.Verdict{Source: &source, Converted: &converted, Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: source}, Converted: &verify.CheckpointFacts{Subject: converted}},
		Weights: &verify.WeightsSection{Section: verify.Section{OK: true}, Converted: strictjson.Items(verify.TensorDigest{Name: "w", OK: true})},
		Config:  &verify.Section{Findings: strictjson.Items(verify.Finding{Kind: verify.WrongField, Field: "rope_theta", Want: "1", Got: "2"}, verify.Finding{Kind: verify.WrongField, Field: "head_dim", Want: "3", Got: "4"})},
		Logits:  []*logits.Result{{Checkpoint: "a.pt", OK: true}, {Checkpoint: "b", Faults: []*logits.Fault{{Kind: logits.AttentionFault, Half: logits.TemporalHalf, Site: "hidden.1", Tensors: []string{"w"}, Detail: "wrong"}}}}}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	if !strings.Contains(page, "<dt>cause</dt><dd>this, and <a href=\"#finding0-1\">head_dim</a></dd>") {
		t.Errorf("the page does not say that both fields cause the fault")
	}
}

// A tensor that is missing, or is one too many, is said to be so, and failures are counted once.
func TestFindingsOfStructure(t *testing.T) {
	subject := verify.Subject{Path: "a.pt", Format: "torch-zip", Layout: "torch"}
	v := &verify.Verdict{Source: &subject, Converted: &subject, Weights: &verify.WeightsSection{}, // fails without a finding of its own
		Structure: &verify.Section{Findings: strictjson.Items(verify.Finding{Kind: verify.MissingTensor, Tensor: "w", Want: "float32 [2]"}, verify.Finding{Kind: verify.ExtraTensor, Tensor: "x", Got: "float32 [3]"})},
		Facts:     &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject}, Converted: &verify.CheckpointFacts{Subject: subject}}}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	for _, want := range []string{"<dd>float32 [2]</dd>\n<dt>is</dt><dd>missing</dd>", "<dt>should be</dt><dd>absent</dd>\n<dt>is</dt><dd>float32 [3]</dd>", "2 failures in the structure."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// What was done to renamed tensors is said where they are named, and what config.json states is shown though their names are no model's.
func TestPageOfRenamedTensors(t *testing.T) {
	subject := verify.Subject{Path: "a.pt"}
	shapes := verify.Shapes{BlockTypes: []string{"attention"}, VocabSize: 7001}
	source, stated := shapes, shapes
	source.AttentionWindow, stated.AttentionWindowSize, stated.LogitsSoftCap = 2048, 2049, 31
	v := &verify.Verdict{Source: &subject, Converted: &subject, Structure: &verify.Section{},
		Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject, Config: &source}, Converted: &verify.CheckpointFacts{Subject: subject, Stated: &stated}}}
	for i := range 5 {
		name, now := fmt.Sprintf("layers.%d.mlp_block.w", i), fmt.Sprintf("layers.%d.mlp.w", i)
		v.Structure.Findings = v.Structure.Findings.Append(verify.Finding{Kind: verify.RenamedTensor, Tensor: name, Want: name, Got: now, ConvertedName: now})
	}
	page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
	checkPage(t, page)
	for text, want := range map[string]int{"mlp_block.w, mlp_block renamed to mlp</a>": 1, "<dt>change</dt><dd>mlp_block renamed to mlp</dd>": 1, ">7,001<": 2, ">31<": 1, ">2,049 (attention_window_size)<": 1, `<tr class="bad"><th scope="row">attention window`: 0} {
		if n := strings.Count(page, text); n != want {
			t.Errorf("%q is %d times in the page, not %d", text, n, want)
		}
	}
}

// A wrong window is shown as config.json has it; a right one in the original's terms.
func TestWindowOfThePage(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		shapes := func(size int64) *verify.Shapes {
			return &verify.Shapes{BlockTypes: []string{"attention"}, AttentionWindow: 2048, AttentionWindowSize: size}
		}
		subject := verify.Subject{Path: "a.pt"}
		v := &verify.Verdict{Source: &subject, Converted: &subject, Config: &verify.Section{},
			Facts: &verify.Facts{Source: &verify.CheckpointFacts{Subject: subject, Config: shapes(0)}, Converted: &verify.CheckpointFacts{Subject: subject, Config: shapes(1999)}}}
		if wrong {
			v.Config.Findings = strictjson.Items(verify.Finding{Kind: verify.WrongField, Field: "attention_window_size", Want: "2048", Got: "1999"})
		}
		page := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{Command: hostileCommand}) })
		checkPage(t, page)
		if got := strings.Contains(page, "1,999 (attention_window_size)"); got != wrong || strings.Count(page, "2,048") == 0 {
			t.Errorf("wrong %t: the page has config.json's window: %t", wrong, got)
		}
	}
}

func fileOf(t *testing.T, name string, write func(path string) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A card says nothing about the machine: paths are base names, in the command too. Addresses stay.
func TestCardHasBaseNames(t *testing.T) {
	v := hostileVerdict()
	v.Facts.Source.Path, v.Facts.Converted.Path, v.Facts.Golden.Path = "/home/me/secret/a.pt", "../secret/out/", "secret/jax.safetensors"
	v.Logits[0].Checkpoint = "/home/me/secret/a.pt"
	command := []string{"griffin", "verify", "/home/me/secret/a.pt", "hf://org/name", "--golden=secret/jax.safetensors", "--card", "secret/card.json"}
	c := report.NewCard(v, command)
	if want := []string{"griffin", "verify", "a.pt", "hf://org/name", "--golden=jax.safetensors", "--card", "card.json"}; !slices.Equal(c.Command, want) {
		t.Errorf("the command is %q", c.Command)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("the card has a directory: %s", text)
	}
	if v.Facts.Converted.Path != "../secret/out/" {
		t.Error("the verdict was changed")
	}
}

// A verdict that proves nothing is neither good nor bad, and a setting that was given is not called what should be otherwise.
func TestUnprovenVerdict(t *testing.T) {
	facts := &verify.CheckpointFacts{Subject: verify.Subject{Path: "x", Layout: "huggingface"}}
	given := verify.Finding{Kind: verify.GivenSetting, Field: "attention_window", Want: "8", Got: "9", Of: "conversion", Detail: "config.json of the conversion has 8"}
	for _, tt := range []struct {
		converted    *verify.CheckpointFacts
		lead, judged string
	}{{facts, "No check found that the checkpoints differ.", "The source"}, {nil, "neither that it is the one that was recorded.", "The checkpoint"}} {
		v := &verify.Verdict{Unproven: "the attention window that was given is not the conversion's", Source: &facts.Subject, Facts: &verify.Facts{Source: facts, Converted: tt.converted},
			Settings: &verify.Settings{AttentionWindow: 8, LogitsSoftCap: 30, Contradicted: []string{"attention window 9"}},
			Config:   &verify.Section{Summary: "given", Findings: strictjson.Items(given)}}
		if tt.converted != nil {
			v.Converted = &facts.Subject
		}
		html := fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{}) })
		for _, want := range []string{`<div class="verdict open">`, `aria-hidden="true">?</span>Not proven: the attention window that was given is not the conversion`, tt.lead,
			"<dt>given</dt><dd>9</dd>\n<dt>the conversion has</dt><dd>8</dd>", ">given 9</td>",
			tt.judged + " was judged by what the conversion has: attention window 8, logits soft cap 30, embedding scale false; given: attention window 9."} {
			if !strings.Contains(html, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if !strings.Contains(html, "What is not proven, and why</") || !strings.Contains(html, "body:has(.verdict.open) main { --bad: var(--fact);") {
			t.Error("failures of a verdict that proves nothing are red")
		}
		for _, wrong := range []string{"should be", "<dt>is</dt>", "What is wrong"} {
			if strings.Contains(html, wrong) {
				t.Errorf("the page has %q", wrong)
			}
		}
	}
}
