package diff

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// named returns a checkpoint with the tensors of a list of names, in which "#" is the number of each of so many layers. Tensors whose names end with
// the same letter hold the same in layers of the same content.
func named(t *testing.T, names string, contents ...float64) *tensor.Checkpoint {
	t.Helper()
	var tensors []*tensor.Tensor
	for _, name := range strings.Fields(names) {
		if !strings.Contains(name, "#") {
			tensors = append(tensors, vector(name, float64(name[len(name)-1]), 1))
			continue
		}
		for i, c := range contents {
			tensors = append(tensors, vector(strings.ReplaceAll(name, "#", fmt.Sprint(i)), float64(name[len(name)-1]), c))
		}
	}
	return checkpointOf(t, tensors...)
}

// What both sides have, and what only one of them has, is told by the list of layers of each, whatever their names and prefixes are.
func TestListsOfTwoNames(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		layersB    []float64
		notes      string
		want       []string // what only one side has, by its name
		equal      int
	}{
		{"no name in A", "#.x #.y #.z", "blocks.#.x blocks.#.y blocks.#.z", []float64{1, 2, 3}, "", nil, 9},
		{"no name in B", "blocks.#.x blocks.#.y blocks.#.z", "#.x #.y #.z", []float64{1, 2, 3}, "", nil, 9},
		{"another prefix, and tensors of one side", "m.layers.#.x m.layers.#.y m.e m.a", "blocks.#.x blocks.#.y e b", []float64{1, 2, 3},
			"the layers of blocks of B are compared with those of m.layers of A", []string{"A a", "B b"}, 7},
		{"one prefix, and tensors of one side without it", "m.layers.#.x m.layers.#.y m.e a", "m.blocks.#.x m.blocks.#.y m.e b", []float64{1, 2, 3},
			"the layers of m.blocks of B are compared with those of m.layers of A", []string{"A a", "B b"}, 7},
		{"another prefix, and tensors of one side in the layers", "m.layers.#.x m.layers.#.y m.layers.#.z m.e", "blocks.#.x blocks.#.y blocks.#.w e", []float64{1, 2, 3},
			"the layers of blocks of B are compared with those of m.layers of A", []string{"A all layers (3) of layers: z", "B layers 0 to 2 of blocks: w"}, 7},
		{"a layer was added, and tensors to each layer", "m.layers.#.1 m.layers.#.2 m.layers.#.3 m.layers.#.4 m.layers.#.q.a",
			"m.blocks.#.1 m.blocks.#.2 m.blocks.#.3 m.blocks.#.4 m.blocks.#.q.a m.blocks.#.q.b m.blocks.#.q.c m.blocks.#.q.d m.blocks.#.q.e", []float64{1, 9, 2, 3},
			"the layers of m.blocks of B are compared with those of m.layers of A; layers 0, 2, 3 of B are layers 0 to 2 of A; layer 1 of B has no counterpart in A",
			[]string{"B every tensor of layer 1 of m.blocks", "B layers 0, 2, 3 of m.blocks: q.b, q.c, q.d, q.e"}, 15},
		{"a part has a tensor that was renamed, and one that both have", "layers.#.a layers.#.q.f", "layers.#.q.a layers.#.q.f layers.#.q.b layers.#.q.c layers.#.q.d layers.#.q.e", []float64{1, 2, 3}, "",
			[]string{"B all layers (3) of layers: q.b, q.c, q.d, q.e"}, 6},
	} {
		r, err := Diff(t.Context(), named(t, tt.a, 1, 2, 3), named(t, tt.b, tt.layersB...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range r.Groups() {
			if side := map[Status]string{OnlyA: "A ", OnlyB: "B "}[g.Status]; side != "" {
				got = append(got, side+strings.Join(r.Where(&g), ", "))
			}
		}
		slices.Sort(got)
		if notes := strings.Join(r.Notes, "; "); notes != tt.notes || !slices.Equal(got, tt.want) || r.Summary.Equal != tt.equal {
			t.Errorf("%s: %q, %q, %+v", tt.name, got, notes, r.Summary)
		}
	}
}

// A name of B is that of A if its layer was moved, and belongs to a name of A if both are in layers that belong together.
func TestMovedNames(t *testing.T) {
	m := &MovedLayers{List: "layers", A: []int{1, 2, 5}, B: []int{0, 1, 2}}
	for name, want := range map[string]string{"layers.0.up": "layers.1.up", "layers.1.up": "layers.2.up", "layers.2.mlp.up": "layers.5.mlp.up",
		"layers.3.up": "layers.3.up", "blocks.1.up": "blocks.1.up", "embed": "embed"} {
		if got := m.NameInA(name); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
		if got := (*MovedLayers)(nil).NameInA(name); got != name {
			t.Errorf("nothing was moved, and %s is %s", name, got)
		}
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"layers.1.up", "layers.0.down", true}, {"layers.2.up", "layers.1.down", true}, {"layers.5.up", "layers.2.up", true},
		{"layers.1.up", "layers.1.up", false}, {"layers.5.up", "layers.3.up", false}, {"layers.2.up", "embed", false}, {"embed", "embed", false},
		{"blocks.2.up", "layers.1.up", false}, {"layers.2.up", "blocks.1.up", false}, {"blocks.2.up", "blocks.1.up", false},
	} {
		if got := m.belong(tt.a, tt.b); got != tt.want || (*MovedLayers)(nil).belong(tt.a, tt.b) {
			t.Errorf("%s, %s: %t", tt.a, tt.b, got)
		}
	}
	e := TensorDiff{Name: "layers.3.up", Status: Equal, Renamed: true, B: "h.0.up", aligned: true}
	if got := e.Change(); got != "layers renamed to h" {
		t.Errorf("layer 0, which a note says is layer 3: %q", got)
	}
}

// alikeLayers returns a checkpoint of one matrix in each layer.
func alikeLayers(t *testing.T, layers ...[]float64) *tensor.Checkpoint {
	t.Helper()
	var tensors []*tensor.Tensor
	for i, values := range layers {
		tensors = append(tensors, array{tensor.F32, []int64{2, int64(len(values) / 2)}, values}.tensor(fmt.Sprintf("layers.%d.w", i)))
	}
	return checkpointOf(t, tensors...)
}

// Samples of very many layers would take much memory.
func TestManyLayersAreNotSampled(t *testing.T) {
	a := [][]float64{{1, 0, 0, 0}, {0, 1, 0, 0}}
	for n, want := range map[int]string{
		maxLayers - 3: "layers 1, 2 of B look like layers 0, 1 of A; layers 0, 3 to 1020 of B have no counterpart in A", maxLayers - 1: "",
	} {
		b := slices.Repeat([][]float64{{0, 0, 0, 0}}, n)
		b[1], b[2] = []float64{1, 0.1, 0, 0}, []float64{0.1, 1, 0, 0}
		r, err := Diff(t.Context(), alikeLayers(t, a...), alikeLayers(t, b...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(r.Notes, "; "); notes != want {
			t.Errorf("%d layers: %q", n, notes)
		}
	}
}

// Of several layers that are alike, those are paired that are most so, and layers that hold the same before all others.
func TestMostAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	fresh := func() []float64 {
		x := make([]float64, 400)
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		return x
	}
	near := func(x []float64, noise float64) []float64 {
		y := fresh()
		for i := range y {
			y[i] = x[i] + noise*y[i]
		}
		return y
	}
	x, y, z := fresh(), fresh(), fresh()
	grown := near(y, 1) // cosine 0.7
	for _, tt := range []struct {
		name string
		a, b [][]float64
		note string
	}{
		{"the nearest of two", [][]float64{x, y, grown}, [][]float64{near(x, 0.1), near(grown, 0.1)}, "layers 0, 1 of B look like layers 0, 2 of A; B lacks layer 1 of A, which looks like layer 2 of A"},
		{"the first is the same", [][]float64{x, y, z, grown}, [][]float64{x, near(z, 0.1), near(grown, 0.1)}, "layers 0 to 2 of B look like layers 0, 2, 3 of A; B lacks layer 1 of A, which looks like layer 3 of A"},
		{"one that is the same, or two that are alike", [][]float64{z, y, near(z, 0.1)}, [][]float64{near(y, 0.1), z},
			"layer 1 of B is layer 0 of A; B lacks layer 1 of A; B lacks layer 2 of A, which looks like layer 0 of A; layer 0 of B has no counterpart in A"},
	} {
		r, err := Diff(t.Context(), alikeLayers(t, tt.a...), alikeLayers(t, tt.b...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(r.Notes, "; "); notes != tt.note {
			t.Errorf("%s: %q", tt.name, notes)
		}
	}
}

// Layers are alike if the matrices that both have are, on average by half, and if these are at least half of the matrices of either.
func TestLikeness(t *testing.T) {
	at := func(cosine float64) []float64 { return []float64{cosine, math.Sqrt(1 - cosine*cosine)} }
	one := []float64{1, 0}
	for _, tt := range []struct {
		name string
		a, b samples
		want float64
	}{
		{"by half", samples{"x": one}, samples{"x": at(0.5)}, 0.5},
		{"by less", samples{"x": one}, samples{"x": at(0.49)}, 0},
		{"on average", samples{"x": one, "y": one}, samples{"x": at(0.4), "y": at(0.8)}, 0.6},
		{"two by less than half", samples{"x": one, "y": one}, samples{"x": at(0.3), "y": at(0.4)}, 0},
		{"one of two", samples{"x": one, "y": one}, samples{"x": one}, 1},
		{"one of three", samples{"x": one, "y": one, "z": one}, samples{"x": one}, 0},
		{"another shape", samples{"x": one}, samples{"x": {1, 0, 0}}, 0},
		{"none", samples{}, samples{"x": one}, 0},
	} {
		if x, y := likeness(tt.a, tt.b), likeness(tt.b, tt.a); math.Abs(x-tt.want) > 1e-9 || math.Abs(y-tt.want) > 1e-9 {
			t.Errorf("%s: %g, %g, not %g", tt.name, x, y, tt.want)
		}
	}
}

// Matrices of bytes and of complex numbers are sampled, and those of smaller elements are not.
func TestSampledTypes(t *testing.T) {
	for _, tt := range []struct {
		d    tensor.DType
		want int // numbers
	}{{tensor.U8, 6}, {tensor.F8E4M3, 6}, {tensor.C64, 12}, {tensor.F32, 6}, {tensor.F4, 0}} {
		content := make([]byte, 6*max(tt.d.Size(), 1))
		for i := range content {
			content[i] = 0x38
		}
		c := checkpointOf(t, tensorOf("w", tt.d, []int64{2, 3}, content[:6*tt.d.Bits()/8], false))
		s, err := sample(t.Context(), &layer{0, map[string]*operand{"w": whole(c.Tensors()[0])}})
		if err != nil || len(s["w"]) != tt.want {
			t.Errorf("%s: %v, %v", tt.d, s, err)
		}
	}
}

// The config.json of models of no known family is compared as it is, and nothing is said of how it would be read as one of the family.
func TestConfigsOfOtherFamilies(t *testing.T) {
	of := func(text string) *tensor.Checkpoint {
		c := configWith(t, nil)
		if err := os.WriteFile(filepath.Join(c.Path, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		other := checkpointOf(t, vector("h.0.w", 1), vector("h.1.w", 2))
		other.Source, other.Root, other.Format = c.Source, c.Root, c.Format
		return other
	}
	r, err := Diff(t.Context(), of(`{"model_type": "llama", "hidden_size": 8, "rope_theta": 10000.0}`), of(`{"model_type": "llama", "hidden_size": 8, "rope_theta": 500.0}`), Options{})
	if err != nil || len(r.Notes) > 0 || len(r.Config) != 1 || r.Config[0].Field != "rope_theta" {
		t.Errorf("%q, %+v, %v", r.Notes, r.Config, err)
	}
}

// An embedding that stands for the head counts once, in whatever order the tensors are counted.
func TestCountedOnce(t *testing.T) {
	embedding, other := whole(vector("embed", 1, 2, 3)), whole(vector("norm", 1, 2))
	for _, order := range [][]*operand{{embedding, other, embedding}, {other, embedding, embedding}, {embedding, embedding, nil, other}} {
		s, out := &side{head: embedding}, Side{}
		for _, o := range order {
			s.count(&out, o)
		}
		if out.Tensors != 2 || out.Parameters != 5 {
			t.Errorf("%d tensors, %d parameters", out.Tensors, out.Parameters)
		}
	}
}

// It is said that transformers does not find the tensors of a directory by their names, if these are those of its files.
func TestNamesThatAreNotFound(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"original/torch.pt": "pytorch_model.bin", "hf/config.json": "config.json"} {
		content, err := os.ReadFile(testdata + "micro-griffin/" + from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := func(notes []string) bool {
		return slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "B: transformers does not find these names") })
	}
	r, err := Diff(t.Context(), open(t, testdata+"micro-griffin/hf"), open(t, dir), Options{})
	if err != nil || !said(r.Notes) || r.Summary.Equal != len(r.Tensors) {
		t.Errorf("%q, %+v, %v", r.Notes, r.Summary, err)
	}
	s := newSide(open(t, dir), map[string]string{"embedder.weight": "embed"})
	if s.recognize(); said(s.presented("B")) {
		t.Error("said of names that the caller gave")
	}
}

// The layers of a model of the family have its names for them beside those of a model that is not recognised.
func TestFamilyBesideARenamedList(t *testing.T) {
	hf := testdata + "micro-griffin/hf"
	other := presented(t, hf, func(name string) string {
		if name == "model.final_norm.weight" {
			return ""
		}
		return strings.Replace(strings.TrimPrefix(name, "model."), "layers.", "blocks.", 1)
	})
	r, err := Diff(t.Context(), open(t, hf), other, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Tensors {
		switch {
		case x.Status == OnlyA && x.Name == "model.final_norm.weight", x.Name == "embed_tokens.weight", strings.HasPrefix(x.Name, "layers.") && strings.HasPrefix(x.B, "blocks."):
		default:
			t.Errorf("%s is %s of B: %s", x.Name, x.B, x.Status)
		}
	}
	if r.Summary.OnlyA != 1 || r.Summary.OnlyB != 0 || r.Summary.Equal != len(r.Tensors)-1 {
		t.Errorf("%+v", r.Summary)
	}
}

// Of several models in one checkpoint, none is compared as a model, which is said unless both sides hold several.
func TestNoteOfSeveralModels(t *testing.T) {
	several, one := open(t, testdata+"finetune/several.pt"), open(t, testdata+"finetune/base")
	const holds = " holds 2 models: model (32 parameter tensors), ema_model (32 parameter tensors): its tensors are compared by their names, as those of no model; " +
		"griffin convert writes one of them, which can be compared"
	for _, tt := range []struct {
		a, b *tensor.Checkpoint
		raw  bool
		want string
	}{{several, one, false, "A" + holds}, {one, several, false, "B" + holds}, {several, several, false, ""}, {one, several, true, ""}} {
		r, err := Diff(t.Context(), tt.a, tt.b, Options{Raw: tt.raw})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(r.Notes, func(note string) bool { return strings.Contains(note, "models") })
		if (at >= 0) != (tt.want != "") || at >= 0 && r.Notes[at] != tt.want {
			t.Errorf("%q, want %q", r.Notes, tt.want)
		}
	}
}

// Where only the layers have another prefix in B, a tensor that has one name on both sides is compared with itself, and the layers are renamed.
func TestNamesThatKeepTheirPrefix(t *testing.T) {
	of := func(names, changed string, layers ...int) *tensor.Checkpoint {
		var tensors []*tensor.Tensor
		for _, name := range strings.Fields(names) {
			for i, layer := range layers {
				if all := strings.ReplaceAll(name, "#", fmt.Sprint(i)); all != name || i == 0 {
					seed, tail := 0.0, name[strings.LastIndexByte(name, '.')+1:]
					if all == changed {
						seed = 0.5
					}
					if all == name {
						layer = 0
					}
					tensors = append(tensors, vector(all, float64(tail[0]), float64(layer), seed, float64(len(tail))))
				}
			}
		}
		return checkpointOf(t, tensors...)
	}
	three, two := []int{1, 2, 3}, []int{1, 3}
	const a, b = "m.layers.#.x m.layers.#.y m.embed m.norm", "t.h.#.x t.h.#.y m.embed m.norm"
	const note = "the layers of t.h of B are compared with those of m.layers of A"
	for _, tt := range []struct {
		name, a, b, changed string
		layers              []int // of B
		notes               string
		want                string // the groups
	}{
		{"another list", a, b, "", three, note, "equal all layers (3) of m.layers: x, y: m.layers renamed to t.h"},
		{"changed", a, b, "m.embed", three, note, "differs m.embed: ; equal all layers (3) of m.layers: x, y: m.layers renamed to t.h"},
		{"changed in a layer", a, b, "t.h.1.x", three, note, "differs m.layers.1.x: ; equal all layers (3) of m.layers: y: m.layers renamed to t.h; equal layers 0, 2 of m.layers: x: m.layers renamed to t.h"},
		{"back", b, a, "", three, "the layers of m.layers of B are compared with those of t.h of A", "equal all layers (3) of t.h: x, y: t.h renamed to m.layers"},
		{"no prefix", a, "layers.#.x layers.#.y m.embed m.norm", "m.norm", three, "the layers of layers of B are compared with those of m.layers of A",
			"differs m.norm: ; equal all layers (3) of m.layers: x, y: m.layers renamed to layers"},
		{"no prefix in A", "layers.#.x layers.#.y m.embed m.norm", a, "m.norm", three, "the layers of m.layers of B are compared with those of layers of A",
			"differs m.norm: ; equal all layers (3) of layers: x, y: layers renamed to m.layers"},
		{"one list", a, "t.layers.#.x t.layers.#.y m.embed m.norm", "m.norm", three, "the layers of t.layers of B are compared with those of m.layers of A",
			"differs m.norm: ; equal all layers (3) of m.layers: x, y: m.layers renamed to t.layers"},
		{"one other name", a, "t.h.#.x t.h.#.y m.embed t.norm", "t.norm", three, note, "differs m.norm: ; equal all layers (3) of m.layers: x, y: m.layers renamed to t.h"},
		{"one other name, equal", a, "t.h.#.x t.h.#.y m.embed t.norm", "", three, note, "equal all layers (3) of m.layers: x, y: m.layers renamed to t.h; equal m.norm: renamed to t.norm"},
		{"a layer fewer", a, b, "m.embed", two, note + "; layers 0, 1 of B are layers 0, 2 of A; B lacks layer 1 of A",
			"differs m.embed: ; equal layers 0, 2 of m.layers: x, y: m.layers renamed to t.h; only_a m.layers.1.{x, y}: "},
		{"tensors of one side", a + " m.p", b + " t.q", "m.embed", three, note, "differs m.embed: ; equal all layers (3) of m.layers: x, y: m.layers renamed to t.h; only_a m.p: ; only_b t.q: "},
		{"a name that both have without the prefix", a + " step", "layers.#.x layers.#.y embed norm step", "", three, "", ""},
		{"its name, beside that of its counterpart", a, "layers.#.x layers.#.y embed norm m.embed", "", three, "", "only_b m.embed: "},
		{"in A, beside that of its counterpart", "layers.#.x layers.#.y embed norm m.embed", a, "", three, "", "only_a m.embed: "},
	} {
		r, err := Diff(t.Context(), of(tt.a, "", three...), of(tt.b, tt.changed, tt.layers...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range r.Groups() {
			got = append(got, fmt.Sprintf("%s %s: %s", g.Status, strings.Join(r.Where(&g), ", "), g.Change))
		}
		slices.Sort(got)
		if groups, notes := strings.Join(got, "; "), strings.Join(r.Notes, "; "); groups != tt.want || notes != tt.notes || r.Equal != (tt.want == "") {
			t.Errorf("%s:\n%s\n%s\nnot\n%s\n%s", tt.name, notes, groups, tt.notes, tt.want)
		}
	}
	for _, to := range []string{"layers.", "transformer.h."} { // of a model of the family too, which is recognized or not
		hf := open(t, testdata+"micro-griffin/hf")
		var tensors []*tensor.Tensor
		for _, x := range hf.Tensors() {
			renamed := *x
			renamed.Name = strings.Replace(x.Name, "model.layers.", to, 1)
			tensors = append(tensors, &renamed)
		}
		other := checkpointOf(t, tensors...)
		for _, sides := range [][2]*tensor.Checkpoint{{hf, other}, {other, hf}} {
			r, err := Diff(t.Context(), sides[0], sides[1], Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s := r.Summary; r.Equal || s.OnlyA+s.OnlyB > 0 || s.Renamed != len(tensors)-2 || len(r.Groups()) != 1 {
				t.Errorf("%s: %+v", to, s)
			}
		}
	}
}
