package verify

import (
	"fmt"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify/stats"
)

// Tensors with NaN, with infinities and with neither have lines of their own.
func TestLinesOfKindsOfNotFinite(t *testing.T) {
	for _, tt := range []struct {
		a, b  stats.NotFinite
		lines int
	}{
		{stats.NotFinite{NaN: 1}, stats.NotFinite{}, 2}, {stats.NotFinite{Inf: 1}, stats.NotFinite{}, 2}, {stats.NotFinite{NaN: 1}, stats.NotFinite{Inf: 1}, 2},
		{stats.NotFinite{NaN: 1, Inf: 2}, stats.NotFinite{Inf: 1}, 2}, {stats.NotFinite{NaN: 1, Inf: 2}, stats.NotFinite{NaN: 3}, 1},
		{stats.NotFinite{Inf: 1}, stats.NotFinite{Inf: 5}, 1}, {stats.NotFinite{}, stats.NotFinite{}, 1},
	} {
		var findings []Finding
		for layer, n := range []stats.NotFinite{tt.a, tt.b} {
			findings = append(findings, Finding{Kind: WrongWeights, Tensor: fmt.Sprintf("model.layers.%d.a", layer), Differing: 1, Elements: 9, notFinite: n, Detail: sayNotFinite(n)})
		}
		if lines, _, _ := (&Verdict{}).lines(strictjson.Items(findings...), 9); len(lines) != tt.lines {
			t.Errorf("%+v and %+v: %q", tt.a, tt.b, lines)
		}
	}
}
