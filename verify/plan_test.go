package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
)

// A checkpoint was converted to the layout that its names show, or else to the one that its format is usual for.
func TestTargetOf(t *testing.T) {
	for _, tt := range []struct {
		format string
		layout model.Layout // of the model that was found
		want   convert.Target
	}{
		{"safetensors", model.UnknownLayout, convert.ToHF}, {"torch-zip", model.UnknownLayout, convert.ToTorch}, {"torch-legacy", model.UnknownLayout, convert.ToTorch},
		{"orbax-ocdbt", model.UnknownLayout, convert.ToOrbax}, {"flax-msgpack", model.UnknownLayout, convert.ToOrbax}, {"", model.UnknownLayout, convert.ToHF},
		{"torch-zip", model.HuggingFace, convert.ToHF}, {"safetensors", model.Torch, convert.ToTorch}, {"torch-zip", model.Flax, convert.ToOrbax},
	} {
		var found *model.Model
		if tt.layout != model.UnknownLayout {
			found = &model.Model{Layout: tt.layout}
		}
		if got := targetOf(&model.Model{}, &tensor.Checkpoint{Format: tt.format}, found); got != tt.want {
			t.Errorf("%s, %s: %v, want %v", tt.format, tt.layout, got, tt.want)
		}
	}
}

// All tensors were given one dtype if that leaves fewer of them wrong than if each kept its own. Tensors that are no parameters keep theirs.
func TestCommonDType(t *testing.T) {
	const keep = tensor.Invalid
	for _, tt := range []struct {
		name string
		plan string // types of the tensors a, b, …, of which capital ones are no parameters
		made string // types of those in the conversion, - for one that is missing
		want tensor.DType
	}{
		{"kept", "ff", "ff", keep}, {"all given", "ff", "bb", tensor.BF16}, {"one given", "ff", "fb", keep}, {"more than half given", "fff", "bbf", tensor.BF16}, {"half given", "ffff", "bbff", keep},
		{"two types kept", "fb", "fb", keep}, {"two types given", "fb", "bb", tensor.BF16}, {"to float16", "fb", "hh", tensor.F16},
		{"missing", "fff", "b--", tensor.BF16}, {"nothing there", "ff", "--b", tensor.BF16}, {"nothing there of any type", "ff", "--i", keep},
		{"others kept", "ffF", "bbF", tensor.BF16}, {"others given too", "fF", "bB", tensor.BF16}, {"only others given", "fFF", "fBB", keep}, {"others of another type", "bF", "bF", keep},
		{"integers", "i", "i", keep},
	} {
		types := map[rune]tensor.DType{'f': tensor.F32, 'b': tensor.BF16, 'h': tensor.F16, 'i': tensor.I8}
		p := &convert.Plan{}
		for i, r := range tt.plan {
			lower := rune(strings.ToLower(string(r))[0])
			if lower != r {
				p.Extra = append(p.Extra, i)
			}
			p.Dests = append(p.Dests, moves.Dest{Name: fmt.Sprint(i), DType: types[lower], Shape: []int64{4}})
		}
		var tensors []*tensor.Tensor
		for i, r := range strings.ToLower(tt.made) {
			if r != '-' {
				tensors = append(tensors, shaped(fmt.Sprint(i), types[r], 4))
			}
		}
		c, err := tensor.NewCheckpoint("", "test", tensors)
		if err != nil {
			t.Fatal(err)
		}
		if got := commonDType(p, c); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// The dtype of most elements counts, not that of most tensors, and only one that conversions write.
func TestMostFrequent(t *testing.T) {
	for _, tt := range []struct {
		tensors []*tensor.Tensor
		want    tensor.DType
	}{
		{nil, tensor.Invalid}, {[]*tensor.Tensor{shaped("a", tensor.I8, 9)}, tensor.Invalid}, {[]*tensor.Tensor{shaped("a", tensor.I8, 9), shaped("b", tensor.BF16, 1)}, tensor.BF16},
		{[]*tensor.Tensor{shaped("a", tensor.F32, 2), shaped("b", tensor.BF16, 9), shaped("c", tensor.F32, 2)}, tensor.BF16},
		{[]*tensor.Tensor{shaped("a", tensor.F32, 5), shaped("b", tensor.F16, 9), shaped("c", tensor.F32, 5)}, tensor.F32},
		{[]*tensor.Tensor{shaped("a", tensor.F16, 5), shaped("b", tensor.F32, 5)}, tensor.F32}, {[]*tensor.Tensor{shaped("a", tensor.F16, 0)}, tensor.Invalid},
	} {
		c, err := tensor.NewCheckpoint("", "test", tt.tensors)
		if err != nil {
			t.Fatal(err)
		}
		if got := mostFrequent(c); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.tensors, got, tt.want)
		}
	}
}

// Of many tensors that were left out the first are named, and the others counted; those beside the model apart from others.
func TestLeftOutNotes(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: ": t0", 5: ": t0, t1, t2, t3, t4", 9: ": t0, t1, t2, t3, t4, t5, t6, t7 and 1 more", 20_009: ": t0, t1, t2, t3, t4, t5, t6, t7 and 20001 more"} {
		var all []*tensor.Tensor
		for i := range n {
			all = append(all, shaped(fmt.Sprint("t", i), tensor.F32, 1))
		}
		check := func(p *convert.Plan, reasons ...string) {
			t.Helper()
			got := leftOutNotes(p)
			if n == 0 {
				reasons = nil
			}
			if len(got) != len(reasons) {
				t.Fatalf("%d: %q", n, got)
			}
			for i, reason := range reasons {
				if !strings.HasSuffix(got[i], want) || !strings.Contains(got[i], reason) {
					t.Errorf("%d: %q", n, got)
				}
			}
		}
		const extra, beside = " of the family, and ", " not belong to the model, and "
		check(&convert.Plan{Source: &model.Model{Extra: all}}, extra)
		check(&convert.Plan{Source: &model.Model{Extra: all}, Extra: []int{3}}) // kept
		check(&convert.Plan{Source: &model.Model{}, Left: all}, beside)
		check(&convert.Plan{Source: &model.Model{Extra: all}, Left: all}, extra, beside)
	}
	// Tensors of several layers are named together, and whole layers only if none of their tensors is converted.
	p := &convert.Plan{Source: &model.Model{}}
	for layer := range 3 {
		for _, name := range []string{"a", "b", "c", "d"} {
			p.Left = append(p.Left, shaped(fmt.Sprintf("ema.%d.%s", layer, name), tensor.F32, 1))
			t := shaped(fmt.Sprintf("blocks.%d.%s", layer, name), tensor.F32, 1)
			if name == "a" && layer < 2 {
				p.Left = append(p.Left, t)
			} else {
				p.Moves = append(p.Moves, moves.Move{Source: t})
			}
		}
	}
	const want = "14 tensors of the source do not belong to the model, and are not in the conversion: every tensor of all layers (3) of ema; layers 0, 1 of blocks: a"
	if got := leftOutNotes(p); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The verdict names the tensors of either checkpoint that were not read, each once.
func TestUnread(t *testing.T) {
	const dir = "../testdata/micro-griffin/hf"
	open := func(unread ...string) *tensor.Checkpoint {
		c, err := formats.Open(dir, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.LeaveOut("tensors that cannot be read", unread)
		return c
	}
	for _, tt := range []struct {
		source, converted []string
		want              string
	}{
		{nil, nil, "the same model"},
		{[]string{"mask"}, nil, "the same model, without mask, which was not read"},
		{nil, []string{"mask"}, "the same model, without mask, which was not read"},
		{[]string{"mask"}, []string{"mask"}, "the same model, without mask, which was not read"},
		{[]string{"mask", "b"}, []string{"a", "mask"}, "the same model, without 3 tensors, which were not read"},
	} {
		v, err := Verify(t.Context(), open(tt.source...), open(tt.converted...), Options{})
		if err != nil || v.Verdict != tt.want {
			t.Errorf("%v, %v: %v %v, want %q", tt.source, tt.converted, v, err, tt.want)
		}
	}
}

// A directory was written to match the runtimes that its conversion.json records. Without such a record it was transformers 5.
func TestRecordedMatch(t *testing.T) {
	for _, match := range []convert.Runtimes{convert.Transformers5, convert.MLX, convert.Transformers5 | convert.MLX} {
		source, dir := conversionOf(t, convert.Options{To: convert.ToHF, MatchRuntime: match})
		settings := cases.Open(t, "odd-griffin").Settings
		v, err := verifyFiles(t, source, dir, Options{Settings: settings})
		if err != nil || !v.Same || len(findings(v)) > 0 {
			t.Errorf("%v: %v, %v", match, err, findings(v))
		}
		c, err := formats.Open(dir, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found, err := model.Recognize(c, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := statement.Match(found); got != match {
			t.Errorf("%v is recorded, got %v", match, got)
		}
		c.Close()
		if err := os.Remove(filepath.Join(dir, manifest.Name)); err != nil {
			t.Fatal(err)
		}
		if v, err = verifyFiles(t, source, dir, Options{Settings: settings}); err != nil || !v.Same {
			t.Errorf("%v, without a record: %v, %v", match, err, findings(v))
		}
	}
	_, plain := conversionOf(t, convert.Options{To: convert.ToHF})
	c, err := formats.Open(plain, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found, err := model.Recognize(c, model.Options{})
	if err != nil || statement.Match(found) != convert.Transformers5 || statement.Match(nil) != convert.Transformers5 {
		t.Errorf("%v", err)
	}
}

// A directory whose window is one more than that of the directory that it was made from may be written to match transformers 5: nothing is proven then,
// unless its conversion.json says it.
func TestWindowOfADirectory(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	source := filepath.Join(c.Dir, "hf")
	const recorded = "the recording was made with attention_window_size 8, and the conversion has 9"
	for _, tt := range []struct {
		name     string
		matching convert.Runtimes
		edit     func(t *testing.T, dir string)
		finding  string // or ""
		answer   string
	}{
		{"a plain conversion", convert.NoRuntime, func(*testing.T, string) {}, "", "the same model"},
		{"a conversion that matches", convert.Transformers5, func(*testing.T, string) {}, "", "not proven: " + recorded},
		{"without its record", convert.Transformers5, func(t *testing.T, dir string) { remove(t, dir, manifest.Name) },
			"attention window: config.json of the source has 8, and that of the conversion 9: both are right if the original's window is 8 and the larger is written to match transformers 5, and nothing says so",
			"not proven: nothing says that the original's attention window is 8; " + recorded},
		{"another one", convert.NoRuntime, func(t *testing.T, dir string) {
			remove(t, dir, manifest.Name)
			rewrite(t, filepath.Join(dir, "config.json"), replaced(`"attention_window_size": 8`, `"attention_window_size": 6`))
		}, "attention_window_size: 6, not 8; attention would reach less far; the source has 8", "not the same model"},
	} {
		dir := filepath.Join(t.TempDir(), "converted")
		src, err := formats.Open(source, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if _, err := convert.Convert(t.Context(), src, dir, convert.Options{To: convert.ToHF, MatchRuntime: tt.matching}); err != nil {
			t.Fatal(err)
		}
		tt.edit(t, dir)
		v, err := verifyFiles(t, source, dir, Options{Golden: c.Recording("hf5")})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var found []string
		for _, f := range v.Config.Findings.All() {
			found = append(found, f.String())
		}
		if v.Answer() != tt.answer || strings.Join(found, "; ") != tt.finding {
			t.Fatalf("%s: %q, %s", tt.name, found, v.Answer())
		}
		if l := v.Logits[len(v.Logits)-1]; tt.finding != "" && (l.OK || l.Faults[0].Setting == nil || l.Faults[0].Setting.Recorded != "8") {
			t.Errorf("%s: %s", tt.name, l.Summary)
		}
		if tt.matching == convert.NoRuntime {
			continue
		}
		if back, err := verifyFiles(t, dir, dir, Options{}); err != nil || !back.Same { // both have the window, with or without the record
			t.Errorf("%s: %+v, %v", tt.name, back, err)
		}
	}
}

func remove(t *testing.T, dir, name string) {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
