package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/logits"
)

// The verdict is "the same" if no check that was made failed.
func TestConclude(t *testing.T) {
	ok, skipped, failed := &Section{OK: true}, &Section{Skipped: true}, &Section{}
	for _, tt := range []struct {
		name string
		v    Verdict
		want bool
	}{
		{"nothing was checked", Verdict{}, true},
		{"all are right", Verdict{Structure: ok, Config: ok, Weights: &WeightsSection{Section: *ok}, Logits: []*logits.Result{{OK: true}, {OK: true}}}, true},
		{"skipped", Verdict{Structure: skipped, Config: skipped}, true},
		{"structure", Verdict{Structure: failed, Config: ok}, false},
		{"config", Verdict{Structure: ok, Config: failed}, false},
		{"weights", Verdict{Structure: ok, Config: ok, Weights: &WeightsSection{}}, false},
		{"weights that could not be compared", Verdict{Structure: ok, Config: ok, Weights: &WeightsSection{Section: *skipped}}, false},
		{"quantised", Verdict{Structure: ok, Config: ok, Weights: &WeightsSection{Section: *ok}, Quantized: &QuantizedSection{Section: *ok}}, false},
		{"first logits", Verdict{Logits: []*logits.Result{{}, {OK: true}}}, false},
		{"last logits", Verdict{Logits: []*logits.Result{{OK: true}, {}}}, false},
		{"logits do not help", Verdict{Structure: failed, Logits: []*logits.Result{{OK: true}}}, false},
	} {
		if tt.v.conclude(func(*logits.Setting) bool { return false }); tt.v.Same != tt.want {
			t.Errorf("%s: the same %t", tt.name, tt.v.Same)
		}
	}
}

func TestFindingString(t *testing.T) {
	for _, tt := range []struct {
		f    Finding
		want string
	}{
		{Finding{Kind: MissingTensor, Tensor: "a", Want: "float32 [2]"}, "a: missing, float32 [2]"},
		{Finding{Kind: ExtraTensor, Tensor: "a", Got: "float32 [2]", Detail: "why"}, "a: not a tensor of the model, float32 [2]; why"},
		{Finding{Kind: WrongField, Field: "vocab_size", Tensor: "a", SourceName: "b", Want: "1", Got: "2"}, "vocab_size: 2, not 1"},
		{Finding{Kind: MisshapenTensor, Tensor: "a", SourceName: "b + c", Want: "[2]", Got: "[3]"}, "a (b + c): [3] instead of [2]"},
		{Finding{Kind: MistypedTensor, Tensor: "a", SourceName: "a", Want: "x", Got: "y"}, "a: y instead of x"},
		{Finding{Kind: WrongWeights, Tensor: "a", SourceName: "b", Want: "1", Got: "2", Differing: 1, Elements: 2000, Index: []int64{0, 5}}, "a (b): 1 of 2,000 elements differs; [0, 5] is 2, not 1"},
		{Finding{Kind: WrongWeights, Tensor: "a", SourceName: "b", Want: "1", Got: "2", Differing: 2000, Elements: 2000, Index: []int64{0, 0}}, "a (b): all 2,000 elements differ; [0, 0] is 2, not 1"},
		{Finding{Kind: WrongWeights, Tensor: "a", SourceName: "b", Want: "1", Got: "2", Differing: 1, Elements: 1, Index: []int64{0}}, "a (b): its only element differs; [0] is 2, not 1"},
		{Finding{Kind: UntiedHead, Tensor: "a", Want: "1", Got: "2"}, "a: 2, not 1"},
	} {
		if got := tt.f.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// shaped returns a tensor without data.
func shaped(name string, d tensor.DType, shape ...int64) *tensor.Tensor {
	return &tensor.Tensor{Name: name, DType: d, Shape: shape}
}

// What is wrong with the tensors of a conversion, by their names, shapes and types alone.
func TestCheckStructure(t *testing.T) {
	const e, a, b = "model.embed_tokens.weight", "model.layers.0.mlp_block.up_proj.weight", "model.layers.0.mlp_block.up_proj.bias"
	right := []*tensor.Tensor{shaped(e, tensor.F32, 8, 4), shaped(a, tensor.BF16, 6, 4), shaped(b, tensor.BF16, 6)}
	with := func(i int, x ...*tensor.Tensor) []*tensor.Tensor {
		return append(append(append([]*tensor.Tensor{}, right[:i]...), x...), right[i+1:]...)
	}
	for _, tt := range []struct {
		name    string
		tensors []*tensor.Tensor
		layout  model.Layout
		found   *model.Model
		summary string
		want    string // findings
		copies  int
		notes   string
	}{
		{"right", right, model.HuggingFace, nil, "3 tensors: names, shapes and types as expected", "", 0, ""},
		{"missing", with(1), model.HuggingFace, nil, "of 3 tensors: 1 missing", a + " (s1 + s2): missing, bfloat16 [6, 4]", 0, ""},
		{"extra", with(0, right[0], shaped("x", tensor.F32, 3)), model.HuggingFace, nil, "of 3 tensors: 1 extra", "x: not a tensor of the model, float32 [3]", 0, ""},
		{"two extra", with(0, right[0], shaped("x.10.w", tensor.F32, 3), shaped("x.2.w", tensor.F32, 3)), model.HuggingFace, nil, "of 3 tensors: 2 extra",
			"x.2.w: not a tensor of the model, float32 [3]\nx.10.w: not a tensor of the model, float32 [3]", 0, ""},
		{"of a similar name", with(1, shaped("model.layers.0.mlp_block.up.weight", tensor.BF16, 6, 4)), model.HuggingFace, nil, "of 3 tensors: 1 missing, 1 extra",
			a + " (s1 + s2): missing, bfloat16 [6, 4]\nmodel.layers.0.mlp_block.up.weight: not a tensor of the model, bfloat16 [6, 4]", 0, ""},
		{"of another type", with(1, shaped("model.layers.0.mlp_block.up.weight", tensor.F32, 6, 4)), model.HuggingFace, nil, "of 3 tensors: 1 missing, 1 extra",
			a + " (s1 + s2): missing, bfloat16 [6, 4]\nmodel.layers.0.mlp_block.up.weight: not a tensor of the model, float32 [6, 4]", 0, ""},
		{"of another name", with(1, shaped("transformer.w", tensor.BF16, 6, 4)), model.HuggingFace, nil, "of 3 tensors: 1 missing, 1 extra",
			a + " (s1 + s2): missing, bfloat16 [6, 4]\ntransformer.w: not a tensor of the model, bfloat16 [6, 4]", 0, ""},
		{"transposed", with(1, shaped(a, tensor.BF16, 4, 6)), model.HuggingFace, nil, "of 3 tensors: 1 misshapen", a + " (s1 + s2): [4, 6] instead of [6, 4]; looks transposed", 0, ""},
		{"of as many elements", with(1, shaped(a, tensor.BF16, 3, 8)), model.HuggingFace, nil, "of 3 tensors: 1 misshapen", a + " (s1 + s2): [3, 8] instead of [6, 4]", 0, ""},
		{"a vector of as many", with(2, shaped(b, tensor.BF16, 2, 3)), model.HuggingFace, nil, "of 3 tensors: 1 misshapen", b + " (s2): [2, 3] instead of [6]; the same number of elements", 0, ""},
		{"larger", with(2, shaped(b, tensor.BF16, 7)), model.HuggingFace, nil, "of 3 tensors: 1 misshapen", b + " (s2): [7] instead of [6]", 0, ""},
		{"another type", with(2, shaped(b, tensor.F16, 6)), model.HuggingFace, nil, "of 3 tensors: 1 mistyped", b + " (s2): float16 instead of bfloat16", 0, ""},
		{"head", with(0, right[0], shaped("lm_head.weight", tensor.F32, 8, 4)), model.HuggingFace, nil, "3 tensors: names, shapes and types as expected", "", 1,
			"lm_head.weight is compared with the embedding, of which it should be a copy"},
		{"another head", with(0, right[0], shaped("lm_head.weight", tensor.F32, 9, 4)), model.HuggingFace, nil, "of 3 tensors: an output head that is not a copy of the embedding",
			"lm_head.weight (s0): float32 [9, 4], not float32 [8, 4]; the head is tied: it should be absent, or a copy of the embedding", 0, ""},
		{"head of another type", with(0, right[0], shaped("lm_head.weight", tensor.BF16, 8, 4)), model.HuggingFace, nil, "of 3 tensors: an output head that is not a copy of the embedding",
			"lm_head.weight (s0): bfloat16 [8, 4], not float32 [8, 4]; the head is tied: it should be absent, or a copy of the embedding", 0, ""},
		{"head of an original", append(with(0, right[0]), shaped("head.w", tensor.F32, 8, 4)), model.Torch, &model.Model{}, "3 tensors: names, shapes and types as expected", "", 1,
			"head.w is compared with the embedding, of which it should be a copy"},
		{"beside an original", append(with(0, right[0]), shaped("step", tensor.F32)), model.Torch, &model.Model{}, "3 tensors: names, shapes and types as expected", "", 0, "1 tensor is not part of the model"},
		{"not beside a directory", append(with(0, right[0]), shaped("step", tensor.F32)), model.HuggingFace, &model.Model{}, "of 3 tensors: 1 extra", "step: not a tensor of the model, float32 []", 0, ""},
	} {
		c, err := tensor.NewCheckpoint("converted", "test", tt.tensors)
		if err != nil {
			t.Fatal(err)
		}
		if tt.found != nil {
			for _, x := range tt.tensors {
				switch x.Name {
				case "head.w":
					tt.found.Heads = append(tt.found.Heads, model.Head{Tensor: x})
				case "step":
					tt.found.Rest = append(tt.found.Rest, x)
				}
			}
		}
		p := &convert.Plan{Layout: tt.layout, Source: &model.Model{Family: model.Griffin}}
		for _, x := range right {
			p.Dests = append(p.Dests, moves.Dest{Name: x.Name, DType: x.DType, Shape: x.Shape})
		}
		for _, m := range [][2]int{{0, 0}, {1, 1}, {1, 2}, {1, 2}, {2, 2}} {
			p.Moves = append(p.Moves, moves.Move{Dest: m[0], Source: &tensor.Tensor{Name: fmt.Sprint("s", m[1])}})
		}
		section, heads, _ := checkStructure(p, c, tt.found, nil, nil, false)
		var findings []string
		for i := range section.Findings.Len() {
			f := section.Findings.At(i)
			findings = append(findings, f.String())
		}
		if got := strings.Join(findings, "\n"); got != tt.want || section.Summary != tt.summary || section.OK != (tt.want == "") || len(heads.copies) != tt.copies || strings.Join(section.Notes, "; ") != tt.notes {
			t.Errorf("%s: %q, %d copies, notes %q\n%s\nwant\n%s", tt.name, section.Summary, len(heads.copies), section.Notes, got, tt.want)
		}
	}
}

// A head that stands for the embedding is compared with it, and is no embedding unless it is one in the source too.
func TestCheckStructureEmbeddedByHead(t *testing.T) {
	head := shaped("lm_head.weight", tensor.BF16, 128, 32)
	tiny, err := formats.Open("../testdata/tiny-griffin/hf", formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tiny.Close()
	checkpoint := func(tensors ...*tensor.Tensor) *tensor.Checkpoint {
		c, err := tensor.NewCheckpoint("converted", "test", tensors)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tensors := slices.DeleteFunc(slices.Clone(tiny.Tensors()), func(x *tensor.Tensor) bool { return x.Name == "model.embed_tokens.weight" })
	found, err := model.Recognize(checkpoint(append(tensors, head)...), model.Options{})
	if err != nil || !found.EmbeddedByHead {
		t.Fatal(err)
	}
	for _, source := range []bool{true, false} {
		p := &convert.Plan{Layout: model.HuggingFace, Source: &model.Model{Family: model.Griffin, EmbeddedByHead: source}}
		p.Dests = []moves.Dest{{Name: "model.embed_tokens.weight", DType: tensor.BF16, Shape: head.Shape}, {Name: "model.x", DType: tensor.BF16, Shape: head.Shape}}
		section, heads, _ := checkStructure(p, checkpoint(head), found, nil, nil, false)
		var findings []string
		for i := range section.Findings.Len() {
			f := section.Findings.At(i)
			findings = append(findings, f.String())
		}
		want, note, alone, copies := []string{"model.x: missing, bfloat16 [128, 32]"}, "lm_head.weight stands for the embedding, as in the source", "lm_head.weight", 0
		if !source {
			want = append([]string{"model.embed_tokens.weight: missing, bfloat16 [128, 32]; transformers 5.23 takes lm_head.weight for it, and 4.57 leaves it without values"}, want...)
			note, alone, copies = "lm_head.weight is compared with the embedding, of which it should be a copy", "", 1
		}
		if strings.Join(findings, "\n") != strings.Join(want, "\n") || strings.Join(section.Notes, "") != note || heads.alone != alone || len(heads.copies) != copies || heads.other {
			t.Errorf("source %t: %q, notes %q, %+v", source, findings, section.Notes, heads)
		}
	}
}

// What was found is another model if more than half of its tensors are missing or of other shapes, none has another name, and no more fit than do not:
// not if it is a part of the model.
func TestIsAnother(t *testing.T) {
	for _, tt := range []struct {
		wrong   []structureKind
		renamed bool
		want    bool
	}{
		{nil, false, false}, {[]structureKind{isMissing, isMisshapen}, false, false}, {[]structureKind{isMissing, isMisshapen, isMissing}, false, true},
		{[]structureKind{isMissing, isMisshapen, isMissing}, true, false}, {[]structureKind{isMissing, isExtra, isMistyped, isMissing}, false, false},
		{[]structureKind{isMissing, isMissing, isMissing}, false, false}, {[]structureKind{isMissing, isMissing, isMissing, isMissing}, false, true}, {[]structureKind{isMissing, isMissing, isMissing, isExtra}, false, true},
	} {
		c := &structure{plan: &convert.Plan{}}
		c.plan.Dests = make([]moves.Dest, 4)
		for _, kind := range tt.wrong {
			c.wrong = append(c.wrong, wrongTensor{kind: kind})
		}
		if tt.renamed {
			c.renaming = &renaming{}
		}
		if got := c.isAnother(); got != tt.want {
			t.Errorf("%v, renamed %t: %t", tt.wrong, tt.renamed, got)
		}
	}
}
