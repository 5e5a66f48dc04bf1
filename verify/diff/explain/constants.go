package explain

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// constant is one that may have been multiplied by, divided by or added.
type constant struct {
	value  float64
	divide bool
	via32  bool // the operation was computed in float32, and then rounded
	via64  bool // likewise in float64
	text   string
}

// constantsIn lists constants that may be meant by an interval of them, the plainest first. Some may lie
// a little outside, where they are computed in float32. f is the type of the result.
func constantsIn(in interval, f *numberFormat, shape []int64, quotients bool) []constant {
	var all []constant
	add := func(value float64, text string) {
		all = append(all, constant{value: value, text: text})
	}
	if fraction, exponent := math.Frexp(in.high); in.low > 0 && math.Ldexp(0.5, exponent) >= in.low && fraction < 1 {
		value := math.Ldexp(0.5, exponent)
		add(value, plainNumber(value))
	}
	decimal, text := shortestIn(in)
	add(decimal, text)
	if f.mantissa < 52 {
		all = append(all, constant{value: decimal, via64: true, text: text})
	}
	if quotients {
		all = append(all, quotientsIn(in, shape)...)
	}
	if f.mantissa < 52 {
		// In float32, as torch computes with 16-bit types, and with a constant that is one.
		const ulp = 0x1p-23
		wider := interval{in.low - math.Abs(in.low)*ulp, in.high + math.Abs(in.high)*ulp}
		near, nearText := shortestIn(wider)
		middle := float64(float32(in.low/2 + in.high/2))
		for _, c := range []constant{{value: float64(float32(near)), text: nearText}, {value: middle, text: plainNumber(middle)}} {
			all = append(all, c)
			c.via32 = f.mantissa < 23
			all = append(all, c)
		}
	} else {
		x := in.low
		for range 12 {
			if x > in.high {
				break
			}
			add(x, plainNumber(x))
			x = math.Nextafter(x, math.Inf(1))
		}
	}
	add(in.low/2+in.high/2, plainNumber(in.low/2+in.high/2))
	return distinct(all)
}

// distinct leaves out constants that are listed before under another text.
func distinct(all []constant) []constant {
	seen := map[constant]bool{}
	return slices.DeleteFunc(all, func(c constant) bool {
		c.text = ""
		was := seen[c]
		seen[c] = true
		return was
	})
}

// quotientsIn are constants that come of dividing, and of the sizes of the tensor.
func quotientsIn(in interval, shape []int64) []constant {
	var all []constant
	sign := 1.0
	if in.high < 0 {
		sign, in = -1, interval{-in.high, -in.low}
	}
	if in.low <= 0 {
		return nil
	}
	if k := math.Ceil(1 / in.high); k > 1 && k < 1<<20 && 1/k >= in.low {
		text := fmt.Sprintf("1/%g", k)
		if sign < 0 {
			text = "-" + text
		}
		all = append(all, constant{value: sign / k, text: text}, constant{value: sign * k, divide: true, text: text})
	}
	for _, n := range shape {
		root := math.Sqrt(float64(n))
		text := fmt.Sprintf("sqrt(%d)", n)
		if n > 1 && in.has(root) {
			all = append(all, constant{value: sign * root, text: plainNumber(sign*root) + ", " + text})
		}
		if n > 1 && in.has(1/root) {
			all = append(all, constant{value: sign / root, text: plainNumber(sign/root) + ", 1/" + text})
		}
	}
	return all
}

// shortestIn returns the number of fewest decimal digits in an interval.
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
	middle := in.low/2 + in.high/2
	return middle, plainNumber(middle)
}

func plainNumber(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
