package report

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/reference/perplexity"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
	"github.com/griffin-ckpt/griffin/verify/runtime"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

func TestShareOf(t *testing.T) {
	for _, tt := range []struct {
		n, of int64
		want  string
	}{{5, 5, "all"}, {1, 2000, "1 of 2,000"}, {1, 60, "1 of 60"}, {9, 40, "9 of 40"}, {10, 40, "25%"}, {9999, 10_000, "99.9%"}, {1234, 10_000_000, "1,234 of 10,000,000"}} {
		if got := shareOf(tt.n, tt.of); got != tt.want {
			t.Errorf("%d of %d: %s, want %s", tt.n, tt.of, got, tt.want)
		}
	}
}

// A histogram fills its width from the smallest value to the largest and its height with the fullest bin.
func TestBars(t *testing.T) {
	of := func(edges []stats.Number, counts ...int64) string {
		_, path, _ := strings.Cut(string(bars(stats.Histogram{Edges: edges, Counts: counts})), `<path d="`)
		path, _, _ = strings.Cut(path, `"`)
		return path
	}
	for _, tt := range []struct {
		edges  []stats.Number
		counts []int64
		want   string
	}{
		{nil, nil, ""},
		{[]stats.Number{0, 1, 2}, []int64{4, 1}, "M0.0 32V0.0H80.0V32zM80.0 32V24.0H160.0V32z"},
		{[]stats.Number{-1, 0, 3}, []int64{1, 2}, "M0.0 32V16.0H40.0V32zM40.0 32V0.0H160.0V32z"},
		{[]stats.Number{1, 2, 3, 5}, []int64{1, 0, 1000}, "M0.0 32V31.0H40.0V32zM80.0 32V0.0H160.0V32z"},
		{[]stats.Number{7, 7}, []int64{3}, "M0.0 32V0.0H160.0V32z"},
		{[]stats.Number{-math.MaxFloat64, 0, math.MaxFloat64}, []int64{1, 1}, "M0.0 32V0.0H80.0V32zM80.0 32V0.0H160.0V32z"},
	} {
		if got := of(tt.edges, tt.counts...); got != tt.want {
			t.Errorf("%v, %v: %s, want %s", tt.edges, tt.counts, got, tt.want)
		}
	}
}

// distant returns a tensor that differs by a relative distance.
func distant(name string, distance float64) diff.TensorDiff {
	return diff.TensorDiff{Name: name, Status: diff.Differs, Elements: 10, Metrics: &diff.Metrics{RelativeL2: diff.Number(distance), Differing: 1}}
}

// Colours are of the logarithm of the distance, of six decades at most.
func TestDistanceScale(t *testing.T) {
	for _, tt := range []struct {
		distances []float64
		want      distanceScale
	}{
		{nil, distanceScale{1, 1}}, {[]float64{0, 0}, distanceScale{1, 1}}, {[]float64{0.25}, distanceScale{0.25, 0.25}}, {[]float64{0.5, 0, 0.01, math.NaN()}, distanceScale{0.01, 0.5}},
		{[]float64{1e-9, 1}, distanceScale{1e-6, 1}},
	} {
		r := &diff.Result{}
		for i, d := range tt.distances {
			r.Tensors = append(r.Tensors, distant(fmt.Sprint(i), d))
		}
		if got := newDistanceScale(r); got != tt.want {
			t.Errorf("%v: %v", tt.distances, got)
		}
	}
	s := distanceScale{0.01, 100}
	for distance, share := range map[float64]float64{0.0001: 0, 0.01: 0, 0.1: 0.25, 1: 0.5, 10: 0.75, 100: 1} {
		if got := s.level(distance); got != page.Level(share) {
			t.Errorf("%g: %s", distance, got)
		}
	}
	if got := (distanceScale{2, 2}).level(2); got != page.Level(1) {
		t.Error(got)
	}
}

// A difference is plotted over its layer, beside those whose change is explained.
func TestLayersChart(t *testing.T) {
	r := &diff.Result{Tensors: []diff.TensorDiff{distant("m.l.0.w", 0.5), distant("m.l.2.w", 0.25), distant("m.l.2.v", math.NaN()), distant("n.7.w", 0), distant("e", 0.125)}}
	r.Tensors[1].Explanation = &explain.Explanation{Kind: explain.Scaled}
	r.Tensors[0].Explanation = &explain.Explanation{Kind: explain.Other}
	r.Tensors[3].Status = diff.Equal
	differing := []*diff.TensorDiff{&r.Tensors[0], &r.Tensors[1], &r.Tensors[4]}
	c := layersChart(r, differing)
	if c == nil || c.X.Min != -0.5 || c.X.Max != 2.5 || len(c.X.Ticks) != 3 || c.X.Ticks[2].At != 2 || len(c.Series) != 3 || len(c.Series[0].Points) != 1 || len(c.Series[1].Points) != 1 ||
		c.Series[0].Points[0].X != 0 || c.Series[0].Points[0].Y != 0.5 || c.Series[1].Points[0].X != 2 || c.Series[1].Points[0].Y != 0.25 || !strings.Contains(c.Caption, "‖a‖ of 2 tensors in layers that differ. How far a layer moved is the mean of its tensors whose change is not explained. ") || !strings.HasSuffix(c.Caption, " 1 tensor is at the upper edge: the distance is not finite.") {
		t.Errorf("%+v", c)
	}
	differing = append(differing, &r.Tensors[2]) // which is a cross only, also if some of its elements differ by numbers
	if c := layersChart(r, differing); len(c.Series[0].Points) != 1 || len(c.Series[2].Points) != 1 || c.Series[2].Points[0].X != 2 || c.Series[2].Shape != chart.Crosses || !strings.Contains(c.Caption, "‖a‖ of 2 tensors in") {
		t.Errorf("%+v", c)
	}
	if c := layersChart(r, differing[3:]); c == nil || c.Caption != "" || !c.Blank() {
		t.Errorf("%+v", c)
	}
	r.Tensors[2].Metrics.RelativeL2 = 0
	if c := layersChart(r, differing); c == nil || strings.Contains(c.Caption, "not finite") {
		t.Errorf("%+v", c)
	}
	if c := layersChart(&diff.Result{Tensors: r.Tensors[:1]}, differing[:1]); c != nil {
		t.Errorf("one layer: %+v", c)
	}
	if c := layersChart(r, differing[2:3]); c != nil {
		t.Errorf("nothing differs in layers: %+v", c)
	}
}

func TestChangesChart(t *testing.T) {
	c := changesChart(map[int]int64{-2: 3, 0: 1}, "", "", "x")
	if c.X.Min != -2.5 || c.X.Max != 1.5 || len(c.X.Ticks) != 4 || c.X.Ticks[0].At != -2 || c.X.Ticks[3].At != 1 || c.X.Ticks[3].N != 3 {
		t.Errorf("%+v", c.X)
	}
	if c.Y.Min >= 1 {
		t.Errorf("a bar of one element has no height: %+v", c.Y)
	}
	want := []chart.Point{{X: -2, To: -1, Y: 3, Text: "2⁻² to 2⁻¹: 3 elements"}, {X: 0, To: 1, Y: 1, Text: "2⁰ to 2¹: 1 element"}}
	if got := c.Series[0].Points; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
	}
}

// The caption says of how many elements the bars are: not of those whose difference is NaN, infinite or 0.
func TestCaptionOfChanges(t *testing.T) {
	differing := func(n int64) *diff.Metrics {
		return &diff.Metrics{Differing: n, Changes: diff.NewChanges(diff.Change{Exponent: -2, Count: 3000})}
	}
	for _, tt := range []struct {
		rest int64 // elements of the tensors that have no bar
		want string
	}{
		{0, "Differences |b − a| of all elements that differ, of 1 tensor, counted by powers of two."},
		{1, "Differences |b − a| of 3,000 of 3,001 elements that differ, counted by powers of two; of the other, the difference is NaN, infinite or 0."},
		{2, "Differences |b − a| of 3,000 of 3,002 elements that differ, counted by powers of two; of the others, the difference is NaN, infinite or 0."},
	} {
		r := &diff.Result{Tensors: []diff.TensorDiff{{Name: "a", Status: diff.Differs, Metrics: differing(3000)}, {Name: "b", Status: diff.Differs, Metrics: &diff.Metrics{Differing: tt.rest}}}}
		if got := newDiffPage(r).Changes.Caption; got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

func TestPerplexityText(t *testing.T) {
	for x, want := range map[float64]string{7.25: "7.25", 999.5: "999.5", 1000: "1,000", 2116.814: "2,116.81", 61981.12: "61,981.1", 99_999: "99,999", 99_999.97: "100,000", 1e6 - 0.3: "1,000,000", 100_000: "100,000", 123_456.7: "123,457", 1e15: "1e+15", 3.5e20: "3.5e+20"} {
		if got := PerplexityText(x); got != want {
			t.Errorf("%g: %s, want %s", x, got, want)
		}
	}
}

// A window is marked before the first prediction of a token that it hides something from, once if both models have the same.
func TestPositions(t *testing.T) {
	for _, tt := range []struct {
		windows []int
		want    []float64
		at      string
	}{{nil, nil, ""}, {[]int{8}, []float64{8.5}, "8"}, {[]int{8, 8}, []float64{8.5}, "8"}, {[]int{8, 9}, []float64{8.5, 9.5}, "8 in the first checkpoint and 9 in the second checkpoint"},
		{[]int{0, 8}, []float64{8.5}, "8 in the second checkpoint"}, {[]int{8, 0}, []float64{8.5}, "8 in the first checkpoint"}, {[]int{14}, []float64{14.5}, "14"}, {[]int{15}, nil, ""}, {[]int{20}, nil, ""}} {
		s := &Score{Result: &perplexity.Result{Spans: []perplexity.Span{{From: 0, To: 4}, {From: 4, To: 16}}}}
		for _, full := range tt.windows {
			s.Models = append(s.Models, ScoredModel{Settings: runtime.Settings{WindowFull: full}})
		}
		axis, marks := positions(s)
		var got []float64
		for _, p := range marks.Points {
			got = append(got, p.X)
		}
		if want := "from position " + tt.at + " on, " + hides; fmt.Sprint(got) != fmt.Sprint(tt.want) || marks.Name != want || axis.Min != 0 || axis.Max != 16 {
			t.Errorf("%v: %v %q from %g to %g", tt.windows, got, marks.Name, axis.Min, axis.Max)
		}
	}
	for _, tt := range []struct {
		span   perplexity.Span
		text   string
		middle float64
	}{{perplexity.Span{From: 3, To: 4}, "position 3", 3}, {perplexity.Span{From: 2, To: 6}, "positions 2 to 5", 3.5}} {
		if got, at := spanText(&tt.span), middle(&tt.span); got != tt.text || at != tt.middle {
			t.Errorf("%+v: %s, %g", tt.span, got, at)
		}
	}
}

// A caption says what the points of its plot are, and nothing of those that it has not.
func TestScoreCaptions(t *testing.T) {
	const (
		next = " A token predicts the next one: that at position 2 predicts position 3, the first to the right of its mark."
		nll  = "Mean negative log-likelihood of the predicted tokens, by their position in the row. Less is better."
		kl   = "Mean Kullback-Leibler divergence of the second checkpoint's predictions from the first's, by position."
		none = " at the lower edge, without any divergence or with less than the axis shows."
	)
	for _, tt := range []struct {
		width, full int
		kl          []float64
		nll, klWant string
	}{
		{1, 2, []float64{0.1, 0.2, 0.3, 0.5}, nll + next, kl + next},
		{1, 0, []float64{0.1, 0, 0.3, 0.5}, nll, kl + " 1 position is" + none},
		{32, 40, []float64{0.1, 0.2, 0.3, 0.5}, nll + " Each point is the mean of 32 positions.", kl + " Each point is the mean of 32 positions."},
		{32, 0, []float64{0, 1e-20, 0.3, 0.5}, nll + " Each point is the mean of 32 positions.", kl + " 2 points are" + none + " Each point is the mean of 32 positions."},
	} {
		model := ScoredModel{Settings: runtime.Settings{WindowFull: tt.full}}
		s := &Score{Result: &perplexity.Result{NLL: []float64{1, 1}, Pair: &perplexity.Pair{KL: 0.1}}, Models: []ScoredModel{model, model}}
		for i, x := range tt.kl {
			s.Spans = append(s.Spans, perplexity.Span{From: i * tt.width, To: (i + 1) * tt.width, Predicted: 1, NLL: []float64{1, 1}, KL: x})
		}
		if got := nllChart(s).Caption; got != tt.nll {
			t.Errorf("got  %q\nwant %q", got, tt.nll)
		}
		if got := klChart(s).Caption; got != tt.klWant {
			t.Errorf("got  %q\nwant %q", got, tt.klWant)
		}
	}
}

// The axis of scores has some room at both ends, and no scores below 0.
func TestScoreAxis(t *testing.T) {
	for _, tt := range []struct {
		nll       [][]float64
		low, high float64
	}{{[][]float64{{2}, {4}}, 1.84, 4.16}, {[][]float64{{3}, {3}}, 2.99, 3.01}, {[][]float64{{0}, {1}}, 0, 1.08}, {[][]float64{{2, 5}, {3, 4}}, 1.76, 5.24}} {
		s := &Score{Result: &perplexity.Result{NLL: tt.nll[0], Spans: []perplexity.Span{{From: 0, To: 2, Predicted: 1, NLL: tt.nll[0]}, {From: 2, To: 4, Predicted: 1, NLL: tt.nll[1]}}}}
		c := nllChart(s)
		if math.Abs(c.Y.Min-tt.low) > 1e-12 || math.Abs(c.Y.Max-tt.high) > 1e-12 || len(c.Series) != 1+len(tt.nll[0]) {
			t.Errorf("%v: from %g to %g, %d series", tt.nll, c.Y.Min, c.Y.Max, len(c.Series))
		}
		if first, ofTwo := c.Series[1].Points[0].Text, len(tt.nll[0]) == 2; strings.HasPrefix(first, "first, ") != ofTwo || (c.Series[1].Name == "the first checkpoint") != ofTwo {
			t.Errorf("%v: %s, %s", tt.nll, c.Series[1].Name, first)
		}
	}
}

// Two checkpoints are alike if no prediction differs anywhere.
func TestAlike(t *testing.T) {
	for _, tt := range []struct {
		kl     float64
		agreed int
		span   float64
		want   bool
	}{{0, 8, 0, true}, {0.1, 8, 0, false}, {0, 7, 0, false}, {0, 8, 0.1, false}} {
		s := &Score{Result: &perplexity.Result{Predicted: 8, Pair: &perplexity.Pair{KL: tt.kl, Agreed: tt.agreed}, Spans: []perplexity.Span{{}, {KL: tt.span}}}}
		if got := s.alike(); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
	if (&Score{Result: &perplexity.Result{}}).alike() {
		t.Error("one checkpoint is like another")
	}
}

// What has NaN or infinities on one side only has moved no distance that could be said.
func TestIsFarOff(t *testing.T) {
	for _, tt := range []struct {
		m    diff.Metrics
		want bool
	}{
		{diff.Metrics{RelativeL2: 0.5}, false}, {diff.Metrics{RelativeL2: 0.5, NaNA: 2, NaNB: 2, InfA: 1, InfB: 1}, false},
		{diff.Metrics{NaNA: 1}, true}, {diff.Metrics{NaNB: 1}, true}, {diff.Metrics{InfA: 1}, true}, {diff.Metrics{InfB: 1}, true}, {diff.Metrics{RelativeL2: diff.Number(math.NaN())}, true},
	} {
		if got := isFarOff(&tt.m); got != tt.want {
			t.Errorf("%+v: %t", tt.m, got)
		}
	}
}

func TestLeft(t *testing.T) {
	for n, want := range map[int]string{0: "", MaxRows: "", MaxRows + 1: "The first 5,000 of 5,001 tensors; the JSON form of the result has all."} {
		if got := left(n, "tensors"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

// Pages and cards are known by what only they contain.
func TestIsPageIsCard(t *testing.T) {
	for start, want := range map[string]string{"<html>" + page.Generator: "page", `{"schema": "` + CardSchema + `"}`: "card", "<html>": "", `{"schema": "x"}`: "", "": ""} {
		if isPage, isCard := IsPage([]byte(start)), IsCard([]byte(start)); isPage != (want == "page") || isCard != (want == "card") {
			t.Errorf("%q: %t, %t", start, isPage, isCard)
		}
	}
}
