package manifest

import (
	"math"
	"strconv"
	"strings"
)

// Float is a float64 that JSON shows as Python's repr does: 30.0 and not 30, which transformers 5
// refuses for a field of type float.
type Float float64

// MarshalJSON implements json.Marshaler. NaN and infinities are an error.
func (f Float) MarshalJSON() ([]byte, error) {
	x := float64(f)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil, strconv.ErrRange
	}
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(nil, x, 'e', -1, 64), nil
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return []byte(s), nil
}
