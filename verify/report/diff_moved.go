package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// whatIsNotFinite counts the tensors that differ and have NaN or infinities, and those of which nothing else is left. named says that
// tensors that differ are counted before.
func whatIsNotFinite(r *diff.Result, named bool) []string {
	var whole [2]int // tensors of which every value is NaN, by side
	rest := r.Summary.NonFinite
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if t.Metrics == nil {
			continue
		}
		every := [2]bool{t.Metrics.NaNA == t.Elements, t.Metrics.NaNB == t.Elements}
		for side := range every {
			if every[side] {
				whole[side]++
			}
		}
		if every[0] || every[1] {
			rest--
		}
	}
	var phrases []string
	if rest > 0 {
		s := &r.Summary
		differing := s.Differ + s.DType + s.Shape
		has, where := text.Agree(int64(s.NonFinite), "tensor", "has", "have"), ""
		switch {
		case !named || s.NonFinite > differing: // some are equal within the tolerance
		case differing == 1:
			has = "it has"
		case s.NonFinite == 1:
			has, where = "1 of the tensors that differ has", layersNotFinite(r)
		default:
			has, where = text.Grouped(int64(s.NonFinite))+" of the tensors that differ have", layersNotFinite(r)
		}
		phrases = append(phrases, has+" NaN or infinities"+where)
	}
	for side, n := range whole {
		if n == 0 {
			continue
		}
		where := text.Count(int64(n), "tensor")
		if rest > 0 {
			where = text.Grouped(int64(n)) + " of them"
		}
		phrases = append(phrases, fmt.Sprintf("every value of %s is NaN in %s", string("AB"[side]), where))
	}
	return phrases
}

// layersNotFinite says in which layers the tensors with NaN or infinities are: ", in layers 3, 20"; "" if not all are in few layers.
func layersNotFinite(r *diff.Result) string {
	const few = 8
	g := diff.Group{}
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if m := t.Metrics; m == nil || m.NaNA+m.NaNB+m.InfA+m.InfB == 0 {
			continue
		}
		list, layer, _ := diff.SplitLayer(t.Name)
		if layer < 0 || g.Layers != nil && list != g.List {
			return ""
		}
		g.List, g.Layers = list, append(g.Layers, layer)
	}
	slices.Sort(g.Layers)
	if g.Layers = slices.Compact(g.Layers); len(g.Layers) == 0 || len(g.Layers) > few {
		return ""
	}
	return ", in " + r.LayersOf(&g)
}

// isFarOff reports whether one side of a tensor has NaN or infinities that the other has not, so that no distance says how far it moved.
func isFarOff(m *diff.Metrics) bool {
	return m.NaNA != m.NaNB || m.InfA != m.InfB || math.IsNaN(float64(m.RelativeL2))
}

// movements are the tensors of a diff that changed in no way that has a name.
type movements struct {
	n, outside int             // those that are near or far off, and those of them in no layer
	apart      []movedTensor   // the near ones in no layer, the farthest first
	near       int             // those that have a distance
	lists      map[string]bool // of the layers that moved
	layers     map[int]bool    // all that both sides have
	moved      map[int]bool    // those with such tensors
	farOff     map[int]bool    // those of them with tensors that are far off
	distances  map[int]float64 // mean of the near ones in a layer
}

type movedTensor struct {
	name     string
	distance float64
}

func movementsOf(r *diff.Result) *movements {
	m := &movements{lists: map[string]bool{}, layers: map[int]bool{}, moved: map[int]bool{}, farOff: map[int]bool{}, distances: map[int]float64{}}
	near := map[int]int{} // tensors, by layer
	for i := range r.Tensors {
		t := &r.Tensors[i]
		list, layer, _ := diff.SplitLayer(t.Name)
		if layer >= 0 && t.Status != diff.OnlyA && t.Status != diff.OnlyB {
			m.layers[layer] = true
		}
		if t.Metrics == nil || t.Metrics.Differing == 0 || t.Status == diff.Equal || t.Explained() {
			continue
		}
		m.n++
		isNear := !isFarOff(t.Metrics)
		if isNear {
			m.near++
		}
		if layer < 0 {
			m.outside++
			if isNear {
				m.apart = append(m.apart, movedTensor{t.Name, t.Distance()})
			}
			continue
		}
		m.lists[list], m.moved[layer] = true, true
		if !isNear {
			m.farOff[layer] = true
			continue
		}
		near[layer]++
		m.distances[layer] += math.Min(t.Distance(), 1e30)
	}
	for layer, n := range near {
		m.distances[layer] /= float64(n)
	}
	slices.SortStableFunc(m.apart, func(a, b movedTensor) int { return cmp.Compare(b.distance, a.distance) })
	return m
}

// farthest returns what moved farthest: first the tensors outside layers that moved more than twice as far as any layer, then the layers that moved
// at least half as far as the farthest of them, in order, and the tensors outside layers that did. Layers with tensors that are far off are among the
// farthest.
func (m *movements) farthest() (first, beside []movedTensor, layers []int) {
	far := maps.Clone(m.farOff)
	largest := 0.0
	for layer, distance := range m.distances {
		if !far[layer] {
			largest = math.Max(largest, distance)
		}
	}
	if len(far) > 0 && len(m.apart) > 0 {
		largest = math.Max(largest, m.apart[0].distance)
	}
	for layer, distance := range m.distances {
		if distance >= largest/2 {
			far[layer] = true
		}
	}
	for _, t := range m.apart {
		switch {
		case t.distance > 2*largest:
			first = append(first, t)
		case t.distance >= largest/2:
			beside = append(beside, t)
		}
	}
	return first, beside, slices.Sorted(maps.Keys(far))
}

// tensorWords names tensors outside layers: "tensors head and embed", or says how many they are.
func tensorWords(all []movedTensor) string {
	name := func(t movedTensor) string { return text.Printable(tensor.Clip(t.name)) }
	switch len(all) {
	case 1:
		return "tensor " + name(all[0])
	case 2:
		return "tensors " + name(all[0]) + " and " + name(all[1])
	}
	return text.Count(int64(len(all)), "tensor") + " outside layers"
}

// whatMoved says where the tensors are that changed in no way that has a name; "" if all of them are far off. alone says that no others
// changed.
func whatMoved(r *diff.Result, alone bool) string {
	m := movementsOf(r)
	if m.near == 0 {
		return ""
	}
	moved := otherValues(m.n, map[bool]string{true: "tensor", false: "other tensor"}[alone])
	if len(m.lists) != 1 || len(m.layers) < 2 {
		return moved
	}
	first, beside, far := m.farthest()
	most := ""
	if len(first) > 0 {
		most = ", farthest apart in " + tensorWords(first)
	}
	every := len(far) == len(m.moved) // layers that moved
	words := ""
	for list := range m.lists {
		words = r.LayersOf(&diff.Group{List: list, Layers: far})
	}
	switch scattered := len(far) > 8 && strings.Count(words, ",") > 3; {
	case every && len(m.moved) == len(m.layers):
		return moved + most + m.inAllLayers()
	case scattered && m.outside > 0:
		return moved + most
	case scattered:
		return fmt.Sprintf("%s, in %s", moved, text.Count(len(m.moved), "layer"))
	}
	if len(beside) > 0 {
		words = tensorWords(beside) + " and " + words
	}
	within := ""
	if r.Tolerance != "" {
		within = " by more than " + r.Tolerance
	}
	switch only, ofLayers := every && len(beside) == m.outside, every && len(beside) == 0; {
	case only && alone:
		return "only " + words + " moved" + within
	case only:
		return moved + ", in " + words
	case most != "" && alone:
		return tensorWords(first) + " moved most, then " + words
	case most != "":
		return moved + most + ", then in " + words
	case ofLayers && alone:
		return "of the layers, only " + words + " moved" + within
	case ofLayers:
		return moved + ", in " + words + " and outside layers"
	case alone:
		return words + " moved most"
	}
	return moved + ", farthest apart in " + words
}

// inAllLayers says that all layers moved about as far as the others, or if there is no distance in some, only that all did.
func (m *movements) inAllLayers() string {
	all := fmt.Sprintf("all %d layers", len(m.layers))
	if len(m.layers) == 2 {
		all = "both layers"
	}
	switch {
	case len(m.farOff) == 0:
		return ", in " + all + " to a similar extent"
	case m.outside == 0:
		return ", in " + all
	}
	return ", some of them in " + all
}
