package logits

import (
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Weights says whether the weights that were run are those that the fixture records by their digest.
type Weights string

// What the digests say, or else the values. "" is nothing: there are no digests of one layout, or nothing is wrong.
const (
	SameWeights   Weights = "recorded"
	OtherWeights  Weights = "other"
	UnlikeWeights Weights = "unlike" // no output is near what was recorded
)

// SetWeights sets what is known of the weights of a model that fails, whose digest was recorded and found. If they are others, and nothing explains
// why both halves of every block fail, or why no output is near, they are the fault: the blocks say nothing more.
func (r *Result) SetWeights(recorded, found string) {
	if r.OK || len(r.Faults) == 0 {
		return
	}
	if r.Weights = SameWeights; recorded == found {
		return
	}
	r.Weights = OtherWeights
	say := fmt.Sprintf("the fixture was recorded from other weights: it has the digest %s, and this model %s", recorded, found)
	if !r.allBlocksFail() && !r.isUnrelated() {
		r.Notes = append(r.Notes, say)
		return
	}
	r.blameWeights(fmt.Sprintf("other weights than those of the fixture, which has the digest %s; this model has %s", recorded, found), say)
}

// Suspect makes the weights the fault of a model that fails if no digest says anything of them, and no output is near what was recorded.
func (r *Result) Suspect() {
	if r.OK || r.Weights != "" || !r.isUnrelated() {
		return
	}
	r.Weights = UnlikeWeights
	r.blameWeights("", fmt.Sprintf("the recording is likely of other weights or of another model: none of its %s is near what this model computes", text.Count(len(r.Sites), "output")))
}

// blameWeights makes the weights the only fault.
func (r *Result) blameWeights(cause, detail string) {
	f := r.Faults[0]
	r.Faults = []*Fault{{Block: -1, Kind: WeightsFault, Site: f.Site, Pass: f.Pass, First: f.First, Worst: f.Worst, WorstPass: f.WorstPass, Cause: cause, Detail: detail}}
	r.Summary = r.summary(0)
}

// isUnrelated reports whether every output of every part is outside by far, the logits are as far apart as those of two models that have
// nothing to do with each other, and nothing explains it. Of such logits the mean square of the difference is at least that of the logits; of
// logits that are only scaled the same tokens are likely.
func (r *Result) isUnrelated() bool {
	const far, alike = 10, 0.5
	explained := func(f *Fault) bool { return f.Cause != "" || !f.InCheckpoint() }
	near := func(s *Site) bool { return s.OK || s.Worst.Share < far }
	related := func(m PassMetrics) bool { return !(m.Fixture.NMSE >= 0 && m.Fixture.Top10 < alike) } // also of NaN
	return len(r.Faults) > 0 && len(r.Metrics) > 0 && !slices.ContainsFunc(r.Faults, explained) && !slices.ContainsFunc(r.Sites, near) && !slices.ContainsFunc(r.Metrics, related)
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
