package verify

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// Layers that were removed or added, and tensors that have other names, are said in one line each, and the weights are compared under the
// names that they have.
func TestTextOfRenamedTensors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		do     func(m *made)
		says   []string
		not    string
		proven bool // of the weights
	}{
		{"removed", func(m *made) { m.renumber(1, func(block int) []int { return []int{block - 1} }) },
			[]string{"layers 0 to 3 of the conversion are layers 1 to 4 of the source; the conversion lacks layer 0 of the source", "weights        FAIL  21 tensors are missing (see structure); 78 others, ", "identical to the source, bit for bit; 76 tensors under another name\n"}, "structure: ", false},
		{"added", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0}, {1}, {2, 3}, {4}, {5}}[block] })
		}, []string{"layers 0, 1, 3 to 5 of the conversion are layers 0 to 4 of the source; layer 2 of the conversion is a copy of layer 2 of the source|layers 0 to 2, 4, 5 of the conversion are layers 0 to 4 of the source; layer 3 of the conversion is a copy of layer 2 of the source"}, "structure: ", true},
		{"added, so that all names are there", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0, 3}, {1, 4}, {2, 5}, {6}, {7}}[block] })
		}, []string{"layers 0 to 2, 6, 7 of the conversion are layers 0 to 4 of the source; layers 3 to 5 of the conversion are copies of layers 0 to 2 of the source|layers 3 to 7 of the conversion are layers 0 to 4 of the source; layers 0 to 2 of the conversion are copies of layers 0 to 2 of the source"}, "weights: ", true},
		{"added at the end", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0}, {1}, {2}, {3, 5}, {4, 6}}[block] })
		}, []string{"layers 5, 6 of the conversion are copies of layers 3, 4 of the source"}, "structure: ", true},
		{"removed, and parts of every layer renamed", func(m *made) {
			m.renumber(1, func(block int) []int { return []int{block - 1} })
			renamed("mlp_block", "mlp")(m)
		}, []string{"structure: 24 failures\n  layers 1 to 4 of model.layers: mlp_block.*: 24 tensors, mlp_block renamed to mlp\n"}, "weights: ", false},
		{"an element of a moved layer", func(m *made) {
			m.renumber(1, func(block int) []int { return []int{block - 1} })
			flip(3, 2)(m.get(in(0, "mlp_block.down_proj.bias")))
		}, []string{"layers 0 to 3 of the conversion are layers 1 to 4", "model.layers.0.mlp_block.down_proj.bias (blocks.1.mlp_block.ffw_down.bias): 1 of 32 elements differs"}, "structure: ", false},
		{"removed, and trained", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0}, nil, {1}, {2}, {3}}[block] })
			m.train()
		}, []string{"layers 0 to 3 of the conversion look like layers 0, 2 to 4 of the source; the conversion lacks layer 1 of the source", "  every tensor of all layers (4) of model.layers: 76 tensors, "}, "structure: ", false},
		{"added, and trained but for the attention", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0}, {1}, {2}, {4}, {5}}[block] })
			attention := m.clone()
			attention.tensors = slices.DeleteFunc(attention.tensors, func(e *entry) bool { return !strings.HasPrefix(e.name, in(2, "")) })
			m.tensors = slices.DeleteFunc(m.tensors, func(e *entry) bool { return strings.HasPrefix(e.name, in(2, "")) })
			other := m.clone()
			m.train()
			for _, e := range other.tensors {
				if strings.HasPrefix(e.name, in(4, "")) {
					e.name = strings.Replace(e.name, in(4, ""), in(3, ""), 1)
					roll(e)
					m.tensors = append(m.tensors, e)
				}
			}
			m.tensors = append(m.tensors, attention.tensors...)
		}, []string{"layers 0 to 2, 4, 5 of the conversion look like layers 0 to 4 of the source; layer 3 of the conversion has no counterpart in the source", "  every tensor of recurrent layers (4) of model.layers: 84 tensors, "}, "structure: ", false},
		{"a tensor of every layer", func(m *made) { renamed("gate_proj", "gate")(m) },
			[]string{"structure: 10 failures\n  all layers (5) of model.layers: mlp_block.gate_proj.weight, mlp_block.gate_proj.bias: 10 tensors, gate_proj renamed to gate\n"}, "missing", true},
		{"the list of layers", func(m *made) { renamed("model.layers.", "model.blocks.")(m) },
			[]string{"structure: 97 failures", "tensors, model.layers renamed to model.blocks"}, "missing", true},
		{"parts of every layer", func(m *made) {
			renamed("temporal_block", "tb")(m)
			renamed("mlp_block", "mlp")(m)
		}, []string{"structure      FAIL  of 99 tensors: 87 renamed\n",
			"structure: 87 failures\n  all layers (5) of model.layers: temporal_block.*: 57 tensors, temporal_block renamed to tb\n  all layers (5) of model.layers: mlp_block.*: 30 tensors, mlp_block renamed to mlp\n"}, "missing", true},
		{"the last layers are missing", func(m *made) {
			m.renumber(0, func(block int) []int { return [][]int{{0}, {1}, {2}, nil, nil}[block] })
		}, []string{"\n  layers 3, 4 of model.layers are missing ("}, "every", false},
		{"one that is wrong too", func(m *made) {
			m.get(finalNorm).name = "model.last_norm.weight"
			flip(3, 2)(m.get("model.last_norm.weight"))
		}, []string{"model.final_norm.weight (final_norm.scale): missing", "model.last_norm.weight: not a tensor of the model"}, "renamed", false},
	} {
		m := baseOf(t, "bfloat16, torch").made.clone()
		tt.do(m)
		v, err := m.judge(t)
		if err != nil || v.Same || v.Weights.OK != tt.proven {
			t.Fatalf("%s: %v, %+v", tt.name, err, v)
		}
		var b strings.Builder
		if err := WriteText(&b, v, "--all"); err != nil {
			t.Fatal(err)
		}
		for _, say := range tt.says {
			said := false
			for _, one := range strings.Split(say, "|") {
				said = said || strings.Contains(b.String(), one)
			}
			if !said || strings.Contains(b.String(), "\n"+tt.not) || strings.Count(b.String(), "\n") > 30 {
				t.Errorf("%s: %s\nshould say %q", tt.name, b.String(), say)
			}
		}
	}
}

// train changes most elements, by a few percent.
func (m *made) train() {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, e := range m.tensors {
		values := e.values()
		for i := range values {
			values[i] = values[i]*float32(1+0.05*rng.NormFloat64()) + 0.0001
		}
		e.set(values)
	}
}

// roll exchanges the halves of the elements of a tensor.
func roll(e *entry) {
	n := e.count() / 2 * e.size()
	e.data = slices.Concat(e.data[n:], e.data[:n])
}

// Among very many tensors, renamed ones are not looked for.
func TestVeryManyRenamed(t *testing.T) {
	for _, n := range []int{10, maxCompared} {
		source := &tensor.Tensor{Name: "a", DType: tensor.F32, Shape: []int64{2}, Data: memory{1, 2, 3, 4, 5, 6, 7, 8}}
		renamed := *source
		renamed.Name = "b"
		tensors := []*tensor.Tensor{&renamed}
		for i := range n {
			tensors = append(tensors, shaped(fmt.Sprint("w", i), tensor.BF16, 3))
		}
		many, err := tensor.NewCheckpoint("", "test", tensors)
		if err != nil {
			t.Fatal(err)
		}
		p := &convert.Plan{Source: &model.Model{Family: model.Griffin}}
		p.Dests = []moves.Dest{{Name: "a", DType: tensor.F32, Shape: []int64{2}}}
		p.Moves = []moves.Move{{Source: source, View: tensor.RowMajor(2)}}
		r, err := findRenamed(t.Context(), p, many, nil, nil)
		if err != nil || (r != nil) != (n == 10) || r != nil && r.name("a") != "b" {
			t.Errorf("%d tensors: %+v, %v", n, r, err)
		}
	}
}

// memory is Data in memory.
type memory []byte

func (m memory) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[off:])), nil
}

// An embedding for which the output head stands keeps its name, also where other tensors are renamed.
func TestRenamedBesideAHead(t *testing.T) {
	of := func(name string, content ...byte) *tensor.Tensor {
		return &tensor.Tensor{Name: name, DType: tensor.I8, Shape: []int64{int64(len(content))}, Data: memory(content)}
	}
	p := &convert.Plan{Source: &model.Model{Family: model.Griffin}}
	for i, source := range []*tensor.Tensor{of("e", 1, 2, 3), of("a", 4, 5)} {
		p.Dests = append(p.Dests, moves.Dest{Name: source.Name, DType: source.DType, Shape: source.Shape})
		p.Moves = append(p.Moves, moves.Move{Dest: i, Source: source, View: tensor.RowMajor(source.Shape...)})
	}
	for _, tt := range []struct {
		a        string // name of a
		embedded bool   // by the head
		want     map[string]string
	}{
		{"b", true, map[string]string{"e": "e", "a": "b"}}, {"b", false, map[string]string{"e": "head", "a": "b"}},
		{"a", true, nil}, {"a", false, map[string]string{"e": "head", "a": "a"}},
	} {
		c, err := tensor.NewCheckpoint("", "test", []*tensor.Tensor{of("head", 1, 2, 3), of(tt.a, 4, 5)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := findRenamed(t.Context(), p, c, &model.Model{EmbeddedByHead: tt.embedded}, nil)
		if err != nil || (r == nil) != (tt.want == nil) || r != nil && !maps.Equal(r.names, tt.want) {
			t.Errorf("%s, embedded by the head %t: %v, %v", tt.a, tt.embedded, r, err)
		}
	}
}

// A list is about the tensors that a checkpoint has, under its names, and about the heads that are compared too.
func TestApplyRenaming(t *testing.T) {
	var l moves.List
	for i, name := range []string{"a", "b", "gone", "head"} {
		l.Dests = append(l.Dests, moves.Dest{Name: name})
		l.Moves = append(l.Moves, moves.Move{Dest: i, Source: shaped("of "+name, tensor.F32, 1)})
	}
	names := func(l moves.List) (all string) {
		for i := range l.Dests {
			all += l.Dests[i].Name + " " + sourceNames(l, i) + "; "
		}
		return all
	}
	r := &renaming{names: map[string]string{"a": "x", "b": "b"}}
	if got, missing := r.apply(l, []string{"head"}); names(got) != "x of a; b of b; head of head; " || missing != 1 {
		t.Errorf("%s, %d are missing", names(got), missing)
	}
	if got, missing := r.apply(l, nil); names(got) != "x of a; b of b; " || missing != 2 {
		t.Errorf("without the head: %s, %d are missing", names(got), missing)
	}
	r = nil
	if got, missing := r.apply(l, nil); names(got) != names(l) || missing != 0 {
		t.Errorf("nothing renamed: %s, %d are missing", names(got), missing)
	}
	if names(l) != "a of a; b of b; gone of gone; head of head; " {
		t.Errorf("the list was changed: %s", names(l))
	}
}

// The words about moved layers say what findings about their tensors do, and no others.
func TestWordsOfMovedLayers(t *testing.T) {
	moved := &renaming{names: map[string]string{"a": "b", "c": "d", "e": "e"}, layers: &diff.MovedLayers{List: "m.l", A: []int{1, 2}, B: []int{0, 1}, OnlyA: []int{0}, OnlyB: []int{5}}}
	if got, want := moved.words(), "layers 0, 1 of the conversion are layers 1, 2 of the source; the conversion lacks layer 0 of the source; layer 5 of the conversion has no counterpart in the source"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := moved.summary(); got != "; 2 tensors under another name" {
		t.Error(got)
	}
	for _, none := range []*renaming{nil, {names: map[string]string{"e": "e"}}} {
		if none.words() != "" || none.summary() != "" || none.says(&Finding{Kind: MissingTensor, Tensor: "m.l.0.w"}) {
			t.Errorf("%+v says %q, %q", none, none.words(), none.summary())
		}
	}
	for _, tt := range []struct {
		f    Finding
		want bool
	}{
		{Finding{Kind: MissingTensor, Tensor: "m.l.0.w"}, true}, {Finding{Kind: MissingTensor, Tensor: "m.l.1.w"}, false}, {Finding{Kind: MissingTensor, Tensor: "m.l.5.w"}, false},
		{Finding{Kind: MissingTensor, Tensor: "n.l.0.w"}, false}, {Finding{Kind: MissingTensor, Tensor: "embed"}, false}, {Finding{Kind: MissingTensor, Tensor: "m.l.0.w", Field: "x"}, false},
		{Finding{Kind: ExtraTensor, Tensor: "m.l.5.w"}, true}, {Finding{Kind: ExtraTensor, Tensor: "m.l.0.w"}, false},
		{Finding{Kind: RenamedTensor, Tensor: "m.l.1.w", ConvertedName: "m.l.0.w"}, true}, {Finding{Kind: RenamedTensor, Tensor: "m.l.2.w", ConvertedName: "m.l.1.w"}, true},
		{Finding{Kind: RenamedTensor, Tensor: "m.l.1.w", ConvertedName: "m.l.0.x"}, false}, {Finding{Kind: RenamedTensor, Tensor: "m.l.7.w", ConvertedName: "m.l.0.w"}, false},
		{Finding{Kind: WrongWeights, Tensor: "m.l.0.w"}, false},
	} {
		if got := moved.says(&tt.f); got != tt.want {
			t.Errorf("%+v: %t", tt.f, got)
		}
	}
}

// Of an extra layer, it is said of which layer of the source it is a copy.
func TestCopied(t *testing.T) {
	r := &renaming{layers: &diff.MovedLayers{List: "m.l", OnlyB: []int{5, 6, 7}, DuplicatesB: []diff.Duplicate{{Layer: 5, Of: 1}, {Layer: 6, Of: 2, Alike: true}}}}
	for name, want := range map[string]string{"m.l.5.w": "layer 5 is a copy of layer 1 of the source", "m.l.6.w": "layer 6 looks like layer 2 of the source", "m.l.7.w": "", "n.l.5.w": "", "embed": ""} {
		if got := r.copied(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := (*renaming)(nil).copied("m.l.5.w"); got != "" {
		t.Error(got)
	}
}

// Of a layer that is missing, it is said which layer the conversion has under its number.
func TestNumberOfAMissingLayer(t *testing.T) {
	m := baseOf(t, "bfloat16, torch").made.clone()
	m.renumber(0, func(block int) []int { return [][]int{{0}, nil, {1}, {2}, {3}}[block] })
	v, err := m.judge(t)
	if err != nil {
		t.Fatal(err)
	}
	const want = "the conversion lacks layer 1 of the source; its own layer 1 is layer 2 of the source"
	missing := 0
	for _, f := range v.Structure.Findings.All() {
		if f.Kind != MissingTensor {
			continue
		}
		missing++
		if f.Detail != want || f.ConvertedName != "" || !strings.HasPrefix(f.Tensor, "model.layers.1.") {
			t.Errorf("%+v", f)
		}
	}
	groups := v.GroupFindings(v.Structure.Findings)
	if missing == 0 || len(groups) != 1 || !groups[0].Described() {
		t.Errorf("%d missing, %d groups", missing, len(groups))
	}
	last := baseOf(t, "bfloat16, torch").made.clone()
	last.renumber(0, func(block int) []int { return [][]int{{0}, {1}, {2}, {3}, nil}[block] })
	if v, err = last.judge(t); err != nil {
		t.Fatal(err)
	}
	if f := v.Structure.Findings.At(0); f.Detail != "" || f.ConvertedName != f.Tensor {
		t.Errorf("the last layer: %+v", f)
	}
}

// Of a missing layer it is said which layer of the source the conversion has under its number, if it has one.
func TestTaken(t *testing.T) {
	moved := &renaming{layers: &diff.MovedLayers{List: "m.l", A: []int{1, 2}, B: []int{0, 1}, OnlyA: []int{0, 5}}}
	for name, want := range map[string]string{
		"m.l.0.w": "the conversion lacks layer 0 of the source; its own layer 0 is layer 1 of the source",
		"m.l.1.w": "", // not missing
		"m.l.5.w": "", // its number is free
		"n.l.0.w": "",
		"m.l.9.w": "",
		"embed":   "",
	} {
		if got := moved.taken(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	moved.layers.Alike = true
	if got := moved.taken("m.l.0.w"); got != "the conversion lacks layer 0 of the source; its own layer 0 looks like layer 1 of the source" {
		t.Error(got)
	}
	for _, none := range []*renaming{nil, {}} {
		if got := none.taken("m.l.0.w"); got != "" {
			t.Errorf("%+v: %q", none, got)
		}
	}
}
