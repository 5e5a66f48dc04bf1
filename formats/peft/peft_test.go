package peft

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Saved by PEFT: see testdata/interop/finetune.py.
const fixture = "../../testdata/finetune/adapter"

func TestReadWhatPEFTSaved(t *testing.T) {
	a, err := readPath(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := a.Config
	if c.Type != LoRA || c.Rank != 2 || c.Alpha != 4 || c.RSLoRA || c.DoRA || c.Base != "base" || c.Version != "0.21.2" || len(c.Targets) != 10 {
		t.Errorf("%+v", c)
	}
	changes := a.Changes()
	if len(changes) != 13 || len(a.Files) != 2 {
		t.Fatalf("%d changes, files %v", len(changes), a.Files)
	}
	first := changes[0]
	rows, rank := first.Left.Shape()
	same, cols := first.Right.Shape()
	if first.Parameter != "model.layers.0.mlp_block.down_proj.weight" || rows != 16 || rank != 2 || same != 2 || cols != 24 || first.Scale != 2 || first.Value != nil {
		t.Errorf("%+v", first)
	}
}

func TestOpenDescribes(t *testing.T) {
	c, err := openPath(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := fmt.Sprint(c.Path, c.Format, c.Details[0], c.Details[len(c.Details)-1], c.Notes, len(c.Tensors()))
	if want := fixture + "peft{adapter LoRA, rank 2, alpha 4} {changes 13 matrices by products of rank 2} [] 26"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// tensors are of an adapter of the given shapes, in float32 and without data.
func tensors(shapes map[string][]int64) []*tensor.Tensor {
	var out []*tensor.Tensor
	for _, name := range sortedKeys(shapes) {
		out = append(out, &tensor.Tensor{Name: name, DType: tensor.F32, Shape: shapes[name]})
	}
	return out
}

func sortedKeys(m map[string][]int64) []string { return slices.Sorted(maps.Keys(m)) }

const q = "base_model.model.model.layers.1.temporal_block.q_proj."

var plain = map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2}}

func TestChanges(t *testing.T) {
	const embedding = "base_model.model.model.embed_tokens."
	for _, tt := range []struct {
		name, config string
		shapes       map[string][]int64
		want         string // of each change: parameter, shapes, scale
	}{
		{"plain", `"r": 2, "lora_alpha": 5`, plain, "model.layers.1.temporal_block.q_proj.weight 16x2 2x16 *2.5"},
		{"defaults", ``, map[string][]int64{q + "lora_A.weight": {8, 16}, q + "lora_B.weight": {16, 8}}, "model.layers.1.temporal_block.q_proj.weight 16x8 8x16 *1"},
		{"rank-stabilised", `"r": 4, "lora_alpha": 6, "use_rslora": true`, map[string][]int64{q + "lora_A.weight": {4, 16}, q + "lora_B.weight": {16, 4}},
			"model.layers.1.temporal_block.q_proj.weight 16x4 4x16 *3"},
		{"patterns", `"r": 9, "lora_alpha": 7, "rank_pattern": {"k_proj": 3, "layers\\.[12]\\.temporal_block\\.q_proj": 2, "q_proj": 5}, "alpha_pattern": {"x.q_proj": 1, "q_proj": 4}`,
			plain, "model.layers.1.temporal_block.q_proj.weight 16x2 2x16 *2"},
		{"adapter's name", `"r": 2, "lora_alpha": 2`, map[string][]int64{q + "lora_A.default.weight": {2, 16}, q + "lora_B.default.weight": {16, 2}},
			"model.layers.1.temporal_block.q_proj.weight 16x2 2x16 *1"},
		{"biases", `"r": 2, "lora_alpha": 2, "bias": "all", "lora_bias": true`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2},
			q + "lora_B.bias": {16}, q + "base_layer.bias": {16}, "base_model.model.model.layers.0.x.bias": {3}},
			"model.layers.0.x.bias =[3]; model.layers.1.temporal_block.q_proj.bias =[16] 1x16 *1; model.layers.1.temporal_block.q_proj.weight 16x2 2x16 *1"},
		{"embedding", `"r": 2, "lora_alpha": 2`, map[string][]int64{embedding + "lora_embedding_A": {2, 40}, embedding + "lora_embedding_B": {16, 2}, embedding + "base_layer.weight": {40, 16}},
			"model.embed_tokens.weight =[40 16] 40x2 2x16 *1"},
		{"DoRA", `"r": 2, "use_dora": true`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2}, q + "lora_magnitude_vector": {16}},
			"model.layers.1.temporal_block.q_proj.weight 16x2 2x16 *4 |[16]|"},
		{"tokens", `"r": 2, "trainable_token_indices": [7, 3]`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16}}, "model.embed_tokens.weight rows [7 3]"},
		{"tokens by name", `"r": 2, "trainable_token_indices": {"embed_tokens": [7, 3]}`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16}},
			"model.embed_tokens.weight rows [7 3]"},
		{"the first token", `"r": 2, "trainable_token_indices": [0]`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {1, 16}}, "model.embed_tokens.weight rows [0]"},
		{"the least and the largest rank", `"r": 16384, "lora_alpha": 2, "rank_pattern": {"k_proj": 16384, "q_proj": 1}`, map[string][]int64{q + "lora_A.weight": {1, 16}, q + "lora_B.weight": {16, 1}},
			"model.layers.1.temporal_block.q_proj.weight 16x1 1x16 *2"},
		{"rank 1", `"r": 1, "lora_alpha": 2`, map[string][]int64{q + "lora_A.weight": {1, 16}, q + "lora_B.weight": {16, 1}}, "model.layers.1.temporal_block.q_proj.weight 16x1 1x16 *2"},
		{"saved modules", `"r": 2, "modules_to_save": ["rg_lru", "final_norm"]`, map[string][]int64{"base_model.model.model.layers.0.rg_lru.input_gate_weight": {2, 3, 3},
			"base_model.model.model.final_norm.weight": {16}}, "model.final_norm.weight =[16]; model.layers.0.rg_lru.input_gate_weight =[2 3 3]"},
		{"saved for its size", `"r": 2`, map[string][]int64{"base_model.model.lm_head.weight": {44, 16}, "base_model.model.lm_head.original_module.weight": {40, 16},
			"base_model.model.lm_head.modules_to_save.weight": {44, 16}}, "lm_head.weight =[44 16]"},
	} {
		c, err := parseConfig([]byte(`{"peft_type": "LORA"` + strings.TrimSuffix(", "+tt.config, ", ") + `}`))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		changes, err := c.changes(tensors(tt.shapes))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, change := range changes {
			got = append(got, show(&change))
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s:\n  %s\nwant\n  %s", tt.name, s, tt.want)
		}
	}
}

func show(c *Change) string {
	s := c.Parameter
	if c.Value != nil {
		s += fmt.Sprintf(" =%v", c.Value.Shape)
	}
	for _, f := range []*Factor{c.Left, c.Right} {
		if f != nil {
			rows, cols := f.Shape()
			s += fmt.Sprintf(" %dx%d", rows, cols)
		}
	}
	if c.Right != nil {
		s += fmt.Sprintf(" *%g", c.Scale)
	}
	if c.Magnitude != nil {
		s += fmt.Sprintf(" |%v|", c.Magnitude.Shape)
	}
	if c.Rows != nil {
		s += fmt.Sprintf(" rows %v", c.Indices)
	}
	return s
}

// TestManyTensors: an adapter may have as many tensors as any checkpoint.
func TestManyTensors(t *testing.T) {
	c := &Config{Type: LoRA, Rank: 1, Alpha: 1}
	var all []*tensor.Tensor
	for i := range tensor.MaxTensors / 2 {
		name := fmt.Sprintf("base_model.model.layers.%d.up_proj.lora_", i)
		all = append(all, &tensor.Tensor{Name: name + "A.weight", DType: tensor.F32, Shape: []int64{1, 4}}, &tensor.Tensor{Name: name + "B.weight", DType: tensor.F32, Shape: []int64{4, 1}})
	}
	changes, err := c.changes(all)
	if err != nil || len(changes) != tensor.MaxTensors/2 || changes[len(changes)-1].Parameter != "layers.99999.up_proj.weight" {
		t.Errorf("%d changes, %v", len(changes), err)
	}
}

func TestRefused(t *testing.T) {
	embedding := "base_model.model.model.embed_tokens."
	for _, tt := range []struct {
		config string
		shapes map[string][]int64
		want   string
	}{
		{`"peft_type": "IA3"`, plain, "peft_type IA3, and only LORA"},
		{`"peft_type": "` + strings.Repeat("x", 9999) + `"`, plain, "…, and only LORA"},
		{`"peft_type": 3`, plain, `"peft_type" is 3, not a string`},
		{`"r": 2`, plain, "no peft_type"},
		{`"peft_type": "LORA", "r": 0`, plain, "a rank is 1 to 16384"},
		{`"peft_type": "LORA", "r": 99999999999`, plain, "a rank is 1 to 16384"},
		{`"peft_type": "LORA", "r": 2.5`, plain, "not an integer"},
		{`"peft_type": "LORA", "r": null`, plain, "not an integer"},
		{`"peft_type": "LORA", "lora_alpha": 1e999`, plain, "not a finite number"},
		{`"peft_type": "LORA", "lora_alpha": NaN`, plain, "JSON"},
		{`"peft_type": "LORA", "lora_alpha": "2"`, plain, "not a finite number"},
		{`"peft_type": "LORA", "r": 2, "r": 3`, plain, "duplicate key"},
		{`"peft_type": "LORA", "rank_pattern": {"q": 0}`, plain, "the rank 0"},
		{`"peft_type": "LORA", "rank_pattern": {"q": 1.5}`, plain, "the rank 1.5"},
		{`"peft_type": "LORA", "rank_pattern": {"(?=q)x": 2}`, plain, "not a regular expression that griffin supports"},
		{`"peft_type": "LORA", "alpha_pattern": {"` + strings.Repeat("a*", 400) + `": 2}`, plain, "regular expression of 800 bytes"},
		{`"peft_type": "LORA", "alpha_pattern": {"(((a{9}){9}){9}){9}": 2}`, plain, "not a regular expression that griffin supports"},
		{`"peft_type": "LORA", "alpha_pattern": [1]`, plain, "not an object"},
		{`"peft_type": "LORA", "bias": "some"`, plain, "not none, all or lora_only"},
		{`"peft_type": "LORA", "r": 2, "trainable_token_indices": [1, 1]`, plain, "a token twice"},
		{`"peft_type": "LORA", "r": 2, "trainable_token_indices": [-1]`, plain, "not a token"},
		{`"peft_type": "LORA", "r": 2, "target_parameters": ["x"]`, plain, "target_parameters: "},
		{`"peft_type": "LORA", "r": 2, "layer_replication": [[0, 1]]`, plain, "layer_replication: "},
		{`"peft_type": "LORA", "r": 2, "alora_invocation_tokens": [1]`, plain, "alora_invocation_tokens: "},
		{`"peft_type": "LORA", "r": 2, "use_qalora": true, "arrow_config": {"a": 1}`, plain, "arrow_config: it routes tokens between adapters, so that no merged model is the same; use_qalora: "},
		{`"peft_type": "LORA", "r": 2, "init_lora_weights": "pissa_niter_16"`, plain, "init_lora_weights pissa_niter_16: "},
		{`"peft_type": "LORA", "r": 2, "init_lora_weights": "loftq"`, plain, "init_lora_weights loftq: "},
		{`"peft_type": "LORA", "r": 2, "next_idea": {"strength": 3}`, plain, "next_idea: an unknown field"},

		{`"peft_type": "LORA", "r": 2`, map[string][]int64{}, "has no tensors"},
		{`"peft_type": "LORA", "r": 3`, plain, "factors have the ranks 2 and 2, but the configuration has 3"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {2, 16}}, "one of the two factors is missing"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_B.weight": {16, 2}}, "one of the two factors is missing"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 3}}, "factors have the ranks 3 and 2"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {3, 16}, q + "lora_B.weight": {16, 2}}, "factors have the ranks 2 and 3"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {2, 16, 4}, q + "lora_B.weight": {16, 2, 1}}, "adapters of convolutions are not merged"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {32}, q + "lora_B.weight": {16, 2}}, "a factor of a dense layer has two axes"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_A.default.weight": {2, 16}, q + "lora_B.weight": {16, 2}}, "has the same role as"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_C.weight": {2, 16}}, "not a name of a tensor of a LoRA adapter"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{"lora_A.weight": {2, 16}}, "not a name of a tensor of a LoRA adapter"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2}, q + "lora_magnitude_vector": {16}}, "use_dora is not true"},
		{`"peft_type": "LORA", "r": 2, "use_dora": true`, plain, "no lora_magnitude_vector"},
		{`"peft_type": "LORA", "r": 2, "use_dora": true`, map[string][]int64{embedding + "lora_embedding_A": {2, 40}, embedding + "lora_embedding_B": {16, 2}}, "DoRA is only merged on dense layers"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16}}, "lists 0 tokens"},
		{`"peft_type": "LORA", "r": 2, "trainable_token_indices": [1]`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16}}, "lists 1 tokens"},
		{`"peft_type": "LORA", "r": 2, "trainable_token_indices": [1, 2]`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16}, embedding + "weight": {40, 16}},
			"the whole module is adapted too"},
		{`"peft_type": "LORA", "r": 2, "trainable_token_indices": [1, 2]`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16, 4}}, "shape is [2, 16, 4]"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {0, 16}}, "lists 0 tokens"},
		{`"peft_type": "LORA", "r": 2, "trainable_token_indices": {"lm_head": [1, 2]}`, map[string][]int64{embedding + "token_adapter.trainable_tokens_delta": {2, 16}}, "lists 0 tokens"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{embedding + "lora_A.weight": {2, 16}, embedding + "lora_embedding_A": {2, 40}}, "both as a dense layer and as an embedding"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{embedding + "lora_B.weight": {16, 2}, embedding + "lora_embedding_B": {16, 2}}, "both as a dense layer and as an embedding"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{embedding + "lora_embedding_A": {2, 40}}, "one of the two factors is missing"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_B.bias": {16}}, "[16] is not a bias of a product"},
		{`"peft_type": "LORA", "r": 2`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2}, q + "lora_B.bias": {16, 1}}, "[16, 1] is not a bias of a product"},
	} {
		c, err := parseConfig([]byte("{" + tt.config + "}"))
		if err == nil {
			_, err = c.changes(tensors(tt.shapes))
		}
		var bad *tensor.FormatError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tensor.Clip(tt.config), err, tt.want)
		}
	}
}

func TestRefusesTypes(t *testing.T) {
	all := tensors(plain)
	all[1].DType = tensor.I8
	c := &Config{Type: LoRA, Rank: 2, Alpha: 2}
	if _, err := c.changes(all); err == nil || !strings.Contains(err.Error(), "type int8") {
		t.Error(err)
	}
}

// Patterns mean what re.match(rf"(.*\.)?({key})$", name) does.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"q_proj", "model.layers.0.q_proj", true},
		{"q_proj", "q_proj", true},
		{"q_proj", "model.xq_proj", false},
		{"q_proj", "model.q_proj.x", false},
		{"0.q_proj", "model.layers.0.q_proj", true},
		{"0.q_proj", "model.layers.0xq_proj", true}, // a dot is any character
		{"0.q_proj", "model.layers.10.q_proj", false},
		{"^model.layers.0.q_proj", "model.layers.0.q_proj", true},
		{"^layers.0.q_proj", "model.layers.0.q_proj", false},
		{`layers\.[0-3]\..*_proj`, "model.layers.2.x.q_proj", true},
		{`layers\.[0-3]\..*_proj`, "model.layers.4.x.q_proj", false},
		{"q_proj|k_proj", "model.k_proj", true},
		{"q_proj|k_proj", "model.k_projx", false},
		{"", "model.", true},
		{"", "model", false},
	} {
		p, err := newPattern(tt.pattern, 1)
		if err != nil || p.matches(tt.name) != tt.want {
			t.Errorf("%q on %q: %v, %v; want %v", tt.pattern, tt.name, p.matches(tt.name), err, tt.want)
		}
	}
}

func TestElaboratePatterns(t *testing.T) {
	p, err := newPattern("(a|b|c|d|e|f|g|h){1,40}x", 2)
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{Type: LoRA, Rank: 2, Alpha: 2}
	for range 200 {
		c.rankPatterns = append(c.rankPatterns, p)
	}
	many := map[string][]int64{}
	for i := range 10_000 {
		many[fmt.Sprintf("%s%d.lora_A.weight", strings.Repeat("a", 500), i)] = []int64{2, 16}
	}
	if _, err := c.changes(tensors(many)); err == nil || !strings.Contains(err.Error(), "takes too long") {
		t.Error(err)
	}
}

// The rows of an embedding are those that are listed for it, not for another module.
func TestTokensOfSeveralModules(t *testing.T) {
	c, err := parseConfig([]byte(`{"peft_type": "LORA", "trainable_token_indices": {"embed_tokens": [7, 3], "lm_head": [1, 2, 4], "other_embed_tokens": [5], "layers.embed_tokens": [8, 9]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // the order of the map changes
		changes, err := c.changes(tensors(map[string][]int64{"model.embed_tokens.token_adapter.trainable_tokens_delta": {2, 16}}))
		if err != nil || len(changes) != 1 || !slices.Equal(changes[0].Indices, []int64{7, 3}) {
			t.Fatalf("%+v, %v", changes, err)
		}
	}
}

// A list for the whole name is preferred to one for its end.
func TestTokensByWholeName(t *testing.T) {
	c, err := parseConfig([]byte(`{"peft_type": "LORA", "trainable_token_indices": {"model.embed_tokens": [7, 3], "embed_tokens": [1, 2]}}`))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := c.changes(tensors(map[string][]int64{"model.embed_tokens.token_adapter.trainable_tokens_delta": {2, 16}}))
	if err != nil || len(changes) != 1 || !slices.Equal(changes[0].Indices, []int64{7, 3}) {
		t.Errorf("%+v, %v", changes, err)
	}
}

// Names of letters, digits, "_", "-" and dots are compared as they are, and other patterns are regular expressions.
func TestPlainPatterns(t *testing.T) {
	for _, r := range "azAZ09_-." {
		if p, err := newPattern("x"+string(r), 1); err != nil || p.expression != nil || p.cost != 0 {
			t.Errorf("%q: %+v, %v", r, p, err)
		}
	}
	for _, r := range "`{@[/: ~é|$" {
		if p, err := newPattern("x"+string(r), 1); r != '[' && (err != nil || p.expression == nil || p.cost == 0) || r == '[' && err == nil {
			t.Errorf("%q: %+v, %v", r, p, err)
		}
	}
}

// There can be a plain pattern for each module, and a few regular expressions of a line.
func TestLimitsOfPatterns(t *testing.T) {
	fields := func(n int, form string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(`"`+form+`": 2`, i)
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range []struct{ patterns, want string }{
		{fields(20_000, "layers.%d.x"), ""},
		{fields(20_001, "layers.%d.x"), "has 20001 patterns, more than 20000"},
		{fields(200, "layers.%d.*") + ", " + fields(201, "layers.%d.x"), ""},
		{fields(201, "layers.%d.*"), "has 201 regular expressions, more than 200"},
		{`"` + strings.Repeat("a", 499) + `*": 2`, ""},
		{`"` + strings.Repeat("a", 500) + `*": 2`, "regular expression of 501 bytes"},
		{`"` + strings.Repeat("a", 501) + `": 2`, ""},
	} {
		_, err := parseConfig([]byte(`{"peft_type": "LORA", "rank_pattern": {` + tt.patterns + `}}`))
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tensor.Clip(tt.patterns), err, tt.want)
		}
	}
}

// A field of an unknown name changes nothing if it is null, false, 0 or empty.
func TestUnknownFields(t *testing.T) {
	for value, refused := range map[string]bool{
		`null`: false, `false`: false, `0`: false, `0.0`: false, `""`: false, `[]`: false, `{}`: false,
		`true`: true, `1`: true, `-0.5`: true, `1e999`: true, `"x"`: true, `[0]`: true, `{"a": null}`: true,
	} {
		c, err := parseConfig([]byte(`{"peft_type": "LORA", "r": 2, "next_idea": ` + value + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.changes(tensors(plain)); (err != nil) != refused {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// adapterOf returns the files of an adapter whose weights are zeros.
func adapterOf(t *testing.T, config string, shapes map[string][]int64) fstest.MapFS {
	t.Helper()
	header := map[string]any{}
	at := 0
	for _, name := range sortedKeys(shapes) {
		n := 4
		for _, s := range shapes[name] {
			n *= int(s)
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shapes[name], "data_offsets": []int{at, at + n}}
		at += n
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	return fstest.MapFS{ConfigName: {Data: []byte(config)}, WeightsName: {Data: append(file, make([]byte, at)...)}}
}

// What cannot be merged can be looked at.
func TestOpenWhatCannotBeMerged(t *testing.T) {
	for _, tt := range []struct{ config, summary, note string }{
		{`{"peft_type": "ADALORA", "base_model_name_or_path": "x"}`, "ADALORA", "cannot be merged: an adapter that griffin cannot merge exactly: peft_type ADALORA"},
		{`{"peft_type": "LORA", "r": 2, "rank_pattern": {"k": 8}, "use_rslora": true, "lora_alpha": 1.5, "use_dora": true}`,
			"DoRA, rank 2 to 8, alpha 1.5, rank-stabilised", "use_dora is true, but there is no"},
	} {
		c, err := Open(adapterOf(t, tt.config, plain), ".")
		if err != nil {
			t.Errorf("%s: %v", tt.config, err)
			continue
		}
		if c.Details[0].Value != tt.summary || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], tt.note) {
			t.Errorf("%s: %v, %v", tt.config, c.Details, c.Notes)
		}
		c.Close()
	}
}

// The facts about an adapter are what it is for, and how many parameters change in which way.
func TestDetails(t *testing.T) {
	names := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"m%02d"`, i))
		}
		return strings.Join(all, ", ")
	}
	const sixteen = "m00, m01, m02, m03, m04, m05, m06, m07, m08, m09, m10, m11, m12, m13, m14, m15"
	k := strings.Replace(q, "q_proj", "k_proj", 1)
	for _, tt := range []struct {
		name, config string
		shapes       map[string][]int64
		want         string
	}{
		{"one matrix", `"r": 2`, plain, "adapter LoRA, rank 2, alpha 8; weights safetensors; changes 1 matrix by a product of rank 2"},
		{"a base and a pattern", `"r": 2, "base_model_name_or_path": "b", "target_modules": ".*q"`, plain,
			"adapter LoRA, rank 2, alpha 8; weights safetensors; base b; targets .*q; changes 1 matrix by a product of rank 2"},
		{"16 targets", `"r": 2, "target_modules": [` + names(16) + `]`, plain, "adapter LoRA, rank 2, alpha 8; weights safetensors; targets " + sixteen + "; changes 1 matrix by a product of rank 2"},
		{"17 targets", `"r": 2, "target_modules": [` + names(17) + `]`, plain, "adapter LoRA, rank 2, alpha 8; weights safetensors; targets " + sixteen + " and 1 more; changes 1 matrix by a product of rank 2"},
		{"of several ranks", `"r": 2, "rank_pattern": {"k_proj": 3}, "lora_bias": true`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2}, q + "lora_B.bias": {16},
			k + "lora_A.weight": {3, 16}, k + "lora_B.weight": {16, 3}, k + "lora_B.bias": {16}},
			"adapter LoRA, rank 2 to 3, alpha 8; weights safetensors; changes 2 matrices by products of rank 2 to 3; changes 2 vectors by biases"},
		{"of all kinds", `"r": 2, "lora_bias": true, "modules_to_save": ["n"], "trainable_token_indices": [0, 5, 7]`, map[string][]int64{q + "lora_A.weight": {2, 16}, q + "lora_B.weight": {16, 2},
			q + "lora_B.bias": {16}, "n.weight": {3}, "o.weight": {3}, "e.token_adapter.trainable_tokens_delta": {3, 16}},
			"adapter LoRA, rank 2, alpha 8; weights safetensors; changes 1 matrix by a product of rank 2; changes 1 vector by a bias; changes 2 tensors trained in full; changes 3 rows of the embedding"},
		{"one of each", `"r": 2, "trainable_token_indices": [5]`, map[string][]int64{"n.weight": {3}, "e.token_adapter.trainable_tokens_delta": {1, 16}},
			"adapter LoRA, rank 2, alpha 8; weights safetensors; changes 1 tensor trained in full; changes 1 row of the embedding"},
	} {
		c, err := Open(adapterOf(t, `{"peft_type": "LORA", `+tt.config+`}`, tt.shapes), ".")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range c.Details {
			if d.Key == "adapter" || d.Key == "weights" || d.Key == "base" || d.Key == "targets" || d.Key == "changes" {
				got = append(got, d.Key+" "+d.Value)
			}
		}
		if s := strings.Join(got, "; "); s != tt.want || len(c.Notes) != 0 {
			t.Errorf("%s:\n  %s\nwant\n  %s; notes %q", tt.name, s, tt.want, c.Notes)
		}
		c.Close()
	}
}

func TestIncompleteDirectories(t *testing.T) {
	source := adapterOf(t, `{"peft_type": "LORA", "r": 2}`, plain)
	delete(source, WeightsName)
	if _, err := Read(source, "."); err == nil || !strings.Contains(err.Error(), "neither adapter_model.safetensors nor adapter_model.bin") {
		t.Error(err)
	}
	source = adapterOf(t, `[1]`, plain)
	if _, err := Open(source, "."); err == nil || !strings.Contains(err.Error(), "adapter_config.json: is not a JSON object") {
		t.Error(err)
	}
	source = adapterOf(t, `{"peft_type": "LORA", "r": 2}`+strings.Repeat(" ", maxConfig), plain)
	if _, err := Open(source, "."); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Error(err)
	}
}

// Weights of a file of torch.save are read if their checksums are right.
func TestChecksumOfWeights(t *testing.T) {
	file, err := os.ReadFile("../torch/testdata/sound/one_tensor.pt")
	if err != nil {
		t.Fatal(err)
	}
	source := fstest.MapFS{ConfigName: {Data: []byte(`{"peft_type": "LORA"}`)}, torchName: {Data: file}}
	a, err := Read(source, ".")
	if err != nil {
		t.Fatal(err)
	}
	changes := a.Changes()
	if len(changes) != 1 {
		t.Fatal(changes)
	}
	layout, _, err := tensor.Layout(changes[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	source[torchName].Data = slices.Clone(file)
	source[torchName].Data[layout.Base] ^= 1
	var bad *tensor.FormatError
	if _, err := Read(source, "."); !errors.As(err, &bad) || !strings.Contains(err.Error(), "checksum") {
		t.Error(err)
	}
}

// FuzzAdapter reads configurations and names that nobody wrote. What is accepted has whole changes.
func FuzzAdapter(f *testing.F) {
	text, err := os.ReadFile(filepath.Join(fixture, ConfigName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, "layers.0.x.lora_A.weight", "layers.0.x.lora_B.weight", int64(2), int64(3))
	f.Add([]byte(`{"peft_type":"LORA","r":2,"rank_pattern":{"(x|y).z":2},"trainable_token_indices":{"e":[1,2]}}`), "e.token_adapter.trainable_tokens_delta", "x.bias", int64(2), int64(2))
	f.Add([]byte(`{"peft_type":"LORA","use_dora":true,"lora_alpha":1e308,"r":1}`), "a.lora_magnitude_vector", "a.lora_embedding_A", int64(1), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, first, second string, rank, width int64) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		if first == second || rank < 0 || width < 0 {
			return
		}
		changes, err := c.changes([]*tensor.Tensor{{Name: first, DType: tensor.F32, Shape: []int64{rank, width}}, {Name: second, DType: tensor.BF16, Shape: []int64{width, rank}}})
		var bad *tensor.FormatError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%T: %v", err, err)
		}
		for _, change := range changes {
			if change.Value == nil && change.Right == nil && change.Rows == nil {
				t.Fatalf("a change without content: %+v", change)
			}
			if change.Left != nil {
				_, a := change.Left.Shape()
				if b, _ := change.Right.Shape(); a != b {
					t.Fatalf("factors of rank %d and %d", a, b)
				}
			}
		}
		ckpt, err := tensor.NewCheckpoint("x", "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		describe(ckpt, c, changes)
	})
}

// openPath opens a checkpoint of the local file system.
func openPath(path string) (*tensor.Checkpoint, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return Open(source, name)
}

// readPath reads an adapter of the local file system.
func readPath(path string) (*Adapter, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return Read(source, name)
}
