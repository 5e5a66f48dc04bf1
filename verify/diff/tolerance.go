package diff

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
)

// Tolerance is what counts as equal. Two elements are if any one of its parts says so; a part that is 0
// says nothing. Besides, NaN is equal to NaN and +0 to -0, whatever their bits.
type Tolerance struct {
	Abs float64 // |a - b| is at most this
	Rel float64 // |a - b| is at most this times the larger of |a| and |b|
	ULP uint64  // at most so many representable values from a to b; floating-point types that are the same only
}

// ParseTolerance reads "abs=1e-6,rel=1e-3,ulp=2", each part at most once. Anything else is a
// *convert.SettingsError.
func ParseTolerance(text string) (*Tolerance, error) {
	t := &Tolerance{}
	seen := map[string]bool{}
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
		if err != nil || seen[key] {
			return nil, &convert.SettingsError{Problem: fmt.Sprintf("%q is no tolerance", text),
				Hint: "--tolerance takes abs=NUMBER, rel=NUMBER, ulp=COUNT, or several of them with commas between: abs=1e-6,rel=1e-3"}
		}
		seen[key] = true
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

// within reports whether two numbers count as equal, ulp representable values apart. ulp counts only if
// it is known.
func (t *Tolerance) within(a, b float64, ulp uint64, known bool) bool {
	if a == b || a != a && b != b {
		return true
	}
	apart := math.Abs(a - b)
	if math.IsInf(apart, 0) || apart != apart {
		return false // one of them is not finite, or both are at the ends of float64
	}
	return apart <= t.Abs || apart <= t.Rel*max(math.Abs(a), math.Abs(b)) || known && ulp <= t.ULP
}
