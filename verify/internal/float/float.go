// Package float has the float64 that results of verification print as JSON.
package float

import (
	"encoding/json"
	"math"
	"strconv"
)

// Number is a float64 whose JSON is a string where it is not finite: NaN, Infinity, -Infinity.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	switch x := float64(n); {
	case math.IsNaN(x):
		return []byte(`"NaN"`), nil
	case math.IsInf(x, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(x, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(x)
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(text []byte) error {
	var word string
	if err := json.Unmarshal(text, &word); err == nil {
		x, err := strconv.ParseFloat(word, 64)
		*n = Number(x)
		return err
	}
	return json.Unmarshal(text, (*float64)(n))
}
