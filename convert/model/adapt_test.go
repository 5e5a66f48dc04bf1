package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// randomTensor returns a tensor of random numbers between -1 and 1.
func randomTensor(rng *rand.Rand, name string, d tensor.DType, shape ...int64) *tensor.Tensor {
	t := &tensor.Tensor{Name: name, DType: d, Shape: shape}
	data := make([]byte, t.Bytes())
	for i := range t.Elements() {
		roundTo(d, data[i*d.Size():], []float64{rng.Float64()*2 - 1})
	}
	return withData(t, data)
}

// roundTo rounds numbers to a type.
func roundTo(d tensor.DType, dst []byte, src []float64) {
	var stored []byte
	for _, x := range src {
		stored = binary.LittleEndian.AppendUint64(stored, math.Float64bits(x))
	}
	if d == tensor.F64 {
		copy(dst, stored)
		return
	}
	cast, err := tensor.NewCast(tensor.F64, d)
	if err != nil {
		panic(err)
	}
	cast(dst[:int64(len(src))*d.Size()], stored)
}

// values reads the elements of a tensor in the order of a view.
func values(t *testing.T, x *tensor.Tensor, v tensor.View) []float64 {
	t.Helper()
	seen, err := tensor.Viewed(x, v)
	if err != nil {
		t.Fatal(err)
	}
	return elementsOf(t, seen)
}

func elementsOf(t *testing.T, x *tensor.Tensor) []float64 {
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
	if int64(len(all)) != x.Bytes() {
		t.Fatalf("%s: %d bytes of %d", x.Name, len(all), x.Bytes())
	}
	out := make([]float64, x.Elements())
	tensor.ValuesOf(x.DType).Decode(out, all)
	return out
}

// modelWithWeights returns a model in a layout with random weights of a type.
func modelWithWeights(t *testing.T, rng *rand.Rand, c *Config, l Layout, d tensor.DType) *Model {
	t.Helper()
	tensors := modelTensors(c, l, "")
	for i, x := range tensors {
		tensors[i] = randomTensor(rng, x.Name, d, x.Shape...)
	}
	m, err := Recognize(checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// parameterView returns the tensor that has a parameter, and the view that shows it as transformers
// has it.
func parameterView(m *Model, p parameter) (*tensor.Tensor, tensor.View) {
	x := m.found.first[Griffin.nameOf(p, m.Layout)]
	v, _ := p.rule.At[m.Layout].Op.apply(tensor.RowMajor(x.Shape...))
	return x, v
}

// randomChange returns a change of a random kind that a parameter of that shape can have.
func randomChange(rng *rand.Rand, name string, shape []int64, d tensor.DType) peft.Change {
	c := peft.Change{Parameter: name, Scale: 0.25 + rng.Float64()}
	if rng.IntN(4) == 0 {
		c.Value = randomTensor(rng, "value", d, shape...)
	}
	switch {
	case len(shape) == 2 && (c.Value == nil || rng.IntN(2) == 0):
		rank := 1 + rng.Int64N(7)
		c.Left = &peft.Factor{Tensor: randomTensor(rng, "left", d, shape[0], rank)}
		c.Right = &peft.Factor{Tensor: randomTensor(rng, "right", d, rank, shape[1])}
		if rng.IntN(2) == 0 {
			c.Left = &peft.Factor{Tensor: randomTensor(rng, "left", d, rank, shape[0]), Transposed: true}
			c.Right = &peft.Factor{Tensor: randomTensor(rng, "right", d, shape[1], rank), Transposed: true}
		}
		if rng.IntN(3) == 0 {
			c.Magnitude = randomTensor(rng, "magnitude", d, shape[0])
		}
	case len(shape) == 1 && (c.Value == nil || rng.IntN(2) == 0):
		c.Right = &peft.Factor{Tensor: randomTensor(rng, "bias", d, shape[0])}
	case c.Value == nil:
		c.Value = randomTensor(rng, "value", d, shape...)
	}
	return c
}

// byFormula applies a change as its formula defines it.
func byFormula(t *testing.T, w []float64, shape []int64, c *peft.Change, d tensor.DType) []float64 {
	if c.Value != nil {
		w = elementsOf(t, c.Value)
	}
	cols := shape[len(shape)-1]
	if c.Right != nil {
		at := func(f *peft.Factor, i, k int64) float64 {
			rows, width := f.Shape()
			if f.Transposed {
				return elementsOf(t, f.Tensor)[k*rows+i]
			}
			return elementsOf(t, f.Tensor)[i*width+k]
		}
		rank, _ := c.Right.Shape()
		for i := range w {
			sum := 0.0
			for k := range rank {
				left := 1.0
				if c.Left != nil {
					left = at(c.Left, int64(i)/cols, k)
				}
				sum += left * at(c.Right, k, int64(i)%cols)
			}
			w[i] += float64(c.Scale * sum)
		}
	}
	if c.Magnitude != nil {
		m := elementsOf(t, c.Magnitude)
		for row := range shape[0] {
			squares := 0.0
			for _, x := range w[row*cols:][:cols] {
				squares += x * x
			}
			for i := range cols {
				w[row*cols+i] *= m[row] / math.Sqrt(squares)
			}
		}
	}
	stored := make([]byte, int64(len(w))*d.Size())
	roundTo(d, stored, w)
	tensor.ValuesOf(d).Decode(w, stored)
	return w
}

// TestOpenWithAdapterByTheFormula compares each element with the formula, in every layout and type, with
// changes of every kind to random parameters. Other parameters stay as they are.
func TestOpenWithAdapterByTheFormula(t *testing.T) {
	c := &Config{VocabSize: 11, Width: 12, MLPExpandedWidth: 10, NumHeads: 3, LRUWidth: 9, ConvWidth: 4, BlockTypes: []BlockType{Recurrent, Attention}}
	types := []tensor.DType{tensor.F64, tensor.F32, tensor.BF16, tensor.F16}
	rng := rand.New(rand.NewPCG(5, 5))
	for round := range 24 {
		l, d := Flax+Layout(round%3), types[round%4]
		m := modelWithWeights(t, rng, c, l, d)
		m.Config.SeparateHead = true // so that the embedding may change alone
		var all []peft.Change
		changes := map[parameter]*peft.Change{}
		for i, p := range Griffin.parameters(c) {
			if rng.IntN(2) == 0 {
				continue
			}
			name := "model." + Griffin.nameOf(p, HuggingFace)
			switch rng.IntN(3) { // an adapter of transformers' inner model, or of the original torch
			case 1:
				name = Griffin.nameOf(p, HuggingFace)
			case 2:
				if len(p.rule.At[Torch].Op) == 0 {
					name = Griffin.nameOf(p, Torch)
				}
			}
			change := randomChange(rng, name, sizesOf(c).shapeIn(p.rule, HuggingFace), types[rng.IntN(4)])
			all = append(all, change)
			changes[m.parameters()[i]] = &change
		}
		merged, err := merge(m, &Options{Adapter: adapterOf(all...)})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, p := range m.parameters() {
			x, v := parameterView(m, p)
			want := values(t, x, v)
			shape := sizesOf(c).shapeIn(p.rule, HuggingFace)
			if change := changes[p]; change != nil {
				want = byFormula(t, want, shape, change, d)
			}
			x, v = parameterView(merged, p)
			got := values(t, x, v)
			for i := range want {
				// Lengths of rows are summed in another order for a transposed matrix.
				if got[i] != want[i] && !(changes[p] != nil && changes[p].Magnitude != nil && math.Abs(got[i]-want[i]) <= math.Abs(want[i])*0x1p-7) {
					t.Fatalf("round %d, %s, %s %s: element %d is %v, want %v", round, l, d, Griffin.nameOf(p, l), i, got[i], want[i])
				}
			}
		}
	}
}

func adapterOf(changes ...peft.Change) *peft.Adapter {
	return &peft.Adapter{Path: "adapter", Config: &peft.Config{Base: "some/base"}, Changes: func() []peft.Change { return changes }}
}

func TestOpenWithAdapterRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	c := &tinyConfig
	factor := func(rows, cols int64) *peft.Factor {
		return &peft.Factor{Tensor: randomTensor(rng, "f", tensor.F32, rows, cols)}
	}
	other := &Griffin.Rules[slices.IndexFunc(Griffin.Rules, func(r Rule) bool { return r.Scope.kind == Recurrent && len(r.At[Torch].Op) > 0 })]
	const q, up = "model.layers.2.temporal_block.q_proj.weight", "model.layers.0.mlp_block.up_proj.bias"
	w, e := c.Width, c.MLPExpandedWidth
	fits := peft.Change{Parameter: q, Left: factor(w, 2), Right: factor(2, w), Scale: 1}
	again := fits
	again.Parameter = strings.TrimPrefix(q, "model.")
	otherBase := regexp.MustCompile("the model does not have|and the parameter is|of a vocabulary of|for rows of")
	for _, tt := range []struct {
		name    string
		changes []peft.Change
		want    string
	}{
		{"another model's", []peft.Change{{Parameter: "model.layers.0.self_attn.q_proj.weight", Value: named("v", 1)}}, "changes 1 tensor that the model does not have: model.layers.0.self_attn"},
		{"a matrix that the original has otherwise", []peft.Change{{Parameter: Griffin.nameOf(parameter{other, 0}, Torch), Value: named("v", 1)}}, "that the model does not have: blocks.0"},
		{"too many blocks", []peft.Change{{Parameter: "model.layers.99.temporal_block.q_proj.weight", Value: named("v", 1)}}, "does not have: model.layers.99"},
		{"too wide", []peft.Change{{Parameter: q, Left: factor(w, 2), Right: factor(2, w+1), Scale: 1}}, fmt.Sprintf("a product of shape [%d, %d], and the parameter is [%d, %d]", w, w+1, w, w)},
		{"too high", []peft.Change{{Parameter: q, Left: factor(w-1, 2), Right: factor(2, w), Scale: 1}}, "a product of shape"},
		{"other value", []peft.Change{{Parameter: q, Value: named("v", w, w, 1)}}, "and the parameter is"},
		{"long bias", []peft.Change{{Parameter: up, Right: &peft.Factor{Tensor: randomTensor(rng, "b", tensor.F32, e+1)}}}, "a product of shape"},
		{"matrix for a bias", []peft.Change{{Parameter: up, Left: factor(e, 2), Right: factor(2, 1)}}, "cannot be adapted in this way"},
		{"bias for a matrix", []peft.Change{{Parameter: q, Right: factor(1, w)}}, "cannot be adapted in this way"},
		{"convolution", []peft.Change{{Parameter: "model.layers.0.temporal_block.conv_1d.weight", Left: factor(c.LRUWidth, 2), Right: factor(2, 4)}}, "cannot be adapted in this way"},
		{"twice", []peft.Change{fits, again}, "twice"},
		{"head twice", []peft.Change{{Parameter: "lm_head.weight", Value: named("v", c.VocabSize, w)}, {Parameter: "model.lm_head.weight", Value: named("v", c.VocabSize, w)}}, "the output head twice"},
		{"magnitude", []peft.Change{{Parameter: q, Left: factor(w, 2), Right: factor(2, w), Magnitude: named("m", w+1)}}, "for a matrix of"},
		{"token", []peft.Change{{Parameter: "model.embed_tokens.weight", Rows: named("r", 1, w), Indices: []int64{c.VocabSize}}}, "of a vocabulary of"},
		{"narrow token", []peft.Change{{Parameter: "model.embed_tokens.weight", Rows: named("r", 1, w-1), Indices: []int64{0}}}, "for rows of"},
	} {
		for _, l := range []Layout{Flax, Torch, HuggingFace} {
			_, err := Open(t.Context(), modelWithWeights(t, rng, c, l, tensor.F32).Checkpoint, Options{Adapter: adapterOf(tt.changes...)})
			var bad *tensor.FormatError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %v; want %q", tt.name, l, err, tt.want)
			} else if other := otherBase.MatchString(err.Error()); other != (bad.Hint == "the adapter was made for some/base") {
				t.Errorf("%s, %s: hint %q", tt.name, l, bad.Hint)
			}
		}
	}
}

// TestAdaptersOfEmbeddingAndHead: the head is separate only if the adapter changes it and the embedding
// differently.
func TestAdaptersOfEmbeddingAndHead(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	c := &tinyConfig
	v, w := c.VocabSize, c.Width
	value, other := randomTensor(rng, "value", tensor.F32, v, w), randomTensor(rng, "other", tensor.F32, v, w)
	left, right := randomTensor(rng, "left", tensor.F32, v, 2), randomTensor(rng, "right", tensor.F32, 2, w)
	larger := randomTensor(rng, "larger", tensor.F32, v+3, w)
	product := func(name string) peft.Change {
		return peft.Change{Parameter: name, Scale: 3, Left: &peft.Factor{Tensor: left}, Right: &peft.Factor{Tensor: right}}
	}
	const embedding, head = "model.embed_tokens.weight", "lm_head.weight"
	for _, tt := range []struct {
		name     string
		changes  []peft.Change
		separate bool
		vocab    int64
	}{
		{"neither", []peft.Change{{Parameter: "model.final_norm.weight", Value: randomTensor(rng, "n", tensor.F32, w)}}, false, v},
		{"embedding", []peft.Change{{Parameter: embedding, Value: value}}, true, v},
		{"embedding as it was", []peft.Change{{Parameter: embedding, Value: nil, Scale: 0, Left: &peft.Factor{Tensor: left}, Right: &peft.Factor{Tensor: right}}}, false, v},
		{"head", []peft.Change{{Parameter: head, Value: value}}, true, v},
		{"both alike", []peft.Change{{Parameter: embedding, Value: value}, {Parameter: head, Value: value}}, false, v},
		{"both", []peft.Change{{Parameter: embedding, Value: value}, {Parameter: head, Value: other}}, true, v},
		{"one product for both", []peft.Change{product(embedding), product(head)}, false, v},
		{"a product", []peft.Change{product(head)}, true, v},
		{"tokens", []peft.Change{{Parameter: embedding, Rows: randomTensor(rng, "r", tensor.F32, 2, w), Indices: []int64{v - 1, 0}}}, false, v},
		{"a larger vocabulary", []peft.Change{{Parameter: embedding, Value: larger}, {Parameter: head, Value: larger}}, false, v + 3},
	} {
		for _, l := range []Layout{Flax, Torch, HuggingFace} {
			m := modelWithWeights(t, rng, c, l, tensor.F32)
			merged, err := Open(t.Context(), m.Checkpoint, Options{Adapter: adapterOf(tt.changes...)})
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, l, err)
				continue
			}
			configured, err := merged.Configure(tinySettings)
			if err != nil {
				t.Errorf("%s, %s: %v", tt.name, l, err)
				continue
			}
			config := &configured.Config
			tensors := merged.ParameterTensors(config)
			last := tensors[len(tensors)-1].Name
			if config.SeparateHead != tt.separate || (last == head) != tt.separate || config.VocabSize != tt.vocab {
				t.Errorf("%s, %s: separate head %v, last tensor %s, vocabulary %d", tt.name, l, config.SeparateHead, last, config.VocabSize)
			}
			if err := merged.CheckHeads(t.Context(), config); err != nil {
				t.Errorf("%s, %s: %v", tt.name, l, err)
			}
			if merged.HeadSplit() != tt.separate {
				t.Errorf("%s, %s: the adapter splits the head: %t", tt.name, l, merged.HeadSplit())
			}
		}
	}
}

// withHead returns a model with an output head beside it: a copy of the embedding, or a separate one.
func withHead(t *testing.T, rng *rand.Rand, l Layout, own bool) (*Model, *tensor.Tensor) {
	t.Helper()
	m := modelWithWeights(t, rng, &tinyConfig, l, tensor.F32)
	head := randomTensor(rng, "lm_head.weight", tensor.F32, tinyConfig.VocabSize, tinyConfig.Width)
	if !own {
		head.Data = m.Embedding().Data
	}
	if l == Flax { // as a dense layer of Flax has it
		turned, err := tensor.Viewed(head, tensor.RowMajor(head.Shape...).Permute(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		head = withData(named("lm_head.kernel", tinyConfig.Width, tinyConfig.VocabSize), readAll(t, turned))
	}
	m, err := Open(t.Context(), checkpoint(t, append(slices.Clone(m.Checkpoint.Tensors()), head)...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m, head
}

// TestAdaptersOfStoredHeads: a separate head is adapted by itself, and a stored copy of the embedding is
// dropped if the embedding changes.
func TestAdaptersOfStoredHeads(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 14))
	v, w := tinyConfig.VocabSize, tinyConfig.Width
	left, right := randomTensor(rng, "left", tensor.F32, v, 2), randomTensor(rng, "right", tensor.F32, 2, w)
	for _, l := range []Layout{Flax, Torch, HuggingFace} {
		m, head := withHead(t, rng, l, true)
		change := peft.Change{Parameter: "lm_head.weight", Scale: 3, Left: &peft.Factor{Tensor: left}, Right: &peft.Factor{Tensor: right}}
		merged, err := Open(t.Context(), m.Checkpoint, Options{Adapter: adapterOf(change)})
		if err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		h := merged.SeparateHead(&merged.Config)
		if h == nil || merged.HeadSplit() || len(merged.Heads) != 1 || !adapter.IsMerged(h.Tensor) || adapter.IsMerged(merged.Embedding()) {
			t.Fatalf("%s: %v of %d heads", l, h, len(merged.Heads))
		}
		want := byFormula(t, values(t, head, m.Heads[0].View()), []int64{v, w}, &change, tensor.F32)
		if got := values(t, h.Tensor, h.View()); !slices.Equal(got, want) {
			t.Errorf("%s: the head is not what the formula says", l)
		}

		// What changes neither leaves both.
		norm := peft.Change{Parameter: "model.final_norm.weight", Value: randomTensor(rng, "n", tensor.F32, w)}
		for _, own := range []bool{true, false} {
			m, head := withHead(t, rng, l, own)
			merged, err := Open(t.Context(), m.Checkpoint, Options{Adapter: adapterOf(norm)})
			if err != nil || len(merged.Heads) != 1 || merged.Heads[0].Tensor.Name != head.Name || merged.Config.SeparateHead != own || merged.HeadSplit() {
				t.Errorf("%s, own head %t: %+v, %v", l, own, merged, err)
			}
		}

		m, _ = withHead(t, rng, l, false)
		merged, err = Open(t.Context(), m.Checkpoint, Options{Adapter: adapterOf(peft.Change{Parameter: "model.embed_tokens.weight", Rows: randomTensor(rng, "r", tensor.F32, 1, w), Indices: []int64{5}})})
		if err != nil || merged.Config.SeparateHead || len(merged.Heads) != 0 || !adapter.IsMerged(merged.Embedding()) {
			t.Errorf("%s: %v, head apart %v, %d heads", l, err, merged.Config.SeparateHead, len(merged.Heads))
		}
	}
}

// TestOpenWithAdapterAgainstPEFT: what PEFT merged in float32 agrees within the rounding of its sum.
func TestOpenWithAdapterAgainstPEFT(t *testing.T) {
	const dir = "../../testdata/finetune/"
	a, err := peft.Read(storage.Local(dir+"adapter"), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, suffix := range []string{"", "-bf16"} {
		base, want := openSafetensors(t, dir+"base"+suffix), openSafetensors(t, dir+"merged"+suffix)
		merged, err := Open(t.Context(), base, Options{Adapter: a})
		if err != nil {
			t.Fatal(err)
		}
		adapted := 0
		for _, x := range merged.Tensors {
			if adapter.IsMerged(x) {
				adapted++
			}
			if suffix != "" && adapter.IsMerged(x) {
				continue // merged by PEFT from the base in float32
			}
			got, theirs := elementsOf(t, x), elementsOf(t, want.Tensor(x.Name))
			for i := range got {
				if math.Abs(got[i]-theirs[i]) > 4*0x1p-24*max(1, math.Abs(got[i])) {
					t.Fatalf("%s: element %d is %v, PEFT has %v", x.Name, i, got[i], theirs[i])
				}
			}
		}
		if adapted != 13 {
			t.Errorf("%d tensors are adapted", adapted)
		}
	}
}

func openSafetensors(t *testing.T, path string) *tensor.Checkpoint {
	t.Helper()
	c, err := safetensors.Open(storage.Local(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// What config.json states of the head and the vocabulary holds for the model with the adapter, but for what the adapter changes.
func TestAdaptersBesideConfig(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 15))
	const embedding, tied, untied = "model.embed_tokens.weight", `"tie_word_embeddings": true`, `"tie_word_embeddings": false`
	open := func(change func(string) string, withHead bool, rows int64, changes func(value *tensor.Tensor) []peft.Change) (*Model, *tensor.Tensor) {
		t.Helper()
		c, err := formats.Open(hfCopy(t, change), formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		base := c.Tensor(embedding)
		if withHead {
			head := *base
			head.Name = "lm_head.weight"
			if c, err = c.With(append(slices.Clone(c.Tensors()), &head)); err != nil {
				t.Fatal(err)
			}
		}
		value := randomTensor(rng, "v", tensor.F32, base.Shape[0]+rows, base.Shape[1])
		m, err := Open(t.Context(), c, Options{Adapter: adapterOf(changes(value)...)})
		if err != nil {
			t.Fatal(err)
		}
		return m, base
	}
	m, base := open(swap(tied, untied), true, 0, func(value *tensor.Tensor) []peft.Change { return []peft.Change{{Parameter: embedding, Value: value}} })
	configured, err := m.Configure(Settings{})
	if err != nil || m.HeadSplit() || !configured.Config.SeparateHead || len(m.Heads) != 1 || !slices.Equal(elementsOf(t, m.Heads[0].Tensor), elementsOf(t, base)) {
		t.Errorf("a head of its own: split %t, %d heads, %v", m.HeadSplit(), len(m.Heads), err)
	}
	m, base = open(swap(tied, tied), false, 3, func(value *tensor.Tensor) []peft.Change {
		return []peft.Change{{Parameter: embedding, Value: value}, {Parameter: "lm_head.weight", Value: value}}
	})
	configured, err = m.Configure(Settings{})
	if err != nil || configured.Config.VocabSize != base.Shape[0]+3 || len(m.Heads) != 1 || m.Heads[0].Tensor.Name != "lm_head.weight" {
		t.Errorf("a larger vocabulary: %+v, %d heads, %v", configured, len(m.Heads), err)
	}
}
