package model

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// replaced returns the tensors of the small model with one of another shape; without it if the shape is nil.
func replaced(l Layout, name string, shape ...int64) []*tensor.Tensor {
	tensors := modelTensors(&tinyConfig, l, "")
	i := slices.IndexFunc(tensors, func(t *tensor.Tensor) bool { return t.Name == name })
	if shape == nil {
		return slices.Delete(tensors, i, i+1)
	}
	tensors[i] = named(name, shape...)
	return tensors
}

// withoutKind returns the tensors of a model whose second block has none that belong to its kind.
func withoutKind(l Layout) []*tensor.Tensor {
	return slices.DeleteFunc(modelTensors(&tinyConfig, l, ""), func(t *tensor.Tensor) bool {
		return strings.Contains(t.Name, "s.1.recurrent_block.") || strings.Contains(t.Name, "s.1.temporal_block.")
	})
}

// withoutBlocks returns the tensors of a model that lacks blocks.
func withoutBlocks(missing ...string) []*tensor.Tensor {
	return slices.DeleteFunc(modelTensors(&tinyConfig, Torch, ""), func(t *tensor.Tensor) bool { return slices.Contains(missing, t.Name[:min(len(t.Name), 8)]) })
}

// What is said of each thing that can be wrong, word for word.
func TestMismatchError(t *testing.T) {
	const (
		summary = "model.ckpt: not a complete Griffin model: "
		kernel  = "blocks.0.recurrent_block.linear_x.kernel"
		weight  = "blocks.0.recurrent_block.linear_x.weight"
	)
	typed := modelTensors(&tinyConfig, Torch, "")
	typed[3].DType = tensor.I8
	for _, tt := range []struct {
		name    string
		tensors []*tensor.Tensor
		keep    bool
		want    string // "" for no problem
		extra   bool   // Options.KeepExtra would help
	}{
		{"complete", modelTensors(&tinyConfig, Torch, ""), false, "", false},
		{"missing", replaced(Torch, weight), false, summary + "1 missing\n  missing     blocks.0.recurrent_block.linear_x.weight: [48, 32]", false},
		{"transposed kernel", replaced(Flax, kernel, 48, 32), false, summary + "1 misshapen\n  misshapen   " + kernel + ": [48, 32], not [32, 48]; it looks transposed (a Flax kernel is [in, out], a torch weight [out, in])", false},
		{"transposed weight", replaced(Torch, weight, 32, 48), false, summary + "1 misshapen\n  misshapen   " + weight + ": [32, 48], not [48, 32]; it looks transposed (a torch weight is [out, in], a Flax kernel [in, out])", false},
		{"transposed in transformers", replaced(HuggingFace, "layers.0.temporal_block.linear_x.weight", 32, 48), false,
			summary + "1 misshapen\n  misshapen   layers.0.temporal_block.linear_x.weight: [32, 48], not [48, 32]; it looks transposed", false},
		{"one axis transposed", replaced(Torch, weight, 32, 47), false, summary + "1 misshapen\n  misshapen   " + weight + ": [32, 47], not [48, 32]", false},
		{"the other axis", replaced(Torch, weight, 47, 48), false, summary + "1 misshapen\n  misshapen   " + weight + ": [47, 48], not [48, 32]", false},
		{"three axes", replaced(Torch, weight, 32, 24, 2), false, summary + "1 misshapen\n  misshapen   " + weight + ": [32, 24, 2], not [48, 32]", false},
		{"a vector", replaced(Torch, "blocks.0.temporal_pre_norm.scale", 31), false, summary + "1 misshapen\n  misshapen   blocks.0.temporal_pre_norm.scale: [31], not [32]", false},
		{"type", typed, false, summary + "1 mistyped\n  mistyped    " + typed[3].Name + ": int8; weights are float64, float32, bfloat16 or float16", false},
		{"one block", withoutBlocks("blocks.1"), false, summary + "1 missing\n  missing     blocks.1: the whole block", false},
		{"two blocks", withoutBlocks("blocks.1", "blocks.2"), false, summary + "1 missing\n  missing     blocks.1 to 2: the whole block", false},
		{"the first block", withoutBlocks("blocks.0"), false, summary + "1 missing\n  missing     blocks.0: the whole block", false},
		{"of no kind", withoutKind(Torch), false, summary + "1 missing\n  missing     blocks.1.*: the tensors of a block that is recurrent or attention", false},
		{"of no kind in transformers", withoutKind(HuggingFace), false, summary + "1 missing\n  missing     layers.1.temporal_block.*: the tensors of a block that is recurrent or attention", false},
		{"unknown", append(modelTensors(&tinyConfig, Torch, ""), named("blocks.0.x", 3)), false, summary + "1 unexpected\n  unexpected  blocks.0.x: not a parameter of the family", true},
		{"unknown, kept", append(modelTensors(&tinyConfig, Torch, ""), named("blocks.0.x", 3)), true, "", false},
		{"packed, kept", append(modelTensors(&tinyConfig, Torch, ""), &tensor.Tensor{Name: "blocks.0.x", DType: tensor.F4, Shape: []int64{4}}), true,
			summary + "1 mistyped\n  mistyped    blocks.0.x: float4_e2m1fn_packed; its elements are not whole bytes", false},
		{"of Flax", append(modelTensors(&tinyConfig, Torch, ""), named(kernel, 32, 48)), false, summary + "1 unexpected\n  unexpected  " + kernel + ": a name of the flax layout in a model of the torch layout", true},
		{"of torch", append(modelTensors(&tinyConfig, Flax, ""), named(weight, 48, 32)), false, summary + "1 unexpected\n  unexpected  " + weight + ": a name of the torch layout in a model of the flax layout", true},
		{"of transformers", append(modelTensors(&tinyConfig, Torch, ""), named("blocks.0.mlp_block.gate_proj.weight", 96, 32)), false,
			summary + "1 unexpected\n  unexpected  blocks.0.mlp_block.gate_proj.weight: a name of the huggingface layout in a model of the torch layout", true},
		{"head", append(modelTensors(&tinyConfig, Torch, ""), named("lm_head.weight", 128, 31)), false,
			summary + "1 misshapen\n  misshapen   lm_head.weight: [128, 31], which is not an output head for an embedding of [128, 32]", false},
		{"two kinds", append(replaced(Torch, weight), named("blocks.0.x", 3)), false,
			summary + "1 missing, 1 unexpected\n  missing     blocks.0.recurrent_block.linear_x.weight: [48, 32]\n  unexpected  blocks.0.x: not a parameter of the family", false},
	} {
		m, err := Recognize(checkpoint(t, tt.tensors...), Options{KeepExtra: tt.keep})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		err = m.Problems()
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || (tensor.ReasonOf(err) == ReasonExtraTensors) != tt.extra {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
	e := &MismatchError{Family: "Griffin", Conflict: "sizes", Missing: []Problem{{"a", ""}}}
	if got, want := e.Error(), "not a complete Griffin model: sizes, 1 missing\n  missing     a"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, e := range []MismatchError{{Conflict: "x"}, {Missing: make([]Problem, 1)}, {Unexpected: make([]Problem, 1)}, {Misshapen: make([]Problem, 1)}, {Mistyped: make([]Problem, 1)},
		{Missing: make([]Problem, 1), Unexpected: make([]Problem, 1)}, {Unexpected: make([]Problem, 1), Misshapen: make([]Problem, 1)}, {Misshapen: make([]Problem, 1), Mistyped: make([]Problem, 1)}} {
		if e.empty() {
			t.Errorf("%+v is empty", e)
		}
	}
}

func TestIsBeside(t *testing.T) {
	for _, tt := range []struct {
		layout       Layout
		prefix, name string
		scalar, want bool
	}{
		{HuggingFace, "model.", "score.weight", false, true},
		{HuggingFace, "pretrained_model.model.", "v_head.summary.weight", false, true},
		{HuggingFace, "pretrained_model.model.", "pretrained_model.score.weight", false, true},
		{HuggingFace, "model.", "score.weight", true, false},
		{HuggingFace, "model.", "model.x", false, false}, // among the parameters
		{HuggingFace, "", "score.weight", false, false},
		{Torch, "model.", "score.weight", false, false},
		{HuggingFace, "model.", "optimizer.x", false, false},
		{HuggingFace, "a.model.", "a.scheduler.x", false, false},
	} {
		x := named(tt.name, 2)
		if tt.scalar {
			x.Shape = nil
		}
		if got := IsBeside(&Model{Family: Griffin, Layout: tt.layout, Prefix: tt.prefix}, x); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}

// The parameters that are sensitive to rounding are named if they are quantised.
func TestSensitiveNotes(t *testing.T) {
	m := &Model{Family: Griffin}
	q := &quantized.Copy{}
	for _, name := range []string{"layers.0.mlp_block.up_proj.weight", "layers.0.temporal_block.conv_1d.weight", "layers.1.temporal_block.conv_1d.weight"} {
		m.Tensors = append(m.Tensors, named(name, 4, 4))
		q.Weights = append(q.Weights, &quantized.Weight{Tensor: m.Tensors[len(m.Tensors)-1]})
	}
	if notes := SensitiveNotes(m, &quantized.Copy{Weights: q.Weights[:1]}); notes != nil {
		t.Errorf("%q", notes)
	}
	q.Weights = append(q.Weights, &quantized.Weight{Tensor: named("other.rg_lru.x", 4, 4)}) // of no model
	want := []string{"warning: tensors of conv_1d are quantised, whose errors add up from token to token: layers.0.temporal_block.conv_1d.weight, layers.1.temporal_block.conv_1d.weight"}
	if notes := SensitiveNotes(m, q); !slices.Equal(notes, want) {
		t.Errorf("%q", notes)
	}
}

func TestSplitBlock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		block int
		rest  string
	}{
		{"blocks.3.x.y", 3, "x.y"}, {"blocks_12.x", 12, "x"}, {"blocks.0.x", 0, "x"}, {"blocks.03.x", -1, "blocks.03.x"}, {"blocks.-1.x", -1, "blocks.-1.x"},
		{"blocks.+1.x", -1, "blocks.+1.x"}, {"blocks.a.x", -1, "blocks.a.x"}, {"blocks.3", -1, "blocks.3"}, {"blocks", -1, "blocks"}, {"embedder.x", -1, "embedder.x"},
		{"blocks.99999999999999999999.x", -1, "blocks.99999999999999999999.x"},
	} {
		if block, rest := splitBlock(tt.name, "blocks."); block != tt.block || rest != tt.rest {
			t.Errorf("%s: %d, %s", tt.name, block, rest)
		}
	}
}

// Steps that undo each other are left out, and no others.
func TestThen(t *testing.T) {
	put := func(i, of int64) Step { return Take(i, of).inverse() }
	for _, tt := range []struct {
		first, next Step
		cancel      bool
	}{
		{Permute(1, 0), Permute(1, 0), true}, {Permute(1, 2, 0), Permute(2, 0, 1), true}, {Permute(1, 2, 0), Permute(1, 2, 0), false},
		{AddUnit(1), DropUnit(1), true}, {AddUnit(1), DropUnit(0), false}, {AddUnit(1), AddUnit(1), false}, {DropUnit(1), AddUnit(1), true},
		{put(0, 2), Take(0, 2), true}, {put(0, 2), Take(1, 2), false}, {put(0, 2), Take(0, 3), false}, {put(0, 2), DropUnit(0), false}, {AddUnit(0), Take(0, 0), false},
	} {
		if got := (Op{tt.first}).then(Op{tt.next}); (len(got) == 0) != tt.cancel || !tt.cancel && len(got) != 2 {
			t.Errorf("%s, then %s: %s", Op{tt.first}, Op{tt.next}, got)
		}
	}
	s := Sizes{'A': 7, '0': 5, '9': 5}
	for axis, want := range map[byte]int64{'0': 0, '1': 1, '9': 9, 'A': 7, '0' - 1: 0, '9' + 1: 0} {
		if got := s.length(axis); got != want {
			t.Errorf("axis %q has length %d, want %d", axis, got, want)
		}
	}
}

// Tensors of a model are counted once, and copies of the embedding not at all.
func TestModelCounts(t *testing.T) {
	tensors := append(modelTensors(&tinyConfig, Torch, ""), named("lm_head.weight", 128, 32))
	m, err := Recognize(checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := Griffin.Parameters(&tinyConfig)
	if n := m.Parameters(); n != want {
		t.Errorf("%d parameters with a copy of the embedding, want %d", n, want)
	}
	m.Config.SeparateHead = true
	if n := m.Parameters(); n != want+128*32 {
		t.Errorf("%d parameters with a head of its own, want %d", n, want+128*32)
	}
	divided := &manifest.Record{Head: manifest.Head{HuggingFace: &manifest.HuggingFace{EmbeddingDividedBy: 5.65625}}}
	for _, tt := range []struct {
		name     string
		tied     bool
		relation HeadRelation
		record   *manifest.Record
		own      bool
	}{
		{"tied", true, UnknownHead, nil, false},
		{"untied, not compared", false, UnknownHead, nil, true},
		{"untied, the embedding recorded as divided", false, UnknownHead, divided, false},
		{"untied, a matrix of its own", false, SeparateHead, nil, true},
		{"untied, the embedding", false, CopiedHead, nil, false},
		{"untied, the embedding divided", false, UnscaledHead, nil, false},
	} {
		hf, err := Recognize(checkpoint(t, append(modelTensors(&tinyConfig, HuggingFace, ""), named("lm_head.weight", 128, 32))...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		hf.files, hf.HeadRelation = filesWith(tt.record, nil), tt.relation
		hf.files.config = &hfconfig.Config{TieWordEmbeddings: tt.tied}
		if n := hf.Parameters(); n != want && !tt.own || n != want+128*32 && tt.own {
			t.Errorf("%s: %d parameters", tt.name, n)
		}
	}
	for changed, split := range map[bool]bool{false: false, true: true} {
		if m.headChanged = changed; m.HeadSplit() != split {
			t.Errorf("an adapter changes the head %t: split %t", changed, m.HeadSplit())
		}
	}
	if m.Config.SeparateHead = false; m.HeadSplit() {
		t.Error("a tied head is split")
	}
	partial, err := Recognize(checkpoint(t, replaced(Torch, "blocks.0.temporal_pre_norm.scale")...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		m     *Model
		block int
		want  string
	}{{m, 0, "blocks.0.temporal_pre_norm.scale"}, {partial, 0, ""}, {partial, 1, "blocks.1.temporal_pre_norm.scale"}, {m, 5, ""}, {m, -1, ""}} {
		if got := tt.m.TensorName(tt.block, reference.TemporalNorm); got != tt.want {
			t.Errorf("block %d: %q, want %q", tt.block, got, tt.want)
		}
	}
	if n := len(partial.ParameterTensors(&partial.Config)); n != len(m.ParameterTensors(&m.Config))-1 {
		t.Errorf("%d tensors", n)
	}
	var bad *tensor.FormatError
	if _, err := Recognize(checkpoint(t, named("x", 1)), Options{}); !errors.As(err, &bad) {
		t.Error(err)
	}
}

// What no tensor of a model shows is not known, and is neither a size nor a kind of block.
func TestUnknownSizes(t *testing.T) {
	for l := Flax; l < layoutCount; l++ {
		var tensors []*tensor.Tensor
		for _, x := range modelTensors(&tinyConfig, l, "") {
			if !strings.Contains(x.Name, "_block.") {
				tensors = append(tensors, x)
			}
		}
		m, err := Recognize(checkpoint(t, tensors...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := m.Config
		if c.MLPExpandedWidth != 0 || c.NumHeads != 0 || c.LRUWidth != 0 || c.ConvWidth != 0 || c.Width != tinyConfig.Width || c.VocabSize != tinyConfig.VocabSize {
			t.Errorf("%s: %+v", l, c)
		}
		if slices.ContainsFunc(c.BlockTypes, func(kind BlockType) bool { return kind != UnknownKind }) || len(c.BlockTypes) != len(tinyConfig.BlockTypes) {
			t.Errorf("%s: blocks %q", l, c.BlockTypes)
		}
		if beyond := Griffin.BeyondOriginal(&c); beyond != nil {
			t.Errorf("%s: %q", l, beyond)
		}
	}
}
