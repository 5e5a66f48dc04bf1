package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/chart"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// The names of series in legends.
const (
	envelopeName = "the limit: the measured envelope of rounding"
	outsideName  = "outside the envelope"
	channelName  = "outside it only by the largest channel, which has a limit of its own"
)

// sitesChart shows the error of every output, from the embedding to the logits, at the token and in the pass where its
// share of the limit is largest.
func sitesChart(l *logits.Result, blocks []string, id string) *chart.Chart {
	chain, fed := worstByName(l.Sites, false), worstByName(l.Sites, true)
	if len(chain) == 0 {
		return nil
	}
	count := len(blocks)
	var values []float64
	for _, s := range append(chain, fed...) {
		values = append(values, float64(s.RMS), float64(s.RMSAllowed))
	}
	c := &chart.Chart{ID: id, Title: "Divergence over the layers", Y: chart.Logarithmic("relative error (rms)", values),
		X: chart.Axis{Label: "block, then the final norm and the logits", Min: -0.7, Max: siteX("logits", count) + 1, Ticks: layerTicks(count)}}
	if slices.ContainsFunc(chain, func(s *logits.Site) bool { return s.Exact }) { // the embedding, which is shown if it is wrong
		c.X.Label, c.X.Min = "embedding, block, then the final norm and the logits", -1.3
	}
	limit := chart.Series{Name: envelopeName, Class: chart.Envelope, Shape: chart.Area}
	line := chart.Series{Name: "the fixture against float64, run from the tokens on", Class: chart.Main, Shape: chart.LinedDots}
	alone := chart.Series{Name: "a part of the model by itself, given the fixture's own input (its limit is its own)", Class: chart.Other, Shape: chart.Squares}
	bad := newOutside(chart.Rings) // in which the point can be seen
	worst := chain[0]
	for i, s := range append(chain, fed...) {
		point := chart.Point{X: siteX(s.Name, count), Y: float64(s.RMS), Text: siteText(s)}
		if !s.OK {
			e, allowed := worstOf(s)
			bad.add(point, !s.Exact && byChannel(&e, allowed))
		}
		if s.Worst.Share > worst.Worst.Share && !s.Exact {
			worst = s
		}
		if i >= len(chain) {
			alone.Points = append(alone.Points, point)
			continue
		}
		line.Points = append(line.Points, point)
		if s.Exact {
			continue // no error is allowed at all
		}
		limit.Points = append(limit.Points, chart.Point{X: point.X, Y: limitOf(float64(s.RMS), float64(s.RMSAllowed))})
	}
	fault, atFault := blocksAtFault(l.Faults, count)
	c.Series = []chart.Series{limit, attentionBlocks(blocks), line, alone, fault, bad.rms, bad.channel}
	const measure = "Root mean square of the error over the channels, relative to the activations, at the "
	if n := bad.count(); n > 0 {
		c.Caption = fmt.Sprintf("%sworst token of each output. Outside the envelope: %d of %s.", measure, l.Outside(), text.Count(len(l.Sites), "output"))
		if n != l.Outside() {
			c.Caption += fmt.Sprintf(" One that is computed in several passes is one point, in its worst: %s.", text.Count(n, "point"))
		}
	} else {
		share, of := percent(float64(worst.Worst.Share)), "limit"
		if e, allowed := worstOf(worst); byChannel(&e, allowed) {
			of = "limit of its largest channel"
		}
		c.Caption = fmt.Sprintf("%stoken of each output that is nearest to its limit. Nearest of all: %s, %s of the %s.", measure, siteWords(worst), share, of)
	}
	c.Caption += atFault + notFinite(c, bad.points(), limit.Points)
	return c
}

// blocksAtFault marks the blocks at fault, or says how many of them are if marks would hide the points.
func blocksAtFault(faults []*logits.Fault, blocks int) (marks chart.Series, said string) {
	const maxMarks = 8
	at := map[int]bool{}
	marks = chart.Series{Name: "the block at fault", Class: chart.Bad, Shape: chart.Uprights}
	for _, f := range faults {
		if f.Block >= 0 && f.Block < blocks && !at[f.Block] {
			at[f.Block] = true
			marks.Points = append(marks.Points, chart.Point{X: float64(f.Block)})
		}
	}
	switch n := len(marks.Points); {
	case n > maxMarks && n == blocks:
		return chart.Series{}, fmt.Sprintf(" All %d blocks are at fault.", n)
	case n > maxMarks:
		return chart.Series{}, fmt.Sprintf(" %d of %d blocks are at fault.", n, blocks)
	case n > 1:
		marks.Name = "a block at fault"
	}
	return marks, ""
}

// notFinite says where points of a plot are that have no place, and where there is no limit.
func notFinite(c *chart.Chart, points, limits []chart.Point) (said string) {
	if c.Blank() {
		return ""
	}
	isNot := func(p chart.Point) bool { return isNotFinite(p.Y) }
	if slices.ContainsFunc(points, isNot) {
		said = " Errors that are not finite are at the upper edge."
	}
	if slices.ContainsFunc(limits, isNot) {
		said += " Where the model's own results are not finite there is no limit."
	}
	return said
}

func isNotFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// limitOf returns the limit of an error, NaN if it has none: the runs of a model whose results are all NaN do not differ at all.
func limitOf(x, allowed float64) float64 {
	if isNotFinite(allowed) || isNotFinite(x) && allowed == 0 {
		return math.NaN()
	}
	return allowed
}

// valueText writes what is a number only if it is finite.
func valueText(x float64) string {
	if isNotFinite(x) {
		return "not finite"
	}
	return page.Number(x)
}

// siteWords names an output, and its pass if that is not the full one: "block 3, temporal half, by itself, packed rows".
func siteWords(s *logits.Site) string {
	words := s.Name
	switch site, index, _ := golden.ParseSite(s.Name); site {
	case reference.Temporal:
		words = fmt.Sprintf("block %d, temporal half", index)
	case reference.Hidden:
		if words = fmt.Sprintf("block %d", index-1); index == 0 {
			words = "embedding"
		}
	case reference.FinalNormed:
		words = "final norm"
	}
	if s.Fed {
		words += ", by itself"
	}
	if s.Pass != "" {
		words += ", " + logits.PassTitle(s.Pass)
	}
	return words
}

// attentionBlocks shades the blocks that have attention.
func attentionBlocks(blocks []string) chart.Series {
	s := chart.Series{Name: "a block with attention; the others are recurrent", Class: chart.Shade, Shape: chart.Bands}
	for i, kind := range blocks {
		if kind == "attention" {
			s.Points = append(s.Points, chart.Point{X: float64(i) - 0.5, To: float64(i) + 0.5})
		}
	}
	return s
}

// worstByName returns the worst pass of every result. Embeddings that are bit for bit the same have no error to show.
func worstByName(sites []*logits.Site, fed bool) []*logits.Site {
	var out []*logits.Site
	index := map[string]int{}
	for _, s := range sites {
		if s.Fed != fed || s.Exact && s.OK {
			continue
		}
		i, ok := index[s.Name]
		if !ok {
			index[s.Name] = len(out)
			out = append(out, s)
		} else if s.Worst.Share > out[i].Worst.Share {
			out[i] = s
		}
	}
	return out
}

// siteX returns the x coordinate of a result: block i is at i, its temporal half shortly before.
func siteX(name string, blocks int) float64 {
	switch site, index, _ := golden.ParseSite(name); site {
	case reference.FinalNormed:
		return float64(blocks) - 1 + headGap(blocks)
	case reference.Logits:
		return float64(blocks) - 1 + 2*headGap(blocks)
	case reference.Temporal:
		return float64(index) - 0.5
	default:
		return float64(index) - 1
	}
}

func layerTicks(blocks int) []chart.Tick {
	var ticks []chart.Tick
	for i := range blocks {
		ticks = append(ticks, chart.Tick{At: float64(i), Label: strconv.Itoa(i), N: i})
	}
	return append(ticks, chart.Tick{At: siteX("logits", blocks), Label: "logits", Keep: true}, chart.Tick{At: siteX("final_norm", blocks), Label: "norm", Keep: true})
}

// headGap is the distance of the final norm from the last block, and of the logits from the norm, so that their labels fit.
func headGap(blocks int) float64 { return math.Max(1, float64(blocks)/11) }

// maxColumns is the number of tokens that a plot shows. Of more tokens, it shows the worst of each group.
const maxColumns = 800

// tokensChart shows the error of one result at every token, row after row, and marks where documents start, and from where on the
// window hides the first token: that position, 0 for none.
func tokensChart(s *logits.Site, also *logits.Site, pass *golden.Pass, full int, title, id string) *chart.Chart {
	if s == nil || pass == nil || len(s.Errors) != pass.Batch*pass.Length {
		return nil
	}
	var values []float64
	for i, e := range s.Errors {
		values = append(values, e.RMS, s.Allowed[i][0])
	}
	if also != nil {
		for _, e := range also.Errors {
			values = append(values, e.RMS)
		}
	}
	label := "token in the row"
	if pass.Batch > 1 {
		label = fmt.Sprintf("token in the row (%d rows of %d, one after the other)", pass.Batch, pass.Length)
	}
	c := &chart.Chart{ID: id, Title: title, Y: chart.Logarithmic("relative error (rms)", values),
		X: chart.Axis{Label: label, Min: -0.5, Max: float64(len(s.Errors)) - 0.5, Ticks: rowTicks(pass)}}
	limit := chart.Series{Name: envelopeName, Class: chart.Envelope, Shape: chart.Steps}
	good := chart.Series{Name: "the fixture against float64", Class: chart.Main, Shape: chart.Dots}
	bad := newOutside(chart.Crosses)
	for _, i := range worstTokens(s) {
		if !s.Exact {
			limit.Points = append(limit.Points, chart.Point{X: float64(i), Y: limitOf(s.Errors[i].RMS, s.Allowed[i][0])})
		}
		point := chart.Point{X: float64(i), Y: s.Errors[i].RMS, Text: fmt.Sprintf("token %d of row %d, position %d: %s",
			i%pass.Length, i/pass.Length, pass.Positions[i], errorOf(s, &s.Errors[i], s.Allowed[i]))}
		if is, isChannel := isOutside(s, i); is {
			bad.add(point, isChannel)
		} else {
			good.Points = append(good.Points, point)
		}
	}
	windows, documents := marks(pass, full)
	decoding := decodingSeries(also, pass, bad)
	c.Series = []chart.Series{limit, documents, windows, good, decoding, bad.rms, bad.channel}
	c.Caption = fmt.Sprintf("Error of %s: root mean square over the channels, relative to float64, at each of %s.", siteWords(s), text.Count(len(s.Errors), "token"))
	if group := groupSize(s); group > 1 {
		c.Caption += fmt.Sprintf(" Of each %d tokens the worst is shown.", group)
	}
	switch said := outsideText("Outside", s) + outsideText("Decoding is outside", also); {
	case said != "":
		c.Caption += said
	case full > 0 && len(windows.Points) == 0:
		c.Caption += fmt.Sprintf(" No document reaches position %d, from which on %s.", full, hides)
	}
	c.Caption += notFinite(c, bad.points(), limit.Points)
	return c
}

// decodingSeries returns the points of decoding, which has the last tokens of each row and the limits of the full pass. Those outside are added to bad.
func decodingSeries(s *logits.Site, pass *golden.Pass, bad *outside) chart.Series {
	series := chart.Series{Name: "decoding, token by token", Class: chart.Other, Shape: chart.Rings}
	if s == nil {
		return series
	}
	each := len(s.Errors) / max(1, pass.Batch)
	for _, i := range worstTokens(s) {
		token := pass.Length - each + i%each
		point := chart.Point{X: float64(i/each*pass.Length + token), Y: s.Errors[i].RMS,
			Text: fmt.Sprintf("decoding, token %d of row %d: %s", token, i/each, errorText(&s.Errors[i], s.Allowed[i]))}
		series.Points = append(series.Points, point)
		if is, isChannel := isOutside(s, i); is {
			bad.add(point, isChannel)
		}
	}
	return series
}

// groupSize is of how many tokens of an output one point shows the worst.
func groupSize(s *logits.Site) int { return (len(s.Errors) + maxColumns - 1) / maxColumns }

// worstTokens returns the tokens of an output that a plot shows: of each group the one whose share of the limit is largest.
func worstTokens(s *logits.Site) (tokens []int) {
	for i := range s.Errors {
		switch last := len(tokens) - 1; {
		case i%groupSize(s) == 0:
			tokens = append(tokens, i)
		case s.Share(i) > s.Share(tokens[last]):
			tokens[last] = i
		}
	}
	return tokens
}

// marks returns where documents start and where windows begin to hide their first tokens. The first token has no mark.
func marks(pass *golden.Pass, full int) (windows, documents chart.Series) {
	const maxMarks = 64 // more would hide the points
	windows = chart.Series{Name: fmt.Sprintf("from position %d on, %s", full, hides), Class: chart.Mark, Shape: chart.Uprights}
	documents = chart.Series{Name: "a row or document begins", Class: chart.Begin, Shape: chart.Uprights}
	for i, position := range pass.Positions {
		at := chart.Point{X: float64(i) - 0.5}
		switch {
		case i > 0 && (position == 0 || i%pass.Length == 0) && len(documents.Points) < maxMarks:
			documents.Points = append(documents.Points, at)
		case full > 0 && int(position) == full && len(windows.Points) < maxMarks:
			windows.Points = append(windows.Points, at)
		}
	}
	return windows, documents
}

// rowTicks labels tokens with their number in the row: about 60 of them, from which the plot chooses.
func rowTicks(pass *golden.Pass) []chart.Tick {
	every := 1
	for _, step := range []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000} {
		if every = step; pass.Batch*pass.Length/step <= 60 {
			break
		}
	}
	var ticks []chart.Tick
	for row := range pass.Batch {
		if pass.Batch > 16 && row%((pass.Batch+15)/16) != 0 {
			continue
		}
		for t := 0; t < pass.Length; t += every {
			ticks = append(ticks, chart.Tick{At: float64(row*pass.Length + t), Label: strconv.Itoa(t), N: t})
		}
	}
	return ticks
}

// maxPoints is the number of logits that a scatter plot shows.
const maxPoints = 1200

// scatterChart plots logits of the fixture against those in float64.
func scatterChart(m *logits.PassMetrics, id string) *chart.Chart {
	low, high := math.Inf(1), math.Inf(-1)
	points := chart.Series{Name: "a logit", Class: chart.Main, Shape: chart.Dots}
	every := max(1, (len(m.Scatter)+maxPoints-1)/maxPoints)
	for i := 0; i < len(m.Scatter); i += every {
		x, y := float64(m.Scatter[i][0]), float64(m.Scatter[i][1])
		if math.IsNaN(x-y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
			continue
		}
		low, high = math.Min(low, math.Min(x, y)), math.Max(high, math.Max(x, y))
		points.Points = append(points.Points, chart.Point{X: x, Y: y})
	}
	if len(points.Points) == 0 {
		return nil
	}
	room := math.Max((high-low)*0.03, 1e-6)
	c := &chart.Chart{ID: id, Title: "Logits, fixture over float64", Square: true,
		X: chart.Linear("logit in float64", low-room, high+room), Y: chart.Linear("logit of the fixture", low-room, high+room)}
	equal := chart.Series{Name: "equal", Class: chart.Limit, Shape: chart.Line, Points: []chart.Point{{X: low, Y: low}, {X: high, Y: high}}}
	c.Series = []chart.Series{equal, points}
	c.Caption = fmt.Sprintf("%s of %s, evenly taken. Correlation of those shown: %s.", text.Count(len(points.Points), "logit"), logits.PassTitle(m.Pass), correlation(points.Points))
	return c
}

func correlation(points []chart.Point) string {
	var mx, my, xx, yy, xy float64
	n := float64(len(points))
	for _, q := range points {
		mx, my = mx+q.X/n, my+q.Y/n
	}
	for _, q := range points {
		xx, yy, xy = xx+(q.X-mx)*(q.X-mx), yy+(q.Y-my)*(q.Y-my), xy+(q.X-mx)*(q.Y-my)
	}
	if xx == 0 || yy == 0 {
		return "none"
	}
	return strconv.FormatFloat(xy/math.Sqrt(xx*yy), 'f', 6, 64)
}

// percent writes a share of the limit.
func percent(x float64) string {
	switch {
	case math.IsInf(x, 0) || math.IsNaN(x):
		return "infinitely more"
	case x > 10:
		return fmt.Sprintf("%.3g times", x)
	}
	return fmt.Sprintf("%.0f%%", 100*x)
}
