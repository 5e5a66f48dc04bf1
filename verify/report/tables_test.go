package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// rowOf is a row of a table in one line, with an exclamation mark if it is marked as wrong.
func rowOf(r page.Row) string {
	var cells []string
	for _, c := range r.Cells {
		cells = append(cells, c.Text)
	}
	return map[bool]string{true: "! "}[r.Bad] + strings.Join(cells, " | ")
}

// The settings of both checkpoints are compared: those are marked that both have and that differ.
func TestSettingsTable(t *testing.T) {
	shapes := func(window, written int64, softCap float64) *verify.Shapes {
		return &verify.Shapes{BlockTypes: []string{"recurrent", "attention"}, Width: 16, VocabSize: 40, AttentionWindow: window, AttentionWindowSize: written, LogitsSoftCap: verify.Number(softCap), EmbeddingScale: true}
	}
	side := func(s *verify.Shapes) *verify.CheckpointFacts {
		return &verify.CheckpointFacts{Parameters: 1000, Config: s}
	}
	stated := &verify.CheckpointFacts{Parameters: 1000, Stated: shapes(0, 8, 30)}
	against := &verify.CheckpointFacts{Parameters: 1000, Stated: shapes(0, 8, 30), Sizes: shapes(0, 0, 0)}
	against.Sizes.BlockTypes = []string{"recurrent", "recurrent", "attention"}
	unscaled := shapes(8, 8, 30)
	unscaled.EmbeddingScale = false
	window := func(kind verify.FindingKind, field, got, of string) *verify.Section {
		return &verify.Section{Findings: strictjson.Items(verify.Finding{Kind: kind, Field: field, Got: got, Of: of})}
	}
	for _, tt := range []struct {
		name              string
		source, converted *verify.CheckpointFacts
		config            *verify.Section
		want              string // of rows that are marked, and of the window, the soft cap and the scale
	}{
		{"alone", side(shapes(8, 8, 30)), nil, nil, "attention window | 8, logits soft cap | 30, embedding scale | yes"},
		{"the same", side(shapes(8, 8, 30)), side(shapes(8, 9, 30)), nil, "attention window | 8 | 8, logits soft cap | 30 | 30, embedding scale | yes | yes"},
		{"another soft cap", side(shapes(8, 8, 30)), side(shapes(8, 8, 0)), nil, "attention window | 8 | 8, ! logits soft cap | 30 | none, embedding scale | yes | yes"},
		{"a wrong window", side(shapes(8, 8, 30)), side(shapes(8, 6, 30)), window(verify.WrongField, "attention_window_size", "6", ""),
			"! attention window | 8 | 6 (attention_window_size), logits soft cap | 30 | 30, embedding scale | yes | yes"},
		{"what a file states of a model that cannot be run", side(shapes(8, 8, 20)), stated, nil, "attention window | 8 | 8 (attention_window_size), ! logits soft cap | 20 | 30, embedding scale | yes | yes (transformers always does)"},
		{"what a file states against the tensors", side(shapes(8, 8, 30)), against, nil, "! blocks | 2 RA | 3 RRA; config.json says 2 RA, attention window | 8 | 8 (attention_window_size), logits soft cap | 30 | 30, embedding scale | yes | yes (transformers always does)"},
		{"an original that is not scaled", side(unscaled), stated, nil, "attention window | 8 | 8 (attention_window_size), logits soft cap | 30 | 30, embedding scale | no | yes (transformers always does)"},
		{"nothing of the source", &verify.CheckpointFacts{}, side(shapes(8, 8, 20)), nil, "attention window | unknown | 8, logits soft cap | unknown | 20, embedding scale | unknown | yes"},
		{"nothing of the conversion", side(shapes(8, 8, 20)), &verify.CheckpointFacts{}, nil, "attention window | 8 | unknown, logits soft cap | 20 | unknown, embedding scale | yes | unknown"},
		{"sizes, and no settings", &verify.CheckpointFacts{Parameters: 1000, Sizes: shapes(0, 0, 0)}, &verify.CheckpointFacts{Parameters: 1000, Sizes: &verify.Shapes{Width: 18, VocabSize: 40, BlockTypes: []string{"recurrent", "attention"}}}, nil,
			"! width | 16 | 18, attention window | unknown | unknown, logits soft cap | unknown | unknown, embedding scale | unknown | unknown"},
		{"nothing but the number of parameters", &verify.CheckpointFacts{Parameters: 1000}, &verify.CheckpointFacts{Parameters: 1001}, nil,
			"! parameters | 1,000 | 1,001, attention window | unknown | unknown, logits soft cap | unknown | unknown, embedding scale | unknown | unknown"},
		{"what was given", side(shapes(8, 8, 30)), side(shapes(8, 8, 30)), window(verify.GivenSetting, "attention_window", "6", "conversion"),
			"! attention window | given 6 | 8, logits soft cap | 30 | 30, embedding scale | yes | yes"},
		{"no soft cap was given", side(shapes(8, 8, 30)), side(shapes(8, 8, 30)), window(verify.GivenSetting, "logits_soft_cap", "0", "conversion"),
			"attention window | 8 | 8, ! logits soft cap | given none | 30, embedding scale | yes | yes"},
		{"what was given against the source", side(shapes(8, 8, 30)), side(shapes(8, 8, 30)), window(verify.GivenSetting, "attention_window", "6", "source"),
			"attention window | 8 | 8, logits soft cap | 30 | 30, embedding scale | yes | yes"},
		{"open", side(shapes(7, 8, 30)), side(shapes(7, 0, 30)), window(verify.OpenSetting, "attention_window", "7", "source"),
			"! attention window | 8 (attention_window_size) | 7 (attention_window_size), logits soft cap | 30 | 30, embedding scale | yes | yes"},
		{"a wrong field of that name", side(shapes(8, 8, 30)), side(shapes(8, 8, 30)), window(verify.WrongField, "logits_soft_cap", "20", "conversion"),
			"attention window | 8 | 8, logits soft cap | 30 | 30, embedding scale | yes | yes"},
	} {
		var got []string
		table := settingsTable(&verify.Verdict{Config: tt.config, Facts: &verify.Facts{Source: tt.source, Converted: tt.converted}})
		if got := table.Columns[len(table.Columns)-1].Title; (got == "converted, by its config.json") != (tt.converted == stated) {
			t.Errorf("%s: the last column is %q", tt.name, got)
		}
		for _, r := range table.Rows {
			switch {
			case r.Bad, r.Cells[0].Text == "attention window", r.Cells[0].Text == "logits soft cap", r.Cells[0].Text == "embedding scale":
				got = append(got, rowOf(r))
			}
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, strings.Join(got, ", "), tt.want)
		}
	}
}

// The row of a missing tensor has no name in the conversion, that of an extra one none in the source. The row of a tensor that was not compared has
// no number of elements. What was given is said to be, in the column of the source where the conversion has another.
func TestFindingsTable(t *testing.T) {
	for _, tt := range []struct {
		f    verify.Finding
		want string
	}{
		{verify.Finding{Kind: verify.WrongWeights, Tensor: "t", SourceName: "s", ConvertedName: "c", Differing: 1, Want: "1", Got: "2", Detail: "d"}, "s | c | 1 | 1 | 2 | d"},
		{verify.Finding{Kind: verify.MissingTensor, Tensor: "t", SourceName: "s", Want: "w"}, "s | — |  | w | missing | "},
		{verify.Finding{Kind: verify.MissingTensor, Tensor: "t", SourceName: "s", ConvertedName: "c", Want: "w"}, "s | c |  | w | missing | "},
		{verify.Finding{Kind: verify.ExtraTensor, Tensor: "t", Got: "g"}, "— | t |  | absent | g | "},
		{verify.Finding{Kind: verify.WrongField, Field: "f", Want: "w", Got: "g", Detail: "d"}, "f | w | g | d"},
		{verify.Finding{Kind: verify.OpenSetting, Field: "f", Want: "7", Got: "8"}, "f | 7 or 8 | open | "},
		{verify.Finding{Kind: verify.GivenSetting, Field: "f", Want: "5", Got: "8", Of: "conversion"}, "f | given: 8 | 5 | "},
		{verify.Finding{Kind: verify.GivenSetting, Field: "f", Want: "5", Got: "8", Of: "recording"}, "f | 5 | given: 8 | "},
	} {
		if got := rowOf(findingsTable(strictjson.Items(tt.f)).Rows[0]); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A token is marked if another one is the most likely next, or none is, and has an asterisk where attention no longer sees the first token of the document.
func TestTokensOfThePage(t *testing.T) {
	pass := &golden.Pass{Batch: 2, Length: 3, Tokens: []int32{10, 11, 12, 13, 14, 15}, Positions: []int32{0, 1, 2, 0, 1, 2}}
	token := func(row, at, ours, theirs int) logits.TokenMetrics {
		return logits.TokenMetrics{Row: row, Token: at, Top: [2]int{ours, theirs}}
	}
	for _, tt := range []struct {
		t      logits.TokenMetrics
		pass   *golden.Pass
		window int
		want   string // of the columns from the row to the token's id, and of the most likely
	}{
		{token(0, 1, 5, 5), pass, 2, "0 1 1 11 5 5"},
		{token(0, 2, 5, 6), pass, 2, "! 0 2 2* 12 5 6"},
		{token(1, 1, 0, 0), pass, 1, "1 1 1* 14 0 0"},
		{token(1, 2, 5, 5), pass, 0, "1 2 2 15 5 5"},
		{token(1, 2, -1, -1), pass, 3, "! 1 2 2 15 none none"},
		{token(1, 0, 5, 5), &golden.Pass{Batch: 1, Length: 3, Tokens: []int32{1, 2, 3}, Positions: []int32{0, 1, 2}}, 1, "1 0 0 0 5 5"}, // not of the pass
		{token(1, 0, 5, 5), nil, 1, "1 0 0 0 5 5"},
	} {
		r := tokensTable(tokenRows(&logits.PassMetrics{Tokens: []logits.TokenMetrics{tt.t}}, tt.pass, tt.window)).Rows[0]
		got := map[bool]string{true: "! "}[r.Bad]
		for _, k := range []int{1, 2, 3, 4, 7} {
			got += r.Cells[k].Text + " "
		}
		if got += r.Cells[8].Text; got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.t, got, tt.want)
		}
	}
}

// A checkpoint is named with what is known of it.
func TestSubjectsOfThePage(t *testing.T) {
	for _, tt := range []struct {
		f    verify.CheckpointFacts
		want string
	}{
		{verify.CheckpointFacts{Subject: verify.Subject{Format: "f", Layout: "l"}}, "format=f, l layout"},
		{verify.CheckpointFacts{Subject: verify.Subject{Format: "f", Layout: "l", Prefix: "p"}, Parameters: 1000, Digest: "d", ConfigBLAKE3: "b", ConfigSHA256: "s"},
			"format=f, l layout; prefix=p; parameters=1,000; weights=d; config.json=blake3:b; config.json=sha256:s"},
	} {
		var got []string
		for _, f := range checkpointSubject("Source", &tt.f).Facts {
			got = append(got, fmt.Sprintf("%s=%s", f.Name, f.Value))
		}
		if strings.Join(got, "; ") != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// The tokens of a pass are listed once: decoding has those of the plain pass, if there is one.
func TestTokensOfPasses(t *testing.T) {
	of := func(pass string, n int) logits.PassMetrics {
		return logits.PassMetrics{Pass: pass, Tokens: make([]logits.TokenMetrics, n)}
	}
	for _, tt := range []struct {
		metrics []logits.PassMetrics
		want    int
	}{
		{[]logits.PassMetrics{of("", 4), of("packed", 3), of("decode", 4)}, 7},
		{[]logits.PassMetrics{of("", 4)}, 4},
		{[]logits.PassMetrics{of("decode", 5)}, 5},
	} {
		v := &verify.Verdict{Facts: &verify.Facts{}}
		if part := newLogitsPart(&logits.Result{Metrics: tt.metrics}, v, 0); part.Total != tt.want {
			t.Errorf("%d passes: %d tokens, want %d", len(tt.metrics), part.Total, tt.want)
		}
	}
}

// The logits of the source come first, and a fault that wrong weights of the other cause stands with them.
func TestLogitsOfTwoSides(t *testing.T) {
	facts := func(path string) *verify.CheckpointFacts {
		return &verify.CheckpointFacts{Subject: verify.Subject{Path: path}}
	}
	fault := &logits.Fault{Kind: logits.RecurrentFault, Tensors: []string{"w"}, Detail: "d"}
	v := &verify.Verdict{Source: &verify.Subject{Path: "a"}, Converted: &verify.Subject{Path: "b"}, Facts: &verify.Facts{Source: facts("a"), Converted: facts("b")},
		Structure: &verify.Section{OK: true}, Weights: &verify.WeightsSection{Section: verify.Section{Findings: strictjson.Items(
			verify.Finding{Kind: verify.WrongWeights, Tensor: "v", SourceName: "v", ConvertedName: "v"}, verify.Finding{Kind: verify.WrongWeights, Tensor: "w", SourceName: "w", ConvertedName: "y"})}},
		Logits: []*logits.Result{{Checkpoint: "b", Faults: []*logits.Fault{fault}}, {Checkpoint: "a", OK: true}}}
	g := newVerdictPage(v)
	if len(g.Logits) != 2 || g.Logits[0].Of != "source" || g.Logits[1].Of != "converted checkpoint" || len(g.Logits[1].Where) > 0 || g.Tensors != nil {
		t.Fatalf("%+v", g.Logits)
	}
	for _, shown := range g.Findings[0].Shown {
		names, faults := strings.Join(shown.Names(), ","), len(shown.Faults)
		if shown.First.Tensor == "w" && (faults != 1 || shown.Faults[0].Title != "In the logits of the converted checkpoint: block 0 (recurrent)" || names != "w,y") ||
			shown.First.Tensor == "v" && (faults != 0 || names != "") {
			t.Errorf("%s: %q, %+v", shown.Title, names, shown.Faults)
		}
	}
	v.Weights.Converted = strictjson.Items(verify.TensorDigest{Name: "w"})
	if g := newVerdictPage(v); g.Tensors == nil || len(g.Tensors.Rows) != 1 {
		t.Errorf("%+v", g.Tensors)
	}
}

// A tensor of the table of a diff has both names, types and shapes where they differ, and its first difference if it has one; a group has its share.
func TestTablesOfDiff(t *testing.T) {
	metrics := func(differing int64) *diff.Metrics {
		return &diff.Metrics{Differing: differing, First: []int64{1}, FirstA: 2, FirstB: 3, MaxULP: new(uint64(30233))}
	}
	r := &diff.Result{Summary: diff.Summary{Tensors: 4}, Tensors: []diff.TensorDiff{
		{Name: "norm", Status: diff.Differs, DType: "float32", Shape: []int64{4}, Elements: 4, Metrics: metrics(2)},
		{Name: "embed", Status: diff.DType, A: "x.embed", DType: "float32", DTypeB: "bfloat16", Shape: []int64{4}, Elements: 4, Metrics: metrics(0)},
		{Name: "layers.0.w", Status: diff.Shape, B: "h.0.w", DType: "float32", Shape: []int64{4}, ShapeB: []int64{5}, Elements: 4},
		{Name: "equal", Status: diff.Equal, DType: "float32", Shape: []int64{4}, Elements: 4},
	}}
	g := newDiffPage(r)
	var all []string
	for _, row := range g.Tensors.Rows {
		var cells []string
		for _, k := range []int{0, 1, 2, 3, 4, 9, 10} {
			cells = append(cells, strings.TrimSuffix(row.Cells[k].Text+" / "+row.Cells[k].Soft, " / "))
		}
		all = append(all, strings.Join(cells, " | "))
	}
	if want := "norm | other values | float32 | [4] | 2 | 30,233 | [1]: 2, 3\nembed / A: x.embed | another dtype | float32 → bfloat16 | [4] | 0 | 30,233 | \nlayers.0.w / B: h.0.w | another shape | float32 | [4] → [5] |  |  | "; strings.Join(all, "\n") != want || g.Changed != 3 {
		t.Errorf("%d:\ngot  %s\nwant %s", g.Changed, strings.Join(all, "\n"), want)
	}
	var groups []string
	for _, row := range g.Groups.Rows {
		groups = append(groups, row.Cells[0].Text+" / "+row.Cells[0].Soft+" | "+row.Cells[1].Text+" | "+row.Cells[3].Text+" "+row.Cells[3].Sort)
	}
	slices.Sort(groups)
	if want := "embed /  | another dtype |  \nnorm /  | other values | 2 of 4 0.5\nw / layer 0 of layers | another shape |  "; strings.Join(groups, "\n") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(groups, "\n"), want)
	}
	for layout, want := range map[string]string{"": "f", "l": "f, l layout"} {
		if got := sideSubject("A", &diff.Side{Format: "f", Layout: layout}).Facts[0].Value; got != want {
			t.Errorf("%q: %s", layout, got)
		}
	}
	for stored, want := range map[int]string{0: "1,099 tensors, ", 89: "89 tensors, compared as 1,099, "} {
		if got := sideSubject("A", &diff.Side{Tensors: 1099, Stored: stored}).Facts[1].Value; !strings.HasPrefix(got, want) {
			t.Errorf("%d: %s", stored, got)
		}
	}
}

// A fault stands with the finding that causes it, and not with one of another check; only a page with failures describes them.
func TestFailuresThatThePageDescribes(t *testing.T) {
	side := func(path, kind string) *verify.CheckpointFacts {
		return &verify.CheckpointFacts{Subject: verify.Subject{Path: path}, Config: &verify.Shapes{BlockTypes: []string{kind}}}
	}
	facts := &verify.Facts{Source: side("a", "recurrent"), Converted: side("b", "attention")}
	fault := &logits.Fault{Kind: logits.EmbeddingFault, Tensors: []string{"w"}, Detail: "d"}
	wrong := verify.Section{Findings: strictjson.Items(verify.Finding{Kind: verify.WrongWeights, Tensor: "w", SourceName: "w", ConvertedName: "w"})}
	field := &verify.Section{Findings: strictjson.Items(verify.Finding{Kind: verify.WrongField, Field: "architectures"})}
	of := func(config *verify.Section, weights verify.Section, faults ...*logits.Fault) *verdictPage {
		return newVerdictPage(&verify.Verdict{Source: &facts.Source.Subject, Converted: &facts.Converted.Subject, Facts: facts, Config: config, Weights: &verify.WeightsSection{Section: weights},
			Logits: []*logits.Result{{Checkpoint: "b", OK: len(faults) == 0, Faults: faults}}})
	}
	right := verify.Section{OK: true}
	g := of(field, wrong, fault)
	for _, group := range g.Findings {
		if n := len(group.Shown[0].Faults); n != map[string]int{"configuration": 0, "weights": 1}[group.Check] {
			t.Errorf("%s: %d faults", group.Check, n)
		}
	}
	for _, tt := range []struct {
		name      string
		g         *verdictPage
		explained bool
	}{
		{"weights and a field", g, true},
		{"a field", of(field, right), true},
		{"logits", of(&right, right, fault), true},
		{"nothing", of(&right, right), false},
	} {
		if tt.g.Explained() != tt.explained {
			t.Errorf("%s: explained %t", tt.name, tt.g.Explained())
		}
	}
	for path, want := range map[string]string{"a": "[recurrent]", "b": "[attention]", "c": "[]"} {
		if got := fmt.Sprint(blockKinds(facts, &logits.Result{Checkpoint: path})); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// The page of a score names the checkpoints by their order if there are two, and only what is known of them.
func TestScoreDocument(t *testing.T) {
	score := func(agreed int, models ...ScoredModel) *Score {
		s := &Score{Result: &perplexity.Result{Tokens: 9, Predicted: 8}, Text: "text", Rows: 1, Arithmetic: "float32", Models: models}
		for range models {
			s.NLL = append(s.NLL, 0)
		}
		if len(models) == 2 {
			s.Pair = &perplexity.Pair{KL: 0.5, Agreed: agreed}
		}
		return s
	}
	settings := runtime.Settings{AttentionWindow: 16, WindowFull: 17, LogitsSoftCap: 30, Activation: "gelu_new", NormEpsilon: 1e-6}
	bare := ScoredModel{Path: "a", Semantics: "original", Settings: settings}
	full, capped, moved := bare, bare, bare
	full.Path, full.Format, full.Quantized, full.Digest, full.Config, full.Own = "b", "f", "q", "d", "c", true
	capped.Settings.LogitsSoftCap = 5
	moved.Digest, moved.Semantics = "torch d", "mlx-lm"
	other := capped
	other.Digest, full.Digest = "torch e", "torch d"
	swapped, matched := score(8, bare, bare), score(8, bare, bare) // the first differs where attention sees the same tokens
	swapped.Models[1].Semantics, matched.Models[1].Semantics = "transformers5", "transformers5"
	swapped.Spans = []perplexity.Span{{From: 4, To: 5, Predicted: 1, NLL: []float64{1, 1}, KL: 0.5}}
	matched.Spans = []perplexity.Span{{From: 17, To: 18, Predicted: 1, NLL: []float64{1, 1}, KL: 0.5}}
	const (
		set = "settings=attention window 16, logits soft cap 30, embedding scale false"
		run = "run with=original semantics, float32 "
		nll = "score=0.000000 nats a token, perplexity 1"
		txt = "; Tokens size=9 tokens in 1 row"
		two = "First " + run + set + " " + nll + "; Second format=f quantised=q weights=torch d config.json=c " + run + set + ", as its config.json has them, not those that were given " + nll + txt
		kl  = "KL 0.5 nats a token apart|0 of 8 tokens have another most likely token "
	)
	for _, tt := range []struct {
		s      *Score
		want   string // roles and facts
		points string
		column string // of the score
	}{
		{score(8, bare), "Checkpoint " + run + set + " " + nll + txt, "", "nats a token"},
		{score(8, bare, full), two, kl, "first, nats a token"},
		{score(7, bare, full), two, "KL 0.5 nats a token apart|1 of 8 tokens has another most likely token partings", "first, nats a token"},
		{score(8, capped, full), "", kl + "|The two are run with logits soft cap 5 and 30, which may be all that sets them apart ", "first, nats a token"},
		{swapped, "", kl + "|The two are run under different semantics, original and transformers5, which is not all that sets them apart: they differ where both attend to the same tokens ", "first, nats a token"},
		{matched, "", kl + "|The two are run under different semantics, original and transformers5; their weights are not the same either ", "first, nats a token"},
		{score(8, moved, full), "", kl + "|The two are run under different semantics, mlx-lm and original, which is all that sets them apart: their weights are the same ", "first, nats a token"},
		{score(8, moved, other), "", kl + "|The two are run under different semantics, mlx-lm and original, and with logits soft cap 30 and 5; their weights are not the same either ", "first, nats a token"},
	} {
		d := (&scorePage{Score: tt.s}).document(Origin{})
		var subjects, points []string
		for _, s := range d.Subjects {
			subject := s.Role
			for _, f := range s.Facts {
				subject += " " + f.Name + "=" + f.Value
			}
			subjects = append(subjects, subject)
		}
		for _, p := range d.Points {
			points = append(points, p.Text+" "+p.To)
		}
		if got := strings.Join(subjects, "; "); tt.want != "" && got != tt.want || strings.Join(points, "|") != tt.points || spansTable(tt.s).Columns[2].Title != tt.column {
			t.Errorf("%q, %q, %q", got, points, spansTable(tt.s).Columns[2].Title)
		}
	}
	for list, want := range map[string]string{
		strings.Repeat("1,", 100): strings.Repeat("1,", 100), strings.Repeat("1,", 100) + "2": strings.Repeat("1,", 40) + "…",
		strings.Repeat("x", 201): strings.Repeat("x", 201),
	} {
		if got := shortened(list); got != want {
			t.Errorf("%d bytes: %q", len(list), got)
		}
	}
}

// A statistic of layers is shown on a logarithmic scale, which ends at a millionth of the largest value. What is 0 or an outlier is told apart.
func TestScaleOfStatistics(t *testing.T) {
	var statistic = statistics[1]
	for _, tt := range []struct {
		values   []float64
		outliers []outlier
		cells    string
		scale    string // of the legend
	}{
		{[]float64{1, 10, 100}, nil, page.Level(0) + ", " + page.Level(0.5) + ", " + page.Level(1), "1, 10, 100"},
		{[]float64{2, 2}, nil, page.Level(1) + ", " + page.Level(1), "2"},
		{[]float64{0, 4}, nil, "equal, " + page.Level(1), "0 or none, 4"},
		{[]float64{1e-9, 1e-3, 1}, nil, page.Level(0) + ", " + page.Level(0.5) + ", " + page.Level(1), "1e-6, 0.001, 1"},
		{[]float64{1, math.Inf(1), 100}, nil, page.Level(0) + ", " + page.Level(1) + ", " + page.Level(1), "1, 10, 100"},
		{[]float64{1, 10, 100}, []outlier{{tensor: 2, statistic: statistic.id}, {tensor: 0, statistic: "std"}}, page.Level(0) + ", " + page.Level(0.5) + ", " + page.Level(1) + " out", "1, 10, 100"},
		{[]float64{0, 0}, nil, "", ""},
	} {
		var cells, scale []string
		for _, m := range valueMaps(valuesOf("w", tt.values...), statistic, tt.outliers) {
			if !strings.Contains(m.Caption, "a column for each layer") {
				t.Errorf("%v: %s", tt.values, m.Caption)
			}
			for _, row := range m.Rows {
				for _, c := range row.Cells {
					cells = append(cells, c.Class)
				}
			}
			for _, k := range m.Legend {
				if k.Class == "equal" || strings.HasPrefix(k.Class, "apart") {
					scale = append(scale, k.Text)
				}
			}
		}
		if got := strings.Join(cells, ", "); got != tt.cells || strings.Join(scale, ", ") != tt.scale {
			t.Errorf("%v: %q, %q, want %q, %q", tt.values, got, scale, tt.cells, tt.scale)
		}
	}
}

// Tables of short numbers remain tables on a screen of middle width.
func TestSlimTables(t *testing.T) {
	s := &Score{Result: &perplexity.Result{Pair: &perplexity.Pair{Partings: make([]perplexity.Parting, 1)}}}
	if table := partingsTable(s); !table.Slim || table.Many {
		t.Errorf("%+v", table)
	}
}
