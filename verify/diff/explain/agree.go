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
	format   *numberFormat // to which the results were rounded
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
		slices.SortStableFunc(steps, func(x, y *Explanation) int { return cmp.Compare(x.constants.high, y.constants.high) })
		for len(steps) > 0 {
			n := 1 // steps that allow the largest constant of the first, which is the fewest groups that there can be
			for n < len(steps) && steps[n].constants.low <= steps[0].constants.high {
				n++
			}
			unify(steps[:n])
			steps = steps[n:]
		}
	}
}

// unify gives steps whose intervals overlap the constant with the shortest text that all of them allow, if there is one.
func unify(steps []*Explanation) {
	all := interval{math.Inf(-1), math.Inf(1)}
	var points []constant // the only ones that some allow
	var chosen []constant
	for _, e := range steps {
		d := e.constants
		if d.low == d.high {
			points = append(points, d.chosen)
		} else {
			all = interval{max(all.low, d.low), min(all.high, d.high)}
		}
		chosen = append(chosen, d.chosen)
	}
	first := steps[0].constants
	if !slices.ContainsFunc(chosen, func(c constant) bool { return c != first.chosen }) {
		return
	}
	candidates := points
	if points == nil {
		candidates = append(chosen, first.chosen.kind.constantsIn(all, first.format, nil)...)
	}
	slices.SortStableFunc(candidates, func(x, y constant) int { return cmp.Compare(len(x.text), len(y.text)) })
	holds := func(c constant) bool {
		isOther := func(p constant) bool { return p.factor() != c.factor() }
		return all.surelyHas(c.factor()) && !slices.ContainsFunc(points, isOther)
	}
	if i := slices.IndexFunc(candidates, holds); i >= 0 {
		e := candidates[i].explanation()
		for _, step := range steps {
			step.Detail, step.Factor = e.Detail, e.Factor
		}
	}
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
