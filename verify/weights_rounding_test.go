package verify

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Single tensors of another dtype are judged as all are: by whether they hold the source, rounded to it.
func TestTensorsOfAnotherDType(t *testing.T) {
	cast := func(part string, d tensor.DType) func(*made) {
		return func(m *made) {
			for _, name := range m.all(part) {
				m.get(name).cast(d)
			}
		}
	}
	both := func(m *made) {
		cast("norm", tensor.F32)(m)
		cast("mlp_block", tensor.F16)(m)
	}
	small := func(m *made) { // most tensors, and few of the elements
		cast("norm", tensor.F16)(m)
		cast("bias", tensor.F16)(m)
	}
	for _, tt := range []struct {
		base   string
		do     func(*made)
		answer string
		notes  []string
	}{
		{"bfloat16, torch", cast("norm", tensor.F32), "the same model, 11 tensors as float32", []string{
			"structure: all layers (5) of model.layers: temporal_pre_norm.weight, channel_pre_norm.weight: 10 tensors, float32 instead of bfloat16", "structure: model.final_norm.weight (final_norm.scale): float32 instead of bfloat16"}},
		{"bfloat16, torch", cast("final_norm", tensor.F16), "the same model, 1 tensor as float16, every value kept", nil},
		{"bfloat16, torch", func(m *made) {
			cast("norm", tensor.F32)(m)
			cast("linear_y.weight", tensor.F16)(m) // some of its values cannot be written in float16
		}, "the same model, 4 tensors rounded to float16, 11 tensors as float32", nil},
		{"bfloat16, torch", both, "the same model, 30 tensors as float16, 11 tensors as float32, every value kept", []string{"structure: all layers (5) of model.layers: mlp_block.*: 30 tensors, float16 instead of bfloat16"}},
		{"bfloat16 to float32", cast("norm", tensor.BF16), "the same model, 88 tensors as float32", []string{"10 tensors, bfloat16 instead of float32, which the others have"}},
		{"float32 to bfloat16, Orbax", cast("norm", tensor.F32), "the same model, rounded to bfloat16", []string{"6 tensors, float32 instead of bfloat16, which the others have"}}, // after they were rounded
		{"float32 to bfloat16, Orbax", func(m *made) {
			for _, name := range m.all("norm") {
				e := m.get(name)
				exact := m.exact(name)
				e.dtype = tensor.F32
				e.set(exact)
			}
		}, "the same model, 42 tensors rounded to bfloat16", nil},
		{"bfloat16 to float32", small, "the same model, 51 tensors as float16, 48 tensors as float32, every value kept", []string{
			"names and shapes as expected; tensors have several dtypes\n", "note: structure: 48 tensors float32, 51 float16; in the source: 89 tensors bfloat16\n"}},
		{"bfloat16, torch", func(m *made) { castAndFlip(m.get(finalNorm)) }, "not the same model", []string{"model.final_norm.weight (final_norm.scale): float32 instead of bfloat16"}},
		{"bfloat16, torch", cast("norm", tensor.BF16), "the same model", nil},
	} {
		m := baseOf(t, tt.base).made.clone()
		tt.do(m)
		v, err := m.judge(t)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := WriteText(&b, v, ""); err != nil {
			t.Fatal(err)
		}
		if v.Answer() != tt.answer || !v.Structure.OK || strings.Contains(b.String(), "and types as expected") != (tt.answer == "the same model") {
			t.Errorf("%s: %q, want %q\n%s", tt.base, v.Answer(), tt.answer, b.String())
		}
		for _, note := range tt.notes {
			if !strings.Contains(b.String(), note) {
				t.Errorf("%s, %s: no %q in\n%s", tt.base, tt.answer, note, b.String())
			}
		}
	}
}

// What config.json does not say of the weights names all their dtypes, without those of extra tensors.
func TestWeightTypes(t *testing.T) {
	dests := []moves.Dest{{DType: tensor.BF16}, {DType: tensor.F16}, {DType: tensor.BF16}, {DType: tensor.F64}}
	for n, want := range []string{1: "bfloat16", 2: "bfloat16 and float16", 4: "bfloat16 and float16"} {
		if n == 0 || want == "" {
			continue
		}
		if got := weightTypes(&convert.Plan{List: moves.List{Dests: dests[:n]}, Extra: []int{3}}); got != want {
			t.Errorf("%d tensors: %q, want %q", n, got, want)
		}
	}
}

// A plan takes the dtypes of tensors whose elements can be compared, and of no others.
func TestTakeDTypes(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		source, planned, have tensor.DType
		divide                float64
		extra                 bool
		want                  tensor.DType
	}{
		{"wider", tensor.BF16, tensor.BF16, tensor.F32, 0, false, tensor.F32},
		{"narrower", tensor.F32, tensor.F32, tensor.F16, 0, false, tensor.F16},
		{"divided", tensor.BF16, tensor.BF16, tensor.F32, 4, false, tensor.F32},
		{"divided, in float64", tensor.BF16, tensor.BF16, tensor.F64, 4, false, tensor.BF16},
		{"integers", tensor.BF16, tensor.BF16, tensor.I16, 0, false, tensor.BF16},
		{"of integers", tensor.I32, tensor.F32, tensor.F16, 0, false, tensor.F32},
		{"to be integers", tensor.BF16, tensor.I16, tensor.F32, 0, false, tensor.I16},
		{"no parameter", tensor.BF16, tensor.BF16, tensor.F32, 0, true, tensor.BF16},
		{"the same", tensor.BF16, tensor.F32, tensor.F32, 0, false, tensor.F32},
	} {
		p := &convert.Plan{}
		p.Dests = []moves.Dest{{Name: "a", DType: tt.planned, Shape: []int64{2}}, {Name: "gone", DType: tt.planned, Shape: []int64{2}}}
		p.Moves = []moves.Move{{Source: shaped("s", tt.source, 2), View: tensor.RowMajor(2), Divide: tt.divide}}
		if tt.extra {
			p.Extra = []int{0}
		}
		c, err := tensor.NewCheckpoint("", "test", []*tensor.Tensor{shaped("b", tt.have, 2)})
		if err != nil {
			t.Fatal(err)
		}
		found := takeDTypes(p, c, &renaming{names: map[string]string{"a": "b"}})
		want := retyped{}
		if tt.want != tt.planned {
			want["b"] = tt.planned
		}
		if p.Dests[0].DType != tt.want || p.Dests[1].DType != tt.planned || !maps.Equal(found, want) {
			t.Errorf("%s: %s, found %v", tt.name, p.Dests[0].DType, slices.Collect(maps.Keys(found)))
		}
	}
}

// Of a source of several dtypes, only the tensors whose dtype changed are said to be rounded.
func TestRoundedOfMixedSource(t *testing.T) {
	plain := baseOf(t, "bfloat16, torch").made
	mixed := plain.clone()
	mixed.get(finalNorm).cast(tensor.F32)
	v, err := verifyFiles(t, mixed.write(t), plain.write(t), Options{})
	if err != nil || v.Answer() != "the same model, 1 tensor as bfloat16, every value kept" {
		t.Errorf("%v; %s", err, textOf(t, v))
	}
}
