package diff

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Group is tensors of a result that behave alike: those of one name in several layers, and others to which
// the same happened in just these layers.
type Group struct {
	Tensors []int    // indexes into Result.Tensors, in that order
	Root    string   // what precedes the number of the layer: "model.layers"; "" outside layers
	Layers  []int    // ascending; none outside layers
	Names   []string // behind the number of the layer: "mlp.gate_proj.weight"; outside layers the names
	Status  Status
	What    string // what was done, in words: "scaled by 0.5"; "" where nothing is known
}

// Groups folds a result, what matters most first. Tensors that are the same, under the same name, are
// left out.
func (r *Result) Groups() []Group {
	var byName []*Group
	known := map[string]*Group{}
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if t.rank() == rankEqual {
			continue
		}
		root, layer, tail := splitLayer(t.Name)
		what := t.what(root, layer)
		key := fmt.Sprintf("%s\x00%s\x00%s\x00%s", root, tail, t.Status, what)
		if layer < 0 {
			key = fmt.Sprintf("\x00%s", t.Name)
		}
		g := known[key]
		if g == nil {
			g = &Group{Root: root, Names: []string{tail}, Status: t.Status, What: what}
			known[key] = g
			byName = append(byName, g)
		}
		g.Tensors = append(g.Tensors, i)
		if layer >= 0 {
			g.Layers = append(g.Layers, layer)
		}
	}
	var out []Group
	merged := map[string]int{}
	for _, g := range byName {
		slices.Sort(g.Layers)
		key := fmt.Sprintf("%s\x00%v\x00%s\x00%s", g.Root, g.Layers, g.Status, g.What)
		if at, ok := merged[key]; ok && len(g.Layers) > 0 && (g.What != "" || g.Status != Differs) {
			out[at].Tensors = append(out[at].Tensors, g.Tensors...)
			out[at].Names = append(out[at].Names, g.Names...)
			continue
		}
		merged[key] = len(out)
		out = append(out, *g)
	}
	for i := range out {
		slices.Sort(out[i].Tensors)
	}
	slices.SortStableFunc(out, func(a, b Group) int { return cmp.Compare(a.Tensors[0], b.Tensors[0]) })
	return out
}

// splitLayer takes the number of a layer out of a name: the first segment that is one. layer is -1 where
// there is none.
func splitLayer(name string) (root string, layer int, tail string) {
	at := 0
	for segment := range strings.SplitSeq(name, ".") {
		end := at + len(segment)
		if n, err := strconv.Atoi(segment); err == nil && n >= 0 && strconv.Itoa(n) == segment && at > 0 && end < len(name) {
			return name[:at-1], n, name[end+1:]
		}
		at = end + 1
	}
	return "", -1, name
}

// what says in words what was done to a tensor, so that the same in another layer reads the same.
func (t *TensorDiff) what(root string, layer int) string {
	if t.Renamed {
		return "renamed to " + withoutLayer(t.B, root, layer)
	}
	var parts []string
	if t.Status == Shape {
		parts = append(parts, fmt.Sprintf("%s in B", tensor.ShapeString(t.ShapeB)))
	}
	if t.DTypeB != "" {
		parts = append(parts, fmt.Sprintf("%s became %s", t.DType, t.DTypeB))
		if t.Status == DType && (t.Metrics == nil || t.Metrics.Differing == 0) {
			parts = append(parts, "the same values")
		}
	}
	if words := t.Explanation.Summary(func(name string) string { return withoutLayer(name, root, layer) }); words != "" {
		parts = append(parts, words)
	}
	return strings.Join(parts, ", ")
}

// withoutLayer replaces the number of a tensor's own layer in another's name.
func withoutLayer(name, root string, layer int) string {
	r, n, tail := splitLayer(name)
	if layer >= 0 && r == root && n == layer {
		return tail
	}
	return name
}

// Extent is the range of a group's metrics, of its tensors that have some.
type Extent struct {
	Elements, Differing int64
	MaxAbs              float64 // the largest
	RelativeL2          float64 // the largest
	Cosine              float64 // the smallest; NaN where none is known
	MaxULP              *uint64 // the largest; nil where none is known
	NaN, Inf            [2]int64
}

// Extent returns how far a group's tensors are apart.
func (r *Result) Extent(g *Group) Extent {
	x := Extent{Cosine: math.NaN()}
	for _, i := range g.Tensors {
		t := &r.Tensors[i]
		x.Elements += t.Elements
		m := t.Metrics
		if m == nil {
			continue
		}
		x.Differing += m.Differing
		x.MaxAbs = max(x.MaxAbs, float64(m.MaxAbs))
		x.RelativeL2 = max(x.RelativeL2, float64(m.RelativeL2))
		if c := float64(m.Cosine); !(x.Cosine <= c) && c == c {
			x.Cosine = c
		}
		if m.MaxULP != nil && (x.MaxULP == nil || *m.MaxULP > *x.MaxULP) {
			x.MaxULP = m.MaxULP
		}
		x.NaN[0], x.NaN[1] = x.NaN[0]+m.NaNA, x.NaN[1]+m.NaNB
		x.Inf[0], x.Inf[1] = x.Inf[0]+m.InfA, x.Inf[1]+m.InfB
	}
	return x
}

// Where names a group's tensors: "model.layers.0-25.mlp.gate_proj.weight", with the names in braces where
// there are several.
func (g *Group) Where() string {
	names := strings.Join(g.Names, ", ")
	if len(g.Names) > 1 && len(g.Layers) > 0 {
		names = "{" + names + "}"
	}
	return g.Place() + names
}

// Place is what precedes a group's names: "model.layers.0-25."; "" outside layers.
func (g *Group) Place() string {
	if len(g.Layers) == 0 {
		return ""
	}
	return g.Root + "." + ranges(g.Layers) + "."
}

// ranges prints ascending numbers: 0-3,5.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		end := i
		for end+1 < len(numbers) && numbers[end+1] <= numbers[end]+1 {
			end++
		}
		if numbers[end] == numbers[i] {
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", numbers[i], numbers[end]))
		}
		i = end + 1
	}
	return strings.Join(parts, ",")
}
