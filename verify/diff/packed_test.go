package diff

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// Metrics are unpacked as they were, and changes are a list in JSON.
func TestPackedMetrics(t *testing.T) {
	most, beyond := uint64(math.MaxUint64), int64(0)
	for _, m := range []*Metrics{
		nil,
		{First: []int64{}},
		{Differing: math.MaxInt64, Beyond: &beyond, MaxAbs: 1e300, MeanAbs: -1, RelativeL2: Number(math.Inf(1)), Cosine: 0.5, MaxULP: &most, NaNA: 1, NaNB: 2, InfA: 3, InfB: 4,
			First: []int64{0, math.MaxInt64, -1}, FirstA: 5, FirstB: 6, FirstIntegers: []string{"", "18446744073709551615"}, Changes: NewChanges(Change{-1022, 1}, Change{-3, math.MaxInt64}, Change{1023, 7})},
	} {
		if got := m.pack().unpack(); !reflect.DeepEqual(got, m) {
			t.Errorf("got  %+v\nwant %+v", got, m)
		}
		if m != nil && m.pack().differing() != m.Differing {
			t.Errorf("%d elements differ, not %d", m.pack().differing(), m.Differing)
		}
	}
	for want, c := range map[string]Changes{"[]": "", `[{"exponent":-2,"count":3},{"exponent":5,"count":1}]`: NewChanges(Change{-2, 3}, Change{5, 1})} {
		text, err := json.Marshal(c)
		var back Changes
		if err != nil || string(text) != want || json.Unmarshal(text, &back) != nil || back != c {
			t.Errorf("%s, %v, %q: want %s", text, err, back, want)
		}
	}
}
