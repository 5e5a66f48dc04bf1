package diff

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
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
	Every   bool   // the group has every tensor of its layers, and more than a few names

	list *layerList // of List, of B's layers without counterpart if it has only these
}

// Items are tensors that are grouped, by their indexes.
type Items struct {
	Len  int
	Name func(i int) string
	// What returns what happened to a tensor: one for which differs is false is in no group.
	What       func(i int) (status Status, change string, differs bool)
	BlockTypes []string // the kinds of the model's blocks, nil if they are not known

	renamed func(i int) string // the name in B of a tensor that was renamed, otherwise ""; nil if none was
	copyOf  func(i int) string // TensorDiff.CopyOf; nil if there are none
}

// items returns the tensors of a result. Those for which TensorDiff.Same holds are in no group.
func (r *Result) items() *Items {
	return &Items{Len: len(r.Tensors), Name: func(i int) string { return r.Tensors[i].Name }, BlockTypes: r.blockKinds(), What: func(i int) (Status, string, bool) {
		t := &r.Tensors[i]
		if t.Same() {
			return "", "", false
		}
		return t.Status, t.Change(), true
	}, renamed: func(i int) string {
		if t := &r.Tensors[i]; t.Renamed {
			return t.B
		}
		return ""
	}, copyOf: func(i int) string { return r.Tensors[i].CopyOf }}
}

// Groups groups the tensors of a result, what matters most first. Those for which TensorDiff.Same holds are
// left out.
func (r *Result) Groups() []Group { return r.items().Groups() }

// Groups groups the tensors, in the order of the first of each group.
func (r *Items) Groups() []Group {
	groups := foldNumbers(r.groupsByName())
	merged := newClasses(len(groups))
	out := groups[:0]
	for i := range groups {
		g := &groups[i]
		sum := g.hash(func(h *maphash.Hash) { hashInts(h, g.Layers) })
		at := merged.find(sum, func(k int) bool {
			o := &out[k]
			return o.List == g.List && o.Status == g.Status && o.Change == g.Change && slices.Equal(o.Layers, g.Layers)
		})
		if at >= 0 && len(g.Layers) > 0 && (g.Change != "" || g.Status != Differs) {
			out[at].Tensors = append(out[at].Tensors, g.Tensors...)
			out[at].Names = append(out[at].Names, g.Names...)
			continue
		}
		merged.add(sum)
		out = append(out, *g)
	}
	clear(groups[len(out):])
	for i := range out {
		slices.Sort(out[i].Tensors)
	}
	byFirst := func(a, b Group) int { return cmp.Compare(a.Tensors[0], b.Tensors[0]) }
	slices.SortStableFunc(out, byFirst)
	r.setLists(out)
	out = r.foldWhole(out)
	slices.SortStableFunc(out, byFirst)
	for i := range out {
		g := &out[i]
		g.Every = g.list != nil && len(g.Names) > fewNames && g.list.hasAll(g)
		if len(g.Tensors) == 1 && strings.Contains(g.Change, anyLayer) && r.renamed != nil {
			if to := r.renamed(g.Tensors[0]); to != "" {
				g.Change = "renamed to " + to // one name
			}
		}
		if g.Change == copied && r.copyOf != nil {
			g.Change = r.copiedWords(g)
		}
		if g.Status == OnlyB {
			g.List = strings.TrimPrefix(g.List, unpaired)
		}
	}
	return out
}

// copied is the change of tensors without counterpart that are copies of others.
const copied = "copied"

// copiedWords says of which layers the tensors of a group are copies.
func (r *Items) copiedWords(g *Group) string {
	var of []int
	for _, i := range g.Tensors {
		_, layer, _ := SplitLayer(r.copyOf(i))
		of = append(of, layer)
	}
	slices.Sort(of)
	words := "of " + LayerWords(slices.Compact(of))
	if g.Status == OnlyB {
		words += " of A"
	}
	return map[bool]string{true: "a copy ", false: "copies "}[len(g.Layers) == 1] + words
}

// hash returns a digest of the list, the status and the change of a group, and of what is added.
func (g *Group) hash(add func(h *maphash.Hash)) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, s := range []string{g.List, string(g.Status), g.Change} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	add(&h)
	return h.Sum64()
}

// seed is that of digests within one process.
var seed = maphash.MakeSeed()

func hashInts(h *maphash.Hash, numbers []int) {
	for _, n := range numbers {
		h.WriteString(strconv.Itoa(n))
		h.WriteByte(',')
	}
}

// classes finds items of a list by digests of what they have in common, in little memory.
type classes struct {
	last map[uint64]int32 // the last item of a digest
	prev []int32          // the item of the same digest before each, -1 for none
}

func newClasses(most int) *classes {
	return &classes{last: make(map[uint64]int32, most), prev: make([]int32, 0, most)}
}

// find returns the last item of a digest for which same holds, or -1.
func (c *classes) find(sum uint64, same func(item int) bool) int {
	at, ok := c.last[sum]
	for ; ok && at >= 0; at = c.prev[at] {
		if same(int(at)) {
			return int(at)
		}
	}
	return -1
}

// add adds the next item.
func (c *classes) add(sum uint64) {
	before, ok := c.last[sum]
	if !ok {
		before = -1
	}
	c.last[sum] = int32(len(c.prev))
	c.prev = append(c.prev, before)
}

// groupsByName groups tensors that have the same name in several layers.
func (r *Items) groupsByName() []Group {
	var all []Group
	known := newClasses(0)
	for i := range r.Len {
		status, change, differs := r.What(i)
		if !differs {
			continue
		}
		list, layer, rest := SplitLayer(r.Name(i))
		g := Group{List: list, Status: status, Change: change}
		sum, at := uint64(0), -1
		if layer >= 0 {
			sum = g.hash(func(h *maphash.Hash) { h.WriteString(rest) })
			at = known.find(sum, func(k int) bool {
				o := &all[k]
				return len(o.Layers) > 0 && o.List == list && o.Names[0] == rest && o.Status == g.Status && o.Change == g.Change
			})
		}
		if at < 0 {
			known.add(sum)
			at = len(all)
			g.Names = []string{rest}
			all = append(all, g)
		}
		all[at].Tensors = append(all[at].Tensors, i)
		if layer >= 0 {
			all[at].Layers = append(all[at].Layers, layer)
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
		if isDigits := strings.Trim(segment, "0123456789") == ""; isDigits && at > 0 && end < len(name) {
			if n, err := strconv.Atoi(segment); err == nil && strconv.Itoa(n) == segment {
				return name[:at-1], n, name[end+1:]
			}
		}
		at = end + 1
	}
	return "", -1, name
}

// ChangeWords describes what was done to the tensor of a name. Tensors of one name that two layers exchanged are "swapped between layers 3
// and 6", and the tensor of the same name in another layer is "layer 6", so that the same done to whole layers reads the same of each of
// their tensors. nameOf returns what other tensors are called.
func ChangeWords(e *explain.Explanation, name string, nameOf func(string) string) string {
	list, layer, rest := SplitLayer(name)
	counterpart := func(other string) int {
		if l, n, r := SplitLayer(other); layer >= 0 && l == list && r == rest {
			return n
		}
		return -1
	}
	if e != nil && e.Kind == explain.Swapped && e.Then == nil {
		if n := counterpart(e.With); n >= 0 {
			return fmt.Sprintf("swapped between layers %d and %d", min(layer, n), max(layer, n))
		}
	}
	return e.Summary(func(other string) string {
		if n := counterpart(other); n >= 0 {
			return fmt.Sprintf("layer %d", n)
		}
		return nameOf(other)
	})
}

// RenamedWords says which other name a tensor has, in words that are the same for the tensors of several layers of which the names differ
// in the same way.
func RenamedWords(name, to string) string {
	list, layer, rest := SplitLayer(name)
	newList, n, newRest := SplitLayer(to)
	switch {
	case layer < 0 || n < 0 || n != layer && newRest != rest:
		return "renamed to " + to
	case n != layer && newList != list:
		return fmt.Sprintf("moved to layer %d of %s", n, newList)
	case n != layer:
		return fmt.Sprintf("moved to layer %d", n)
	case newList == list:
		return renamedRest(rest, newRest)
	case newRest == rest:
		return fmt.Sprintf("%s renamed to %s", list, newList)
	}
	return "renamed to " + newList + anyLayer + newRest
}

// anyLayer stands for the number of the layer in the new names of tensors of several layers.
const anyLayer = ".*."

// renamedRest says what became of what follows the number of a layer: "temporal_block renamed to tb" if one segment of several is another,
// so that it is the same for all tensors of a renamed part of a layer.
func renamedRest(before, after string) string {
	old, now := strings.Split(before, "."), strings.Split(after, ".")
	at := -1
	for i := range old {
		switch {
		case len(old) == 1, len(old) != len(now), at >= 0 && old[i] != now[i]:
			return "renamed to " + after
		case old[i] != now[i]:
			at = i
		}
	}
	return old[at] + " renamed to " + now[at]
}

// Change describes in words what was done to a tensor: "float32 became bfloat16, scaled by 0.5". Names of
// tensors in the same layer are given without it, so that the same change in another layer reads the
// same. It is "" if nothing is known.
func (t *TensorDiff) Change() string {
	list, layer, ownRest := SplitLayer(t.Name)
	short := func(name string) string {
		if l, n, rest := SplitLayer(name); layer >= 0 && l == list && n == layer {
			return rest
		}
		return name
	}
	if t.Renamed {
		to := t.B
		if newList, n, newRest := SplitLayer(to); t.aligned && n >= 0 && (newList != list || newRest != ownRest) { // a note says which layers are which
			to = fmt.Sprintf("%s.%d.%s", newList, layer, newRest)
		}
		return RenamedWords(t.Name, to)
	}
	if t.CopyOf != "" {
		return copied
	}
	var parts []string
	if t.Status == Shape {
		parts = append(parts, fmt.Sprintf("%s in A, %s in B", tensor.ShapeString(t.Shape), tensor.ShapeString(t.ShapeB)))
	}
	if t.DTypeB != "" && t.Quantized == nil {
		parts = append(parts, fmt.Sprintf("%s became %s", t.DType, t.DTypeB))
		switch {
		case t.Status == DType && (t.Metrics == nil || t.Metrics.Differing == 0):
			parts = append(parts, "the same values")
		case t.ChangedToo() && !t.Explained():
			parts = append(parts, "other values")
		}
	}
	if words := ChangeWords(t.Explanation, t.Name, short); words != "" {
		parts = append(parts, words)
	}
	if m := t.Metrics; m != nil && t.Status != Equal {
		for _, special := range []struct {
			name string
			a, b int64
		}{{"NaN", m.NaNA, m.NaNB}, {"infinities", m.InfA, m.InfB}} {
			switch {
			case special.b > special.a:
				parts = append(parts, "with "+special.name)
			case special.a > special.b:
				parts = append(parts, "with "+special.name+" in A")
			case special.a > 0:
				parts = append(parts, "with "+special.name+" on both sides")
			}
		}
	}
	return strings.Join(parts, ", ")
}

// Extent is the range of a group's metrics.
type Extent struct {
	Elements, Differing int64
	Changed             int64    // elements of explain.Sparse that were changed, if rounding to another dtype changed others
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
		if t.DTypeB != "" && t.Explained() && t.Explanation.Kind == explain.Sparse {
			x.Changed += t.Explanation.Changed
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

// ChangedWords says how many elements were changed apart from the dtype, if few were: "1 of 384 apart from the dtype"; otherwise "".
func (x *Extent) ChangedWords() string {
	if x.Changed == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s apart from the dtype", text.Grouped(x.Changed), text.Grouped(x.Elements))
}

// LeastError says how far so many quantised tensors are from the least error that their scheme allows; "" if none is quantised.
func (x *Extent) LeastError(tensors int) string {
	const least = "the least error that the scheme allows"
	times := fmt.Sprintf("%.4g times ", x.Ratio)
	switch {
	case x.Ratio == 0:
		return ""
	case times == "1 times ":
		return least
	case tensors > 1:
		return "up to " + times + least
	}
	return times + least
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
	return g.List + "." + strings.Join(Ranges(g.Layers), ",") + "." + names
}

// Ranges writes ascending numbers as ranges: 0-3 and 5.
func Ranges(numbers []int) []string {
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
	return parts
}
