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

// Group is tensors of a result to which the same happened: those of one name in several layers, and others
// in the same layers.
type Group struct {
	Tensors []int    // indexes into Result.Tensors, ascending
	List    string   // what precedes the number of the layer: "model.layers"; "" outside layers
	Layers  []int    // ascending; none outside layers
	Names   []string // what follows the number of the layer: "mlp.gate_proj.weight"; the whole name outside layers
	Status  Status
	Change  string // what was done, in words: "scaled by 0.5"; "" if it is not known
}

// Groups groups the tensors of a result, what matters most first. Those for which TensorDiff.Same holds are
// left out.
func (r *Result) Groups() []Group {
	var out []Group
	merged := map[string]int{}
	for _, g := range foldNumbers(r.groupsByName()) {
		key := fmt.Sprintf("%s\x00%v\x00%s\x00%s", g.List, g.Layers, g.Status, g.Change)
		if at, ok := merged[key]; ok && len(g.Layers) > 0 && (g.Change != "" || g.Status != Differs) {
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

// groupsByName groups tensors that have the same name in several layers.
func (r *Result) groupsByName() []*Group {
	var all []*Group
	known := map[string]*Group{}
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if t.Same() {
			continue
		}
		list, layer, rest := SplitLayer(t.Name)
		change := t.Change()
		key := fmt.Sprintf("%s\x00%s\x00%s\x00%s", list, rest, t.Status, change)
		if layer < 0 {
			key = "\x00" + t.Name
		}
		g := known[key]
		if g == nil {
			g = &Group{List: list, Names: []string{rest}, Status: t.Status, Change: change}
			known[key] = g
			all = append(all, g)
		}
		g.Tensors = append(g.Tensors, i)
		if layer >= 0 {
			g.Layers = append(g.Layers, layer)
		}
	}
	return all
}

// SplitLayer splits a name at the number of a layer: the first segment that is a number. layer is -1 and
// rest the whole name if there is none.
func SplitLayer(name string) (list string, layer int, rest string) {
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

// Change describes in words what was done to a tensor: "float32 became bfloat16, scaled by 0.5". Names of
// tensors in the same layer are given without it, so that the same change in another layer reads the
// same. It is "" if nothing is known.
func (t *TensorDiff) Change() string {
	list, layer, _ := SplitLayer(t.Name)
	short := func(name string) string {
		if l, n, rest := SplitLayer(name); layer >= 0 && l == list && n == layer {
			return rest
		}
		return name
	}
	if t.Renamed {
		return "renamed to " + short(t.B)
	}
	var parts []string
	if t.Status == Shape {
		parts = append(parts, tensor.ShapeString(t.ShapeB)+" in B")
	}
	if t.DTypeB != "" && t.Quantized == nil {
		parts = append(parts, fmt.Sprintf("%s became %s", t.DType, t.DTypeB))
		if t.Status == DType && (t.Metrics == nil || t.Metrics.Differing == 0) {
			parts = append(parts, "the same values")
		}
	}
	if words := t.Explanation.Summary(short); words != "" {
		parts = append(parts, words)
	}
	return strings.Join(parts, ", ")
}

// Extent is the range of a group's metrics.
type Extent struct {
	Elements, Differing int64
	Beyond              int64    // elements outside the tolerance, if there is one
	MaxAbs              float64  // the largest
	RelativeL2          float64  // the largest
	Cosine              float64  // the smallest; NaN if none is known
	MaxULP              *uint64  // the largest; nil if none is known
	Ratio               float64  // the largest Quantized.Ratio; 0 if none is quantised
	NaN, Inf            [2]int64 // elements of A and of B
}

// Extent returns how far a group's tensors are apart.
func (r *Result) Extent(g *Group) Extent {
	x := Extent{Cosine: math.NaN()}
	for _, i := range g.Tensors {
		t := &r.Tensors[i]
		x.Elements += t.Elements
		if t.Quantized != nil {
			x.Ratio = max(x.Ratio, float64(t.Quantized.Ratio))
		}
		m := t.Metrics
		if m == nil {
			continue
		}
		x.Differing += m.Differing
		if m.Beyond != nil {
			x.Beyond += *m.Beyond
		}
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

// Where names a group's tensors: "model.layers.0-25.mlp.gate_proj.weight", with braces if there are several
// names: "model.layers.0-25.{mlp.gate_proj.weight, mlp.up_proj.weight}".
func (g *Group) Where() string {
	names := strings.Join(g.Names, ", ")
	if len(g.Layers) == 0 {
		return names
	}
	if len(g.Names) > 1 {
		names = "{" + names + "}"
	}
	return g.List + "." + ranges(g.Layers) + "." + names
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
