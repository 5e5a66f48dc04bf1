package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

func TestRecognizeNamed(t *testing.T) {
	var all []*tensor.Tensor
	for _, prefix := range []string{"params.", "ema.params.", "opt_state.0.ema.", "teacher.student.", "teacher.old."} {
		all = append(all, modelTensors(&tinyConfig, Torch, prefix)...)
	}
	all = append(all, modelTensors(&tinyConfig, Torch, "")...)
	all = append(all, named("step"), named("value_head.weight", 1, 32), named("params.value_head.weight", 1, 32))
	for _, tt := range []struct{ name, prefix, problem, hint string }{
		{"params", "params.", "", ""},
		{"params.", "params.", "", ""},
		{".", "", "", ""},
		{"ema", "ema.params.", "", ""},
		{"ema.params", "ema.params.", "", ""},
		{"opt_state", "opt_state.0.ema.", "", ""}, // a running average that the optimizer keeps
		{"student", "teacher.student.", "", ""},
		{"teacher", "", "several models are under teacher", "--model takes teacher.student, teacher.old"},
		{"nobody", "", "no model is named nobody", "--model takes params, ema.params, opt_state.0.ema"},
		{"no\nbody", "", `no model is named "no\nbody"`, "--model"},
	} {
		m, err := RecognizeNamed(checkpoint(t, all...), tt.name)
		if tt.problem != "" {
			var setting *SettingsError
			if !errors.As(err, &setting) || !strings.Contains(setting.Problem, tt.problem) || !strings.HasPrefix(setting.Hint, tt.hint) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || m.Prefix != tt.prefix {
			t.Errorf("%s: %v, %v", tt.name, m, err)
			continue
		}
		// Other models are no part of this one, not even of that at the top.
		if want := map[string]int{"": 1, "params.": 1}[tt.prefix]; len(m.Extra) != want || len(m.Tensors) != 89+want || len(m.Rest) != len(all)-89-want {
			t.Errorf("%s: %d tensors, %d extra, %d left of %d", tt.name, len(m.Tensors), len(m.Extra), len(m.Rest), len(all))
		}
		if slices.Contains(m.Others, strings.TrimSuffix(tt.prefix, ".")) || len(m.Others) < 3 {
			t.Errorf("%s: others %q", tt.name, m.Others)
		}
	}
	var bad *tensor.FormatError
	if _, err := RecognizeNamed(checkpoint(t, named("x", 1)), "x"); !errors.As(err, &bad) {
		t.Error(err)
	}
}

// An output head is told from a copy of the embedding in whatever way it is named and laid out.
func TestSettleHead(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	c := &tinyConfig
	for _, tt := range []struct {
		layout Layout
		name   string
		turned bool
		is     string // "copy", "own", "extra", "misshapen"
	}{
		{Torch, "lm_head.weight", false, "copy"},
		{Torch, "lm_head.weight", false, "own"},
		{Torch, "head.weight", false, "own"},
		{Torch, "head.weight", true, "extra"}, // a classifier
		{Torch, "lm_head.weight", true, "misshapen"},
		{Torch, "lm_head.bias", false, "extra"},
		{Torch, "_orig_mod.lm_head.weight", false, "own"},
		{Flax, "lm_head.kernel", true, "copy"},
		{Flax, "lm_head.kernel", true, "own"},
		{Flax, "output_head.w", true, "own"},
		{Flax, "lm_head.kernel", false, "misshapen"},
		{Flax, "lm_head.weight", false, "copy"},
		{HuggingFace, "lm_head.weight", false, "own"},
		{HuggingFace, "head.weight", false, "extra"},
	} {
		for _, compressed := range []bool{false, true} {
			what := fmt.Sprintf("%s %s, turned %v, %s, compressed %v", tt.layout, tt.name, tt.turned, tt.is, compressed)
			prefix := map[Layout]string{Flax: "params.", HuggingFace: "model."}[tt.layout]
			m := modelWithWeights(t, rng, c, tt.layout, tensor.BF16)
			tensors := slices.Clone(m.Checkpoint.Tensors())
			for _, x := range tensors {
				x.Name = prefix + x.Name
			}
			head := randomTensor(rng, prefix+tt.name, tensor.BF16, c.VocabSize, c.Width)
			if tt.is == "copy" || tt.is == "misshapen" {
				head.Data = m.embedding().Data
			}
			if tt.turned {
				turned, err := tensor.Viewed(head, tensor.RowMajor(c.VocabSize, c.Width).Permute(1, 0))
				if err != nil {
					t.Fatal(err)
				}
				head = withData(named(head.Name, c.Width, c.VocabSize), allBytes(t, turned))
				head.DType = tensor.BF16
				head.Data.(*tensor.Strided).DType = tensor.BF16
			}
			if compressed {
				head.Data = &tensortest.Stream{Content: allBytes(t, head)}
			}
			m, err := Recognize(checkpoint(t, append(tensors, head)...))
			if err == nil {
				err = m.SettleHead(context.Background())
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			p, err := NewPlan(m, PlanOptions{Settings: tinySettings})
			if bad := (*PlanError)(nil); tt.is == "extra" || tt.is == "misshapen" {
				if !errors.As(err, &bad) || len(bad.Unexpected) != map[string]int{"extra": 1}[tt.is] || len(bad.Misshapen) != map[string]int{"misshapen": 1}[tt.is] {
					t.Errorf("%s: %v", what, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			last := p.Moves[len(p.Moves)-1]
			if own := tt.is == "own"; m.Config.SeparateHead != own || (p.Dests[last.Dest].Name == "lm_head.weight") != own || (len(p.Copies) == 1) == own {
				t.Errorf("%s: head apart %v, last %s, %d copies", what, m.Config.SeparateHead, p.Dests[last.Dest].Name, len(p.Copies))
			}
			if err := p.CheckCopies(context.Background()); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if tt.is == "own" && !slices.Equal(p.Dests[last.Dest].Shape, []int64{c.VocabSize, c.Width}) {
				t.Errorf("%s: %v", what, p.Dests[last.Dest].Shape)
			}
		}
	}
}

func allBytes(t *testing.T, x *tensor.Tensor) []byte {
	t.Helper()
	r, err := x.Data.Stream(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTwoOwnHeads(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 13))
	m := modelWithWeights(t, rng, &tinyConfig, Torch, tensor.F32)
	v, w := tinyConfig.VocabSize, tinyConfig.Width
	first, second := randomTensor(rng, "head.weight", tensor.F32, v, w), randomTensor(rng, "lm_head.weight", tensor.F32, v, w)
	copied := withData(named("output_head.weight", v, w), allBytes(t, m.embedding()))
	tensors := append(slices.Clone(m.Checkpoint.Tensors()), copied, first)
	m, err := Recognize(checkpoint(t, tensors...))
	if err == nil {
		err = m.SettleHead(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	if h := m.OwnHead(&m.Config); h == nil || h.Tensor != first || len(m.headCopies(&m.Config)) != 1 {
		t.Errorf("%v", h)
	}
	if m, err = Recognize(checkpoint(t, append(tensors, second)...)); err != nil {
		t.Fatal(err)
	}
	if err := m.SettleHead(context.Background()); err == nil || !strings.Contains(err.Error(), "a second output head of its own, beside head.weight") {
		t.Error(err)
	}
	if bytes.Equal(allBytes(t, first), allBytes(t, second)) {
		t.Error("the heads are alike")
	}
}

func TestKeptExtras(t *testing.T) {
	for _, from := range []Layout{Flax, Torch, HuggingFace} {
		root := destRoots[from]
		extra := []*tensor.Tensor{named(root+"value_head.weight", 1, 32), named(root+"blocks.0.adapter.down", 3, 32, 2), {Name: root + "table", DType: tensor.I64, Shape: []int64{7}}}
		m, err := Recognize(checkpoint(t, append(modelTensors(&tinyConfig, from, root), extra...)...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewPlan(m, PlanOptions{Settings: tinySettings}); err == nil || !strings.Contains(err.Error(), "3 unexpected") {
			t.Errorf("%s: %v", from, err)
		}
		m.KeepExtra = true
		for to := range targetCount {
			p, err := NewPlan(m, PlanOptions{Settings: tinySettings, To: to, DType: tensor.BF16})
			if err != nil {
				t.Errorf("%s to %s: %v", from, to, err)
				continue
			}
			// Under the same names again from there on, in their own types.
			for i, x := range extra {
				d := p.Dests[len(p.Dests)-len(extra)+i]
				if want := destRoots[to.Layout()] + strings.TrimPrefix(x.Name, root); d.Name != want || d.DType != x.DType || !slices.Equal(d.Shape, x.Shape) {
					t.Errorf("%s to %s: %v, want %s", from, to, d, want)
				}
			}
		}
	}
}

// An extra tensor whose name in the destination is that of a parameter cannot be kept.
func TestExtrasThatCannotBeKept(t *testing.T) {
	for _, tt := range []struct {
		extra *tensor.Tensor
		want  string
	}{
		{named("embed_tokens.weight", 3), "its name in the huggingface layout, model.embed_tokens.weight, is taken"},
		{&tensor.Tensor{Name: "packed", DType: tensor.F4, Shape: []int64{4}}, "mistyped"},
	} {
		m, err := Recognize(checkpoint(t, append(modelTensors(&tinyConfig, Torch, ""), tt.extra)...))
		if err != nil {
			t.Fatal(err)
		}
		m.KeepExtra = true
		if _, err := NewPlan(m, PlanOptions{Settings: tinySettings}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.extra.Name, err)
		}
	}
}

// Any vocabulary is as good as another: trimmed, extended, odd.
func TestAnyVocabulary(t *testing.T) {
	for _, name := range PresetNames() {
		for _, v := range []int64{1, 255999, 256000, 256008, 1 << 40} {
			c := presetByName(name).config
			c.VocabSize = v
			for _, l := range []Layout{Flax, Torch, HuggingFace} {
				m, err := Recognize(checkpoint(t, modelTensors(&c, l, "")...))
				if err != nil || m.Preset != name || m.Config.VocabSize != v {
					t.Errorf("%s with a vocabulary of %d: %v", name, v, err)
				}
			}
		}
	}
}
