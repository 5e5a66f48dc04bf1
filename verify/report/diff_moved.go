package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

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
	near       int             // those that have a distance
	lists      map[string]bool // of the layers that moved
	layers     map[int]bool    // all that both sides have
	moved      map[int]bool    // those with such tensors
	farOff     map[int]bool    // those of them with tensors that are far off
	distances  map[int]float64 // mean of the near ones in a layer
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
	return m
}

// farthest returns the layers with tensors that are far off, and those that moved at least half as far as the farthest of the others, in order.
func (m *movements) farthest() []int {
	far := maps.Clone(m.farOff)
	largest := 0.0
	for layer, distance := range m.distances {
		if !far[layer] {
			largest = math.Max(largest, distance)
		}
	}
	for layer, distance := range m.distances {
		if distance >= largest/2 {
			far[layer] = true
		}
	}
	return slices.Sorted(maps.Keys(far))
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
	far := m.farthest()
	every := len(far) == len(m.moved) // layers that moved
	words := ""
	for list := range m.lists {
		words = r.LayersOf(&diff.Group{List: list, Layers: far})
	}
	switch only := every && m.outside == 0; {
	case every && len(m.moved) == len(m.layers):
		return moved + m.inAllLayers()
	case len(far) > 8 && strings.Count(words, ",") > 3 && m.outside > 0:
		return moved
	case len(far) > 8 && strings.Count(words, ",") > 3:
		return fmt.Sprintf("%s, in %s", moved, text.Count(len(m.moved), "layer"))
	case only && alone && r.Tolerance != "":
		return "only " + words + " moved by more than " + r.Tolerance
	case only && alone:
		return "only " + words + " moved"
	case only:
		return fmt.Sprintf("%s, in %s", moved, words)
	case alone:
		return words + " moved most"
	}
	return fmt.Sprintf("%s, farthest apart in %s", moved, words)
}

// inAllLayers says that all layers moved about as far as the others, or if there is no distance in some, only that all did.
func (m *movements) inAllLayers() string {
	all := fmt.Sprintf("all %d layers", len(m.layers))
	if len(m.layers) == 2 {
		all = "both layers"
	}
	switch {
	case len(m.farOff) == 0:
		return ", " + all + " about equally far"
	case m.outside == 0:
		return ", in " + all
	}
	return ", also in " + all
}
