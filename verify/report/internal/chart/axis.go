package chart

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Logarithmic returns an axis over the whole decades of all positive values, with a tick at each. Values far below the largest are
// left out; Axis.Clamp moves them to the edge.
func Logarithmic(label string, values []float64) Axis {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	if high == 0 {
		low, high = 1e-9, 1
	}
	if a, ok := withinDecade(label, low, high); ok {
		return a
	}
	from := int(math.Floor(math.Log10(math.Max(low, high*1e-12))))
	to := int(math.Ceil(math.Log10(high) + 0.02))
	from, to = max(from, -307), min(max(to, from+1), 308)
	a := Axis{Label: label, Min: math.Pow(10, float64(from)), Max: math.Pow(10, float64(to)), Log: true}
	for e := from; e <= to; e++ {
		a.Ticks = append(a.Ticks, Tick{At: math.Pow(10, float64(e)), Label: "10" + Superscript(e), N: e - from})
	}
	return a
}

// withinDecade returns a logarithmic axis whose ticks are 1, 2 and 5 times powers of ten. It is for values of which the largest is less than
// ten times the smallest, and neither nearly overflows.
func withinDecade(label string, low, high float64) (a Axis, ok bool) {
	if low < 1e-300 || high > 1e300 || high >= 10*low {
		return a, false
	}
	a = Axis{Label: label, Log: true}
	first := int(math.Floor(math.Log10(low)))
	for i := 3 * first; ; i++ {
		e := int(math.Floor(float64(i) / 3))
		v, err := strconv.ParseFloat(fmt.Sprintf("%ce%d", "125"[i-3*e], e), 64)
		if err != nil {
			return a, false
		}
		if v <= low {
			a.Min, a.Ticks = v, nil
		}
		a.Max = v
		a.Ticks = append(a.Ticks, Tick{At: v, Label: strconv.FormatFloat(v, 'g', -1, 64), N: len(a.Ticks)})
		if v >= high && v > a.Min {
			return a, true
		}
	}
}

// Linear returns an axis from low to high, with about six ticks at round numbers.
func Linear(label string, low, high float64) Axis {
	a := Axis{Label: label, Min: low, Max: high}
	step := math.Pow(10, math.Floor(math.Log10(high/5-low/5)))
	for _, times := range []float64{5, 2} {
		if high/(step*times)-low/(step*times) >= 4 {
			step *= times
			break
		}
	}
	if !(step > 0) || math.IsInf(step, 0) {
		return a
	}
	first := math.Ceil(low / step)
	for i := 0; i < 60 && (first+float64(i))*step <= high; i++ {
		v := (first + float64(i)) * step
		a.Ticks = append(a.Ticks, Tick{At: v, Label: strconv.FormatFloat(v, 'g', 6, 64), N: i})
	}
	return a
}

// Clamp moves a value onto the axis: one that is not a number to the end.
func (a *Axis) Clamp(v float64) float64 {
	if math.IsNaN(v) {
		return a.Max
	}
	return math.Min(math.Max(v, a.Min), a.Max)
}

// share returns where a value is, from 0 at Min to 1 at Max.
func (a *Axis) share(v float64) float64 {
	v = a.Clamp(v)
	low, high := a.Min, a.Max
	if a.Log {
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	if !(high > low) {
		return 0.5
	}
	return (v/2 - low/2) / (high/2 - low/2) // halves, of which no difference overflows
}

// Superscript writes a number as an exponent.
func Superscript(n int) string {
	return strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹").Replace(fmt.Sprint(n))
}

// textWidth returns at least the width of text in the fonts that browsers have, in units of the font's size.
func textWidth(s string) float64 {
	width := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune(" .,:;'|!ijlI()[]", r):
			width += 0.36
		case strings.ContainsRune("⁻⁰¹²³⁴⁵⁶⁷⁸⁹frt-", r):
			width += 0.45
		case strings.ContainsRune("mwMW—…", r):
			width += 1
		case r > 0x2fff:
			width += 1.1
		default:
			width += 0.66
		}
	}
	return width
}

// label is the text of a tick on a drawing, in its units.
type label struct {
	at, from, to float64
	text         string
}

// labels returns the labels of ticks that fit, in order: those of all ticks, or of those whose numbers are multiples of the
// smallest round number with which none overlaps another. at gives the position of a tick, size the length of its label along
// the axis.
func labels(ticks []Tick, at func(float64) float64, size func(string) float64, gap float64) []label {
	var kept, others []Tick
	for _, t := range ticks {
		switch {
		case t.Label == "":
		case t.Keep:
			kept = append(kept, t)
		default:
			others = append(others, t)
		}
	}
	place := func(t Tick) label {
		x, half := at(t.At), size(t.Label)/2
		return label{x, x - half, x + half, t.Label}
	}
	var fixed []label
	for _, t := range kept {
		if l := place(t); !overlaps(l, fixed, gap) {
			fixed = append(fixed, l)
		}
	}
	for every := 1; ; {
		out, fits := slices.Clone(fixed), true
		for _, t := range others {
			if t.N%every != 0 {
				continue
			}
			switch l := place(t); {
			case !overlaps(l, out, gap):
				out = append(out, l)
			case !overlaps(l, fixed, gap):
				fits = false
			}
		}
		every = nextRound(every)
		if fits || every > 1e6 {
			slices.SortFunc(out, func(a, b label) int { return int(math.Copysign(1, a.at-b.at)) })
			return out
		}
	}
}

// nextRound returns the next of 1, 2, 5, 10, 20, …
func nextRound(n int) int {
	for power := 1; ; power *= 10 {
		switch n {
		case power:
			return 2 * power
		case 2 * power:
			return 5 * power
		case 5 * power:
			return 10 * power
		}
	}
}

func overlaps(l label, others []label, gap float64) bool {
	return slices.ContainsFunc(others, func(o label) bool { return l.from < o.to+gap && o.from < l.to+gap })
}
