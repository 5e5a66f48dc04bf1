package diff

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Tolerance is what counts as equal. Two elements do if they are within any one of its bounds; a bound of 0
// does not count. NaN equals NaN, and +0 equals -0, whatever their bits.
type Tolerance struct {
	Abs float64 // of |a - b|
	Rel float64 // of |a - b|, relative to the larger of |a| and |b|
	ULP uint64  // of the number of representable values from a to b; only if the dtypes are one floating-point dtype

	given map[string]bool // the bounds that ParseTolerance read, to name those of 0
}

// String writes the tolerance as ParseTolerance reads it, without the bounds of 0 that it did not read.
func (t *Tolerance) String() string {
	var parts []string
	for _, part := range []struct {
		key   string
		value string
	}{{"abs", strconv.FormatFloat(t.Abs, 'g', -1, 64)}, {"rel", strconv.FormatFloat(t.Rel, 'g', -1, 64)}, {"ulp", strconv.FormatUint(t.ULP, 10)}} {
		if part.value != "0" || t.given[part.key] {
			parts = append(parts, part.key+"="+part.value)
		}
	}
	if parts == nil {
		return "abs=0"
	}
	return strings.Join(parts, ",")
}

// ParseTolerance reads "abs=1e-6,rel=1e-3,ulp=2", each part at most once. Anything else is an *OptionError.
func ParseTolerance(text string) (*Tolerance, error) {
	t := &Tolerance{given: map[string]bool{}}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch key {
		case "abs":
			t.Abs, err = parseDistance(value)
		case "rel":
			t.Rel, err = parseDistance(value)
		case "ulp":
			t.ULP, err = strconv.ParseUint(value, 10, 64)
		default:
			err = strconv.ErrSyntax
		}
		if err != nil || t.given[key] {
			return nil, &OptionError{Option: OptionTolerance, Problem: fmt.Sprintf("%q is not a tolerance", text)}
		}
		t.given[key] = true
	}
	return t, nil
}

func parseDistance(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= 0) || math.IsInf(x, 0) {
		return 0, strconv.ErrSyntax
	}
	return x, nil
}

// within reports whether two numbers count as equal. difference is a - b, exact for integers. They are ulp representable
// values apart, if that is known.
func (t *Tolerance) within(a, b, difference float64, ulp uint64, known bool) bool {
	if a != a && b != b {
		return true
	}
	distance := math.Abs(difference)
	if math.IsInf(distance, 0) || distance != distance {
		return a == b // infinite; otherwise one of them is not finite, or they are at opposite ends of float64
	}
	return distance <= t.Abs || distance <= t.Rel*max(math.Abs(a), math.Abs(b)) || known && ulp <= t.ULP
}
