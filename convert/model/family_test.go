package model

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// tinyBlocks are the blocks of testdata/tiny-griffin.txt.
var tinyBlocks = []BlockType{Recurrent, Recurrent, Attention, Recurrent, Recurrent}

var tinyConfig = Config{VocabSize: 128, Width: 32, MLPExpandedWidth: 96, NumHeads: 4, LRUWidth: 48, ConvWidth: 4, BlockTypes: tinyBlocks,
	AttentionWidth: 32, KVHeads: 1, Numerics: originalNumerics, AttentionWindow: 8, LogitsSoftCap: 30, EmbeddingScale: true}

type namedShape struct {
	name  string
	shape []int64
}

// recorded lists the parameters of the small model as the real implementations name them.
func recorded(t *testing.T, l Layout) []namedShape {
	t.Helper()
	data, err := os.ReadFile("testdata/tiny-griffin.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []namedShape
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		fields := strings.Fields(s.Text())
		if fields[0] != l.String() {
			continue
		}
		n := namedShape{name: fields[1]}
		for _, f := range fields[2:] {
			size, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n.shape = append(n.shape, size)
		}
		out = append(out, n)
	}
	return out
}

// described lists the parameters of a model as the rules name them.
func described(c *Config, l Layout) []namedShape {
	var out []namedShape
	for _, p := range Griffin.parameters(c) {
		n := namedShape{Griffin.Roots[l] + Griffin.nameOf(p, l), sizesOf(c).shapeIn(p.rule, l)}
		if !slices.ContainsFunc(out, func(o namedShape) bool { return o.name == n.name }) {
			out = append(out, n)
		}
	}
	return out
}

func TestTableNamesWhatTheImplementationsName(t *testing.T) {
	for _, l := range []Layout{Flax, Torch, HuggingFace} {
		want, got := recorded(t, l), described(&tinyConfig, l)
		if l != HuggingFace { // no order
			for _, s := range [][]namedShape{want, got} {
				slices.SortFunc(s, func(a, b namedShape) int { return strings.Compare(a.name, b.name) })
			}
		}
		if len(want) == 0 || len(want) != len(got) {
			t.Fatalf("%s: %d tensors, want %d", l, len(got), len(want))
		}
		for i := range want {
			if want[i].name != got[i].name || !slices.Equal(want[i].shape, got[i].shape) {
				t.Errorf("%s: tensor %d is %v, want %v", l, i, got[i], want[i])
			}
		}
	}
}

func TestParametersOfThePresets(t *testing.T) {
	for name, want := range map[string]int64{"2b": 2_682_862_080, "9b": 8_579_977_216} {
		c := Griffin.Preset(name).Config
		c.VocabSize = 256000
		if got := Griffin.Parameters(&c); got != want {
			t.Errorf("%s: %d parameters, want %d", name, got, want)
		}
	}
}

// randomSizes returns random lengths of the axes.
func randomSizes(rng *rand.Rand) *Sizes {
	c := Config{VocabSize: 2 + rng.Int64N(9), MLPExpandedWidth: 1 + rng.Int64N(12), NumHeads: 1 + rng.Int64N(4), ConvWidth: 1 + rng.Int64N(6)}
	c.Width = c.NumHeads * (1 + rng.Int64N(5))
	c.LRUWidth = c.NumHeads * (1 + rng.Int64N(5))
	return sizesOf(&c)
}

// elements lists the elements of a view by its definition.
func elements(v tensor.View) []int64 {
	out := make([]int64, 0, v.Elements())
	index := make([]int64, len(v.Shape))
	for range v.Elements() {
		at := v.Offset
		for k, i := range index {
			at += i * v.Strides[k]
		}
		out = append(out, at)
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < v.Shape[k] {
				break
			}
			index[k] = 0
		}
	}
	return out
}

// store is a tensor of a layout in memory.
type store map[string][]int64

// convertStore applies the rules as Transfers does, to numbers in memory.
func convertStore(t *testing.T, s *Sizes, from, to Layout, in store) store {
	t.Helper()
	out, filled := store{}, map[string][]bool{}
	for i := range Griffin.Rules {
		r := &Griffin.Rules[i]
		if r.If != nil { // not in all layouts
			continue
		}
		src := s.shapeIn(r, from)
		view, first := r.between(from, to).apply(tensor.RowMajor(src...))
		name, shape := r.At[to].Tail, s.shapeIn(r, to)
		n := (&tensor.Tensor{Shape: shape}).Elements()
		if out[name] == nil {
			out[name], filled[name] = make([]int64, n), make([]bool, n)
		}
		if int64(len(out[name])) != n {
			t.Fatalf("%s: two shapes", name)
		}
		if view.Elements() == n && !slices.Contains(filled[name], false) {
			continue // the whole tensor, as it was for the other parameter in it
		}
		for k, e := range elements(view) {
			if filled[name][first+int64(k)] {
				t.Fatalf("%s to %s: %s: element %d is filled twice", from, to, name, first+int64(k))
			}
			filled[name][first+int64(k)] = true
			out[name][first+int64(k)] = in[r.At[from].Tail][e]
		}
	}
	for name, f := range filled {
		if slices.Contains(f, false) {
			t.Fatalf("%s to %s: %s is not filled", from, to, name)
		}
	}
	return out
}

// TestInverseIsDerived converts random models between all pairs of layouts and back.
func TestInverseIsDerived(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 200 {
		s := randomSizes(rng)
		for from := Flax; from < layoutCount; from++ {
			in := store{}
			for i := range Griffin.Rules {
				if Griffin.Rules[i].If != nil {
					continue
				}
				n := (&tensor.Tensor{Shape: s.shapeIn(&Griffin.Rules[i], from)}).Elements()
				values := make([]int64, n)
				for k := range values {
					values[k] = rng.Int64()
				}
				in[Griffin.Rules[i].At[from].Tail] = values
			}
			for to := Flax; to < layoutCount; to++ {
				there := convertStore(t, s, from, to, in)
				back := convertStore(t, s, to, from, there)
				for name := range in {
					if !slices.Equal(in[name], back[name]) {
						t.Fatalf("round %d: %s to %s and back changes %s", round, from, to, name)
					}
				}
			}
		}
	}
}

// TestInverseOfAnyOp does the same with random operations that the rules do not use.
func TestInverseOfAnyOp(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for round := range 2000 {
		shape := make([]int64, 1+rng.IntN(4))
		for i := range shape {
			shape[i] = 1 + rng.Int64N(5)
		}
		o := Op{}
		now := slices.Clone(shape)
		if len(now) > 1 && rng.IntN(2) == 0 {
			o = append(o, Take(rng.Int64N(now[0]), now[0]))
			now = now[1:]
		}
		for range rng.IntN(5) {
			s := Permute(rng.Perm(len(now))...)
			if k := rng.IntN(len(now)); rng.IntN(2) == 0 {
				s = AddUnit(k)
			} else if now[k] == 1 && len(now) > 1 {
				s = DropUnit(k)
			}
			o = append(o, s)
			now = rearrange(Op{s}, now, func(n int64) int64 { return n })
		}
		there, _ := o.apply(tensor.RowMajor(shape...))
		if !slices.Equal(there.Shape, now) {
			t.Fatalf("round %d: %s of %v is %v, want %v", round, o, shape, there.Shape, now)
		}
		whole := rearrange(o.inverse(), now, func(n int64) int64 { return n })
		if !slices.Equal(whole, shape) {
			t.Fatalf("round %d: the inverse of %s makes %v of %v, want %v", round, o, whole, now, shape)
		}
		source := elements(there)
		back, first := o.inverse().apply(tensor.RowMajor(now...))
		for k, e := range elements(back) {
			if want := first + int64(k); source[e] != want {
				t.Fatalf("round %d: %s of %v and back: element %d comes from %d", round, o, shape, want, source[e])
			}
		}
	}
}

// TestMeaning states the meaning of the operations element by element.
func TestMeaning(t *testing.T) {
	s := sizesOf(&tinyConfig)
	W, E, L, C, K := s['W'], s['E'], s['L'], s['C'], s['K']
	for _, tt := range []struct {
		from         Layout
		source, dest string
		elements     int64
		at           func(i int64) int64 // element of the source that becomes element i of the destination
	}{
		{Flax, "recurrent_block.linear_x.kernel", "temporal_block.linear_x.weight", L * W, func(i int64) int64 { l, w := i/W, i%W; return w*L + l }},
		{Torch, "recurrent_block.linear_x.weight", "temporal_block.linear_x.weight", L * W, func(i int64) int64 { return i }},
		{Flax, "attention_block.proj_k.kernel", "temporal_block.k_proj.weight", K * W, func(i int64) int64 { k, w := i/W, i%W; return w*K + k }},
		{Flax, "recurrent_block.conv_1d.w", "temporal_block.conv_1d.weight", L * C, func(i int64) int64 { l, c := i/C, i%C; return c*L + l }},
		{Torch, "recurrent_block.conv_1d.w", "temporal_block.conv_1d.weight", L * C, func(i int64) int64 { l, c := i/C, i%C; return c*L + l }},
		{Flax, "mlp_block.ffw_up.w", "mlp_block.gate_proj.weight", E * W, func(i int64) int64 { e, w := i/W, i%W; return w*E + e }},
		{Torch, "mlp_block.ffw_up.w", "mlp_block.up_proj.weight", E * W, func(i int64) int64 { e, w := i/W, i%W; return W*E + w*E + e }},
		{Torch, "mlp_block.ffw_up.b", "mlp_block.up_proj.bias", E, func(i int64) int64 { return E + i }},
		{Flax, "recurrent_block.rg_lru.a_gate.w", "temporal_block.rg_lru.recurrent_gate_weight", L * s['D'], func(i int64) int64 { return i }},
		{Flax, "embedder.input_embedding", "embed_tokens.weight", s['V'] * W, func(i int64) int64 { return i }},
	} {
		i := slices.IndexFunc(Griffin.Rules, func(r Rule) bool { return r.At[tt.from].Tail == tt.source && r.At[HuggingFace].Tail == tt.dest })
		if i < 0 {
			t.Errorf("no rule from %s to %s", tt.source, tt.dest)
			continue
		}
		r := &Griffin.Rules[i]
		view, first := r.between(tt.from, HuggingFace).apply(tensor.RowMajor(s.shapeIn(r, tt.from)...))
		got := elements(view)
		if first != 0 || int64(len(got)) != tt.elements {
			t.Errorf("%s: %d elements from %d, want %d from 0", tt.dest, len(got), first, tt.elements)
			continue
		}
		for k, e := range got {
			if e != tt.at(int64(k)) {
				t.Errorf("%s: element %d is the source's %d, want %d", tt.dest, k, e, tt.at(int64(k)))
				break
			}
		}
	}
}

func TestTableIsSound(t *testing.T) {
	for i := range Griffin.Rules {
		for l := Flax; l < layoutCount; l++ {
			for k, s := range Griffin.Rules[i].At[l].Op {
				if s.kind == stepTake && k != 0 {
					t.Errorf("%s: a part is taken after other steps, so that its inverse would not fill one run", Griffin.Rules[i].At[l].Tail)
				}
			}
		}
		if len(Griffin.Rules[i].At[HuggingFace].Op) > 0 {
			t.Errorf("%s: the Hugging Face tensor is not the parameter itself", Griffin.Rules[i].At[HuggingFace].Tail)
		}
	}
}

func TestOpNames(t *testing.T) {
	for _, tt := range []struct {
		o    Op
		want string
	}{
		{same, "copy"}, {transposed, "transpose"}, {taps, "transpose, add axis 1"}, {halfMatrix(1), "part 1, transpose"},
		{halfVector(0).inverse(), "add axis 0, add axis 0, into part 0"}, {Op{Permute(2, 0, 1)}, "permute [2 0 1]"},
	} {
		if got := tt.o.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if o := fmt.Sprint(Griffin.Rules[2].between(Flax, Torch)); o != "transpose" {
		t.Errorf("a dense layer from Flax to torch: %s", o)
	}
	if o := fmt.Sprint((&Griffin.Rules[8]).between(Flax, Torch)); o != "copy" {
		t.Errorf("the convolution from Flax to torch: %s", o)
	}
}
