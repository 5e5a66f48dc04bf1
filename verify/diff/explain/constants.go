package explain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// constant is one operation with a constant, applied to every value.
type constant struct {
	kind      Kind // Scaled or Added
	value     float64
	divide    bool // of Scaled: divides by value
	inFloat32 bool // the result is rounded to float32
	text      string
}

// apply replaces values by the results.
func (c *constant) apply(values []float64) {
	for i, x := range values {
		switch {
		case c.kind == Added:
			x += c.value
		case c.divide:
			x /= c.value
		default:
			x *= c.value
		}
		if c.inFloat32 {
			x = float64(float32(x))
		}
		values[i] = x
	}
}

func (c *constant) explanation() Explanation {
	text := c.text
	if c.kind == Scaled {
		text = "by " + text
	}
	e := Explanation{Kind: c.kind, Detail: text}
	if c.kind == Scaled {
		e.Factor = c.factor()
	}
	return e
}

// interval is a range of constants.
type interval struct{ low, high float64 }

func (i interval) has(x float64) bool { return x >= i.low && x <= i.high }

func (i interval) middle() float64 { return i.low/2 + i.high/2 }

// allowed returns the constants with which a becomes b once the result is rounded to f. certain is false
// if a and b do not determine the constant (a zero that is scaled); possible is false if no constant will do.
func (k Kind) allowed(a, b float64, f *numberFormat) (in interval, certain, possible bool) {
	switch {
	case a != a || b != b:
		return interval{}, false, a != a && b != b
	case math.IsInf(a, 0):
		return interval{}, false, a == b || k == Scaled && math.IsInf(b, 0)
	case k == Scaled && a == 0:
		return interval{}, false, b == 0
	}
	in = f.preimage(b)
	if k == Added {
		in = interval{in.low - a, in.high - a}
	} else {
		in = interval{in.low / a, in.high / a}
		if a < 0 {
			in = interval{in.high, in.low}
		}
	}
	return interval{math.Nextafter(in.low, math.Inf(-1)), math.Nextafter(in.high, math.Inf(1))}, true, true
}

// neutral returns the constant that changes nothing.
func (k Kind) neutral() float64 {
	if k == Scaled {
		return 1
	}
	return 0
}

// minEvidence is how many elements have to determine a constant, and how many have to be changed by it: with fewer, one is often found that
// means nothing, and too small a one leaves those as they are that were not changed.
const minEvidence = 8

// agreed returns the constants that nearly all elements of a sample allow, if there are any.
func (k Kind) agreed(a, b []float64, f *numberFormat) (interval, bool) {
	var all []interval
	impossible, changed := 0, 0
	for i := range a {
		in, certain, possible := k.allowed(a[i], b[i], f)
		if !possible {
			impossible++
		}
		if !certain || !possible {
			continue
		}
		if !in.has(k.neutral()) {
			changed++
		}
		all = append(all, in)
		if len(all) == 12 && !overlap(all) {
			return interval{}, false
		}
	}
	if len(a)-impossible < nearlyAll(len(a)) || changed < max(minEvidence, len(a)/20) {
		return interval{}, false
	}
	best, agree := deepest(all)
	return best, agree >= nearlyAll(len(all))
}

// overlap is a quick test of a few intervals: whether one of the first three meets most others.
func overlap(all []interval) bool {
	for _, one := range all[:3] {
		common := 0
		for _, other := range all {
			if one.low <= other.high && other.low <= one.high {
				common++
			}
		}
		if common >= len(all)*2/3 {
			return true
		}
	}
	return false
}

// deepest returns the range that most intervals have in common, and how many have it.
func deepest(all []interval) (best interval, agree int) {
	type end struct {
		at    float64
		opens int // 1, or -1
	}
	var ends []end
	for _, i := range all {
		ends = append(ends, end{i.low, 1}, end{i.high, -1})
	}
	slices.SortFunc(ends, func(x, y end) int {
		return cmp.Or(cmp.Compare(x.at, y.at), y.opens-x.opens)
	})
	depth := 0
	for i, e := range ends {
		if depth += e.opens; depth > agree {
			agree, best = depth, interval{e.at, ends[i+1].at}
		}
	}
	return best, agree
}

// constantsIn lists constants that may be meant by an interval, the plainest first. Some may lie slightly
// outside, if the result was computed in float32. f is the format of the result.
func (k Kind) constantsIn(in interval, f *numberFormat, shape []int64) []constant {
	var all []constant
	add := func(value float64, text string) { all = append(all, constant{kind: k, value: value, text: text}) }
	farther := in.high // from 0
	if in.high < 0 {
		farther = in.low
	}
	if _, exponent := math.Frexp(farther); in.low > 0 || in.high < 0 {
		if value := math.Copysign(math.Ldexp(0.5, exponent), farther); in.has(value) {
			add(value, plainNumber(value))
		}
	}
	value, text := shortestIn(in)
	longer := []constant{{kind: k, value: value, text: text}}
	if k == Scaled {
		longer = append(longer, quotientsIn(in, shape)...)
	}
	if f.mantissa < 52 {
		for _, c := range float32sIn(in) {
			c.kind = k
			to := &longer
			if len(c.text) < len(text) { // such as 0.9, for which float32 has only the nearest number
				to = &all
			}
			*to = append(*to, c)
			c.inFloat32 = f.mantissa < 23
			*to = append(*to, c)
		}
	}
	all = append(all, longer...)
	if f.mantissa == 52 {
		for x, n := in.low, 0; n < 12 && x <= in.high; x, n = math.Nextafter(x, math.Inf(1)), n+1 {
			add(x, plainNumber(x))
		}
	}
	add(in.middle(), plainNumber(in.middle()))
	seen := map[constant]bool{}
	return slices.DeleteFunc(all, func(c constant) bool {
		c.text = ""
		twice := seen[c]
		seen[c] = true
		return twice
	})
}

// endsOf returns the plain numbers at the ends of an interval, as 2.375 is one if it makes products that lie in the middle between two numbers
// of bfloat16. They may hold for all elements or not, and may be the number that was meant. f is the format of the result: one of 32 bits and
// more determines a number so well that it is the only plain one.
func (k Kind) endsOf(in interval, f *numberFormat) []constant {
	if f.mantissa >= 23 {
		return nil
	}
	var all []constant
	for _, end := range []float64{in.low, in.high} {
		if end == 0 || math.IsInf(end, 0) {
			continue
		}
		room := 8 * 0x1p-52 * math.Abs(end)
		value, text := shortestIn(interval{end - room, end + room})
		all = append(all, constant{kind: k, value: value, text: text})
	}
	return all
}

// float32sIn returns constants of float32, with which torch computes also in 16-bit types: that of the shortest number in an interval or near it,
// and that of its middle.
func float32sIn(in interval) []constant {
	const ulp = 0x1p-23
	near, text := shortestIn(interval{in.low - math.Abs(in.low)*ulp, in.high + math.Abs(in.high)*ulp})
	middle := float32(in.middle())
	return []constant{{value: float64(float32(near)), text: text}, {value: float64(middle), text: strconv.FormatFloat(float64(middle), 'g', -1, 32)}}
}

// quotientsIn lists factors that are quotients of integers, or roots of the sizes of the tensor.
func quotientsIn(in interval, shape []int64) []constant {
	var all []constant
	sign, minus := 1.0, ""
	if in.high < 0 {
		sign, minus, in = -1, "-", interval{-in.high, -in.low}
	}
	if in.low <= 0 {
		return nil
	}
	if n := math.Ceil(1 / in.high); n > 1 && n < 1<<20 && 1/n >= in.low {
		text := fmt.Sprintf("%s1/%g", minus, n)
		all = append(all, constant{kind: Scaled, value: sign / n, text: text}, constant{kind: Scaled, value: sign * n, divide: true, text: text})
	}
	for _, n := range shape {
		root := math.Sqrt(float64(n))
		if n > 1 && in.has(root) {
			all = append(all, constant{kind: Scaled, value: sign * root, text: fmt.Sprintf("%s, sqrt(%d)", plainNumber(sign*root), n)})
		}
		if n > 1 && in.has(1/root) {
			all = append(all, constant{kind: Scaled, value: sign / root, text: fmt.Sprintf("%s, 1/sqrt(%d)", plainNumber(sign/root), n)})
		}
	}
	return all
}

// shortestIn returns the number with the fewest decimal digits in an interval.
func shortestIn(in interval) (float64, string) {
	if in.low <= 0 && in.high >= 0 {
		return 0, "0"
	}
	low, sign := in.low, ""
	if in.high < 0 {
		low, sign = -in.high, "-"
	}
	magnitude := int(math.Floor(math.Log10(low)))
	for digits := -1; digits < 17; digits++ { // from one more than the number has before the point
		exponent := magnitude - digits
		unit := math.Pow(10, float64(-exponent))
		if math.IsInf(unit, 0) || unit == 0 {
			break
		}
		n := math.Ceil(low * unit)
		value, err := strconv.ParseFloat(fmt.Sprintf("%s%.0fe%d", sign, n, exponent), 64)
		if err == nil && in.has(value) && n > 0 {
			return value, plainNumber(value)
		}
	}
	return in.middle(), plainNumber(in.middle())
}

func plainNumber(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// roundedTypes returns the formats to which B's elements may have been rounded before they were stored:
// that of the dtype first, and narrower ones that nearly all sampled values have.
func roundedTypes(b tensor.DType, values []float64) []*numberFormat {
	own := numberFormats[b]
	all := []*numberFormat{own}
	for _, d := range narrowTypes {
		if f := numberFormats[d]; f.mantissa < own.mantissa && f.holds(values) {
			all = append(all, f)
		}
	}
	return all
}

// holds reports whether the format has nearly all values.
func (f *numberFormat) holds(values []float64) bool {
	held := 0
	for _, x := range values {
		if y := f.round(x); y == x || x != x {
			held++
		}
	}
	return held >= nearlyAll(len(values))
}
