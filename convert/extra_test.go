package convert

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func TestKeptExtras(t *testing.T) {
	for _, from := range []model.Layout{model.Flax, model.Torch, model.HuggingFace} {
		root := model.Griffin.Roots[from]
		extra := []*tensor.Tensor{named(root+"value_head.weight", 1, 32), named(root+"blocks.0.adapter.down", 3, 32, 2), {Name: root + "table", DType: tensor.I64, Shape: []int64{7}}}
		tensors := append(modelTensors(&tinyConfig, from, root), extra...)
		if _, err := NewPlan(open(t, model.Options{}, tensors...), PlanOptions{Settings: tinySettings}); err == nil || !strings.Contains(err.Error(), "3 unexpected") {
			t.Errorf("%s: %v", from, err)
		}
		m := open(t, model.Options{KeepExtra: true}, tensors...)
		for _, to := range modelTargets {
			p, err := NewPlan(m, PlanOptions{Settings: tinySettings, To: to, DType: tensor.BF16})
			if err != nil {
				t.Errorf("%s to %s: %v", from, to, err)
				continue
			}
			// Under the same names again from there on, in their own types.
			if len(p.Extra) != len(extra) || p.Extra[0] != len(p.Dests)-len(extra) {
				t.Errorf("%s to %s: extra tensors %d of %d", from, to, p.Extra, len(p.Dests))
			}
			left, err := NewPlan(m, PlanOptions{Settings: tinySettings, To: to, DType: tensor.BF16, LeaveExtra: true})
			if err != nil || len(left.Dests) != len(p.Dests)-len(extra) || len(left.Extra) != 0 {
				t.Errorf("%s to %s without them: %v", from, to, err)
			}
			for i, x := range extra {
				d := p.Dests[len(p.Dests)-len(extra)+i]
				if want := model.Griffin.Roots[to.Layout()] + strings.TrimPrefix(x.Name, root); d.Name != want || d.DType != x.DType || !slices.Equal(d.Shape, x.Shape) {
					t.Errorf("%s to %s: %v, want %s", from, to, d, want)
				}
			}
		}
	}
}

// A head beside the model is kept with its name, wherever the model lies, and what a trainer keeps is not.
func TestKeptBesideTheModel(t *testing.T) {
	for _, tt := range []struct{ wrapper, name, want string }{
		{"", "score.weight", "score.weight"},
		{"", "classifier.dense.bias", "classifier.dense.bias"},
		{"pretrained_model.", "v_head.summary.weight", "v_head.summary.weight"},
		{"state_dict.", "state_dict.score.weight", "score.weight"},
		{"", "optimizer.exp_avg.score.weight", ""},
		{"state_dict.", "optimizer_states.0.x", ""},
		{"", "step", ""},
	} {
		tensors := append(modelTensors(&tinyConfig, model.HuggingFace, tt.wrapper+"model."), named(tt.name, 2))
		for _, keep := range []bool{false, true} {
			p, err := NewPlan(open(t, model.Options{KeepExtra: keep}, tensors...), PlanOptions{Settings: tinySettings})
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			switch kept := keep && tt.want != ""; {
			case !kept && (len(p.Left) != 1 || p.Left[0].Name != tt.name || len(p.Extra) != 0):
				t.Errorf("%s: left %v, kept %v", tt.name, p.Left, p.Extra)
			case kept && (len(p.Left) != 0 || len(p.Extra) != 1 || p.Dests[p.Extra[0]].Name != tt.want):
				t.Errorf("%s: left %v, kept %v", tt.name, p.Left, p.Extra)
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
		m := open(t, model.Options{KeepExtra: true}, append(modelTensors(&tinyConfig, model.Torch, ""), tt.extra)...)
		if _, err := NewPlan(m, PlanOptions{Settings: tinySettings}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.extra.Name, err)
		}
	}
}

func zeros(name string, shape ...int64) *tensor.Tensor {
	x := named(name, shape...)
	return withData(x, make([]byte, x.Bytes()))
}

func ones(name string, shape ...int64) *tensor.Tensor {
	x := named(name, shape...)
	return withData(x, bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, int(x.Elements())))
}

// openFile opens a checkpoint for the duration of a test.
func openFile(t *testing.T, path string) *tensor.Checkpoint {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestAdapterAgainstConfigJSON: an adapter that separates the head or changes the vocabulary takes
// precedence over config.json.
func TestAdapterAgainstConfigJSON(t *testing.T) {
	base := openFile(t, "../testdata/finetune/base")
	larger := zeros("larger", 43, 16)
	for _, tt := range []struct {
		name     string
		changes  []peft.Change
		separate bool
		vocab    int64
	}{
		{"embedding", []peft.Change{{Parameter: "model.embed_tokens.weight", Value: ones("v", 40, 16)}}, true, 40},
		{"larger", []peft.Change{{Parameter: "model.embed_tokens.weight", Value: larger}, {Parameter: "lm_head.weight", Value: larger}}, false, 43},
		{"neither", []peft.Change{{Parameter: "model.final_norm.weight", Value: zeros("v", 16)}}, false, 40},
	} {
		a := &peft.Adapter{Path: "adapter", Config: &peft.Config{Base: "some/base"}, Changes: func() []peft.Change { return tt.changes }}
		c, err := prepare(t.Context(), base, "out", Options{Adapter: a})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		p, files := c.plan, c.files
		if p.Config.SeparateHead != tt.separate || p.Config.VocabSize != tt.vocab || p.Config.AttentionWindow != 6 {
			t.Errorf("%s: %+v", tt.name, p.Config)
		}
		config := string(files[0].Content)
		for _, want := range []string{fmt.Sprintf(`"vocab_size": %d,`, tt.vocab), fmt.Sprintf(`"tie_word_embeddings": %v,`, !tt.separate)} {
			if files[0].Name != "config.json" || !strings.Contains(config, want) {
				t.Errorf("%s: no %s in %s\n%s", tt.name, want, files[0].Name, config)
			}
		}
		if n := len(p.Notes); n == 0 || !strings.Contains(p.Notes[n-1].Text, "merged the adapter adapter") || strings.Contains(p.Notes[n-1].Text, "no longer one") != tt.separate {
			t.Errorf("%s: %q", tt.name, p.Notes)
		}
	}
}
