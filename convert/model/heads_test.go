package model

import (
	"bytes"
	"errors"
	"fmt"
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
	for _, tt := range []struct{ name, prefix, problem, accepted string }{
		{"params", "params.", "", ""},
		{"params.", "params.", "", ""},
		{".", "", "", ""},
		{"ema", "ema.params.", "", ""},
		{"ema.params", "ema.params.", "", ""},
		{"opt_state", "opt_state.0.ema.", "", ""}, // a running average that the optimizer keeps
		{"student", "teacher.student.", "", ""},
		{"teacher", "", "several models are under teacher", "teacher.student, teacher.old"},
		{"nobody", "", "no model is named nobody", "params, ema.params, opt_state.0.ema"},
		{"no\nbody", "", `no model is named "no\nbody"`, "params"},
	} {
		m, err := Recognize(checkpoint(t, all...), Options{Name: tt.name})
		if tt.problem != "" {
			var setting *OptionError
			if !errors.As(err, &setting) || !strings.Contains(setting.Problem, tt.problem) || setting.Option != "Name" || !strings.HasPrefix(strings.Join(setting.Accepted, ", "), tt.accepted) {
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
	if _, err := Recognize(checkpoint(t, named("x", 1)), Options{Name: "x"}); !errors.As(err, &bad) {
		t.Error(err)
	}
}

// TestResolveHead: a separate output head and a copy of the embedding are distinguished under every name
// and in every arrangement.
func TestResolveHead(t *testing.T) {
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
			prefix := map[Layout]string{Flax: "params.", HuggingFace: ""}[tt.layout]
			m := modelWithWeights(t, rng, c, tt.layout, tensor.BF16)
			tensors := slices.Clone(m.Checkpoint.Tensors())
			for _, x := range tensors {
				x.Name = prefix + x.Name
			}
			head := randomTensor(rng, prefix+tt.name, tensor.BF16, c.VocabSize, c.Width)
			if tt.is == "copy" || tt.is == "misshapen" {
				head.Data = m.Embedding().Data
			}
			if tt.turned {
				turned, err := tensor.Viewed(head, tensor.RowMajor(c.VocabSize, c.Width).Permute(1, 0))
				if err != nil {
					t.Fatal(err)
				}
				head = withData(named(head.Name, c.Width, c.VocabSize), readAll(t, turned))
				head.DType = tensor.BF16
				head.Data.(*tensor.Strided).DType = tensor.BF16
			}
			if compressed {
				head.Data = &tensortest.Stream{Content: readAll(t, head)}
			}
			m, err := Open(t.Context(), checkpoint(t, append(tensors, head)...), Options{})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			err = m.Problems()
			if bad := (*MismatchError)(nil); tt.is == "extra" || tt.is == "misshapen" {
				if !errors.As(err, &bad) || len(bad.Unexpected) != map[string]int{"extra": 1}[tt.is] || len(bad.Misshapen) != map[string]int{"misshapen": 1}[tt.is] {
					t.Errorf("%s: %v", what, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			h, copies := m.SeparateHead(&m.Config), m.HeadCopies(&m.Config)
			if own := tt.is == "own"; m.Config.SeparateHead != own || (h != nil) != own || (len(copies) == 1) == own {
				t.Errorf("%s: separate head %v %v, %d copies", what, m.Config.SeparateHead, h, len(copies))
			}
			if err := m.CheckHeads(t.Context(), &m.Config); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if tt.is == "own" && !slices.Equal(h.View().Shape, []int64{c.VocabSize, c.Width}) {
				t.Errorf("%s: %v", what, h.View().Shape)
			}
		}
	}
}

func TestTwoOwnHeads(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 13))
	m := modelWithWeights(t, rng, &tinyConfig, Torch, tensor.F32)
	v, w := tinyConfig.VocabSize, tinyConfig.Width
	first, second := randomTensor(rng, "head.weight", tensor.F32, v, w), randomTensor(rng, "lm_head.weight", tensor.F32, v, w)
	copied := withData(named("output_head.weight", v, w), readAll(t, m.Embedding()))
	tensors := append(slices.Clone(m.Checkpoint.Tensors()), copied, first)
	m, err := Open(t.Context(), checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if h := m.SeparateHead(&m.Config); h == nil || h.Tensor != first || len(m.HeadCopies(&m.Config)) != 1 {
		t.Errorf("%v", h)
	}
	if _, err := Open(t.Context(), checkpoint(t, append(tensors, second)...), Options{}); err == nil || !strings.Contains(err.Error(), "a second output head that differs from the embedding, beside head.weight") {
		t.Error(err)
	}
	if bytes.Equal(readAll(t, first), readAll(t, second)) {
		t.Error("the heads are alike")
	}
}

// TestAnyVocabulary: a preset is recognised with a vocabulary of any size.
func TestAnyVocabulary(t *testing.T) {
	for _, name := range Griffin.PresetNames() {
		for _, v := range []int64{1, 255999, 256000, 256008, 1 << 40} {
			c := Griffin.Preset(name).Config
			c.VocabSize = v
			for _, l := range []Layout{Flax, Torch, HuggingFace} {
				m, err := Recognize(checkpoint(t, modelTensors(&c, l, "")...), Options{})
				if err != nil || m.Preset != name || m.Config.VocabSize != v {
					t.Errorf("%s with a vocabulary of %d: %v", name, v, err)
				}
			}
		}
	}
}

// The output head of transformers lies beside the root, whatever wrappers are around it and behind it.
func TestHeadBesideWrappedRoot(t *testing.T) {
	for _, wrappers := range [][2]string{{"", ""}, {"module.", ""}, {"", "_orig_mod."}, {"_fsdp_wrapped_module.", "_fsdp_wrapped_module."}} {
		outer := wrappers[0]
		tensors := modelTensors(&tinyConfig, HuggingFace, outer+"model."+wrappers[1])
		head := named(outer+"lm_head.weight", tinyConfig.VocabSize, tinyConfig.Width)
		score := named(outer+"score.weight", 2, tinyConfig.Width)
		m, err := Recognize(checkpoint(t, append(tensors, head, score)...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Heads) != 1 || m.Heads[0].Tensor.Name != head.Name || !IsBeside(m, score) || m.ExtraName(score, HuggingFace) != "score.weight" {
			t.Errorf("%q: prefix %s, %d heads, beside %t, %s", wrappers, m.Prefix, len(m.Heads), IsBeside(m, score), m.ExtraName(score, HuggingFace))
		}
	}
}
