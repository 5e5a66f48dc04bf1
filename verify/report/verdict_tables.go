package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/report/internal/page"
)

// findingsTable lists all findings of a check: of tensors by their names on both sides, or of fields and settings.
func findingsTable(findings strictjson.List[verify.Finding]) *page.Table {
	t := &page.Table{Label: "All failures", Many: true, Columns: []page.Column{{Title: "source"}, {Title: "converted"}, {Title: "differ", Number: true}, {Title: "should be"}, {Title: "is"}, {Title: "meaning"}}}
	fields := !slices.ContainsFunc(findings.All(), func(f verify.Finding) bool { return f.Field == "" })
	if fields {
		t.Columns = append([]page.Column{{Title: "setting"}}, t.Columns[3:]...)
	}
	for i := range min(MaxRows, findings.Len()) {
		f := findings.At(i)
		want, got := wantAndGot(&f)
		cells := []page.Cell{want, got, page.Text(f.Detail)}
		if fields {
			cells = append([]page.Cell{page.Name(f.Field)}, cells...)
		} else {
			differ := page.Cell{}
			if f.Differing > 0 {
				differ = page.Count(f.Differing)
			}
			cells = append([]page.Cell{sourceNameOf(&f), convertedNameOf(&f), differ}, cells...)
		}
		t.Add(page.Row{Cells: cells})
	}
	return t
}

// wantAndGot shows what should be, by the source, and what is, in the conversion.
func wantAndGot(f *verify.Finding) (want, got page.Cell) {
	want, got = valueOf(f.Want), valueOf(f.Got)
	switch f.Kind {
	case verify.MissingTensor:
		got = page.Text("missing")
	case verify.ExtraTensor:
		want = page.Text("absent")
	case verify.OpenSetting:
		want, got = page.Text(f.Want+" or "+f.Got), page.Text("open")
	case verify.GivenSetting:
		got = page.Text("given: " + f.Got)
		if f.Of == "conversion" { // the setting was given for the source
			want, got = got, want
		}
	}
	return want, got
}

// noName stands where a checkpoint has no tensor of the row.
const noName = "—"

// sourceNameOf shows the name of a tensor in the source, or of a field.
func sourceNameOf(f *verify.Finding) page.Cell {
	if f.Kind == verify.ExtraTensor && f.SourceName == "" {
		return page.Text(noName)
	}
	return page.Name(cmp.Or(f.SourceName, f.Tensor, f.Field))
}

// valueOf shows what is or should be. An element, such as "-0.125 (0xbe00)", is sorted by its value, and its digits are on one line.
func valueOf(s string) page.Cell {
	cell := page.Text(s)
	if value, _, element := strings.Cut(cell.Text, " (0x"); element {
		cell.Sort, cell.Class = value, "short"
	}
	return cell
}

// convertedNameOf shows the name of a tensor in the converted checkpoint, "—" if another has the name that a missing one should have.
func convertedNameOf(f *verify.Finding) page.Cell {
	if f.Kind == verify.MissingTensor && f.ConvertedName == "" {
		return page.Text(noName)
	}
	return page.Name(cmp.Or(f.ConvertedName, f.Tensor))
}

// tensorsTable lists tensors with their digests: the source on the left, what was made of it on the right.
func tensorsTable(converted strictjson.List[verify.TensorDigest]) *page.Table {
	t := &page.Table{Label: "Tensors and digests", Many: true, Columns: []page.Column{{Title: "source"}, {Title: "converted"}, {Title: "type", Short: true}, {Title: "shape", Short: true}, {Title: "digest"}}}
	for i := range min(MaxRows, converted.Len()) {
		c := converted.At(i)
		t.Add(page.Row{Bad: !c.OK, Cells: []page.Cell{page.Name(strings.Join(c.From, " + ")).With(c.Rule), page.Name(c.Name), page.Text(c.DType), {Text: tensor.ShapeString(c.Shape)}, page.Name(c.Named())}})
	}
	return t
}

// metricsTable compares the fixture's logits with float64, and shows what rounding alone does.
func metricsTable(metrics []logits.PassMetrics) *page.Table {
	if len(metrics) == 0 {
		return nil
	}
	t := &page.Table{Label: "Metrics of logits", Slim: true, Fixed: true, Columns: []page.Column{{Title: "logits against float64"}}}
	for _, m := range metrics {
		title := logits.PassTitle(m.Pass)
		t.Columns = append(t.Columns, page.Column{Title: title, Number: true}, page.Column{Title: "rounding alone", Number: true, Soft: true})
	}
	share := func(x verify.Number) page.Cell {
		if isNotFinite(float64(x)) {
			return valueCell(float64(x))
		}
		return page.Cell{Text: fmt.Sprintf("%.4g%%", 100*float64(x))}
	}
	for _, line := range []struct {
		name string
		cell func(m *logits.Metrics) page.Cell
	}{
		{"tokens", func(m *logits.Metrics) page.Cell { return page.Count(m.Tokens) }},
		{"largest difference", func(m *logits.Metrics) page.Cell { return valueCell(float64(m.Largest)) }},
		{"mean difference", func(m *logits.Metrics) page.Cell { return valueCell(float64(m.Mean)) }},
		{"NMSE, dB", func(m *logits.Metrics) page.Cell { return valueCell(float64(m.NMSE)) }},
		{"KL a token, mean (nats)", func(m *logits.Metrics) page.Cell { return valueCell(float64(m.KLMean)) }},
		{"KL, 95 of 100 tokens below", func(m *logits.Metrics) page.Cell { return valueCell(float64(m.KLP95)) }},
		{"KL, largest", func(m *logits.Metrics) page.Cell { return valueCell(float64(m.KLMax)) }},
		{"same most likely next token", func(m *logits.Metrics) page.Cell { return share(m.Top1) }},
		{"same among the ten most likely", func(m *logits.Metrics) page.Cell { return share(m.Top10) }},
	} {
		r := page.Row{Cells: []page.Cell{page.Text(line.name)}}
		for i := range metrics {
			r.Cells = append(r.Cells, line.cell(&metrics[i].Fixture), line.cell(&metrics[i].Legal))
		}
		t.Add(r)
	}
	return t
}

// valueCell shows what is a number only if it is finite; or no error at all, in decibels.
func valueCell(x float64) page.Cell {
	c := page.Value(x)
	if !math.IsInf(x, -1) {
		c.Text = valueText(x)
	}
	return c
}

func tokensTable(tokens []tokenRow) *page.Table {
	if len(tokens) == 0 {
		return nil
	}
	t := &page.Table{Label: "Worst tokens", Many: true, Columns: []page.Column{{Title: "pass", Short: true}, {Title: "row", Number: true}, {Title: "token", Number: true}, {Title: "position", Number: true}, {Title: "token id", Number: true},
		{Title: "KL, nats", Number: true}, {Title: "largest difference", Number: true}, {Title: "most likely next, float64", Number: true}, {Title: "fixture", Number: true}}}
	for _, k := range tokens {
		position := page.Count(k.Position)
		if k.Deep {
			position.Text += "*"
		}
		t.Add(page.Row{Bad: k.TopDiffers, Cells: []page.Cell{page.Text(logits.PassTitle(k.Pass)), page.Count(k.Row), page.Count(k.Token), position, page.Count(k.ID), valueCell(k.KL), valueCell(k.Largest), tokenCell(k.Ours), tokenCell(k.Theirs)}})
	}
	return t
}

// tokenCell shows a most likely token. There is none (-1) among logits that are NaN.
func tokenCell(id int) page.Cell {
	if id < 0 {
		return page.Text("none")
	}
	return page.Count(id)
}

func outputsTable(sites []*logits.Site) *page.Table {
	if len(sites) == 0 {
		return nil
	}
	t := &page.Table{Label: "All outputs", Many: true, Columns: []page.Column{{Title: "output"}, {Title: "pass", Short: true}, {Title: "input", Short: true}, {Title: "outcome", Short: true}, {Title: "of the limit", Number: true},
		{Title: "rms", Number: true}, {Title: "allowed", Number: true}, {Title: "largest", Number: true}, {Title: "allowed", Number: true}}}
	for _, s := range sites {
		input := "from tokens on"
		if s.Fed {
			input = "the fixture's"
		}
		r := page.Row{Bad: !s.OK, Cells: []page.Cell{page.Text(s.Name), page.Text(logits.PassTitle(s.Pass)), page.Text(input), page.Text(verify.Outcome(s.OK, false))}}
		if s.Exact && s.OK {
			r.Cells = append(r.Cells, page.Cell{Text: "bit for bit", Sort: "0"}, page.Cell{}, page.Cell{}, page.Cell{}, page.Cell{})
		} else {
			worst := page.Value(s.Worst.Share)
			if worst.Text = percent(float64(s.Worst.Share)); isNotFinite(float64(s.RMS)) || isNotFinite(float64(s.RMSAllowed)) {
				worst.Text = "not finite"
			}
			if s.Exact {
				worst = page.Value(math.Inf(1))
				worst.Text = "not bit for bit"
			}
			r.Cells = append(r.Cells, worst)
			for _, x := range [][2]verify.Number{{s.RMS, s.RMSAllowed}, {s.Max, s.MaxAllowed}} {
				r.Cells = append(r.Cells, valueCell(float64(x[0])), valueCell(limitOf(float64(x[0]), float64(x[1]))))
			}
		}
		t.Add(r)
	}
	return t
}

// namePairs splits "NAME (OTHER)", as Verdict.TensorNames has them.
func namePairs(names []string) [][]string {
	var out [][]string
	for _, n := range names {
		name, other, both := strings.Cut(n, " (")
		pair := []string{name}
		if both {
			pair = append(pair, strings.TrimSuffix(other, ")"))
		}
		out = append(out, pair)
	}
	return out
}

// windowField follows a window that is that of config.json, and always a scale that no file of the directory can change.
const (
	windowField = " (attention_window_size)"
	always      = " (transformers always does)"
)

// unknown is what inspect says of settings that nothing states.
const unknown = "unknown"

// settingsTable compares the sizes and settings of the models: the source on the left. A window that is wrong is shown as config.json
// has it, since it says nothing about the original's; so are both if files leave it open. Sizes are those of the tensors, with what a config.json states that contradicts them.
func settingsTable(v *verify.Verdict) *page.Table {
	facts := v.Facts
	wrongWindow := v.Config != nil && slices.ContainsFunc(v.Config.Findings.All(), func(f verify.Finding) bool { return f.Field == "attention_window_size" })
	openWindow := v.Config != nil && slices.ContainsFunc(v.Config.Findings.All(), func(f verify.Finding) bool {
		return f.Kind == verify.OpenSetting && f.Field == string(logits.WindowSetting) && f.Of == "source"
	})
	values := func(f *verify.CheckpointFacts) []string {
		if f == nil || f.Config == nil && f.Stated == nil && f.Sizes == nil {
			all := slices.Repeat([]string{unknown}, 10)
			if f != nil && f.Parameters != 0 {
				all[0] = text.Grouped(f.Parameters)
			}
			return all
		}
		c := cmp.Or(f.Config, f.Stated, f.Sizes)
		window, cap := "none", "none"
		if slices.Contains(c.BlockTypes, "attention") {
			window = text.Grouped(c.AttentionWindow)
			if f.Config == nil || wrongWindow && f == facts.Converted && c.AttentionWindowSize != 0 || openWindow {
				window = text.Grouped(cmp.Or(c.AttentionWindowSize, c.AttentionWindow)) + windowField
			}
		}
		if c.LogitsSoftCap != 0 {
			cap = page.Number(c.LogitsSoftCap)
		}
		scale := map[bool]string{true: "yes", false: "no"}[c.EmbeddingScale]
		switch {
		case c == f.Stated:
			scale = "yes" + always
		case f.Config == nil:
			scale = unknown
		}
		if c == f.Sizes {
			window, cap = unknown, unknown
		}
		sizes := sizeCells(c)
		if c == f.Stated && f.Sizes != nil {
			for i, shown := range sizeCells(f.Sizes) {
				if shown != sizes[i] {
					sizes[i] = shown + "; config.json says " + sizes[i]
				}
			}
		}
		return append(append([]string{text.Grouped(f.Parameters)}, sizes...), window, cap, scale)
	}
	source, converted := values(facts.Source), values(facts.Converted)
	names := []string{"parameters", "blocks", "width", "MLP width", "heads", "RG-LRU width", "vocabulary", "attention window", "logits soft cap", "embedding scale"}
	given := givenSettings(v)
	t := &page.Table{Label: "Configuration", Fixed: true, Columns: []page.Column{{Title: "setting"}, {Title: "checkpoint"}}}
	if facts.Converted != nil {
		t.Columns = []page.Column{{Title: "setting"}, {Title: "source"}, {Title: "converted"}}
		if f := facts.Converted; f.Config == nil && f.Stated != nil && f.Sizes == nil {
			t.Columns[2].Title = "converted, by its config.json"
		}
	}
	for i, name := range names {
		if value := given[name]; value != "" {
			source[i] = "given " + value
		}
		r := page.Row{Cells: []page.Cell{page.Text(name), page.Text(source[i])}}
		if facts.Converted != nil {
			r.Cells = append(r.Cells, page.Text(converted[i]))
			r.Bad = source[i] != converted[i] && source[i] != unknown && converted[i] != unknown && (!strings.HasSuffix(converted[i], windowField) || wrongWindow || openWindow) && !strings.HasSuffix(converted[i], always)
		}
		t.Add(r)
	}
	return t
}

// sizeCells writes the sizes of a model.
func sizeCells(c *verify.Shapes) []string {
	var pattern strings.Builder
	for _, kind := range c.BlockTypes {
		pattern.WriteString(strings.ToUpper(kind[:min(1, len(kind))]))
	}
	return []string{fmt.Sprintf("%d %s", len(c.BlockTypes), pattern.String()), text.Grouped(c.Width), text.Grouped(c.MLPExpandedWidth),
		text.Grouped(c.NumHeads), text.Grouped(c.LRUWidth), text.Grouped(c.VocabSize)}
}

// givenSettings returns what was given for settings that are another one in the conversion, by the names of the settings.
func givenSettings(v *verify.Verdict) map[string]string {
	given := map[string]string{}
	if v.Config == nil {
		return given
	}
	for _, f := range v.Config.Findings.All() {
		if f.Kind == verify.GivenSetting && f.Of == "conversion" {
			value := map[string]string{"true": "yes", "false": "no", "0": "none"}[f.Got]
			given[strings.ReplaceAll(f.Field, "_", " ")] = cmp.Or(value, f.Got)
		}
	}
	return given
}
