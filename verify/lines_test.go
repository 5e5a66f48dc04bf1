package verify

import (
	"fmt"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/verify/diff"
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

// Only renamed tensors have a change of their own, which is not said again of layers that were moved.
func TestChangeOfAGroup(t *testing.T) {
	of := func(kind FindingKind, name, to string) (all []Finding) {
		for layer := range 2 {
			all = append(all, Finding{Kind: kind, Tensor: fmt.Sprintf("model.layers.%d.%s", layer, name), Got: fmt.Sprintf(to, layer), Want: "1"})
		}
		return all
	}
	for want, findings := range map[string][]Finding{"renamed to b": of(RenamedTensor, "a", "model.layers.%d.b"), "": of(MisshapenTensor, "a", "[%d]")} {
		list := strictjson.Items(findings...)
		for _, g := range (&Verdict{}).GroupFindings(list) {
			if got := g.Change(list); got != want {
				t.Errorf("%q, not %q", got, want)
			}
		}
	}
	moved := &Verdict{renaming: &renaming{layers: &diff.MovedLayers{List: "model.layers", A: []int{1, 2}, B: []int{0, 1}, OnlyA: []int{0}}}}
	list := strictjson.Items(Finding{Kind: RenamedTensor, Tensor: "model.layers.1.a", ConvertedName: "model.layers.0.a", Got: "model.layers.0.a"},
		Finding{Kind: RenamedTensor, Tensor: "model.layers.2.a", ConvertedName: "model.layers.1.a", Got: "model.layers.1.a"})
	groups := moved.GroupFindings(list)
	if len(groups) != 1 || groups[0].Change(list) != "" || !groups[0].Described() {
		t.Errorf("%d groups of layers that were moved: %+v", len(groups), groups)
	}
}

// The elements that are not finite are counted in every tensor that is wrong.
func TestNaNOfSeveralTensors(t *testing.T) {
	m := baseOf(t, "float32, torch").made.clone()
	for layer := range 2 {
		special(float32NaN)(m.get(in(layer, "mlp_block.down_proj.weight")))
	}
	v, err := m.judge(t)
	if err != nil || v.Weights.Findings.Len() != 2 {
		t.Fatalf("%v, %v", v, err)
	}
	for _, f := range v.Weights.Findings.All() {
		if f.notFinite.NaN != 1 || !strings.HasSuffix(f.Detail, "1 NaN in the conversion") {
			t.Errorf("%+v", f)
		}
	}
}
