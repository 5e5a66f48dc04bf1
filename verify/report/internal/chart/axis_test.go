package chart

import (
	"strings"
	"testing"
)

// The ticks of a logarithmic axis are those of decades, or lie closer if the values do.
func TestLogarithmic(t *testing.T) {
	for _, tt := range []struct {
		low, high float64
		ticks     string
	}{
		{0.0068, 0.013, "0.005 0.01 0.02"},
		{0.078, 0.085, "0.05 0.1"},
		{1, 1, "1 2"},
		{0.2, 0.2, "0.2 0.5"},
		{0.02, 0.19, "0.02 0.05 0.1 0.2"},
		{0.02, 0.2, "10⁻² 10⁻¹ 10⁰"},
		{3, 500, "10⁰ 10¹ 10² 10³"},
	} {
		a := Logarithmic("", []float64{tt.low, 0, tt.high})
		var labels []string
		for _, tick := range a.Ticks {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != tt.ticks || a.Min != a.Ticks[0].At || a.Max != a.Ticks[len(a.Ticks)-1].At {
			t.Errorf("from %g to %g: %s, from %g to %g, want %s", tt.low, tt.high, got, a.Min, a.Max, tt.ticks)
		}
	}
}
