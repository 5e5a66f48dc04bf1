package recordcheck_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/internal/recordcheck"
)

// A conversion.json that records another attention window than the model has.
func ExampleCheck() {
	c := recordcheck.Check{Record: &manifest.Record{Head: manifest.Head{Settings: &manifest.Settings{AttentionWindow: 9, LogitsSoftCap: 30}}}, Proven: true}
	p := &convert.Plan{SettingsKnown: true}
	p.Config.BlockTypes, p.Config.AttentionWindow, p.Config.LogitsSoftCap = []model.BlockType{model.Attention}, 8, 30
	c.CompareSettings(p)
	for _, d := range c.Differences {
		fmt.Printf("%s: %s, not %s\n", d.Field, d.Got, d.Want)
	}
	// Output: settings.attention_window: 9, not 8
}

func tensorOf(name string) *tensor.Tensor {
	return &tensor.Tensor{Name: name, DType: tensor.F32, Shape: []int64{1}}
}

// textsOf returns differences as lines.
func textsOf(all []recordcheck.Difference) string {
	var lines []string
	for _, d := range all {
		lines = append(lines, d.Field+": "+d.Got+", not "+d.Want)
	}
	return strings.Join(lines, "\n")
}

// Settings are compared where both sides know them.
func TestRecordedSettingsAreCompared(t *testing.T) {
	attention := []model.BlockType{model.Attention}
	same := manifest.Settings{AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true}
	other := manifest.Settings{AttentionWindow: 9, LogitsSoftCap: 31}
	const window, softCap, scale = "settings.attention_window: 9, not 8", "settings.logits_soft_cap: 31, not 30", "settings.embedding_scale: false, not true"
	for _, tt := range []struct {
		name     string
		blocks   []model.BlockType
		recorded *manifest.Settings
		known    bool
		proven   bool
		findings string
		compared bool
	}{
		{"same", attention, &same, true, true, "", true},
		{"same, and taken from the record", attention, &same, true, false, "", false},
		{"none are recorded", attention, nil, true, true, "", false},
		{"none are known", attention, &other, false, true, "", false},
		{"other", attention, &other, true, true, window + "\n" + softCap + "\n" + scale, true},
		{"no attention", []model.BlockType{model.Recurrent}, &other, true, true, softCap + "\n" + scale, true},
	} {
		c := &recordcheck.Check{Record: &manifest.Record{Head: manifest.Head{Settings: tt.recorded}}, Proven: tt.proven}
		p := &convert.Plan{SettingsKnown: tt.known}
		p.Config.BlockTypes, p.Config.AttentionWindow, p.Config.LogitsSoftCap, p.Config.EmbeddingScale = tt.blocks, 8, 30, true
		c.CompareSettings(p)
		isCompared := strings.HasPrefix(c.Agreement(), "agrees with the settings")
		if got := textsOf(c.Differences); got != tt.findings || isCompared != tt.compared {
			t.Errorf("%s: %q, compared %t", tt.name, got, isCompared)
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
		isWrong  bool // config.json in its window
		wrong    []string
		findings string
	}{
		{"an original", attention, nil, form("x", 7, 2), nil, 8, false, nil, ""},
		{"same", attention, form("", 8, 0), form("", 8, 0), nil, 8, false, nil, ""},
		{"as it is", attention, form("", 8, 0), nil, nil, 8, false, nil, ""},
		{"as it is, with another window", attention, form("", 8, 0), nil, nil, 9, false, nil, "huggingface.attention_window_size: 8, not 9"},
		{"settings", attention, form("", 8, 0), nil, &manifest.Settings{AttentionWindow: 8}, 8, false, nil, ""},
		{"settings with another window", attention, form("", 8, 0), nil, &manifest.Settings{AttentionWindow: 7}, 8, false, nil, "settings.attention_window: 7, not 8"},
		{"settings that are found wrong before", attention, form("", 8, 0), nil, &manifest.Settings{AttentionWindow: 7}, 8, false, []string{"settings.attention_window"}, ""},
		{"a form that is found wrong before", attention, form("", 8, 0), form("", 7, 0), nil, 8, false, []string{"settings.attention_window"}, "huggingface.attention_window_size: 7, not 8"},
		{"another window", attention, form("", 8, 0), form("", 7, 0), nil, 8, false, nil, "huggingface.attention_window_size: 7, not 8"},
		{"another window, which is a finding", attention, form("", 8, 0), form("", 7, 0), nil, 8, true, nil, ""},
		{"no window in config.json", attention, form("", 8, 0), form("", 7, 0), nil, 0, false, nil, ""},
		{"a runtime", attention, form("", 8, 0), form("transformers5", 9, 0), nil, 8, false, nil, "huggingface.match_runtime: transformers5, not none"},
		{"no runtime", attention, form("transformers5", 9, 0), form("", 8, 0), nil, 9, false, nil, "huggingface.match_runtime: none, not transformers5"},
		{"a runtime without attention", []model.BlockType{model.Recurrent}, form("", 8, 0), form("transformers5", 7, 0), nil, 8, false, nil, ""},
		{"divided", attention, form("", 8, 6), form("", 8, 6), nil, 8, false, nil, ""},
		{"divided otherwise", attention, form("", 8, 6), form("", 8, 5), nil, 8, false, nil, "huggingface.embedding_divided_by: 5, not 6"},
		{"divided, as it is", attention, form("", 8, 6), nil, nil, 8, false, nil, ""},
	} {
		c := &recordcheck.Check{Record: &manifest.Record{Head: manifest.Head{HuggingFace: tt.recorded, Settings: tt.settings}}}
		for _, field := range tt.wrong {
			c.Differences = append(c.Differences, recordcheck.Difference{Field: field})
		}
		p := &convert.Plan{HF: tt.hf}
		p.Config.BlockTypes, p.Config.AttentionWindow = tt.blocks, 8
		c.CompareForm(p, tt.written, tt.isWrong)
		if got := textsOf(c.Differences[len(tt.wrong):]); got != tt.findings {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.findings)
		}
	}
}

// A record has digests of the tensors of the plan, under the names of either side, and of no others.
func TestRecordIsComplete(t *testing.T) {
	sum := digest.Sum{BLAKE3: strings.Repeat("a", 64)}
	const with, more = "tensors: 2 tensors, not 3 tensors with digests", "tensors: 1 more tensor, such as z, not only those of the model"
	for _, tt := range []struct {
		name     string
		recorded string // - behind a name: without a digest
		scale    bool   // another one is recorded
		findings string
		first    string // that lacks a digest
		lacks    string // tensor that the checkpoint does not have
	}{
		{"all", "a b c", false, "", "", ""}, {"one is missing", "a c", false, with, "b", ""}, {"one is without a digest", "a b c-", false, with, "c", ""}, {"two are missing", "b", false, "tensors: 1 tensor, not 3 tensors with digests", "a", ""},
		{"one more", "a b c z", false, more, "", ""}, {"two more", "a b c y z", false, "tensors: 2 more tensors, such as y, not only those of the model", "", ""},
		{"one more and one less", "a b z", false, with + "\n" + more, "c", ""}, {"another scale", "a b z", true, "", "", ""},
		{"moved", "a b new", false, "", "", ""}, {"moved, and under both names", "a b c new", false, "", "", ""},
		{"a part", "a b", false, "", "", "c"}, {"a part, and one without a digest", "a b-", false, "tensors: 1 tensor, not 2 tensors with digests", "b", "c"},
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
		c := &recordcheck.Check{Record: cases.Record(t, recorded...)}
		if tt.scale {
			c.Differences = []recordcheck.Difference{{Field: "settings.embedding_scale"}}
		}
		p := &convert.Plan{}
		for _, name := range []string{"a", "b", "c"} {
			p.Dests = append(p.Dests, moves.Dest{Name: name})
		}
		var named func(string) string
		there := func(name string) string { return name }
		if strings.Contains(tt.recorded, "new") {
			named = func(name string) string { return map[string]string{"a": "a", "b": "b", "c": "new"}[name] }
			there = named
		}
		var has []*tensor.Tensor
		for _, d := range p.Dests {
			if name := there(d.Name); name != tt.lacks {
				has = append(has, tensorOf(name))
			}
		}
		converted, err := tensor.NewCheckpoint("converted", "test", has)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CompareTensors(p, named, converted); err != nil {
			t.Fatal(err)
		}
		if got := textsOf(c.Differences); got != tt.findings && !tt.scale || tt.scale && len(c.Differences) != 1 {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.findings)
		}
		if tt.first != "" && !strings.Contains(c.Differences[0].Detail, "there is none of "+tt.first+";") {
			t.Errorf("%s: %s", tt.name, c.Differences[0].Detail)
		}
	}
}

// A tensor that the record does not have, or has without a digest, is not compared. What another digest is explained by is no difference, and each is
// asked for once, in their order.
func TestDigests(t *testing.T) {
	sum := func(c string) digest.Sum { return digest.Sum{BLAKE3: strings.Repeat(c, 64)} }
	recorded := cases.Record(t, manifest.Tensor{Name: "a", Sum: sum("1")}, manifest.Tensor{Name: "b", Sum: sum("2")}, manifest.Tensor{Name: "c", Sum: sum("3")}, manifest.Tensor{Name: "d"})
	for _, tt := range []struct{ found, explained, asked, compared, differs string }{
		{"a1 b2 c3 d4 e5", "", "", "agrees with the digests of 3 tensors", ""},
		{"a1 b9 c3", "", "b", "agrees with the digests of 3 tensors", "tensors: other digests of 1 tensor, not the checkpoint's"},
		{"c9 b9 a1", "b", "c b", "agrees with the digests of 2 of 3 tensors (see weights)", "tensors: other digests of 1 tensor, not the checkpoint's"},
		{"a9", "a", "a", "agrees with the digests of 0 of 1 tensor (see weights)", ""},
	} {
		c, found := &recordcheck.Check{Record: recorded}, strings.Fields(tt.found)
		var names, asked []string
		for _, x := range found {
			names = append(names, x[:1])
		}
		err := c.CompareDigests(names, func(i int) digest.Sum { return sum(found[i][1:]) }, func(i int) bool {
			asked = append(asked, names[i])
			return strings.Contains(tt.explained, names[i])
		})
		if got := textsOf(c.Differences); err != nil || strings.Join(asked, " ") != tt.asked || c.Agreement() != tt.compared || got != tt.differs {
			t.Errorf("%s: %v, asked of %q, %s, %q", tt.found, err, asked, c.Agreement(), got)
		}
	}
}

// A record is compared under the names of the checkpoint, where those of all tensors lack model.
func TestRemovedPrefix(t *testing.T) {
	sum := digest.Sum{BLAKE3: strings.Repeat("a", 64)}
	converted, err := tensor.NewCheckpoint("converted", "test", []*tensor.Tensor{tensorOf("a")})
	if err != nil {
		t.Fatal(err)
	}
	p := &convert.Plan{}
	p.Dests = append(p.Dests, moves.Dest{Name: "a"})
	for removed, want := range map[string]int{"": 0, "model.": 1} {
		c := &recordcheck.Check{Record: cases.Record(t, manifest.Tensor{Name: "model.a", Sum: sum}), Removed: removed}
		err := c.CompareDigests([]string{"a"}, func(int) digest.Sum { return sum }, nil)
		if what := []string{"has no digests of tensors with these names", "agrees with the digests of 1 tensor"}[want]; err != nil || c.Agreement() != what {
			t.Errorf("%q is removed: %s were compared, %v", removed, c.Agreement(), err)
		}
		if err := c.CompareTensors(p, nil, converted); err != nil || len(c.Wrong()) != 1-want {
			t.Errorf("%q is removed: %v, %v", removed, c.Wrong(), err)
		}
	}
}
