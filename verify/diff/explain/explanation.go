package explain

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/verify/internal/float"
)

// Explanation is what was done to A's tensor to make B's. It holds for every element: in the bits, or as
// Detail says.
type Explanation struct {
	Kind   Kind         `json:"kind"`
	With   string       `json:"with,omitempty"`   // Pair.Name of the other tensor, for Swapped and CopiedFrom
	Detail string       `json:"detail,omitempty"` // the numbers, for people: "by 0.5", "axes 2, 0, 1"
	Then   *Explanation `json:"then,omitempty"`   // what was done after that

	Factor   float64   `json:"-"`                  // of Scaled: the constant
	Elements []Changed `json:"elements,omitempty"` // of Sparse: the first 100
	Changed  int64     `json:"-"`                  // of Sparse: how many were changed; an element that rounding to B's dtype changed is none of them
	Rank     int       `json:"rank,omitempty"`     // of LowRank; the largest of Ranks
	Ranks    []int     `json:"ranks,omitempty"`    // of LowRank, if the tensor stacks matrices along axis 0: that of each, 0 where nothing changed
	Energy   Number    `json:"energy,omitempty"`   // of LowRank: the share of ‖b - a‖² that a matrix of this rank holds

	constants *determined // of Scaled and Added; nil if not known
}

// Changed is one element of a sparse difference.
type Changed struct {
	Index []int64 `json:"index"` // in B
	A     Number  `json:"a"`     // the real part of a complex number
	B     Number  `json:"b"`
}

// Number is a float64 whose JSON is a string if it is not finite: NaN, Infinity, -Infinity.
type Number = float.Number

// Kind is a kind of explanation.
type Kind string

// The kinds of explanation, in the order in which they are tried.
const (
	Zeroed        Kind = "zeroed"         // every element of B is zero
	ZeroSigns     Kind = "zero_signs"     // the signs of zeros differ, and nothing else
	Swapped       Kind = "swapped"        // B holds A's tensor With, and B's tensor With holds this one
	CopiedFrom    Kind = "copied_from"    // B holds A's tensor With
	Transposed    Kind = "transposed"     // rank 2
	PermutedAxes  Kind = "permuted_axes"  // rank 3 and more
	Reshaped      Kind = "reshaped"       // the same elements, in the same order, in another shape
	Reversed      Kind = "reversed"       // along an axis
	BlockPermuted Kind = "block_permuted" // parts in another order
	Truncated     Kind = "truncated"      // to a narrower type: rounded towards zero
	Scaled        Kind = "scaled"         // multiplied by one constant
	Added         Kind = "added"          // one constant was added
	Rounded       Kind = "rounded"        // through a narrower type
	Sparse        Kind = "sparse"         // at most 1% of the elements were changed
	Pruned        Kind = "pruned"         // elements were set to zero, all others are as they were
	LowRank       Kind = "low_rank"       // changed by a matrix of small rank
	Resized       Kind = "resized"        // rows were added or removed, others are the same
	Quantized     Kind = "quantized"      // by the scheme in Detail; only by callers that know it, who say how well
	Other         Kind = "other"          // none of these
)

// String describes the explanation in words: "transposed, then scaled by 0.5".
func (e *Explanation) String() string {
	return e.describe(func(name string) string { return name }, true)
}

// Summary is String without the changed elements of Sparse, so that the same change to several tensors
// reads the same. name returns what other tensors are called. Of nil and of Other it is "".
func (e *Explanation) Summary(name func(string) string) string { return e.describe(name, false) }

func (e *Explanation) describe(name func(string) string, elements bool) string {
	var parts []string
	for ; e != nil; e = e.Then {
		words := strings.ReplaceAll(string(e.Kind), "_", " ")
		switch e.Kind {
		case Other:
			continue
		case ZeroSigns:
			words = "changed in the signs of zeros"
		case Swapped:
			words = "swapped with " + name(e.With)
		case CopiedFrom:
			words = "copied from " + name(e.With)
		case PermutedAxes:
			words = "permuted to " + e.Detail
		case BlockPermuted:
			words = "permuted along " + e.Detail
		case Truncated:
			words += " " + e.Detail + ", not rounded to nearest"
		case Quantized:
			words = "quantised " + e.Detail
		case LowRank:
			words = "changed by a matrix of " + e.RankWords()
		case Added:
			words = "added " + e.Detail
			if len(parts) > 0 {
				words = e.Detail + " added"
			}
		case Sparse:
			words = "changed in few elements"
			if elements {
				words = "changed in " + e.Detail
			}
		default:
			if e.Detail != "" {
				words += " " + e.Detail
			}
		}
		parts = append(parts, words)
	}
	return strings.Join(parts, ", then ")
}

// RankWords writes the rank of LowRank: "rank 2", "rank 2 at each of the 2 indices of axis 0".
func (e *Explanation) RankWords() string {
	words := fmt.Sprintf("rank %d", e.Rank)
	var changed []int
	for i, rank := range e.Ranks {
		if rank > 0 {
			changed = append(changed, i)
		}
		if rank > 0 && rank != e.Rank {
			words = fmt.Sprintf("rank up to %d", e.Rank)
		}
	}
	switch n := len(changed); {
	case n == 0:
		return words
	case n == len(e.Ranks):
		return fmt.Sprintf("%s at each of the %d indices of axis 0", words, n)
	case n == 1:
		return fmt.Sprintf("%s at index %d of axis 0", words, changed[0])
	default:
		return fmt.Sprintf("%s at %d of the %d indices of axis 0", words, n, len(e.Ranks))
	}
}
