package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// renamed returns copies of tensors with names that edit gives.
func renamed(tensors []*tensor.Tensor, edit func(name string) string) []*tensor.Tensor {
	var out []*tensor.Tensor
	for _, t := range tensors {
		x := *t
		x.Name = edit(t.Name)
		out = append(out, &x)
	}
	return out
}

// Names of arrays that Flax keeps in objects, and of modules in lists, are those of the model.
func TestNamesOfFlax(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"nnx":         func(name string) string { return name + ".value" },
		"pure":        func(name string) string { return "state.model." + name + ".raw_value" },
		"both":        func(name string) string { return name + ".raw_value.value" },
		"linen lists": func(name string) string { return strings.Replace(name, "blocks.", "blocks_", 1) },
		"all":         func(name string) string { return strings.Replace("x."+name+".value", "blocks.", "blocks_", 1) },
	} {
		for _, l := range []Layout{Flax, Torch} {
			m, err := Recognize(checkpoint(t, renamed(modelTensors(&tinyConfig, l, "params."), edit)...), Options{})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if err := m.Problems(); err != nil || m.Layout != l || len(m.Extra)+len(m.Rest)+len(m.Notes) > 0 {
				t.Errorf("%s: %s, %v", name, m.Layout, err)
			}
		}
	}
	hf := renamed(modelTensors(&tinyConfig, HuggingFace, "model."), func(name string) string { return strings.Replace(name, "layers.", "layers_", 1) })
	if m, err := Recognize(checkpoint(t, hf...), Options{}); err != nil || m.Problems() != nil {
		t.Error(err)
	}
}

func TestUnitAxes(t *testing.T) {
	for _, tt := range []struct {
		layout Layout
		tail   string
		shape  []int64
		want   []int64 // nil if it is not the same
	}{
		{HuggingFace, ".conv_1d.weight", []int64{48, 4, 1}, []int64{48, 1, 4}}, // MLX
		{HuggingFace, ".conv_1d.weight", []int64{48, 4}, []int64{48, 1, 4}},    // squeezed
		{Flax, ".conv_1d.w", []int64{4, 1, 48}, []int64{4, 48}},                // nn.Conv
		{Flax, ".ffw_up.b", []int64{2, 96}, []int64{2, 1, 1, 96}},
		{Torch, "final_norm.scale", []int64{1, 1, 32}, []int64{32}},
		{HuggingFace, ".conv_1d.weight", []int64{4, 1, 48}, nil}, // transposed
		{HuggingFace, ".conv_1d.weight", []int64{192}, nil},
		{Flax, ".ffw_up.b", []int64{3, 64}, nil},
		{Flax, ".linear_x.bias", []int64{4, 12}, nil},
	} {
		tensors := modelTensors(&tinyConfig, tt.layout, "")
		for _, x := range tensors {
			if strings.HasSuffix(x.Name, tt.tail) {
				x.Shape = tt.shape
			}
		}
		m, err := Recognize(checkpoint(t, tensors...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if problems := m.Problems(); (problems == nil) != (tt.want != nil) {
			t.Errorf("%s %v: %v", tt.tail, tt.shape, problems)
		}
		if tt.want == nil && len(m.Notes) > 0 {
			t.Errorf("%s %v: notes %q", tt.tail, tt.shape, m.Notes)
		}
		for _, x := range m.Tensors {
			if tt.want != nil && strings.HasSuffix(x.Name, tt.tail) && (!slices.Equal(x.Shape, tt.want) || len(m.Notes) != 1) {
				t.Errorf("%s %v: %v, notes %q", tt.tail, tt.shape, x.Shape, m.Notes)
			}
		}
	}
}

// stacked returns the tensors of a model with the blocks of each kind stacked along an axis, under a name for each kind.
func stacked(c *Config, l Layout, axis int, name func(BlockType) string) []*tensor.Tensor {
	var out []*tensor.Tensor
	byName := map[string]*tensor.Tensor{}
	for _, t := range modelTensors(c, l, "") {
		block, tail := splitBlock(t.Name, Griffin.Blocks[l])
		if block < 0 {
			t.Name = "params." + t.Name
			out = append(out, t)
			continue
		}
		full := fmt.Sprintf("params.%s.%s", name(c.BlockTypes[block]), tail)
		if x := byName[full]; x != nil {
			x.Shape[axis]++
			continue
		}
		t.Name, t.Shape = full, slices.Insert(slices.Clone(t.Shape), axis, 1)
		byName[full] = t
		out = append(out, t)
	}
	return out
}

func TestStackedBlocks(t *testing.T) {
	byKind := func(kind BlockType) string { return string(kind) + "_layers" }
	hawk := tinyConfig
	hawk.BlockTypes = Repeat(7, Recurrent)
	other := tinyConfig
	other.BlockTypes = []BlockType{Attention, Attention, Recurrent, Recurrent}
	wide := tinyConfig
	wide.BlockTypes = Repeat(26, Recurrent, Recurrent, Attention)
	for _, tt := range []struct {
		name   string
		config Config
		stack  func(BlockType) string
		ok     bool
	}{
		{"pattern", tinyConfig, byKind, true},
		{"26 blocks", wide, byKind, true},
		{"one kind", hawk, func(BlockType) string { return "layers" }, true},
		{"another pattern", other, byKind, false},
		{"all in one", tinyConfig, func(BlockType) string { return "layers" }, false},
	} {
		for axis := range 2 {
			for _, l := range []Layout{Flax, Torch, HuggingFace} {
				m, err := Recognize(checkpoint(t, stacked(&tt.config, l, axis, tt.stack)...), Options{})
				if !tt.ok {
					if tt.name == "all in one" && err != nil || tensor.ReasonOf(err) == ReasonStacked {
						continue
					}
					t.Errorf("%s, axis %d, %s: %v", tt.name, axis, l, err)
					continue
				}
				if err != nil {
					t.Errorf("%s, axis %d, %s: %v", tt.name, axis, l, err)
					continue
				}
				if err := m.Problems(); err != nil || m.Layout != l || !slices.Equal(m.Config.BlockTypes, tt.config.BlockTypes) || !m.Stacked || len(m.Notes) != 1 || len(m.Rest) > 0 {
					t.Errorf("%s, axis %d, %s: %s %v, notes %q, rest %d, %v", tt.name, axis, l, m.Layout, m.Config.BlockTypes, m.Notes, len(m.Rest), err)
				}
				if assumed := strings.Contains(m.Notes[0], "their order is not stored"); assumed != (tt.name != "one kind") {
					t.Errorf("%s, axis %d, %s: notes %q", tt.name, axis, l, m.Notes)
				}
			}
		}
	}
}

// Two stacks of one kind have no certain order; a stack of more blocks than any model has is none.
func TestStacksRefused(t *testing.T) {
	tensors := stacked(&tinyConfig, Flax, 0, func(kind BlockType) string { return string(kind) })
	twice := slices.Concat(tensors, renamed(tensors, func(name string) string { return strings.Replace(name, "params.recurrent.", "params.more.", 1) }))
	twice = slices.DeleteFunc(twice, func(x *tensor.Tensor) bool {
		return strings.Contains(x.Name, "attention")
	})
	seen := map[string]bool{}
	twice = slices.DeleteFunc(twice, func(x *tensor.Tensor) bool { defer func() { seen[x.Name] = true }(); return seen[x.Name] })
	if _, err := Recognize(checkpoint(t, twice...), Options{}); tensor.ReasonOf(err) != ReasonStacked || !strings.Contains(err.Error(), "params.more: 4 recurrent") {
		t.Error(err)
	}
	for _, x := range tensors {
		if strings.HasPrefix(x.Name, "params.recurrent") {
			x.Shape[0] = 1 << 40
		}
	}
	if _, err := Recognize(checkpoint(t, tensors...), Options{}); tensor.ReasonOf(err) != ReasonStacked {
		t.Error("2^40 blocks:", err)
	}
}

// One stack of blocks that have the parameters of both kinds is no model, and the state of an optimizer no stack.
func TestStacksOfOther(t *testing.T) {
	layers := func(BlockType) string { return "layers" }
	recurrent, attention := tinyConfig, tinyConfig
	recurrent.BlockTypes, attention.BlockTypes = Repeat(3, Recurrent), Repeat(3, Attention)
	both, seen := stacked(&recurrent, Flax, 0, layers), map[string]bool{}
	for _, x := range both {
		seen[x.Name] = true
	}
	for _, x := range stacked(&attention, Flax, 0, layers) {
		if !seen[x.Name] {
			both = append(both, x)
		}
	}
	if _, err := Recognize(checkpoint(t, both...), Options{}); tensor.ReasonOf(err) != ReasonStacked || !strings.Contains(err.Error(), "params.layers: 3 attention and recurrent") {
		t.Error(err)
	}
	tensors := stacked(&recurrent, Flax, 0, layers)
	state := renamed(tensors, func(name string) string { return "opt_state.0.mu." + name })
	m, err := Recognize(checkpoint(t, append(tensors, state...)...), Options{})
	if err != nil || len(m.Notes) != 1 || m.Problems() != nil || len(m.Rest) != len(state) {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzStackedNames(f *testing.F) {
	f.Add("params.layers.temporal_pre_norm.scale", int64(3), int64(32), "model.layers.mlp_block.down_proj.bias", int64(3), int64(8))
	f.Add("a.recurrent_block.conv_1d.w.value", int64(1), int64(1), "x_.blocks_3.rg_lru", int64(0), int64(-1))
	f.Fuzz(func(t *testing.T, name string, a, b int64, other string, c, d int64) {
		if len(name)+len(other) > 400 || a < 0 || b < 0 || c < 0 || d < 0 || a > 1<<30 || b > 1<<30 || c > 1<<30 || d > 1<<30 || name == other {
			return
		}
		ckpt, err := tensor.NewCheckpoint("fuzz", "memory", []*tensor.Tensor{
			{Name: name, DType: tensor.F32, Shape: []int64{a, b}, Data: &tensor.Strided{}}, {Name: other, DType: tensor.F32, Shape: []int64{c, d, a}, Data: &tensor.Strided{}}})
		if err != nil {
			return
		}
		if m, err := Recognize(ckpt, Options{}); err == nil {
			m.Problems()
			tensorsIn(m, HuggingFace)
		}
	})
}
