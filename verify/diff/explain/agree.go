package explain

import (
	"cmp"
	"math"
	"slices"
)

// determined is what all elements of a tensor say about the constant of a step.
type determined struct {
	interval               // of the constants with which every element that fits is what it is
	chosen   constant      // of them; if it lies outside, it was checked by itself, and the interval is its value
	ends     []constant    // those at an end of the interval that were checked by themselves, and hold
	format   *numberFormat // to which the results were rounded
}

// allows reports whether a constant holds for the tensor. Of one at an end of the interval, with which results lie in the middle between two
// numbers, only a check can tell.
func (d *determined) allows(x float64) bool {
	return d.surelyHas(x) || d.chosen.factor() == x || slices.ContainsFunc(d.ends, func(c constant) bool { return c.factor() == x })
}

// Agree gives the steps of all explanations that scaled by one constant, or added one, the same constant, in the same words: each tensor alone
// determines it only as far as its elements do, and many numbers would stand for one. The constants that stay different are different, since no
// single one holds for all elements. Explanations may be nil; they are changed in place.
func Agree(all []*Explanation) {
	for _, kind := range []Kind{Scaled, Added} {
		var steps []*Explanation
		for _, e := range all {
			for ; e != nil; e = e.Then {
				if e.Kind == kind && e.constants != nil {
					steps = append(steps, e)
				}
			}
		}
		slices.SortStableFunc(steps, func(x, y *Explanation) int { return cmp.Compare(x.constants.low, y.constants.low) })
		least := make([]float64, len(steps)) // the smallest of the largest constants that a step and those after it allow
		for i, high := len(steps)-1, math.Inf(1); i >= 0; i-- {
			high = min(high, steps[i].constants.high)
			least[i] = high
		}
		for first := 0; first < len(steps); {
			n := first + 1 // all steps that allow that constant, which is the fewest groups that there can be
			for n < len(steps) && steps[n].constants.low <= least[first] {
				n++
			}
			unify(steps[first:n])
			first = n
		}
	}
}

// unify gives steps whose intervals overlap the constant with the shortest text that all of them allow. If there is none, those that allow the
// one that most of them do are given it, and then the same is done with the others, a few times: tensors of a hostile checkpoint may all disagree.
func unify(steps []*Explanation) {
	const rounds = 8
	for range rounds {
		isOther := func(e *Explanation) bool { return e.constants.chosen != steps[0].constants.chosen }
		if !slices.ContainsFunc(steps, isOther) {
			return
		}
		var best []*Explanation // that allow the constant given
		var given constant
		for _, c := range candidates(steps) {
			disallows := func(step *Explanation) bool { return !step.constants.allows(c.factor()) }
			if allowing := slices.DeleteFunc(slices.Clone(steps), disallows); len(allowing) > len(best) {
				best, given = allowing, c
			}
			if len(best) == len(steps) {
				break
			}
		}
		e := given.explanation()
		for _, step := range best {
			step.Detail, step.Factor = e.Detail, e.Factor
		}
		if len(best) == len(steps) {
			return
		}
		isGiven := func(step *Explanation) bool { return step.constants.allows(given.factor()) }
		steps = slices.DeleteFunc(slices.Clone(steps), isGiven)
	}
}

// candidates lists constants that one of the steps allows or all of them may, those with the shortest text first, and not very many.
func candidates(steps []*Explanation) []constant {
	const most = 100
	common := interval{math.Inf(-1), math.Inf(1)}
	var all []constant
	for _, e := range steps {
		d := e.constants
		common = interval{max(common.low, d.low), min(common.high, d.high)}
		all = append(append(all, d.chosen), d.ends...)
	}
	if d := steps[0].constants; common.low < common.high {
		all = append(all, d.chosen.kind.constantsIn(common, d.format, nil)...)
	}
	slices.SortStableFunc(all, func(x, y constant) int {
		return cmp.Or(cmp.Compare(len(x.text), len(y.text)), cmp.Compare(x.factor(), y.factor()))
	})
	all = slices.CompactFunc(all, func(x, y constant) bool { return x.factor() == y.factor() && x.text == y.text })
	return all[:min(most, len(all))]
}

// surelyHas reports whether x lies in an interval by more than errors of computing in float64.
func (i interval) surelyHas(x float64) bool {
	room := 4 * 0x1p-52 * math.Abs(x)
	return x > i.low+room && x < i.high-room
}

// factor returns the constant by which one that divides multiplies, and any other as it is.
func (c *constant) factor() float64 {
	if c.divide {
		return 1 / c.value
	}
	return c.value
}
