package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
)

// recordWith returns a record of tensors, as it is read.
func recordWith(t *testing.T, tensors ...manifest.Tensor) *manifest.Record {
	t.Helper()
	text, err := (&manifest.Manifest{Head: manifest.Head{Griffin: "test"}, Tensors: tensors}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	r, err := manifest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// textsOf returns findings as lines.
func textsOf(all strictjson.List[Finding]) string {
	var lines []string
	for _, f := range all.All() {
		lines = append(lines, f.Field+": "+f.Got+", not "+f.Want)
	}
	return strings.Join(lines, "\n")
}

// Settings are compared where both sides know them. One that was given and is contradicted is doubted.
func TestRecordedSettingsAreCompared(t *testing.T) {
	attention := []model.BlockType{model.Attention}
	same := manifest.Settings{AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true}
	other := manifest.Settings{AttentionWindow: 9, LogitsSoftCap: 31}
	const window, softCap, scale = "c: settings.attention_window: 9, not 8", "c: settings.logits_soft_cap: 31, not 30", "c: settings.embedding_scale: false, not true"
	for _, tt := range []struct {
		name     string
		blocks   []model.BlockType
		recorded *manifest.Settings
		known    bool
		given    model.Settings
		proven   bool
		findings string
		doubted  []string
		compared bool
	}{
		{"same", attention, &same, true, model.Settings{}, true, "", nil, true},
		{"same, and taken from the record", attention, &same, true, model.Settings{}, false, "", nil, false},
		{"none are recorded", attention, nil, true, model.Settings{}, true, "", nil, false},
		{"none are known", attention, &other, false, model.Settings{}, true, "", nil, false},
		{"other", attention, &other, true, model.Settings{}, true, window + "\n" + softCap + "\n" + scale, nil, true},
		{"no attention", []model.BlockType{model.Recurrent}, &other, true, model.Settings{AttentionWindow: pointer(int64(8))}, true, softCap + "\n" + scale, nil, true},
		{"the window is given", attention, &other, true, model.Settings{AttentionWindow: pointer(int64(8))}, true, window + "\n" + softCap + "\n" + scale,
			[]string{"attention window 8 was given, and conversion.json records 9"}, true},
		{"the soft cap is given", attention, &other, true, model.Settings{LogitsSoftCap: pointer(30.0)}, true, window + "\n" + softCap + "\n" + scale,
			[]string{"logits soft cap 30 was given, and conversion.json records 31"}, true},
		{"the scale is given", attention, &other, true, model.Settings{EmbeddingScale: pointer(true)}, true, window + "\n" + softCap + "\n" + scale,
			[]string{"embedding scale true was given, and conversion.json records false"}, true},
		{"what is given agrees", attention, &same, true, model.Settings{AttentionWindow: pointer(int64(8)), LogitsSoftCap: pointer(30.0), EmbeddingScale: pointer(true)}, true, "", nil, true},
	} {
		c := &manifestCheck{Record: &manifest.Record{Head: manifest.Head{Settings: tt.recorded}}, field: "c", section: &Section{OK: true}, given: tt.given, proven: tt.proven}
		p := &convert.Plan{SettingsKnown: tt.known}
		p.Config.BlockTypes, p.Config.AttentionWindow, p.Config.LogitsSoftCap, p.Config.EmbeddingScale = tt.blocks, 8, 30, true
		c.checkSettings(p)
		if got := textsOf(c.section.Findings); got != tt.findings || !slices.Equal(c.doubted, tt.doubted) || c.settings != tt.compared || c.section.OK != (tt.findings == "") {
			t.Errorf("%s: %q, doubted %q, compared %t, %+v", tt.name, got, c.doubted, c.settings, c.section)
		}
		for _, f := range c.section.Findings.All() {
			_, name, _ := strings.Cut(f.Field, "settings.")
			isDoubted := slices.ContainsFunc(tt.doubted, func(d string) bool { return strings.HasPrefix(d, strings.ReplaceAll(name, "_", " ")) })
			if strings.Contains(f.Detail, "the value that was given is wrong") != isDoubted {
				t.Errorf("%s: %s", tt.name, f.String())
			}
		}
	}
}

// What a record says of the form of config.json is compared with what a conversion writes, and with config.json.
func TestRecordedFormIsCompared(t *testing.T) {
	attention := []model.BlockType{model.Attention}
	form := func(runtime string, window int64, divided manifest.Float) *manifest.HuggingFace {
		return &manifest.HuggingFace{MatchRuntime: runtime, AttentionWindowSize: window, EmbeddingDividedBy: divided}
	}
	for _, tt := range []struct {
		name     string
		blocks   []model.BlockType
		hf       *manifest.HuggingFace // of the plan
		recorded *manifest.HuggingFace
		settings *manifest.Settings
		written  int64
		before   []Finding
		wrong    []string
		findings string
	}{
		{"an original", attention, nil, form("x", 7, 2), nil, 8, nil, nil, ""},
		{"same", attention, form("", 8, 0), form("", 8, 0), nil, 8, nil, nil, ""},
		{"as it is", attention, form("", 8, 0), nil, nil, 8, nil, nil, ""},
		{"as it is, with another window", attention, form("", 8, 0), nil, nil, 9, nil, nil, "c: huggingface.attention_window_size: 8, not 9"},
		{"settings", attention, form("", 8, 0), nil, &manifest.Settings{AttentionWindow: 8}, 8, nil, nil, ""},
		{"settings with another window", attention, form("", 8, 0), nil, &manifest.Settings{AttentionWindow: 7}, 8, nil, nil, "c: settings.attention_window: 7, not 8"},
		{"settings that are found wrong before", attention, form("", 8, 0), nil, &manifest.Settings{AttentionWindow: 7}, 8, nil, []string{"settings.attention_window"}, ""},
		{"a form that is found wrong before", attention, form("", 8, 0), form("", 7, 0), nil, 8, nil, []string{"settings.attention_window"}, "c: huggingface.attention_window_size: 7, not 8"},
		{"another window", attention, form("", 8, 0), form("", 7, 0), nil, 8, nil, nil, "c: huggingface.attention_window_size: 7, not 8"},
		{"another window, which is a finding", attention, form("", 8, 0), form("", 7, 0), nil, 8, []Finding{{Field: "attention_window_size"}}, nil, ""},
		{"another window, and another finding", attention, form("", 8, 0), form("", 7, 0), nil, 8, []Finding{{Field: "x"}}, nil, "c: huggingface.attention_window_size: 7, not 8"},
		{"no window in config.json", attention, form("", 8, 0), form("", 7, 0), nil, 0, nil, nil, ""},
		{"a runtime", attention, form("", 8, 0), form("transformers5", 9, 0), nil, 8, nil, nil, "c: huggingface.match_runtime: transformers5, not none"},
		{"no runtime", attention, form("transformers5", 9, 0), form("", 8, 0), nil, 9, nil, nil, "c: huggingface.match_runtime: none, not transformers5"},
		{"a runtime without attention", []model.BlockType{model.Recurrent}, form("", 8, 0), form("transformers5", 7, 0), nil, 8, nil, nil, ""},
		{"divided", attention, form("", 8, 6), form("", 8, 6), nil, 8, nil, nil, ""},
		{"divided otherwise", attention, form("", 8, 6), form("", 8, 5), nil, 8, nil, nil, "c: huggingface.embedding_divided_by: 5, not 6"},
		{"divided, as it is", attention, form("", 8, 6), nil, nil, 8, nil, nil, ""},
	} {
		c := &manifestCheck{Record: &manifest.Record{Head: manifest.Head{HuggingFace: tt.recorded, Settings: tt.settings}}, field: "c", section: &Section{Findings: strictjson.Items(tt.before...)}, wrong: tt.wrong}
		p := &convert.Plan{HF: tt.hf}
		p.Config.BlockTypes, p.Config.AttentionWindow = tt.blocks, 8
		c.checkForm(p, tt.written)
		var made strictjson.List[Finding]
		for i, f := range c.section.Findings.All() {
			if i >= len(tt.before) {
				made = made.Append(f)
			}
		}
		if got := textsOf(made); got != tt.findings {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.findings)
		}
	}
}

// A record has digests of the tensors of the plan, under the names of either side, and of no others.
func TestRecordIsComplete(t *testing.T) {
	sum := digest.Sum{BLAKE3: strings.Repeat("a", 64)}
	const with, more = "c: tensors: 2 tensors, not 3 tensors with digests", "c: tensors: 1 more tensor, such as z, not only those of the model"
	for _, tt := range []struct {
		name     string
		recorded string // - behind a name: without a digest
		doubted  bool
		findings string
		first    string // that lacks a digest
		lacks    string // tensor that the checkpoint does not have
	}{
		{"all", "a b c", false, "", "", ""}, {"one is missing", "a c", false, with, "b", ""}, {"one is without a digest", "a b c-", false, with, "c", ""}, {"two are missing", "b", false, "c: tensors: 1 tensor, not 3 tensors with digests", "a", ""},
		{"one more", "a b c z", false, more, "", ""}, {"two more", "a b c y z", false, "c: tensors: 2 more tensors, such as y, not only those of the model", "", ""},
		{"one more and one less", "a b z", false, with + "\n" + more, "c", ""}, {"doubted", "a b z", true, "", "", ""},
		{"moved", "a b new", false, "", "", ""}, {"moved, and under both names", "a b c new", false, "", "", ""},
		{"a part", "a b", false, "", "", "c"}, {"a part, and one without a digest", "a b-", false, "c: tensors: 1 tensor, not 2 tensors with digests", "b", "c"},
		{"moved, and a part", "a new", false, "", "", "b"},
	} {
		var recorded []manifest.Tensor
		for _, name := range strings.Fields(tt.recorded) {
			x := manifest.Tensor{Name: strings.TrimSuffix(name, "-")}
			if x.Name == name {
				x.Sum = sum
			}
			recorded = append(recorded, x)
		}
		c := &manifestCheck{Record: recordWith(t, recorded...), field: "c", section: &Section{}}
		if tt.doubted {
			c.doubted = []string{"x"}
		}
		p := &convert.Plan{}
		for _, name := range []string{"a", "b", "c"} {
			p.Dests = append(p.Dests, moves.Dest{Name: name})
		}
		var moved *renaming
		if strings.Contains(tt.recorded, "new") {
			moved = &renaming{names: map[string]string{"a": "a", "b": "b", "c": "new"}}
		}
		var has []*tensor.Tensor
		for _, d := range p.Dests {
			if name := moved.name(d.Name); name != tt.lacks {
				has = append(has, shaped(name, tensor.F32))
			}
		}
		converted, err := tensor.NewCheckpoint("converted", "test", has)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.checkComplete(p, moved, converted); err != nil {
			t.Fatal(err)
		}
		if got := textsOf(c.section.Findings); got != tt.findings {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.findings)
		}
		if tt.first != "" && !strings.Contains(c.section.Findings.At(0).Detail, "there is none of "+tt.first+";") {
			t.Errorf("%s: %s", tt.name, c.section.Findings.At(0).Detail)
		}
	}
}

// Digests that differ are one finding of the record, unless the weights have findings about their tensors.
func TestRecordedDigestsAreCompared(t *testing.T) {
	sum := func(c string) digest.Sum { return digest.Sum{BLAKE3: strings.Repeat(c, 64)} }
	recorded := []manifest.Tensor{{Name: "a", Sum: sum("1")}, {Name: "b", Sum: sum("2")}, {Name: "c", Sum: sum("3")}, {Name: "d"}}
	for _, tt := range []struct {
		name     string
		found    string // tensors and their digests
		source   bool
		findings string // names in findings of the weights, of both sides
		compared string
		other    string
		details  string
	}{
		{"equal", "a1 b2 c3", false, "", "the digests of 3 tensors", "", ""},
		{"what is not recorded", "a1 d4 e5", false, "", "the digests of 1 tensor", "", ""},
		{"one other", "a1 b9 c3", false, "", "the digests of 3 tensors", "other digests of 1 tensor of b", ""},
		{"two others", "c9 a1 b9", false, "", "the digests of 3 tensors", "other digests of 2 tensors of c", ""},
		{"a finding", "a1 b9 c3", false, "b=x", "the digests of 2 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
		{"a finding of the other side", "a1 b9 c3", false, "x=b", "the digests of 3 tensors", "other digests of 1 tensor of b", ""},
		{"a finding of the source", "a1 b9 c3", true, "x=b", "the digests of 2 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
		{"a finding of one of two sources", "a1 b9 c3", true, "x=e+b", "the digests of 2 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
		{"a finding of the converted side", "a1 b9 c3", true, "b=x", "the digests of 3 tensors", "other digests of 1 tensor of b", ""},
		{"a finding of what is right", "a1 b2 c3", false, "b=x", "the digests of 3 tensors", "", ""},
		{"findings in another order", "a9 b9 c9", false, "c=x a=x b=x", "the digests of 0 of 3 tensors (see weights)", "", "changed or damaged after it was written: c records another digest"},
	} {
		w := &WeightsSection{details: map[int]string{}}
		var found strictjson.List[TensorDigest]
		for _, x := range strings.Fields(tt.found) {
			found = found.Append(TensorDigest{Name: x[:1], Sum: sum(x[1:])})
		}
		for _, finding := range strings.Fields(tt.findings) {
			made, source, _ := strings.Cut(finding, "=")
			w.Findings = w.Findings.Append(Finding{Kind: WrongWeights, Tensor: made, ConvertedName: made, SourceName: strings.ReplaceAll(source, "+", " + ")})
		}
		c := &manifestCheck{Record: recordWith(t, recorded...), field: "c", section: &Section{}}
		if err := c.checkDigests(found, w, tt.source); err != nil {
			t.Fatal(err)
		}
		other := ""
		if c.section.Findings.Len() > 0 {
			f := c.section.Findings.At(0)
			_, rest, _ := strings.Cut(f.Detail, "conversion; ")
			_, rest, _ = strings.Cut(rest, " of ")
			name, _, _ := strings.Cut(rest, " ")
			other = f.Got + " of " + name
		}
		if c.compared() != tt.compared || other != tt.other || w.details[0] != tt.details || (len(c.wrong) > 0) != (tt.other != "") {
			t.Errorf("%s: %s; %q; %q", tt.name, c.compared(), other, w.details[0])
		}
		if c.settings = true; c.compared() != "the settings and "+tt.compared {
			t.Errorf("%s: %s", tt.name, c.compared())
		}
	}
}

// A corrupt record is a finding, one that is too large is not, and one that cannot be read is an error.
func TestRecordsThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct {
		err         error
		part        string
		wrong       bool
		failed, add bool
	}{
		{nil, "", false, false, false},
		{fs.ErrPermission, "", false, true, false},
		{&tensor.FormatError{Reason: tensor.TooLarge, Problem: "has many bytes"}, "conversion.json was not compared: it has many bytes", false, false, false},
		{fmt.Errorf("x: %w", &tensor.FormatError{Problem: "is no JSON"}), "conversion.json is corrupt", true, false, true},
	} {
		c := &configSummary{section: &Section{OK: true, Summary: "before"}}
		if err := c.check(record{err: tt.err}); tt.failed != (err != nil) || tt.failed && !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.err, err)
		}
		c.finish()
		want := strings.TrimSuffix("before; "+tt.part, "; ")
		if c.section.Summary != want || c.section.OK == tt.wrong || (c.section.Findings.Len() == 1) != tt.add || tt.add && c.section.Findings.At(0).Detail != "is no JSON" {
			t.Errorf("%v: %+v", tt.err, c.section)
		}
	}
	// What was skipped, and failed before.
	for _, tt := range []struct {
		before  Section
		parts   []bool // wrong
		ok      bool
		skipped bool
		summary string
	}{
		{Section{OK: true, Skipped: true, Summary: "skipped"}, nil, true, true, "skipped"}, {Section{OK: true, Skipped: true, Summary: "skipped"}, []bool{false}, true, false, "p0"},
		{Section{OK: true, Skipped: true, Summary: "skipped"}, []bool{true, false}, false, false, "p0; p1"}, {Section{Summary: "wrong"}, []bool{false}, false, false, "wrong; p0"},
		{Section{OK: true, Skipped: true, noConfig: true, Summary: "none"}, []bool{false}, true, true, "none; p0"}, {Section{OK: true, Skipped: true, noConfig: true, Summary: "none"}, []bool{true}, false, false, "none; p0"},
	} {
		c := &configSummary{section: &tt.before}
		for i, wrong := range tt.parts {
			c.add(fmt.Sprint("p", i), wrong)
		}
		if c.finish(); tt.before.OK != tt.ok || tt.before.Skipped != tt.skipped || tt.before.Summary != tt.summary {
			t.Errorf("%v: %+v", tt.parts, tt.before)
		}
	}
}

// modelAt returns the model at a path.
func modelAt(t *testing.T, path string) *model.Model {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := model.Recognize(c, model.Options{KeepExtra: true})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A record is compared under the names of the checkpoint, where those of all tensors lack model.
func TestNamesOfARecord(t *testing.T) {
	if got := removedPrefix(nil); got != "" {
		t.Errorf("no model was found, and %s is removed", got)
	}
	for want, change := range map[string]func(name string) string{
		"":       func(name string) string { return name },
		"model.": func(name string) string { return strings.TrimPrefix(name, "model.") },
	} {
		m := baseOf(t, "float32, torch").made.clone()
		m.rename(change)
		if got := removedPrefix(modelAt(t, m.write(t))); got != want {
			t.Errorf("%q is removed, not %q", got, want)
		}
	}
	if got := removedPrefix(modelAt(t, cases.Testdata(t)+"/odd-griffin/original/torch.pt")); got != "" {
		t.Errorf("%q is removed from names of an original", got)
	}
	sum := digest.Sum{BLAKE3: strings.Repeat("a", 64)}
	for removed, want := range map[string]int{"": 0, "model.": 1} {
		c := &manifestCheck{Record: recordWith(t, manifest.Tensor{Name: "model.a", Sum: sum}), removed: removed, section: &Section{}}
		if err := c.checkDigests(strictjson.Items(TensorDigest{Name: "a", Sum: sum}), &WeightsSection{}, false); err != nil || c.digests != want {
			t.Errorf("%q is removed: %d digests were compared, %v", removed, c.digests, err)
		}
		p := &convert.Plan{}
		p.Dests = append(p.Dests, moves.Dest{Name: "a"})
		converted, err := tensor.NewCheckpoint("converted", "test", []*tensor.Tensor{shaped("a", tensor.F32)})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.checkComplete(p, nil, converted); err != nil || len(c.wrong) != 1-want {
			t.Errorf("%q is removed: %v, %v", removed, c.wrong, err)
		}
	}
}
