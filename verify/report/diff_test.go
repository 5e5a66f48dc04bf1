package report_test

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/report"
)

func diffReport(t *testing.T, r *diff.Result) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.WriteDiff(path, r, report.Origin{Command: []string{"griffin", "diff", "my a", "b"}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func moved(name string, distance float64, kind explain.Kind) diff.TensorDiff {
	return diff.TensorDiff{Name: name, Status: diff.Differs, DType: "float32", Shape: []int64{2, 2}, Elements: 4,
		Metrics: &diff.Metrics{Differing: 3, MaxAbs: 0.5, MeanAbs: 0.1, RelativeL2: diff.Number(distance), Cosine: 0.9, First: []int64{0, 1}, FirstA: 1, FirstB: 2,
			Changes: diff.NewChanges(diff.Change{Exponent: -3, Count: 2}, diff.Change{Exponent: 0, Count: 1})},
		Explanation: &explain.Explanation{Kind: kind, Detail: "by 2"}}
}

// With a tolerance the tables count the elements beyond it, and the lead does not say that nothing else moved.
func TestReportOfTolerance(t *testing.T) {
	within := moved("layers.0.w", 0.001, explain.Other)
	within.Status = diff.Equal
	r := &diff.Result{Griffin: "v1", Tensors: []diff.TensorDiff{moved("layers.1.w", 0.1, explain.Other), within}}
	for _, tolerance := range []string{"", "abs=0.25"} {
		columns, lead := 0, "Only layer 1 moved."
		if r.Tolerance = tolerance; tolerance != "" {
			beyond, none := int64(77), int64(0)
			r.Summary.Beyond, r.Tensors[0].Metrics.Beyond, r.Tensors[1].Metrics.Beyond = &beyond, &beyond, &none
			columns, lead = 2, "Only layer 1 moved by more than abs=0.25."
		}
		text := checkPage(t, diffReport(t, r))
		if strings.Count(text, "beyond abs=0.25</") != columns || strings.Count(text, ">77</td>") != columns || !strings.Contains(text, lead) {
			t.Errorf("%q: %s", tolerance, text)
		}
	}
}

// A row that stands for tensors of several layers has what the filter needs to find it by the name of each of them.
func TestRowsOfSeveralLayers(t *testing.T) {
	r := &diff.Result{}
	for _, name := range []string{"m.layers.0.w", "m.layers.1.w", "m.layers.3.w", "head.w"} {
		r.Tensors = append(r.Tensors, moved(name, 0.1, explain.Scaled))
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} { // which are so many that the row folds them
		r.Tensors = append(r.Tensors, moved("m.layers.4.x."+name, 0.2, explain.Scaled))
	}
	for _, name := range []string{"m.layers.4.x.h", "m.layers.4.y.a"} {
		r.Tensors = append(r.Tensors, diff.TensorDiff{Name: name, Status: diff.Equal, DType: "float32", Shape: []int64{2}, Elements: 2})
	}
	text := checkPage(t, diffReport(t, r))
	if want := `<tr data-list="m.layers" data-layers="4" data-names="x.a, x.b, x.c, x.d, x.e, x.f, x.g"><th`; strings.Count(text, want) != 1 {
		t.Errorf("not once on the page: %s", want)
	}
	if want := `<tr data-list="m.layers" data-layers="0-1,3" data-names="w"><th`; strings.Count(text, want) != 1 || strings.Count(text, "data-layers") != 2 || !strings.Contains(text, "<tr><th") {
		t.Errorf("not once on the page: %s", want)
	}
}

// The heading of the column of a tolerance lists all of its bounds. It may be broken between them, and such a table is laid out as one of many columns.
func TestHeadingOfBounds(t *testing.T) {
	beyond := int64(1)
	r := &diff.Result{Tolerance: "abs=0.25,rel=0.5,ulp=2", Tensors: []diff.TensorDiff{moved("layers.1.w", 0.1, explain.Other)}}
	r.Summary.Beyond, r.Tensors[0].Metrics.Beyond = &beyond, &beyond
	if text := checkPage(t, diffReport(t, r)); strings.Count(text, ">beyond abs=0.25, rel=0.5, ulp=2<") != 2 || strings.Count(text, `class="cards many"`) != 2 {
		t.Error(text)
	}
}

// Matrices of a quantised copy have the judgement in both tables: the worst of a group, and that of each.
func TestJudgementOfQuantizedCopies(t *testing.T) {
	r := &diff.Result{B: diff.Side{Quantized: "int8"}, Summary: diff.Summary{Tensors: 2, Differ: 2}}
	for i, ratio := range []diff.Number{1, 5.748} {
		d := moved([]string{"layers.0.w", "layers.1.w"}[i], 0.1, explain.Quantized)
		d.Explanation.Detail, d.Quantized = "to int8", &diff.Quantized{Ratio: ratio}
		r.Tensors = append(r.Tensors, d)
	}
	page := diffReport(t, r)
	for _, want := range []string{"quantised to int8; up to 5.748 times the least error that the scheme allows<", "quantised to int8; 5.748 times the least error that the scheme allows<",
		"quantised to int8; the least error that the scheme allows<", "B is a quantised copy, which is not the same model."} {
		if strings.Count(page, want) != 1 {
			t.Errorf("%d times on the page: %q", strings.Count(page, want), want)
		}
	}
}

// The page shows every tensor at its place in the map, with what was done to it.
func TestReportShowsEveryTensor(t *testing.T) {
	r := &diff.Result{Griffin: "v1", A: diff.Side{Path: "a<script>", Format: "safetensors"}, B: diff.Side{Path: "b"},
		Config: []diff.ConfigDifference{{Field: "vocab_size", A: "8", B: "9", DefaultB: true, Detail: "another head"}},
		Tensors: []diff.TensorDiff{
			{Name: "layers.0.gone", Status: diff.OnlyA, DType: "float32", Shape: []int64{1}, Elements: 1},
			moved("layers.0.w", 0.001, explain.Other), moved("layers.1.w", 0.1, explain.Scaled), moved("layers.2.w", math.Inf(1), explain.Other),
			{Name: "layers.1.<b>", Status: diff.Shape, DType: "float32", Shape: []int64{1}, ShapeB: []int64{2}, Elements: 1},
			{Name: "layers.2.same", Status: diff.Equal, DType: "float32", Shape: []int64{1}, Elements: 1},
			moved("head", 0.01, explain.Other),
		}}
	r.Summary = diff.Summary{Tensors: 7, Equal: 1, Differ: 4, OnlyA: 1, Shape: 1, Config: 1}
	page := diffReport(t, r)
	text := checkPage(t, page)
	for _, want := range []string{
		"<title>griffin diff: a&lt;script&gt; and b</title>", "The checkpoints differ", "<span>griffin</span> <span>diff</span> <span>&#39;my a&#39;</span> <span>b</span>", "another head", ">8</td>", ">no such field, which stands for 9</td>",
		"layers.0.gone: only in A", "layers.0.w: relative L2 0.001", "layers.1.w: relative L2 0.1, scaled by 2", "layers.1.&lt;b&gt;: [1] in A, [2] in B",
		"layers.2.w: relative L2 ∞, not finite", "layers.2.same: the same values", "head: relative L2 0.01", "no such tensor",
		"layers.1.w</code>", `class="apart l10"`, `class="apart l0"`, "Distance over the layers", "How much the elements changed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if cells := regexp.MustCompile(`<td class="(none|equal|apart l[0-9]+|bad)"`).FindAllString(text, -1); len(cells) != 4*3+1 {
		t.Errorf("%d cells, not one for each of four kinds in three layers and one for the head", len(cells))
	}
	if diffReport(t, r) != page {
		t.Error("the same result gave another page")
	}
}

// Layers that only B has are called by the names that B has for them.
func TestNamesOfAddedLayers(t *testing.T) {
	added := diff.TensorDiff{Name: "B:m.layers.1.w", B: "m.layers.1.w", Status: diff.OnlyB, DType: "float32", Shape: []int64{1}, Elements: 1}
	same := diff.TensorDiff{Name: "m.layers.1.w", B: "m.layers.2.w", Status: diff.Equal, DType: "float32", Shape: []int64{1}, Elements: 1}
	text := checkPage(t, diffReport(t, &diff.Result{Tensors: []diff.TensorDiff{added, same}, Summary: diff.Summary{Tensors: 2, Equal: 1, OnlyB: 1}}))
	if strings.Contains(text, "B:m") || strings.Contains(text, "B: m") || !strings.Contains(text, "Layers of <code>m.layers</code>") || !strings.Contains(text, "under its number in B.") {
		t.Error(text)
	}
}

// Notes and summaries begin with a capital where they are paragraphs, paths and names of programs as they are.
func TestParagraphs(t *testing.T) {
	notes := []string{"layers 0 to 2 of B are layers 1 to 3 of A", "base is a quantised copy", "transformers 5 ignores x"}
	text := checkPage(t, diffReport(t, &diff.Result{A: diff.Side{Path: "base"}, Notes: notes}))
	facts := &verify.CheckpointFacts{Subject: verify.Subject{Path: "base"}}
	v := &verify.Verdict{Same: true, Source: &facts.Subject, Facts: &verify.Facts{Source: facts}, Notes: notes, Structure: &verify.Section{OK: true},
		Config: &verify.Section{OK: true, Summary: "layers 0 to 2 of B are as expected"}, Runtime: &verify.RuntimeResult{Summary: "but for what fails, all is well"}}
	text += fileOf(t, "page.html", func(path string) error { return report.WriteVerdict(path, v, report.Origin{}) })
	for want, n := range map[string]int{">Layers 0 to 2 of B are": 3, ">base is a": 2, ">transformers 5 ignores": 2, "<p>But for what fails": 1} {
		if strings.Count(text, want) != n {
			t.Errorf("the pages have %q %d times, not %d", want, strings.Count(text, want), n)
		}
	}
}

// The page has the digests of the weights and of config.json, if it is given them.
func TestDigestsOfTheSides(t *testing.T) {
	text := checkPage(t, diffReport(t, &diff.Result{A: diff.Side{Digest: "flax blake3:00"}, B: diff.Side{ConfigFile: "blake3:11"}}))
	for _, want := range []string{`<dt>weights</dt><dd><code class="name">flax blake3:00</code>`, `<dt>config.json</dt><dd><code class="name">blake3:11</code>`} {
		if strings.Count(text, want) != 1 {
			t.Errorf("the page has not one %q", want)
		}
	}
}

func TestReportOfEqualCheckpoints(t *testing.T) {
	r := &diff.Result{Equal: true, Summary: diff.Summary{Tensors: 1, Equal: 1, Elements: 3},
		Tensors: []diff.TensorDiff{{Name: "w", Status: diff.Equal, Shape: []int64{3}, Elements: 3}}}
	text := checkPage(t, diffReport(t, r))
	if !strings.Contains(text, "The checkpoints are equal</h1>") || !strings.Contains(text, "All 3 elements of 1 tensor are equal.") || strings.Contains(text, "What differs") || strings.Contains(text, "NaN") {
		t.Error(text)
	}
	r.Summary.NonFinite = 1 // which both sides have, and other values within a tolerance
	if text := checkPage(t, diffReport(t, r)); !strings.Contains(text, "of 1 tensor are equal. 1 tensor has NaN or infinities.") {
		t.Error(text)
	}
}

// The sentence below the groups speaks of numbers only where there are any.
func TestSentenceOfGroups(t *testing.T) {
	only := diff.TensorDiff{Name: "layers.0.w", Status: diff.OnlyA, DType: "float32", Shape: []int64{2}, Elements: 2}
	for differing, want := range map[int64]string{0: "if the same was done to them.</p>", 3: "if the same was done to them; the numbers are the worst of them. What was done was checked on all elements.</p>"} {
		if text := diffReport(t, &diff.Result{Tensors: []diff.TensorDiff{only}, Summary: diff.Summary{OnlyA: 1, Differing: differing}}); !strings.Contains(text, want) {
			t.Errorf("%d elements: no %q", differing, want)
		}
	}
}

// A distance beside NaN is no number.
func TestDistancesOfNaN(t *testing.T) {
	nan := moved("layers.0.w", 0.01, explain.Other)
	m := nan.Metrics
	m.NaNB, m.MaxAbs, m.MeanAbs, m.RelativeL2 = 1, diff.Number(math.NaN()), diff.Number(math.NaN()), diff.Number(math.NaN())
	r := &diff.Result{Tensors: []diff.TensorDiff{nan}, Summary: diff.Summary{Tensors: 1, Differ: 1}}
	// two of the group, three of the tensor, and the legend
	if text := diffReport(t, r); strings.Count(text, ">not finite<") != 6 || strings.Contains(text, ">NaN<") || strings.Contains(text, "L2 NaN") || !strings.Contains(text, "layers.0.w: relative L2 not finite") {
		t.Errorf("%d cells: %s", strings.Count(text, ">not finite<"), text)
	}
}

// A cosine close to 1 is not written as 1, and that of zeros is no NaN.
func TestCosine(t *testing.T) {
	near, zeroed := moved("layers.0.w", 0.01, explain.Other), moved("layers.1.w", 1, explain.Zeroed)
	near.Metrics.Cosine, zeroed.Metrics.Cosine = 0.9999388, diff.Number(math.NaN())
	r := &diff.Result{Tensors: []diff.TensorDiff{near, zeroed}, Summary: diff.Summary{Tensors: 2, Differ: 2}}
	if text := diffReport(t, r); !strings.Contains(text, ">0.9999388<") || strings.Contains(text, ">NaN<") {
		t.Error("cosines of 0.9999388 and of zeros are shown as others")
	}
}
