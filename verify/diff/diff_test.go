package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

const testdata = "../../testdata/"

func open(t testing.TB, path string) *tensor.Checkpoint {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// forms returns the checkpoints of one model, as several implementations saved it.
func forms(t testing.TB, model string) (all []string) {
	t.Helper()
	all, err := filepath.Glob(testdata + model + "/original/*")
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	return append(all, testdata+model+"/hf")
}

// A model is equal to itself in every format and layout, in both directions.
func TestEqualInEveryForm(t *testing.T) {
	for _, model := range []string{"micro-griffin", "tiny-griffin"} {
		all := forms(t, model)
		for _, a := range all {
			for _, b := range all {
				r, err := Diff(t.Context(), open(t, a), open(t, b), Options{})
				if err != nil {
					t.Fatalf("%s against %s: %v", a, b, err)
				}
				if !r.Equal || r.Summary.Equal != len(r.Tensors) || len(r.Tensors) < 30 || r.A.Parameters != r.B.Parameters {
					t.Errorf("%s against %s: %+v", a, b, r.Summary)
				}
			}
		}
	}
}

// loaded returns a copy of a checkpoint in memory, and the contents of its tensors, which can be changed.
func loaded(t testing.TB, path string) (*tensor.Checkpoint, map[string][]byte) {
	t.Helper()
	c := open(t, path)
	contents := map[string][]byte{}
	var tensors []*tensor.Tensor
	for i, stored := range c.Tensors() {
		r, err := stored.Data.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		contents[stored.Name] = content
		tensors = append(tensors, tensorOf(stored.Name, stored.DType, stored.Shape, content, i%2 == 0))
	}
	copied, err := tensor.NewCheckpoint(c.Path, c.Format, tensors)
	if err != nil {
		t.Fatal(err)
	}
	return copied, contents
}

// One bit that is flipped in any tensor of any form is found, in this tensor only.
func TestOneBitIsFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	all := forms(t, "micro-griffin")
	for round := range 60 {
		a, b := all[rng.IntN(len(all))], all[rng.IntN(len(all))]
		changed, contents := loaded(t, b)
		victim := changed.Tensors()[rng.IntN(len(changed.Tensors()))]
		content := contents[victim.Name]
		content[rng.IntN(len(content))] ^= 1 << rng.IntN(8)
		left, right := open(t, a), changed
		if round%2 == 1 {
			left, right = right, left
		}
		r, err := Diff(t.Context(), left, right, Options{})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s against %s with %s changed", a, b, victim.Name)
		if r.Equal || r.Summary.Differ != 1 || r.Summary.Equal != r.Summary.Tensors-1 || r.Summary.Differing != 1 {
			t.Fatalf("%s: %+v", name, r.Summary)
		}
		e := &r.Tensors[0]
		if names := []string{e.Name, e.A, e.B}; !slices.Contains(names, victim.Name) {
			t.Errorf("%s: %q is said to differ", name, names)
		}
		if e.Metrics.Differing != 1 || e.Explanation == nil || (e.Explanation.Kind == explain.Other) != (e.Elements < 100) {
			t.Errorf("%s: %+v, %+v", name, e.Metrics, e.Explanation)
		}
	}
}

// The index of a difference is that in the layout of comparison, also if the side has another layout.
func TestIndexThroughTheRules(t *testing.T) {
	changed, contents := loaded(t, testdata+"micro-griffin/original/orbax-ocdbt")
	const name = "params.blocks.0.mlp_block.ffw_up.w" // [2, width, expanded]
	shape := changed.Tensor(name).Shape
	size := changed.Tensor(name).DType.Size()
	part, in, out := int64(1), int64(3), int64(5)
	contents[name][((part*shape[1]+in)*shape[2]+out)*size] ^= 1
	r, err := Diff(t.Context(), changed, open(t, testdata+"micro-griffin/hf"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := r.Tensors[0]
	if e.Name != "model.layers.0.mlp_block.up_proj.weight" || e.A != name || e.B != "" || !slices.Equal(e.Metrics.First, []int64{out, in}) {
		t.Errorf("%+v %+v", e, e.Metrics)
	}
}

// vector returns a tensor of n float32.
func vector(name string, values ...float64) *tensor.Tensor {
	return array{tensor.F32, []int64{int64(len(values))}, values}.tensor(name)
}

// statuses lists the tensors of a result, with their statuses and other names.
func statuses(r *Result) string {
	var out []string
	for _, e := range r.Tensors {
		line := fmt.Sprintf("%s %s", e.Status, e.Name)
		if e.A != "" {
			line += " a:" + e.A
		}
		if e.B != "" {
			line += " b:" + e.B
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func TestPairing(t *testing.T) {
	renames := func(text string) *names.Rules {
		m, err := names.ParseRules("rules", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	v := func(name string, seed float64) *tensor.Tensor {
		return vector(name, seed, seed+1, seed*seed, -seed, 3, 7, seed/3, 2)
	}
	for _, tt := range []struct {
		name string
		a, b []*tensor.Tensor
		o    Options
		want string
	}{
		{"names", []*tensor.Tensor{v("x", 1), v("y", 2)}, []*tensor.Tensor{v("y", 2), v("z", 9)}, Options{Raw: true}, "only_a x; only_b z; equal y"},
		{"prefix of one", []*tensor.Tensor{v("module.x.w", 1), v("module.y.w", 2)}, []*tensor.Tensor{v("y.w", 2), v("x.w", 1)}, Options{},
			"equal x.w a:module.x.w; equal y.w a:module.y.w"},
		{"two prefixes", []*tensor.Tensor{v("params.x.w", 1), v("params.y.w", 2)}, []*tensor.Tensor{v("model.y.w", 2), v("model.x.w", 1)}, Options{},
			"equal x.w a:params.x.w b:model.x.w; equal y.w a:params.y.w b:model.y.w"},
		{"prefix, raw", []*tensor.Tensor{v("module.x", 1)}, []*tensor.Tensor{v("x", 1)}, Options{Raw: true}, "only_a module.x; only_b x"},
		{"wrapper within", []*tensor.Tensor{v("a._orig_mod.x", 1)}, []*tensor.Tensor{v("a.x", 1)}, Options{}, "equal a.x a:a._orig_mod.x"},
		{"renamed", []*tensor.Tensor{v("x", 1), v("old", 2), v("gone", 3)}, []*tensor.Tensor{v("x", 1), v("new", 2), v("come", 4)}, Options{},
			"only_a gone; only_b come; equal old b:new; equal x"},
		{"empty, renamed", []*tensor.Tensor{v("x", 1), vector("e")}, []*tensor.Tensor{v("x", 1), vector("f")}, Options{}, "only_a e; only_b f; equal x"},
		{"wrapped, beside its own name", []*tensor.Tensor{v("a._orig_mod.x", 1), v("a.x", 2)}, []*tensor.Tensor{v("a.x", 2)}, Options{}, "only_a a._orig_mod.x; equal a.x"},
		{"several alike", []*tensor.Tensor{v("p", 2), v("q", 2)}, []*tensor.Tensor{v("r", 2), v("s", 2)}, Options{}, "equal p b:r; equal q b:s"},
		{"shape", []*tensor.Tensor{vector("x", 1, 2)}, []*tensor.Tensor{vector("x", 1, 2, 3)}, Options{}, "shape x"},
		{"map", []*tensor.Tensor{v("h.0.attn.w", 1), v("h.1.attn.w", 2)}, []*tensor.Tensor{v("layers.0.self.w", 1), v("layers.1.self.w", 2)},
			Options{Map: renames("# rules\n\nh.*.attn.* -> layers.*.self.*\n")}, "equal layers.0.self.w a:h.0.attn.w; equal layers.1.self.w a:h.1.attn.w"},
		{"only", []*tensor.Tensor{v("x.w", 1), v("x.b", 2), v("y", 3)}, []*tensor.Tensor{v("x.w", 1), v("x.b", 5)}, Options{Only: []string{"x.*"}}, "differs x.b; equal x.w"},
		{"only, the other name", []*tensor.Tensor{v("module.x", 1), v("module.y", 1)}, []*tensor.Tensor{v("x", 1), v("y", 1)}, Options{Only: []string{"module.x"}}, "equal x a:module.x"},
		{"nothing", nil, nil, Options{}, ""},
		{"empty tensors", []*tensor.Tensor{vector("e")}, []*tensor.Tensor{vector("e")}, Options{}, "equal e"},
	} {
		r, err := Diff(t.Context(), checkpointOf(t, tt.a...), checkpointOf(t, tt.b...), tt.o)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := statuses(r); got != tt.want {
			t.Errorf("%s:\n%s\nnot\n%s", tt.name, got, tt.want)
		}
		if renamed := r.Summary.Renamed; r.Equal != (renamed == 0 && r.Summary.Equal == len(r.Tensors)) {
			t.Errorf("%s: equal %v, %d renamed", tt.name, r.Equal, renamed)
		}
	}
}

// A rule of a map may give tensors of a model the names that they have in the layout of the other side, also in layers that were moved.
func TestMapToNamesOfAnotherLayout(t *testing.T) {
	const hf, torch, flax = "hf", "original/torch.pt", "original/orbax-ocdbt"
	const norm, ffw = ".channel_pre_norm.", ".mlp_block.ffw_"
	const fewer = " without layer 1"
	for _, tt := range []struct {
		a, b, rules string
		different   Summary
	}{
		{torch, hf, "blocks.*" + norm + "scale -> model.layers.*" + norm + "weight", Summary{}},
		{torch, hf, "blocks.*" + norm + "scale -> layers.*" + norm + "weight", Summary{}},
		{torch, hf, "embedder.input_embedding -> model.embed_tokens.weight", Summary{}},
		{hf, torch, "model.layers.*" + norm + "weight -> blocks.*" + norm + "scale", Summary{}},
		{hf, flax, "model.layers.*.mlp_block.down_proj.weight -> params.blocks.*" + ffw + "down.kernel", Summary{}},
		{hf, torch, "model.layers.*.mlp_block.up_proj.weight -> blocks.*" + ffw + "up.w", Summary{}},
		{flax, torch, "params.blocks.*" + norm + "scale -> blocks.*" + norm + "scale", Summary{}},
		{torch, hf, "blocks.0" + norm + "scale -> model.layers.1" + norm + "weight\nblocks.1" + norm + "scale -> model.layers.0" + norm + "weight", Summary{Differ: 2}},
		{torch, hf + fewer, "blocks.*" + norm + "scale -> model.layers.*" + norm + "weight", Summary{OnlyA: 21}},
	} {
		rules, err := names.ParseRules("map.txt", strings.NewReader(tt.rules))
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, testdata+"tiny-griffin/"+strings.TrimSuffix(tt.b, fewer))
		if strings.HasSuffix(tt.b, fewer) {
			b = presented(t, b.Path, func(name string) string {
				list, layer, rest := SplitLayer(name)
				switch {
				case layer < 1:
					return name
				case layer == 1:
					return ""
				}
				return fmt.Sprintf("%s.%d.%s", list, layer-1, rest)
			})
		}
		r, err := Diff(t.Context(), open(t, testdata+"tiny-griffin/"+tt.a), b, Options{Map: rules})
		if err != nil {
			t.Fatal(err)
		}
		s := r.Summary
		if s.Differ != tt.different.Differ || s.OnlyA != tt.different.OnlyA || s.OnlyB+s.Shape+s.Renamed > 0 || tt.different == (Summary{}) && r.Verdict != "equal, renamed by map.txt" {
			t.Errorf("%s and %s, %s: %q, %+v", tt.a, tt.b, tt.rules, r.Verdict, s)
		}
	}
}

// A head that only one side has is compared with the other's embedding.
func TestHeadAgainstEmbedding(t *testing.T) {
	withHead := func(change bool) *tensor.Checkpoint {
		c, contents := loaded(t, testdata+"micro-griffin/hf")
		embedding := c.Tensor("model.embed_tokens.weight")
		content := bytes.Clone(contents[embedding.Name])
		if change {
			content[len(content)-1] ^= 1
		}
		tensors := append(slices.Clone(c.Tensors()), tensorOf("lm_head.weight", embedding.DType, embedding.Shape, content, false))
		out, err := tensor.NewCheckpoint(c.Path, c.Format, tensors)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, changed := range []bool{false, true} {
		for _, other := range []string{"hf", "original/orbax-ocdbt"} {
			r, err := Diff(t.Context(), open(t, testdata+"micro-griffin/"+other), withHead(changed), Options{})
			if err != nil {
				t.Fatal(err)
			}
			heads := slices.DeleteFunc(slices.Clone(r.Notes), func(n string) bool { return strings.HasSuffix(n, "only what its shapes show was compared") })
			if r.Equal == changed || len(heads) != 1 || changed && r.Tensors[0].Name != "lm_head.weight" {
				t.Errorf("%s, changed %v: equal %v, %s", other, changed, r.Equal, r.Notes)
			}
			if r.B.Tensors != r.A.Tensors+1 || r.B.Parameters-r.A.Parameters != r.Tensors[0].Elements && changed {
				t.Errorf("%s: %d and %d tensors, %d and %d parameters", other, r.A.Tensors, r.B.Tensors, r.A.Parameters, r.B.Parameters)
			}
		}
	}
}

// An embedding is explained as that of a conversion without embedding scale only if every element is the quotient.
func TestDividedEmbedding(t *testing.T) {
	original := func() *tensor.Checkpoint { return open(t, testdata+"micro-griffin/original/orbax-ocdbt") }
	for _, changed := range []bool{false, true} {
		c, contents := loaded(t, testdata+"micro-griffin/hf")
		head := c.Tensor("model.embed_tokens.weight")
		by := huggingface.EmbeddingScale(head.Shape[1])
		divide, err := tensor.NewDivide(head.DType, head.DType, by)
		if err != nil {
			t.Fatal(err)
		}
		quotients := make([]byte, head.Bytes())
		divide(quotients, contents[head.Name])
		if changed {
			quotients[0] ^= 1
		}
		tensors := slices.DeleteFunc(slices.Clone(c.Tensors()), func(x *tensor.Tensor) bool { return x == head })
		tensors = append(tensors, tensorOf("lm_head.weight", head.DType, head.Shape, contents[head.Name], false), tensorOf(head.Name, head.DType, head.Shape, quotients, false))
		converted, err := tensor.NewCheckpoint(c.Path, c.Format, tensors)
		if err != nil {
			t.Fatal(err)
		}
		for want, pair := range map[string][2]*tensor.Checkpoint{
			fmt.Sprintf("scaled by 1/%g, as a conversion divides", by):         {original(), converted},
			fmt.Sprintf("scaled by %g, by which a conversion divides the", by): {converted, original()},
		} {
			r, err := Diff(t.Context(), pair[0], pair[1], Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Tensors[0].Change(); r.Equal || r.Summary.Differ != 1 || r.Tensors[0].Name != head.Name || strings.HasPrefix(got, want) == changed {
				t.Errorf("changed %v: equal %v, %s: %s", changed, r.Equal, r.Tensors[0].Name, got)
			}
		}
	}
}

// summed is Data with a checksum.
type summed struct {
	lay    *tensor.Strided
	crc    uint32
	whole  int64
	passed bool
	checks int
}

func (s *summed) Strided() (*tensor.Strided, error)       { return s.lay, nil }
func (s *summed) Stream(off int64) (io.ReadCloser, error) { return s.lay.Stream(off) }
func (s *summed) Checksum() (int64, int64, uint32)        { return 0, s.whole, s.crc }
func (s *summed) Passed()                                 { s.passed = true }

func (s *summed) Check() error {
	if s.passed {
		return nil
	}
	s.checks++
	content := make([]byte, s.whole)
	if _, err := s.lay.Store.ReadAt(content, 0); err != nil {
		return err
	}
	if crc32.ChecksumIEEE(content) != s.crc {
		return tensor.Bad("checksum")
	}
	s.passed = true
	return nil
}

// Data with a wrong checksum is an error, whether its elements are equal to the other side's or not. A tensor
// that was compared as a whole is not read again for its checksum.
func TestDamageIsNoDifference(t *testing.T) {
	content := make([]byte, 4000)
	for i := range content {
		content[i] = byte(i * 7)
	}
	other := bytes.Clone(content)
	other[2000] ^= 1
	of := func(content []byte, crc uint32) (*tensor.Tensor, *summed) {
		x := tensorOf("w", tensor.F32, []int64{1000}, content, false)
		s := &summed{lay: x.Data.(*tensor.Strided), crc: crc, whole: int64(len(content))}
		x.Data = s
		return x, s
	}
	for _, tt := range []struct {
		name      string
		b         []byte
		of        []byte // whose checksum is kept
		damaged   bool
		readAgain bool
	}{
		{"whole and equal", content, content, false, false},
		{"whole and different", other, other, false, true},
		{"damaged and different", other, content, true, true},
		{"damaged and equal", content, other, true, true},
	} {
		a, _ := of(content, crc32.ChecksumIEEE(content))
		b, sum := of(tt.b, crc32.ChecksumIEEE(tt.of))
		_, err := Diff(t.Context(), checkpointOf(t, a), checkpointOf(t, b), Options{})
		var bad *tensor.FormatError
		if errors.As(err, &bad) != tt.damaged || bad != nil && bad.Tensor != "w" || err != nil && bad == nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if (sum.checks > 0) != tt.readAgain {
			t.Errorf("%s: read for its checksum %d times", tt.name, sum.checks)
		}
	}
}

func TestDiffStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Diff(ctx, open(t, testdata+"micro-griffin/hf"), open(t, testdata+"micro-griffin/original/torch.pt"), Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, and Diff says %v", err)
	}
}

func TestPatternsThatFitNothing(t *testing.T) {
	c := checkpointOf(t, vector("x", 1))
	var choice *OptionError
	for _, only := range [][]string{{"x", "y*"}, {"y*", "x"}} {
		if _, err := Diff(t.Context(), c, c, Options{Only: only}); !errors.As(err, &choice) || !strings.Contains(err.Error(), `"y*"`) {
			t.Errorf("%q: %v", only, err)
		}
	}
}

// A model is compared with other tensors, and two models of other sizes, by the names that the tensors have in the layout of comparison.
func TestDiffOfUnlikeModels(t *testing.T) {
	model := open(t, testdata+"micro-griffin/hf")
	for _, pair := range [][2]*tensor.Checkpoint{{model, checkpointOf(t, vector("x", 1))}, {checkpointOf(t, vector("x", 1)), model}} {
		r, err := Diff(t.Context(), pair[0], pair[1], Options{})
		if err != nil || r.Equal || r.Summary.OnlyA != len(pair[0].Tensors()) || r.Summary.OnlyB != len(pair[1].Tensors()) {
			t.Errorf("%v, %+v", err, r)
		}
	}
	original := open(t, testdata+"tiny-griffin/original/orbax-ocdbt")
	own, err := tensor.NewCheckpoint(original.Path, original.Format, append(slices.Clone(original.Tensors()), vector("params.own", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for first, status := range []Status{OnlyA, OnlyB} {
		sides := [2]*tensor.Checkpoint{model, model}
		sides[first] = own
		r, err := Diff(t.Context(), sides[0], sides[1], Options{})
		if err != nil {
			t.Fatal(err)
		}
		only := map[string]bool{}
		for _, e := range r.Tensors {
			if only[e.Name] = e.Status == status; only[e.Name] && e.Name != "params.own" && !strings.HasPrefix(e.Name, "model.layers.") {
				t.Errorf("%s is not named as in the directory", e.Name)
			}
		}
		if !only["params.own"] || !only["model.layers.4.mlp_block.up_proj.weight"] {
			t.Errorf("%d first: %v", first, only)
		}
	}
}

// The step of a checkpoint is part of what is said of it.
func TestStepOfASide(t *testing.T) {
	a, b := checkpointOf(t, vector("x", 1)), checkpointOf(t, vector("x", 1))
	b.Details = []tensor.Detail{{Key: "other", Value: "1"}, {Key: "step", Value: "20"}, {Key: "more", Value: "3"}}
	r, err := Diff(t.Context(), a, b, Options{})
	if err != nil || r.A.Step != "" || r.B.Step != "20" {
		t.Errorf("%v, %q and %q", err, r.A.Step, r.B.Step)
	}
}

// What was done to a tensor is explained if its elements are exchanged with another's, or have another shape of as many elements or rows.
func TestDiffExplains(t *testing.T) {
	of := func(name string, shape []int64, values ...float64) *tensor.Tensor {
		return array{tensor.F32, shape, values}.tensor(name)
	}
	x, y := make([]float64, 40), make([]float64, 40)
	for i := range x {
		x[i], y[i] = math.Sin(float64(i)), math.Cos(float64(3*i))
	}
	a := checkpointOf(t, vector("x", x...), vector("y", y...),
		of("reshaped", []int64{6}, 1, 2, 3, 4, 5, 7), of("fewer rows", []int64{3, 2}, 1, 2, 3, 4, 5, 8), of("other", []int64{2, 2}, 1, 2, 3, 4))
	b := checkpointOf(t, vector("x", y...), vector("y", x...),
		of("reshaped", []int64{2, 3}, 1, 2, 3, 4, 5, 7), of("fewer rows", []int64{2, 2}, 1, 2, 3, 4), of("other", []int64{3, 5}, make([]float64, 15)...))
	r, err := Diff(t.Context(), a, b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]explain.Kind{}
	for _, e := range r.Tensors {
		if e.Explanation != nil {
			kinds[e.Name] = e.Explanation.Kind
		}
	}
	if want := map[string]explain.Kind{"x": explain.Swapped, "y": explain.Swapped, "reshaped": explain.Reshaped, "fewer rows": explain.Resized}; !maps.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}

// An "equal" counts the tensors that either side has, that were selected and that were not read.
func TestLeftOut(t *testing.T) {
	for _, tt := range []struct {
		a, b []string
		only string
		want string
	}{
		{nil, nil, "", "equal"}, {nil, []string{"s"}, "", "equal, without 1 tensor that was not read"}, {[]string{"s", "s"}, []string{"s", "t"}, "", "equal, without 3 tensors that were not read"},
		{[]string{"s"}, []string{"layers.0.s"}, "model.final_norm.*", "equal in the 1 of 36 tensors that were selected"},
		{[]string{"s", "model.final_norm.s"}, []string{"t", "model.final_norm.t"}, "model.final_norm.*", "equal in the 1 of 36 tensors that were selected, without 2 tensors that were not read"},
		{[]string{"model.final_norm.s"}, nil, "model.*", "equal in the 36 of 36 tensors that were selected, without 1 tensor that was not read"},
	} {
		a, b := open(t, testdata+"micro-griffin/hf"), open(t, testdata+"micro-griffin/hf")
		a.LeftOut, b.LeftOut = tt.a, tt.b
		o := Options{}
		if tt.only != "" {
			o.Only = []string{tt.only}
		}
		if r, err := Diff(t.Context(), a, b, o); err != nil || r.Verdict != tt.want {
			t.Errorf("%q, %q: %v, %+v", tt.a, tt.b, err, r)
		}
	}
	one := array{tensor.F32, []int64{2}, []float64{1, 2}}
	a, b := checkpointOf(t, one.tensor("model.w"), one.tensor("model.v")), checkpointOf(t, one.tensor("w"), one.tensor("v"))
	a.LeftOut = []string{"model.s", "model.stats"}
	if r, err := Diff(t.Context(), a, b, Options{Only: []string{"?"}}); err != nil || r.Verdict != "equal in the 2 of 2 tensors that were selected, without 1 tensor that was not read" {
		t.Errorf("without the prefix: %v, %+v", err, r)
	}
}
