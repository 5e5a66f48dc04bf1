package report_test

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/report"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func scoreOf(models int) *report.Score {
	s := &report.Score{Result: &perplexity.Result{Tokens: 9, Predicted: 8}, Text: odd, Rows: 1, Arithmetic: "float32", Griffin: "v1", Piece: func(int32) string { return odd }}
	for i := range 8 {
		span := perplexity.Span{From: 2 * i, To: 2*i + 2, Predicted: 1, KL: float64(i) / 10}
		for range models {
			span.NLL = append(span.NLL, float64(i))
		}
		s.Spans = append(s.Spans, span)
	}
	for _, semantics := range []string{"original", "transformers5"}[:models] {
		s.NLL = append(s.NLL, 2)
		s.Models = append(s.Models, report.ScoredModel{Path: odd, Format: odd, Digest: "torch blake3:00", Quantized: odd, Semantics: semantics, Settings: runtime.Settings{WindowFull: 4}})
	}
	if models == 2 {
		s.Pair = &perplexity.Pair{KL: 0.1, Agreed: 7, Partings: []perplexity.Parting{{Position: 3, Token: 5, Top: [2]int32{6, 7}, Probability: [2]float64{0.5, 0.25}, KL: 1}}}
	}
	return s
}

// TestScore: the page shows scores, plots over positions, and where two models part, whatever files are called.
func TestScore(t *testing.T) {
	for models, want := range map[int][]string{
		1: {"Perplexity 7.38906</h1>", "9 tokens in 1 row, 8 predicted.", `title>positions 0 to 1: 0 nats, 1 token<`, "from position 4 on, attention no longer sees the token at position 0", "Each point is the mean of 2 positions."},
		2: {"Perplexity 7.38906 and 7.38906</h1>", "1 of 8 tokens has another most likely token", "The two are run under different semantics, original and transformers5, which", `title>second, positions 14 to 15: 7 nats, 1 token<`, "Divergence over positions", `title>positions 2 to 3: KL 0.1 nats, 1 token<`, `<summary>1 token</summary>`, `<th scope="col" class="">row</th>`, `<th scope="row" data-label="row" data-sort=`},
	} {
		s := scoreOf(models)
		page := fileOf(t, "page.html", func(path string) error {
			return report.WriteScore(path, s, report.Origin{Command: []string{"griffin", "perplexity"}})
		})
		bare := checkPage(t, page)
		for _, w := range want {
			if !strings.Contains(bare, w) {
				t.Errorf("%d models: the page lacks %q", models, w)
			}
		}
		if has := strings.Contains(bare, `id="apart"`); has != (models == 2) {
			t.Errorf("%d models: a section about two: %v", models, has)
		}
	}
}

// TestScoreOfEqualModels: without a difference there is nothing to plot about one.
func TestScoreOfEqualModels(t *testing.T) {
	s := scoreOf(2)
	s.Pair = &perplexity.Pair{Agreed: s.Predicted}
	s.NLL = []float64{12.6458, 12.6458}
	for i := range s.Spans {
		s.Spans[i].KL = 0
	}
	page := checkPage(t, fileOf(t, "page.html", func(path string) error { return report.WriteScore(path, s, report.Origin{}) }))
	if !strings.Contains(page, "Perplexity 310,457, and the same predictions</h1>") || strings.Contains(page, "Divergence over positions") || strings.Contains(page, "KL 0") ||
		!strings.Contains(page, "The two are run under different semantics, original and transformers5, and predict the same nevertheless") {
		t.Errorf("the page is as of two models that differ: %.300s", page[strings.Index(page, "<h1"):])
	}
}

// TestScoreOfListedTokens: a list of tokens on the command line is not shown whole as if it were a path.
func TestScoreOfListedTokens(t *testing.T) {
	s := scoreOf(1)
	s.Text = strings.TrimSuffix(strings.Repeat("123,", 500), ",")
	page := fileOf(t, "page.html", func(path string) error { return report.WriteScore(path, s, report.Origin{}) })
	if strings.Contains(page, strings.Repeat("123,", 50)) || !strings.Contains(page, "123,…") {
		t.Error("the page has the whole list, or not its beginning")
	}
}

// A token is a name, and not a count.
func TestTokensAreNames(t *testing.T) {
	s := scoreOf(2)
	s.Piece, s.Pair.Partings[0].Token = nil, 158314
	page := fileOf(t, "page.html", func(path string) error { return report.WriteScore(path, s, report.Origin{}) })
	if !strings.Contains(page, ">158314<") {
		t.Error("token 158314 is written otherwise")
	}
}
