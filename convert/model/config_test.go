package model

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// The number of heads follows from the widths, and widths that contradict each other are named.
func TestResolveGriffin(t *testing.T) {
	for _, tt := range []struct {
		name     string
		layout   Layout
		in, want string // H, D, L, W, K, Q
		stated   int64  // heads in config.json, 0 for no such file
		conflict string
	}{
		{"attention only", Flax, "0 0 0 32 8 0", "4 0 0 32 8 32", 0, ""},
		{"keys that do not divide the width", Flax, "0 0 0 32 12 0", "2 0 0 32 12 32", 0, "keys of 12 channels do not divide a width of 32"},
		{"both", Flax, "4 12 48 32 8 0", "4 12 48 32 8 32", 0, ""},
		{"recurrent only", Flax, "4 12 48 32 0 0", "4 12 48 32 0 0", 0, ""},
		{"width is unknown", Flax, "4 12 48 0 8 0", "4 12 48 0 8 0", 0, ""},
		{"gates of other heads", Torch, "2 24 48 32 8 0", "2 24 48 32 16 32", 0, "keys of 8 channels make 4 heads of a width of 32, but the RG-LRU gates have 2"},
		{"gates of heads that do not divide the width", Torch, "3 16 48 32 8 0", "3 16 48 32 8 32", 0, "but the RG-LRU gates have 3"},
		{"gates of another width", Flax, "4 12 50 32 8 0", "4 12 50 32 8 32", 0, "the RG-LRU gates are 4 of 12 channels each, but the RG-LRU has 50"},
		{"no gates", Flax, "0 12 50 32 8 0", "4 12 50 32 8 32", 0, ""},
		{"gates without a width", Flax, "4 0 50 32 8 0", "4 0 50 32 8 32", 0, ""},
		{"no recurrence", Flax, "4 12 0 32 8 0", "4 12 0 32 8 32", 0, ""},
		{"transformers", HuggingFace, "4 12 48 32 8 32", "4 12 48 32 8 32", 0, ""},
		{"wider heads", HuggingFace, "4 12 48 32 16 64", "4 12 48 32 16 64", 0, ""},
		{"several key heads", HuggingFace, "4 12 48 32 16 32", "4 12 48 32 16 32", 0, ""},
		{"queries that are misshapen", HuggingFace, "4 12 48 32 8 30", "4 12 48 32 8 32", 0, ""},
		{"queries and a width that heads do not divide", HuggingFace, "5 12 60 32 8 32", "5 12 60 32 8 32", 0, "queries of 32 channels cannot be divided into 5 heads"},
		{"less than a channel", HuggingFace, "64 1 64 32 8 32", "64 1 64 32 8 32", 0, "queries of 32 channels cannot be divided into 64 heads"},
		{"keys of half a head", HuggingFace, "4 12 48 32 12 32", "4 12 48 32 8 32", 0, "keys of 12 channels make 1.5 heads of 8 channels, which cannot serve 4 query heads equally"},
		{"three key heads", HuggingFace, "4 12 48 32 24 32", "4 12 48 32 8 32", 0, "keys of 24 channels make 3 heads of 8 channels"},
		{"gates contradict too", HuggingFace, "4 12 50 32 8 32", "4 12 50 32 8 32", 0, "the RG-LRU has 50"},
		{"attention only, in transformers", HuggingFace, "0 0 0 32 8 32", "4 0 0 32 8 32", 0, ""},
		{"heads are stated", HuggingFace, "0 0 0 32 16 32", "4 0 0 32 16 32", 4, ""},
		{"gates count", HuggingFace, "4 12 48 32 16 32", "4 12 48 32 16 32", 2, ""},
		{"keys wider than queries", HuggingFace, "0 0 0 32 8 4", "0 0 0 32 8 4", 0, "queries of 4 channels, which is less than the 8 of the keys"},
	} {
		var s Sizes
		fmt.Sscan(tt.in, &s['H'], &s['D'], &s['L'], &s['W'], &s['K'], &s['Q'])
		var stated *hfconfig.Config
		if tt.stated > 0 {
			stated = &hfconfig.Config{NumAttentionHeads: tt.stated}
		}
		conflict := resolveGriffin(&s, tt.layout, stated)
		if got := fmt.Sprint(s['H'], s['D'], s['L'], s['W'], s['K'], s['Q']); got != tt.want || (conflict == "") != (tt.conflict == "") || !strings.Contains(conflict, tt.conflict) {
			t.Errorf("%s: %s, %q; want %s", tt.name, got, conflict, tt.want)
		}
	}
}

func TestGriffinConfig(t *testing.T) {
	both, recurrent := []BlockType{Recurrent, Attention}, []BlockType{Recurrent}
	for _, tt := range []struct {
		name   string
		q, k   int64
		blocks []BlockType
		has    string // the parameter that there is
		want   string // width of the attention, key heads, biases
	}{
		{"as the original", 24, 6, both, "", "24 1 false"},
		{"wider", 48, 12, both, "", "48 1 false"},
		{"two key heads", 48, 24, both, "", "48 2 false"},
		{"no attention", 48, 24, recurrent, reference.ProjQ + reference.Bias, "24 1 false"},
		{"no queries", 0, 24, both, reference.ProjQ + reference.Bias, "24 1 false"},
		{"no keys", 48, 0, both, reference.ProjQ + reference.Bias, "24 1 false"},
		{"less than a channel", 3, 1, both, "", "3 1 false"},
		{"bias of queries", 24, 6, both, reference.ProjQ + reference.Bias, "24 1 true"},
		{"bias of keys", 24, 6, both, reference.ProjK + reference.Bias, "24 1 true"},
		{"bias of values", 24, 6, both, reference.ProjV + reference.Bias, "24 1 true"},
		{"another bias", 24, 6, both, reference.MLPUp + reference.Bias, "24 1 false"},
	} {
		c := griffinConfig(&Sizes{'W': 24, 'H': 4, 'Q': tt.q, 'K': tt.k, 'L': 12, 'C': 3}, tt.blocks, func(name string) bool { return name == tt.has })
		if got := fmt.Sprint(c.AttentionWidth, c.KVHeads, c.AttentionBias); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if s := griffinSizes(&Config{Width: 8, LRUWidth: 6, NumHeads: 2}); s['D'] != 3 {
		t.Errorf("gates of %d channels", s['D'])
	}
	if s := griffinSizes(&Config{Width: 8, LRUWidth: 6}); s['D'] != 0 {
		t.Errorf("without heads, gates of %d channels", s['D'])
	}
}

// config reads the config.json of the small model, with changes.
func config(t *testing.T, edits ...string) *hfconfig.Config {
	t.Helper()
	text, err := os.ReadFile("../../testdata/tiny-griffin/hf/config.json")
	if err != nil {
		t.Fatal(err)
	}
	changed := string(text)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(changed, edits[i]) {
			t.Fatalf("no %s", edits[i])
		}
		changed = strings.Replace(changed, edits[i], edits[i+1], 1)
	}
	c, err := hfconfig.Read(fstest.MapFS{"config.json": {Data: []byte(changed)}}, "config.json")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The fields that a conversion between Hugging Face directories changes.
func TestChangedFields(t *testing.T) {
	form := manifest.HuggingFace{AttentionWindowSize: 8, LogitsSoftCap: 30, TieWordEmbeddings: true}
	other := tinyConfig
	other.VocabSize = 130
	// What transformers 5 leaves out of config.json, and other programs need.
	const top, end = `"vocab_size": 128`, `"partial_rotary_factor": 0.5, "rope_theta": 10000.0, "vocab_size": 128`
	for _, tt := range []struct {
		name  string
		edits []string
		c     *Config
		form  manifest.HuggingFace
		want  string // - before a field that is removed
	}{
		{"none", []string{top, end}, &tinyConfig, form, ""},
		{"as transformers 5 writes it", nil, &tinyConfig, form, "partial_rotary_factor rope_theta"},
		{"window", []string{top, end}, &tinyConfig, manifest.HuggingFace{AttentionWindowSize: 9, LogitsSoftCap: 30, TieWordEmbeddings: true}, "attention_window_size"},
		{"window, as transformers 5 writes it", nil, &tinyConfig, manifest.HuggingFace{AttentionWindowSize: 9, LogitsSoftCap: 30, TieWordEmbeddings: true}, "attention_window_size partial_rotary_factor rope_theta"},
		{"cap", []string{top, end}, &tinyConfig, manifest.HuggingFace{AttentionWindowSize: 8, LogitsSoftCap: 31, TieWordEmbeddings: true}, "logits_soft_cap"},
		{"head", []string{top, end}, &tinyConfig, manifest.HuggingFace{AttentionWindowSize: 8, LogitsSoftCap: 30}, "tie_word_embeddings"},
		{"vocabulary", []string{top, end}, &other, form, "vocab_size"},
		{"sliding window", []string{top, end + `, "sliding_window": 8`}, &tinyConfig, form, "attention_window_size -sliding_window"},
		{"sliding window alone", []string{top, end, "attention_window_size", "sliding_window"}, &tinyConfig, form, "attention_window_size -sliding_window"},
		{"an integer", []string{top, end, `"logits_soft_cap": 30.0`, `"logits_soft_cap": 30`}, &tinyConfig, form, "logits_soft_cap"},
		{"another integer", []string{top, end, `"logits_soft_cap": 30.0`, `"logits_soft_cap": 31`}, &tinyConfig, form, "logits_soft_cap"},
		{"rope of transformers 4", []string{top, `"partial_rotary_factor": 0.5, "rope_theta": 500.0, "vocab_size": 128`}, &tinyConfig, form, "rope_theta"},
		{"no head_dim", []string{top, end, `"head_dim": 8,`, ""}, &tinyConfig, form, "head_dim"},
		{"no block_types", []string{top, end, `"block_types"`, `"x"`}, &Config{VocabSize: 128, Width: 32, NumHeads: 4}, form, "block_types"},
		{"old block_types that say the same", []string{top, end, `"block_types"`, `"_block_types"`}, &tinyConfig, form, ""},
		{"old block_types that say something else", []string{top, end, `"block_types"`, `"_block_types"`, `"recurrent"`, `"attention"`}, &tinyConfig, form, "block_types -_block_types"},
		{"both block_types", []string{top, end + `, "_block_types": ["recurrent", "recurrent", "attention"]`}, &tinyConfig, form, "-_block_types"},
		{"unscaled", []string{top, end + `, "embeddings_scale_by_sqrt_dim": false`}, &tinyConfig, form, "-embeddings_scale_by_sqrt_dim"},
	} {
		var got []string
		for _, f := range changedRecurrentGemma(config(t, tt.edits...), tt.c, &tt.form) {
			if f.Remove {
				f.Name = "-" + f.Name
			}
			got = append(got, f.Name)
			switch f.Name {
			case "attention_window_size":
				if f.Value != tt.form.AttentionWindowSize {
					t.Errorf("%s: %v", tt.name, f.Value)
				}
			case "logits_soft_cap":
				if f.Value != tt.form.LogitsSoftCap {
					t.Errorf("%s: %v", tt.name, f.Value)
				}
			case "rope_theta":
				if f.Value != manifest.Float(10000) {
					t.Errorf("%s: %v", tt.name, f.Value)
				}
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRecurrentGemmaFields(t *testing.T) {
	fields := recurrentGemmaFields(&tinyConfig, &manifest.HuggingFace{AttentionWindowSize: 9, LogitsSoftCap: 31}, tensor.BF16)
	stated := config(t)
	for name, want := range map[string]any{"intermediate_size": stated.IntermediateSize, "head_dim": stated.HeadDim, "final_w_init_variance_scale": manifest.Float(0.4), "num_hidden_layers": stated.NumHiddenLayers,
		"attention_window_size": int64(9), "logits_soft_cap": manifest.Float(31), "dtype": "bfloat16", "use_cache": true, "tie_word_embeddings": false} {
		if fields[name] != want {
			t.Errorf("%s is %v, want %v", name, fields[name], want)
		}
	}
	hawk := Config{NumHeads: 4, Width: 24, BlockTypes: []BlockType{Recurrent}}
	griffin := Config{NumHeads: 4, Width: 24, BlockTypes: []BlockType{Attention}}
	if refuseRecurrentGemma(&hawk) != "" || refuseRecurrentGemma(&griffin) == "" || refuseRecurrentGemma(&tinyConfig) != "" {
		t.Error("heads of 6 channels are refused only where there is attention")
	}
}

// A config.json that contradicts the tensors.
func TestCheckConfig(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits []string
		want  string
	}{
		{"right", nil, ""},
		{"an odd size, half of which is rounded down", []string{`"intermediate_size": 192`, `"intermediate_size": 193`}, ""},
		{"another size", []string{`"intermediate_size": 192`, `"intermediate_size": 194`}, "intermediate_size is 194"},
		{"a layer more", []string{`"num_hidden_layers": 5`, `"num_hidden_layers": 6`}, "num_hidden_layers is 6, and the tensors' shapes show 5"},
		{"a layer less", []string{`"num_hidden_layers": 5`, `"num_hidden_layers": 4`}, "num_hidden_layers is 4, and the tensors' shapes show 5"},
		{"another model", []string{`"model_type": "recurrent_gemma"`, `"model_type": "gemma"`}, "model_type is gemma"},
	} {
		problems := checkRecurrentGemma(config(t, tt.edits...), &tinyConfig)
		if (len(problems) == 0) != (tt.want == "") || len(problems) > 1 || !strings.Contains(strings.Join(problems, "; "), tt.want) {
			t.Errorf("%s: %q", tt.name, problems)
		}
	}
	for _, tt := range []struct {
		head   int64
		factor float64
		ok     bool
	}{{8, 1, true}, {8, 0, true}, {8, 0.5, true}, {8, -0.1, false}, {8, 1.01, false}, {8, math.NaN(), false}, {5, 1, false}, {5, 0.9, true}, {5, 0.5, true}, {1, 1, false}, {1, 0.9, true}} {
		c := &Config{NumHeads: 1, Width: tt.head, BlockTypes: []BlockType{Attention}}
		problems := checkAttention(&hfconfig.Config{Rope: hfconfig.Rope{Theta: 1, PartialFactor: tt.factor, Type: "default"}}, c)
		if (len(problems) == 0) != tt.ok {
			t.Errorf("%v of %d channels: %q", tt.factor, tt.head, problems)
		}
	}
}

// tensorsIn lists the tensors of a model as a layout has them, and those that it has no place for.
func tensorsIn(m *Model, l Layout) (tensors []LayoutTensor, left []*tensor.Tensor) {
	for x := range m.TensorsIn(l) {
		if x.Name == "" {
			left = append(left, x.Stored)
		} else {
			tensors = append(tensors, x)
		}
	}
	return tensors, left
}

// The tensors of a model as transformers has them are those that a conversion makes.
func TestTensorsIn(t *testing.T) {
	for _, from := range []Layout{Flax, Torch, HuggingFace} {
		tensors := append(modelTensors(&tinyConfig, from, "x."), named("x.lm_head.weight", 128, 32), named("step"))
		m, err := Recognize(checkpoint(t, tensors...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, left := tensorsIn(m, HuggingFace)
		want := map[string]Transfer{}
		for transfer := range m.Transfers(HuggingFace) {
			want[transfer.Name] = transfer
		}
		for i, x := range got[:len(got)-1] {
			if w, ok := want[x.Name]; !ok || w.Source != x.Stored || fmt.Sprint(w.View) != fmt.Sprint(x.View) {
				t.Errorf("%s: tensor %d: %s: %+v, want %+v", from, i, x.Name, x.View, w.View)
			}
		}
		if head := got[len(got)-1]; len(got) != len(want)+1 || head.Name != "lm_head.weight" || len(left) != 1 || left[0].Name != "step" {
			t.Errorf("%s: %d tensors of %d, %d left", from, len(got), len(want)+1, len(left))
		}
		// One that the layout does not have as it is.
		for _, tt := range []struct {
			name  string
			shape []int64
			dtype tensor.DType
		}{
			{"x." + Griffin.nameOf(parameter{&Griffin.Rules[4], 0}, from), []int64{48, 32, 2}, tensor.F32},
			{"x." + Griffin.nameOf(parameter{&Griffin.Rules[4], 0}, from), []int64{48, 32}, tensor.F4},
		} {
			changed := slices.Clone(tensors)
			i := slices.IndexFunc(changed, func(t *tensor.Tensor) bool { return t.Name == tt.name })
			changed[i] = &tensor.Tensor{Name: tt.name, DType: tt.dtype, Shape: tt.shape}
			m, err := Recognize(checkpoint(t, changed...), Options{})
			if err != nil {
				t.Fatal(err)
			}
			fits := from != Flax // where the tensor is the parameter itself, nothing is rearranged
			if got, left := tensorsIn(m, HuggingFace); (len(got) == len(want)+1) != fits || slices.Contains(left, changed[i]) == fits {
				t.Errorf("%s: %s of %v: %d tensors, %d left", from, tt.name, tt.shape, len(got), len(left))
			}
		}
	}
	// What is missing is left out.
	partial, err := Recognize(checkpoint(t, modelTensors(&tinyConfig, Torch, "")[1:]...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, left := tensorsIn(partial, HuggingFace); len(got) != len(modelTensors(&tinyConfig, HuggingFace, ""))-1 || len(left) > 0 {
		t.Errorf("without one: %d tensors, %d left", len(got), len(left))
	}
	// A matrix of two parts has no place in the other direction, and an axis that has to be 1 is 2.
	m, err := Recognize(checkpoint(t, replaced(HuggingFace, "layers.0.temporal_block.conv_1d.weight", 48, 2, 4)...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, left := tensorsIn(m, Flax)
	var names []string
	for _, x := range left {
		if strings.HasPrefix(x.Name, "layers.0.") {
			names = append(names, strings.TrimPrefix(x.Name, "layers.0."))
		}
	}
	if want := []string{"temporal_block.conv_1d.weight", "mlp_block.gate_proj.weight", "mlp_block.gate_proj.bias", "mlp_block.up_proj.weight", "mlp_block.up_proj.bias"}; !slices.Equal(names, want) {
		t.Errorf("left: %q", names)
	}
}
