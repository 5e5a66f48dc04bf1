package page

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	got := strings.Join(words([]string{"griffin", "verify", "--logits-soft-cap=30", "my model.pt", "it's", "", "$HOME"}), " ")
	if want := `griffin verify --logits-soft-cap=30 'my model.pt' 'it'\''s' '' '$HOME'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The script finds a row of several layers by what the row says that it stands for, and copies the names of that.
func TestScriptReadsLayers(t *testing.T) {
	for _, of := range []string{"({ list, layers, names })", "...tensors(row.dataset)", "? tensors(row.dataset) : []", "named(element), text = all.join(", "`${list}.${from + k}.${name}`"} {
		if !strings.Contains(script, of) {
			t.Errorf("the script lacks %s", of)
		}
	}
}

// The contents list the sections and the command, unless there is only one section.
func TestContents(t *testing.T) {
	for body, want := range map[string]bool{`{{section "a" "A"}}`: false, `{{section "a" "A"}}{{section "b" "B"}}`: true} {
		text, err := Render(&Document{}, Parse("body", body, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		page := string(bytes.Join(text, nil))
		if has := strings.Contains(page, "Contents</h2>"); has != want || want && !strings.Contains(page, `<li><a href="#a">A</a></li><li><a href="#b">B</a></li><li><a href="#command">Command</a></li></ul>`) {
			t.Errorf("%s: contents %t, want %t", body, has, want)
		}
	}
}

// The name of a row of a map is broken between its words, however short it is.
func TestLabel(t *testing.T) {
	if got, want := string(Label("up_proj.<b>")), "up_<wbr>proj.<wbr>&lt;b&gt;"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	heat := Parse("heat", `{{template "heat" .}}`, nil)
	text, err := Render(&Document{}, heat, &Heat{Rows: []HeatRow{{Name: "up_proj.bias"}}})
	if err != nil || !strings.Contains(string(bytes.Join(text, nil)), `<th scope="row">up_<wbr>proj.<wbr>bias</th>`) {
		t.Errorf("%v, %s", err, text)
	}
}

// What may be long is broken where a sheet ends, so that none is half empty. A map of a few rows is not. No sheet begins with the last
// lines of something: the command, the sentence below a table and the last rows of one have something before them.
func TestSheets(t *testing.T) {
	for avoided, want := range map[string][]string{
		"break-inside: avoid": {".subjects section", "main > dl, tr, dd, figcaption, figure:not(.heat:has(tr:nth-child(9)))"},
		"break-before: avoid": {"figcaption, main > p, details:not([open]), #command, tbody tr:nth-last-child(-n+4)"},
	} {
		var got []string
		for rule := range strings.SplitSeq(comments.ReplaceAllString(style, ""), "}") {
			if selector, rest, ok := strings.Cut(strings.TrimSpace(rule), "{"); ok && strings.Contains(rest, avoided) {
				got = append(got, strings.TrimSpace(selector))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: of %q, want %q", avoided, got, want)
		}
	}
}

var comments = regexp.MustCompile(`(?s)/\*.*?\*/`)

// Lines are broken within long names only, and what files say stays text.
func TestSentence(t *testing.T) {
	for text, want := range map[string]string{
		"but for what fails, a.b":      "But for what fails, a.b",
		"given <b>":                    "Given &lt;b&gt;",
		"out is a quantised copy":      "out is a quantised copy", // a path
		"transformers 5 diverges":      "transformers 5 diverges",
		"config.json agrees":           "config.json agrees",
		"lm_head stands for":           "lm_head stands for",
		"model: the file is not read":  "model: the file is not read",
		"é is a tensor":                "é is a tensor",
		"20 arrays are in other files": "20 arrays are in other files",
		"A has none":                   "A has none",
		"":                             "",
	} {
		if got := string(Sentence(text, "out", "hf")); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestProse(t *testing.T) {
	for text, want := range map[string]string{
		"a.b and/or c_d":                           "a.b and/or c_d",
		"see model.layers.0.input_gate <b>":        "see model.<wbr>layers.<wbr>0.<wbr>input_<wbr>gate &lt;b&gt;",
		"/a/path/of/more/than/long <script>x.y_z/": "/<wbr>a/<wbr>path/<wbr>of/<wbr>more/<wbr>than/<wbr>long &lt;script&gt;x.y_z/",
	} {
		if got := string(Prose(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// A table of many columns is a table where the page is as wide as it gets without the contents beside it.
func TestWidestPageHasTables(t *testing.T) {
	number := func(pattern string) float64 {
		m := regexp.MustCompile(pattern).FindStringSubmatch(style)
		if m == nil {
			t.Fatalf("the style has no %s", pattern)
		}
		x, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	box := number(`(?m)^body \{.* max-width: ([\d.]+)rem`) - 2*number(`(?m)^body \{.* padding: [\d.]+rem ([\d.]+)rem`)
	if list := number(`@container \(max-width: ([\d.]+)em\)`) * number(`\.scroll:has\(> \.many\) \{ font-size: ([\d.]+)rem`); list >= box {
		t.Errorf("such tables are lists up to %.4grem, and the page has %.4grem", list, box)
	}
}
