package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
)

// at returns the places of points as "x:y".
func at(points []chart.Point) string {
	var all []string
	for _, p := range points {
		all = append(all, fmt.Sprintf("%g:%g", p.X, p.Y))
	}
	return strings.Join(all, " ")
}

// seriesOf returns the points of a series whose name begins so.
func seriesOf(t *testing.T, c *chart.Chart, name string) []chart.Point {
	t.Helper()
	for _, s := range c.Series {
		if strings.HasPrefix(s.Name, name) {
			return s.Points
		}
	}
	t.Fatalf("no series %q", name)
	return nil
}

// Marks of many blocks would hide the points: the caption has their number.
func TestBlocksAtFault(t *testing.T) {
	for _, tt := range []struct {
		faults, blocks int
		name, said     string
	}{{1, 38, "the block at fault", ""}, {2, 38, "a block at fault", ""}, {8, 38, "a block at fault", ""}, {9, 38, "", " 9 of 38 blocks are at fault."}, {38, 38, "", " All 38 blocks are at fault."}, {2, 2, "a block at fault", ""}} {
		faults := []*logits.Fault{{Block: -1}, {Block: 0}, {Block: tt.blocks}} // one block may have several
		for i := range tt.faults {
			faults = append(faults, &logits.Fault{Block: i})
		}
		want := tt.faults
		if tt.said != "" {
			want = 0
		}
		marks, said := blocksAtFault(faults, tt.blocks)
		if marks.Name != tt.name || said != tt.said || len(marks.Points) != want {
			t.Errorf("%d of %d: %q, %q, %d marks", tt.faults, tt.blocks, marks.Name, said, len(marks.Points))
		}
	}
}

// Outputs are plotted in the order of the forward pass, each in its worst pass, and those outside are marked.
func TestSitesChart(t *testing.T) {
	site := func(pass, name string, fed, ok bool, rms, share float64) *logits.Site {
		return &logits.Site{Pass: pass, Name: name, Fed: fed, OK: ok, RMS: logits.Number(rms), RMSAllowed: 2, Worst: logits.Location{Share: logits.Number(share)}}
	}
	sites := []*logits.Site{
		{Name: "hidden.0", OK: true, Exact: true}, // nothing to show
		site("", "temporal.0", false, true, 1, 0.5), site("packed", "temporal.0", false, true, 1.5, 0.75), site("decode", "temporal.0", false, true, 9, 0.6),
		site("", "hidden.1", false, true, 0.5, 0.25), site("packed", "hidden.1", false, true, 0.1, 0.2), site("", "hidden.2", true, true, 0.25, 0.1),
		site("", "final_norm", false, true, 0.3, 0.1), site("", "logits", false, true, 0.4, 0.2),
	}
	blocks := []string{"recurrent", "attention"}
	c := sitesChart(&logits.Result{Sites: sites, Faults: []*logits.Fault{{Block: -1}, {Block: 0}, {Block: 1}, {Block: 2}}}, blocks, "x")
	for name, want := range map[string]string{
		"the fixture against": "-0.5:1.5 0:0.5 2:0.3 3:0.4", "a part of the model": "1:0.25", envelopeName: "-0.5:2 0:2 2:2 3:2", outsideName: "", "a block at fault": "0:0 1:0", "a block with attention": "0.5:0",
	} {
		if got := at(seriesOf(t, c, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if bad := c.Series[5]; bad.Name != outsideName || bad.Shape != chart.Rings {
		t.Errorf("what is outside hides its points: %+v", bad)
	}
	if shade := seriesOf(t, c, "a block with attention"); shade[0].To != 1.5 || c.X.Min != -0.7 || c.X.Max != 4 || len(c.X.Ticks) != 4 || c.X.Ticks[2].At != 3 || c.X.Ticks[3].At != 2 {
		t.Errorf("%+v, %+v", shade, c.X)
	}
	if !strings.HasSuffix(c.Caption, "Nearest of all: block 0, temporal half, packed rows, 75% of the limit.") {
		t.Error(c.Caption)
	}
	sites[6].Worst.Share = 0.8
	if c := sitesChart(&logits.Result{Sites: sites}, blocks, "x"); !strings.HasSuffix(c.Caption, "Nearest of all: block 1, by itself, 80% of the limit.") {
		t.Error(c.Caption)
	}
	sites[4].OK, sites[4].RMS, sites[4].Worst.Share = false, logits.Number(math.Inf(1)), logits.Number(math.Inf(1))
	sites[6].OK = false
	c = sitesChart(&logits.Result{Sites: sites}, blocks, "x")
	if got := at(seriesOf(t, c, outsideName)); got != "0:+Inf 1:0.25" || !strings.HasSuffix(c.Caption, "Outside the envelope: 2 of 9 outputs. Errors that are not finite are at the upper edge.") {
		t.Errorf("%s, %s", got, c.Caption)
	}
	sites[5].OK, sites[5].Worst.Share = false, 2 // the same output in another pass
	if c = sitesChart(&logits.Result{Sites: sites}, blocks, "x"); !strings.Contains(c.Caption, "Outside the envelope: 3 of 9 outputs. One that is computed in several passes is one point, in its worst: 2 points.") {
		t.Error(c.Caption)
	}
	if c := sitesChart(&logits.Result{Sites: sites[:1]}, blocks, "x"); c != nil {
		t.Errorf("%+v", c)
	}
}

// What a plot draws, marks and says agrees: a percentage is of the two numbers before it, a point that only the largest channel takes outside has a mark
// of its own, and an embedding that is not equal has no limit.
func TestLargestChannel(t *testing.T) {
	s := &logits.Site{Name: "logits", First: &logits.Location{}}
	for _, e := range [][2]float64{{1, 3}, {1, 9}, {3, 3}, {3, 9}, {1, 1}} { // what is allowed is 2 and 6
		s.Errors, s.Allowed = append(s.Errors, logits.TokenError{RMS: e[0], Max: e[1], Largest: 1}), append(s.Allowed, [2]float64{2, 6})
	}
	s.Errors[4].Max = 5
	decode := &logits.Site{Name: "logits", Pass: "decode", First: &logits.Location{Token: 3, Position: 3}, Errors: s.Errors[1:3], Allowed: s.Allowed[1:3]}
	c := tokensChart(s, decode, passOf(1, 5, 5), 0, "", "x")
	for name, want := range map[string]string{"the fixture against": "0:1 4:1", outsideName: "2:3 3:3 4:3", channelName: "1:1 3:1"} {
		if got := at(seriesOf(t, c, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	var said []string
	for _, name := range []string{"the fixture against", channelName, outsideName} {
		for _, p := range seriesOf(t, c, name) {
			_, error, _ := strings.Cut(p.Text, ": ")
			said = append(said, error)
		}
	}
	if want := []string{"1, limit 2 (50%)", "1, limit 2 (50%); largest channel 5, limit 6 (83%)", "1, limit 2 (50%); largest channel 9, limit 6 (150%)", "1, limit 2 (50%); largest channel 9, limit 6 (150%)",
		"3, limit 2 (150%)", "3, limit 2 (150%)", "3, limit 2 (150%)"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
	if want := " Outside from token 0 of row 0 (position 0) on: 3 tokens, 1 of them only by the largest channel. Decoding is outside from token 3 of row 0 (position 3) on: 2 tokens, 1 of them only by the largest channel."; !strings.HasSuffix(c.Caption, want) {
		t.Error(c.Caption)
	}

	many := &logits.Site{Name: "logits", Errors: slices.Repeat([]logits.TokenError{{RMS: 1.5, Max: 1}, {RMS: 1, Max: 9}}, maxColumns), Allowed: slices.Repeat([][2]float64{{2, 6}}, 2*maxColumns)}
	if n := len(seriesOf(t, tokensChart(many, nil, passOf(1, 2*maxColumns, 9), 0, "", "x"), channelName)); n != maxColumns {
		t.Errorf("%d tokens are outside, of one in each group", n)
	}
	exact := &logits.Site{Name: "hidden.0", Exact: true, First: &logits.Location{Token: 2, Position: 2}, RMS: 0.5, RMSAllowed: 2, Max: 1, MaxAllowed: 6, Errors: []logits.TokenError{{}, {}, {RMS: 0.5, Largest: 1}}, Allowed: s.Allowed[:3]}
	c = tokensChart(exact, nil, passOf(1, 3, 3), 0, "", "x")
	if bad := seriesOf(t, c, outsideName); at(bad) != "2:0.5" || len(seriesOf(t, c, envelopeName)) != 0 || !strings.HasSuffix(bad[0].Text, ": 0.5, has to be equal, bit for bit") || !strings.HasSuffix(c.Caption, " on: 1 token.") {
		t.Errorf("%s, %s", at(bad), c.Caption)
	}
	near := &logits.Site{Name: "logits", OK: true, RMS: 0.5, RMSAllowed: 2, Max: 3, MaxAllowed: 6, Worst: logits.Location{Share: 0.5}}
	if c = sitesChart(&logits.Result{Sites: []*logits.Site{near}}, []string{"recurrent"}, "x"); !strings.HasSuffix(c.Caption, "Nearest of all: logits, 50% of the limit of its largest channel.") {
		t.Error(c.Caption)
	}
	near.OK, near.Max, near.Worst.Share = false, 9, 1.5
	c = sitesChart(&logits.Result{Sites: []*logits.Site{exact, near}}, []string{"recurrent"}, "x")
	if at(seriesOf(t, c, outsideName)) != "-1:0.5" || at(seriesOf(t, c, channelName)) != "2:0.5" || at(seriesOf(t, c, envelopeName)) != "2:2" {
		t.Errorf("%+v", c.Series)
	}
}

func TestSiteWords(t *testing.T) {
	for _, tt := range []struct {
		name string
		fed  bool
		want string
		x    float64 // of 22 blocks
	}{
		{"hidden.0", false, "embedding", -1}, {"hidden.1", false, "block 0", 0}, {"temporal.3", true, "block 3, temporal half, by itself", 2.5}, {"final_norm", false, "final norm", 23}, {"logits", false, "logits", 25},
	} {
		if got := siteWords(&logits.Site{Name: tt.name, Fed: tt.fed}); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if got := siteX(tt.name, 22); got != tt.x {
			t.Errorf("%s is at %g, want %g", tt.name, got, tt.x)
		}
	}
	for x, want := range map[float64]string{0.5: "50%", 1: "100%", 10: "1000%", 10.5: "10.5 times", 1234: "1.23e+03 times", math.Inf(1): "infinitely more"} {
		if got := percent(x); got != want {
			t.Errorf("%g: %s, want %s", x, got, want)
		}
	}
}

// passOf returns a pass of rows of a length whose positions start again at every document.
func passOf(rows, length, document int) *golden.Pass {
	p := &golden.Pass{Batch: rows, Length: length}
	for range rows {
		for i := range length {
			p.Positions = append(p.Positions, int32(i%document))
		}
	}
	return p
}

// Every token has its error, its limit, and marks where documents begin and windows hide their first tokens. Of many tokens the worst of each group is shown.
func TestTokensChart(t *testing.T) {
	of := func(errors ...float64) *logits.Site {
		s := &logits.Site{Name: "hidden.1", OK: true}
		for _, e := range errors {
			s.Errors, s.Allowed = append(s.Errors, logits.TokenError{RMS: e}), append(s.Allowed, [2]float64{2, 2})
		}
		return s
	}
	s := of(1, 3, 0.5, 2, 0, 1, 1, 4)
	s.First = &logits.Location{Token: 1, Position: 1}
	c := tokensChart(s, of(0.25, 0.5, 0.75, 1), passOf(2, 4, 3), 2, "", "x")
	for name, want := range map[string]string{
		"the fixture against": "0:1 2:0.5 3:2 4:0 5:1 6:1", outsideName: "1:3 7:4", envelopeName: "0:2 1:2 2:2 3:2 4:2 5:2 6:2 7:2", "decoding": "2:0.25 3:0.5 6:0.75 7:1",
		"a row or document begins": "2.5:0 3.5:0 6.5:0", "from position 2 on, attention no longer sees the token at position 0": "1.5:0 5.5:0",
	} {
		if got := at(seriesOf(t, c, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if c.X.Min != -0.5 || c.X.Max != 7.5 || len(c.X.Ticks) != 8 || c.X.Ticks[5].At != 5 || c.X.Ticks[5].Label != "1" || c.X.Label != "token in the row (2 rows of 4, one after the other)" {
		t.Errorf("%+v", c.X)
	}
	if want := "at each of 8 tokens. Outside from token 1 of row 0 (position 1) on: 2 tokens."; !strings.HasSuffix(c.Caption, want) {
		t.Error(c.Caption)
	}
	if got := seriesOf(t, c, outsideName)[1].Text; !strings.HasPrefix(got, "token 3 of row 1, position 0: ") || !strings.HasSuffix(got, "(200%)") {
		t.Error(got)
	}
	if got := seriesOf(t, c, "decoding")[2].Text; !strings.HasPrefix(got, "decoding, token 2 of row 1: ") {
		t.Error(got)
	}
	if c := tokensChart(of(1, 1), nil, passOf(1, 2, 2), 8, "", "x"); !strings.HasSuffix(c.Caption, " No document reaches position 8, from which on attention no longer sees the token at position 0.") || c.X.Label != "token in the row" {
		t.Error(c.Caption)
	}
	if c := tokensChart(of(1, 1), nil, passOf(1, 2, 2), 0, "", "x"); strings.Contains(c.Caption, "window") {
		t.Error(c.Caption)
	}
	for _, none := range []*chart.Chart{tokensChart(nil, nil, passOf(1, 2, 2), 0, "", ""), tokensChart(s, nil, nil, 0, "", ""), tokensChart(s, nil, passOf(1, 2, 2), 0, "", "")} {
		if none != nil {
			t.Errorf("%+v", none)
		}
	}
	for n, want := range map[int]int{maxColumns: maxColumns, maxColumns + 1: maxColumns/2 + 1, 2 * maxColumns: maxColumns} {
		errors := make([]float64, n)
		errors[5], errors[n-1] = 1, 1.5
		c := tokensChart(of(errors...), nil, passOf(1, n, n), 0, "", "x")
		points := at(seriesOf(t, c, "the fixture against"))
		if got := len(strings.Fields(points)); got != want || !strings.Contains(points, " 5:1 ") || !strings.HasSuffix(points, fmt.Sprintf(" %d:1.5", n-1)) || strings.Contains(c.Caption, "Of each 2 tokens the worst is shown.") != (n > maxColumns) {
			t.Errorf("%d tokens: %d points, %s", n, got, c.Caption)
		}
	}
}

// Where the model's own results are not finite there is no limit: none is drawn, no text has one, and the tables say so.
func TestNoLimit(t *testing.T) {
	nan := math.NaN()
	s := &logits.Site{Name: "hidden.1", First: &logits.Location{}, RMS: verify.Number(nan), Max: verify.Number(math.Inf(1)), Worst: logits.Location{Share: verify.Number(math.Inf(1))}}
	for _, e := range [][2]float64{{0.5, 1}, {nan, 0}, {nan, nan}, {nan, 2}, {math.Inf(1), math.Inf(1)}} {
		s.Errors, s.Allowed = append(s.Errors, logits.TokenError{RMS: e[0]}), append(s.Allowed, [2]float64{e[1], e[1]})
	}
	c := tokensChart(s, nil, passOf(1, 5, 5), 0, "", "x")
	if got := at(seriesOf(t, c, envelopeName)); got != "0:1 1:NaN 2:NaN 3:2 4:NaN" || !strings.HasSuffix(c.Caption, " Errors that are not finite are at the upper edge. Where the model's own results are not finite there is no limit.") {
		t.Error(got, c.Caption)
	}
	html := string(c.HTML())
	wide, _, _ := strings.Cut(html, "</svg>\n<svg")
	for text, want := range map[string]int{`class="envelope fill"`: 1 + 2, "position 1: not finite, no limit<": 1, "position 3: not finite, limit 2 (infinitely more)<": 1, "position 4: not finite, no limit<": 1, "position 0: 0.5, limit 1 (50%)<": 1} {
		if got := strings.Count(wide, text); got != want {
			t.Errorf("%d times %q, want %d: %s", got, text, want, wide)
		}
	}
	var cells []string
	for _, cell := range outputsTable([]*logits.Site{s}).Rows[0].Cells {
		cells = append(cells, cell.Text)
	}
	if got := strings.Join(cells[4:], " | "); got != "not finite | not finite | not finite | not finite | not finite" {
		t.Error(got)
	}
	many := &logits.Site{Name: "logits", Errors: slices.Repeat([]logits.TokenError{{RMS: 1.5, Max: 1}, {RMS: 1, Max: 9}}, maxColumns), Allowed: slices.Repeat([][2]float64{{2, 6}}, 2*maxColumns)}
	if n := len(seriesOf(t, tokensChart(many, nil, passOf(1, 2*maxColumns, 9), 0, "", "x"), channelName)); n != maxColumns {
		t.Errorf("%d tokens are outside, of one in each group", n)
	}
	exact := &logits.Site{Name: "hidden.0", Exact: true, RMS: 0.5, Max: 0.25, Worst: logits.Location{Share: 0.1}}
	for want, ok := range map[string]bool{"bit for bit 0 | ": true, "not bit for bit +Inf | 0.5 0.5 | 0 0 | 0.25 0.25 | 0 0": false} {
		cells = nil
		exact.OK = ok
		for _, cell := range outputsTable([]*logits.Site{exact}).Rows[0].Cells {
			cells = append(cells, cell.Text+" "+cell.Sort)
		}
		if got := strings.Join(cells[4:], " | "); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	sites := []*logits.Site{{Name: "hidden.0", RMS: 1, RMSAllowed: 2, OK: true}, s}
	c = sitesChart(&logits.Result{Sites: sites}, []string{"recurrent"}, "x")
	if got := at(seriesOf(t, c, envelopeName)); got != "-1:2 0:NaN" || !strings.HasSuffix(c.Caption, "there is no limit.") {
		t.Error(got, c.Caption)
	}
	for _, s := range sites {
		s.RMS, s.RMSAllowed = verify.Number(nan), 0
	}
	if c = sitesChart(&logits.Result{Sites: sites}, []string{"recurrent"}, "x"); strings.Contains(string(c.HTML()), `class="envelope`) {
		t.Error("a limit is drawn, or in the legend")
	}
	m := logits.Metrics{Largest: verify.Number(nan), NMSE: verify.Number(math.Inf(-1)), Top1: verify.Number(nan)}
	cells = nil
	for _, row := range metricsTable([]logits.PassMetrics{{Fixture: m}}).Rows {
		cells = append(cells, row.Cells[1].Text)
	}
	if got := strings.Join(cells, " | "); got != "0 | not finite | 0 | −∞ | 0 | 0 | 0 | not finite | 0%" {
		t.Error(got)
	}
}

// Some sixty tokens have labels, and at most sixteen rows.
func TestRowTicks(t *testing.T) {
	for _, tt := range []struct{ rows, length, ticks, second int }{{1, 60, 60, 1}, {1, 61, 31, 2}, {2, 60, 60, 2}, {1, 300, 60, 5}, {1, 301, 61, 5}, {1, 306, 31, 10}, {16, 3, 48, 1}, {17, 1, 9, 2}, {32, 1, 16, 2}, {33, 1, 11, 3}} {
		got := rowTicks(&golden.Pass{Batch: tt.rows, Length: tt.length})
		if len(got) != tt.ticks || got[1].At != float64(tt.second) {
			t.Errorf("%d rows of %d: %d ticks, the second at %g", tt.rows, tt.length, len(got), got[1].At)
		}
	}
}

// At most 64 documents and windows are marked.
func TestMarks(t *testing.T) {
	windows, documents := marks(passOf(1, 400, 4), 3)
	if len(windows.Points) != 64 || len(documents.Points) != 64 || windows.Points[0].X != 2.5 || documents.Points[63].X != 255.5 {
		t.Errorf("%d, %d", len(windows.Points), len(documents.Points))
	}
	windows, _ = marks(passOf(1, 400, 4), 0)
	if len(windows.Points) != 0 {
		t.Errorf("no window has %d marks", len(windows.Points))
	}
}

// Logits are plotted against each other in one square, evenly taken, without those that are not finite.
func TestScatterChart(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	c := scatterChart(&logits.PassMetrics{Scatter: [][2]float32{{1, 2}, {nan, 1}, {inf, inf}, {1, -inf}, {-inf, 1}, {3, 5}, {2, 3.5}}}, "x")
	if at(c.Series[1].Points) != "1:2 3:5 2:3.5" || at(c.Series[0].Points) != "1:1 5:5" || math.Abs(c.X.Min-0.88) > 1e-9 || math.Abs(c.X.Max-5.12) > 1e-9 || c.Y.Min != c.X.Min || c.Y.Max != c.X.Max {
		t.Errorf("%+v", c)
	}
	if !strings.HasPrefix(c.Caption, "3 logits of ") || !strings.HasSuffix(c.Caption, "Correlation of those shown: 1.000000.") {
		t.Error(c.Caption)
	}
	if c := scatterChart(&logits.PassMetrics{Scatter: [][2]float32{{nan, 1}}}, "x"); c != nil {
		t.Errorf("%+v", c)
	}
	for n, want := range map[int]int{maxPoints: maxPoints, maxPoints + 1: maxPoints/2 + 1} {
		m := &logits.PassMetrics{}
		for i := range n {
			m.Scatter = append(m.Scatter, [2]float32{float32(i), 1})
		}
		if got := len(scatterChart(m, "x").Series[1].Points); got != want {
			t.Errorf("%d of %d logits", got, n)
		}
	}
	for want, points := range map[string][]chart.Point{"-1.000000": {{X: 0, Y: 3}, {X: 1, Y: 2}}, "0.000000": {{X: 0, Y: 1}, {X: 1, Y: 2}, {X: 2, Y: 1}}, "none": {{X: 1, Y: 1}, {X: 1, Y: 2}}, "0.866025": {{X: 0, Y: 0}, {X: 1, Y: 0}, {X: 2, Y: 1}}} {
		if got := correlation(points); got != want {
			t.Errorf("%v: %s, want %s", points, got, want)
		}
	}
}
