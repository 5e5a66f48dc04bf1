package verify

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// float32s is a float32 tensor of one axis.
func float32s(name string, values ...float32) *tensor.Tensor {
	var raw memory
	for _, x := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return &tensor.Tensor{Name: name, DType: tensor.F32, Shape: []int64{int64(len(values))}, Data: raw}
}

func TestDescribeFactor(t *testing.T) {
	for _, tt := range []struct {
		divisor, factor float64
		want            string
	}{
		{4, 16, "multiplied by 4 instead of divided by 4"},
		{4, 4, "divided by 1 instead of by 4"},
		{4, 2, "divided by 2 instead of by 4"},
		{4, 0.25, "divided by 16 instead of by 4"},
	} {
		if got := describeFactor(tt.divisor, tt.factor); got != tt.want {
			t.Errorf("%v, %v: %s, want %s", tt.divisor, tt.factor, got, tt.want)
		}
	}
}

// A tensor has the parts that it is made of, or the two of its leading axis. Single elements are no parts.
func TestPartsOf(t *testing.T) {
	values := make([]float32, 12)
	for i := range values {
		values[i] = float32(i)
	}
	whole := float32s("w", values...)
	for _, tt := range []struct {
		shape   []int64
		sources int
		titles  string
		own     bool
	}{
		{[]int64{2, 6}, 1, "its first part: the first part of w; its second part: the second part of w", false},
		{[]int64{2}, 1, "", false},
		{[]int64{3, 4}, 1, "", false},
		{[]int64{12}, 2, "its first part: s0; its second part: s1", true},
		{[]int64{12}, 6, "its first part: s0; its second part: s1; its third part: s2; its fourth part: s3; its fourth part: s4; its fourth part: s5", true},
	} {
		d := &moves.Dest{Name: "d", DType: tensor.F32, Shape: tt.shape}
		filling := []explain.Part{{Source: whole, View: tensor.RowMajor(tt.shape...)}}
		if tt.sources > 1 {
			filling = nil
			for i := range tt.sources {
				n := 12 / tt.sources
				filling = append(filling, explain.Part{Source: float32s(fmt.Sprint("s", i), values[i*n:][:n]...), View: tensor.RowMajor(int64(n))})
			}
		}
		x := &explanations{titles: map[string]string{}}
		parts, err := x.partsOf(d, filling, whole)
		if err != nil {
			t.Fatal(err)
		}
		var titles []string
		for _, p := range parts {
			titles = append(titles, p.title+": "+x.titles[p.pair.Name])
			if same, err := equalTensors(t.Context(), p.pair); !same || err != nil || p.own != tt.own {
				t.Errorf("%v: %s is not where it should be, or not its own: %v", tt.shape, p.title, err)
			}
		}
		if got := strings.Join(titles, "; "); got != tt.titles {
			t.Errorf("%v: %s, want %s", tt.shape, got, tt.titles)
		}
	}
}

// Elements of another dtype are compared with those of the source before rounding, so that other ways of rounding are recognised; but not with
// quotients, nor with those of sources of several dtypes.
func TestOtherRounding(t *testing.T) {
	values := make([]float32, 64)
	for i := range values {
		values[i] = float32(i-20)*0.10009765625 + 1e-3
	}
	truncated := func(divide float32) (raw memory) {
		for _, x := range values {
			raw = binary.LittleEndian.AppendUint16(raw, uint16(math.Float32bits(x/divide)>>16))
		}
		return raw
	}
	whole, half := float32s("s", values...), float32s("s", values[:32]...)
	const said = "truncated to bfloat16, not rounded to nearest"
	for _, tt := range []struct {
		name    string
		found   memory
		divide  float64
		sources []*tensor.Tensor
		want    string
	}{
		{"truncated", truncated(1), 0, []*tensor.Tensor{whole}, said},
		{"in two parts", truncated(1), 0, []*tensor.Tensor{half, float32s("t", values[32:]...)}, said},
		{"other elements", truncated(3), 0, []*tensor.Tensor{whole}, ""},
		{"a quotient", truncated(2), 2, []*tensor.Tensor{whole}, ""},
		{"two dtypes", slices.Concat(truncated(1), truncated(1)), 0, []*tensor.Tensor{whole, {Name: "t", DType: tensor.BF16, Shape: []int64{64}, Data: truncated(-1)}}, ""},
	} {
		n := int64(len(tt.found) / 2)
		w := &weightsCheck{list: moves.List{Dests: []moves.Dest{{Name: "d", DType: tensor.BF16, Shape: []int64{n}}}}, state: []int32{0}}
		offset := int64(0)
		for _, s := range tt.sources {
			w.list.Moves = append(w.list.Moves, moves.Move{Source: s, View: tensor.RowMajor(s.Shape...), Offset: offset, Divide: tt.divide})
			offset += s.Elements()
		}
		var err error
		if w.converted, err = tensor.NewCheckpoint("", "test", []*tensor.Tensor{{Name: "d", DType: tensor.BF16, Shape: []int64{n}, Data: tt.found}}); err != nil {
			t.Fatal(err)
		}
		x, err := newExplanations(w, []int{0}, &model.Config{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := x.explainer.Explain(t.Context(), x.pairs[0])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.describe(t.Context(), 0, e); got != tt.want || err != nil {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// Two tensors of several parts that were exchanged as wholes are said to be, not part by part.
func TestExchangedWholes(t *testing.T) {
	m := backBases(t)[0].made.clone()
	exchange(m.get(m.part(0, ffwUp)), m.get(m.part(1, ffwUp)))
	v, err := m.judge(t)
	if err != nil || v.Weights.Findings.Len() != 2 {
		t.Fatalf("%v, %+v", err, v)
	}
	for _, f := range v.Weights.Findings.All() {
		if f.Detail != "swapped between layers 0 and 1" {
			t.Error(f.String())
		}
	}
}

// A tensor that is scaled is said to be, also where another one is to be divided.
func TestScaledBesideADivided(t *testing.T) {
	m := dividedBases(t)[0].made.clone()
	multiplied(2)(m.get(finalNorm))
	v, err := m.judge(t)
	if err != nil || v.Weights.Findings.Len() != 1 {
		t.Fatalf("%v, %+v", err, v)
	}
	if f := v.Weights.Findings.At(0); f.Detail != "scaled by 2" {
		t.Error(f.String())
	}
}

// A tensor is called by its own name and its source's, if that is another; a part as it was called before.
func TestTitle(t *testing.T) {
	x := &explanations{titles: map[string]string{"part": "its first part"}}
	for i, source := range []string{"a", "of b"} {
		x.list.Dests = append(x.list.Dests, moves.Dest{Name: []string{"a", "b"}[i]})
		x.list.Moves = append(x.list.Moves, moves.Move{Dest: i, Source: float32s(source, 1)})
	}
	for name, want := range map[string]string{"a": "a", "b": "b (of b)", "part": "its first part", "none": ""} {
		if got := x.title(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Where the source is what was rounded, that is said: the two may have been given the other way round.
func TestSourceIsRounded(t *testing.T) {
	rounded, exact := baseOf(t, "float32 to bfloat16, Orbax").made, baseOf(t, "float32, torch").made.clone()
	v, err := verifyFiles(t, rounded.write(t), exact.write(t), Options{})
	if err != nil || v.Same {
		t.Fatalf("%+v, %v", v, err)
	}
	said := 0
	for _, f := range v.Weights.Findings.All() {
		if strings.HasSuffix(f.Detail, "the other way round: the source is this rounded to bfloat16") {
			said++
		}
	}
	if n := v.Weights.Findings.Len(); n < 30 || said != n {
		t.Errorf("%d of %d: %s", said, n, textOf(t, v))
	}
	one := rounded.clone() // one bit of one element, in a tensor of more bits, is less than rounding
	castAndFlip(one.get(one.all("final_norm")[0]))
	if v, err = verifyFiles(t, rounded.write(t), one.write(t), Options{}); err != nil || v.Same || strings.Contains(textOf(t, v), "the other way round") {
		t.Errorf("%v; %v", v, err)
	}
	for i := range exact.tensors {
		flip(0, 30)(exact.tensors[i]) // no rounding
	}
	if v, err = verifyFiles(t, rounded.write(t), exact.write(t), Options{}); err != nil || strings.Contains(textOf(t, v), "the other way round") {
		t.Errorf("%v; %v", v, err)
	}
}

// So it is where rounding to float16 changed every element, and where it changed few of them, which are smaller than its normal numbers.
func TestSourceIsRoundedToFloat16(t *testing.T) {
	for name, least := range map[string]int{"float32, torch": 30, "bfloat16, torch": 1} {
		exact := baseOf(t, name).made
		source := exact.clone()
		for i := range source.tensors {
			source.tensors[i].cast(tensor.F16)
		}
		v, err := verifyFiles(t, source.write(t), exact.write(t), Options{})
		if err != nil || v.Weights == nil || v.Weights.Findings.Len() < least {
			t.Fatalf("%s: %v, %v", name, v, err)
		}
		for _, f := range v.Weights.Findings.All() {
			if f.Detail != "the other way round: the source is this rounded to float16" {
				t.Errorf("%s: %s: %q", name, f.Tensor, f.Detail)
			}
		}
	}
}

// One factor of all tensors is one number, whatever each of them shows of it.
func TestOneFactor(t *testing.T) {
	m := baseOf(t, "float32, torch").made.clone()
	for i := range m.tensors {
		values := m.tensors[i].values()
		for k := range values {
			values[k] = float32(float64(values[k]) * 0.12345678912)
		}
		m.tensors[i].set(values)
	}
	v, err := m.judge(t)
	if err != nil || v.Weights.Findings.Len() < 30 {
		t.Fatalf("%v, %+v", err, v)
	}
	for _, f := range v.Weights.Findings.All() {
		if f.Detail != "scaled by 0.12345678912" {
			t.Errorf("%s: %s", f.Tensor, f.Detail)
		}
	}
	if groups := v.GroupFindings(v.Weights.Findings); len(groups) != 3 {
		t.Errorf("%d groups: %s", len(groups), textOf(t, v))
	}
}
