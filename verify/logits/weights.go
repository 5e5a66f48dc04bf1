package logits

import (
	"fmt"
	"slices"
)

// Weights says whether the weights that were run are those that the fixture records by their digest.
type Weights string

// What the digests say. "" is nothing: the fixture records none, or that of another layout, or nothing is wrong.
const (
	SameWeights  Weights = "recorded"
	OtherWeights Weights = "other"
)

// SetWeights sets what is known of the weights of a model that fails, whose digest was recorded and found. If they are others, and nothing explains
// why both halves of every block fail, they are the fault: the blocks say nothing more.
func (r *Result) SetWeights(recorded, found string) {
	if r.OK || len(r.Faults) == 0 {
		return
	}
	if r.Weights = SameWeights; recorded == found {
		return
	}
	r.Weights = OtherWeights
	say := fmt.Sprintf("the fixture was recorded from other weights: it has the digest %s, and this model %s", recorded, found)
	if !r.allBlocksFail() {
		r.Notes = append(r.Notes, say)
		return
	}
	f, cause := r.Faults[0], fmt.Sprintf("other weights than those of the fixture, which has the digest %s; this model has %s", recorded, found)
	r.Faults = []*Fault{{Block: -1, Kind: WeightsFault, Site: f.Site, Pass: f.Pass, First: f.First, Worst: f.Worst, Cause: cause, Detail: say}}
	r.Summary = r.summary(0)
}

// allBlocksFail reports whether both halves of every block fail by themselves, and nothing explains it.
func (r *Result) allBlocksFail() bool {
	for i := range r.Blocks {
		for _, half := range []Half{TemporalHalf, MLPHalf} {
			if !slices.ContainsFunc(r.Faults, func(f *Fault) bool { return f.Block == i && f.inBlock() && f.Half == half && f.Cause == "" }) {
				return false
			}
		}
	}
	return true
}
