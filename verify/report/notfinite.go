package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// NotFinite says which tensors have NaN or infinities. Those that have the same in several layers are one.
type NotFinite struct {
	Text  string // such as "every tensor of layers 4, 9 of model.layers: every value is NaN"
	First int    // index of the first of the tensors
}

// FindNotFinite looks for NaN and infinities in n tensors, of which name and values return the name and the statistics. blockTypes are the kinds of the model's blocks, nil if they are
// not known.
func FindNotFinite(n int, name func(i int) string, values func(i int) *stats.Stats, blockTypes []string) (all []NotFinite) {
	order := make([]int, n) // natural, which not every file has
	for i := range order {
		order[i] = i
	}
	if !slices.ContainsFunc(order, func(i int) bool { return !values(i).Finite() }) {
		return nil
	}
	slices.SortStableFunc(order, func(a, b int) int { return tensor.CompareNames(name(a), name(b)) })
	items := diff.Items{Len: n, BlockTypes: blockTypes, Name: func(i int) string { return name(order[i]) }, What: func(i int) (diff.Status, string, bool) {
		s := values(order[i])
		if s.Finite() {
			return "", "", false
		}
		return diff.Differs, sayNotFinite(s), true
	}}
	groups := items.Groups()
	for i := range groups {
		g := &groups[i]
		all = append(all, NotFinite{strings.Join(items.Where(g), " ") + ": " + g.Change, order[g.Tensors[0]]})
	}
	return all
}

// sayNotFinite says which values of a tensor are not finite.
func sayNotFinite(s *stats.Stats) string {
	if s.NaN == s.Values {
		return "every value is NaN"
	}
	return fmt.Sprintf("%s among %s", s.NotFinite(), text.Count(s.Values, "value"))
}
