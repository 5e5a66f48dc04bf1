package diff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// The sum of two tallies has the sums, the larger maxima, and the first element of the first.
func TestTallyAdd(t *testing.T) {
	a := tally{first: -1, differing: 1, beyond: 2, maxAbs: 3, sumAbs: 4, finite: 5, dd: 6, aa: 7, bb: 8, ab: 9, ulp: 10, nanA: 11, nanB: 12, infA: 13, infB: 14,
		notRoundedA: 15, notRoundedB: 16, apart: apart{undefined: true}, changes: []Change{{1, 10}, {2, 20}}}
	b := tally{first: 7, firstA: 70, firstB: 71, restA: 72, restB: 73, differing: 100, beyond: 200, maxAbs: 1, sumAbs: 400, finite: 500, dd: 600, aa: 700, bb: 800, ab: 900, ulp: 1000,
		nanA: 1100, nanB: 1200, infA: 1300, infB: 1400, notRoundedA: 1500, notRoundedB: 1600, apart: apart{infinite: true}, changes: []Change{{0, 5}, {2, 7}, {9, 1}}}
	want := tally{first: 7, firstA: 70, firstB: 71, restA: 72, restB: 73, differing: 101, beyond: 202, maxAbs: 3, sumAbs: 404, finite: 505, dd: 606, aa: 707, bb: 808, ab: 909, ulp: 1000,
		nanA: 1111, nanB: 1212, infA: 1313, infB: 1414, notRoundedA: 1515, notRoundedB: 1616, apart: apart{true, true}, changes: []Change{{0, 5}, {1, 10}, {2, 27}, {9, 1}}}
	sum := a
	sum.add(&b)
	if fmt.Sprint(sum) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", sum, want)
	}
	later := tally{first: 9, firstA: 90}
	sum.add(&later)
	if sum.first != 7 || sum.firstA != 70 {
		t.Errorf("the first element is %d", sum.first)
	}
}

func TestPlusChanges(t *testing.T) {
	for _, tt := range []struct{ a, b, want []Change }{
		{nil, nil, nil}, {nil, []Change{{1, 2}}, []Change{{1, 2}}}, {[]Change{{1, 2}}, nil, []Change{{1, 2}}},
		{[]Change{{1, 2}}, []Change{{1, 3}}, []Change{{1, 5}}}, {[]Change{{1, 2}, {5, 1}}, []Change{{3, 3}}, []Change{{1, 2}, {3, 3}, {5, 1}}},
		{[]Change{{3, 3}}, []Change{{1, 2}, {5, 1}}, []Change{{1, 2}, {3, 3}, {5, 1}}},
	} {
		if got := plusChanges(tt.a, tt.b); !slices.Equal(got, tt.want) {
			t.Errorf("%v and %v: %v", tt.a, tt.b, got)
		}
	}
	var h histogram
	tiny := tally{}
	tiny.addValues([]float64{0, 0, 1, 8, math.MaxFloat64, 0}, []float64{0, 0x1p-1074, 2, 5, -math.MaxFloat64, 0x1p-1022}, &h)
	if got, want := h.changes(), []Change{{-1022, 1}, {0, 1}, {1, 1}}; !slices.Equal(got, want) { // without 0, what counts as 0, and what overflows
		t.Errorf("%v, want %v", got, want)
	}
	if tiny.finite != 6 {
		t.Errorf("%d numbers are finite", tiny.finite)
	}
}

// Numbers that are equal count as finite up to the largest.
func TestAddEqual(t *testing.T) {
	var u, v tally
	u.addEqual([]float64{1, -2, math.Inf(1), math.NaN(), math.MaxFloat64})
	if u.finite != 3 || u.infA != 1 || u.infB != 1 || u.nanA != 1 || u.nanB != 1 || u.apart != (apart{}) {
		t.Errorf("%+v", u)
	}
	var h histogram
	v.addWide([]float64{math.MaxFloat64, 3, math.Inf(1), math.NaN(), 1 << 62}, []float64{math.MaxFloat64, 1, 1, 1, 1 << 62}, []float64{0, 0, 0, 0, 1}, []float64{0, 0, 0, 0, -2}, &h)
	if v.finite != 3 || v.infA != 1 || v.nanA != 1 || v.maxAbs != 3 || v.sumAbs != 5 || v.dd != 13 || fmt.Sprint(h.changes()) != "[{1 2}]" {
		t.Errorf("%+v, %v", v, h.changes())
	}
	for _, tt := range []struct {
		a, b   float64
		cosine float64 // NaN for none
	}{{0, 1, math.NaN()}, {1, 0, math.NaN()}, {0, 0, math.NaN()}, {2, 3, 1}, {2, -3, -1}} {
		var w tally
		w.addValues([]float64{tt.a}, []float64{tt.b}, &h)
		if m := w.metrics([]int64{1}, false, false); !same(float64(m.Cosine), tt.cosine) || float64(m.MeanAbs) != math.Abs(tt.a-tt.b) {
			t.Errorf("%v and %v: %+v", tt.a, tt.b, m)
		}
	}
	if m := (&tally{}).metrics([]int64{1}, false, false); m.MeanAbs != 0 || m.RelativeL2 != 0 {
		t.Errorf("nothing finite: %+v", m)
	}
}

// bytesOf returns numbers as elements of a type.
func bytesOf(d tensor.DType, values ...float64) []byte {
	var p []byte
	for _, v := range values {
		switch d {
		case tensor.F32, tensor.C64:
			p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(v)))
		case tensor.BF16:
			p = binary.LittleEndian.AppendUint16(p, uint16(math.Float32bits(float32(v))>>16))
		case tensor.I64, tensor.U64:
			p = binary.LittleEndian.AppendUint64(p, uint64(int64(v)))
		default:
			p = append(p, byte(int(v)))
		}
	}
	return p
}

// Which elements differ, the first of them, and how many are beyond a tolerance, for types whose elements are several numbers,
// or have several codes.
func TestCompareElements(t *testing.T) {
	nan, zero := math.NaN(), math.Copysign(0, -1)
	for _, tt := range []struct {
		name      string
		a, b      tensor.DType
		rawA      []byte
		rawB      []byte
		differing int64
		beyond    int64 // of a tolerance of 0.5
		first     int64
		firstA    float64
		firstB    float64
	}{
		{"equal", tensor.F32, tensor.F32, bytesOf(tensor.F32, 1, 2), bytesOf(tensor.F32, 1, 2), 0, 0, -1, 0, 0},
		{"second", tensor.F32, tensor.F32, bytesOf(tensor.F32, 1, 2, 5), bytesOf(tensor.F32, 1, 3, 5.25), 2, 1, 1, 2, 3},
		{"signs of zero", tensor.F32, tensor.F32, bytesOf(tensor.F32, 0), bytesOf(tensor.F32, zero), 1, 0, 0, 0, 0},
		{"NaN", tensor.F32, tensor.F32, bytesOf(tensor.F32, nan, 1), bytesOf(tensor.F32, 1, 1), 1, 1, 0, nan, 1},
		{"many of 2 bytes", tensor.BF16, tensor.BF16, bytesOf(tensor.BF16, 1, 2, 3, 4, 5, 6, 7), bytesOf(tensor.BF16, 1, 2, 3, 4, 5, 8, 9), 2, 2, 5, 6, 8},
		{"the last of four", tensor.BF16, tensor.BF16, bytesOf(tensor.BF16, 1, 2, 3, 4), bytesOf(tensor.BF16, 1, 2, 3, 8), 1, 1, 3, 4, 8},
		{"imaginary part", tensor.C64, tensor.C64, bytesOf(tensor.C64, 1, 2, 3, 4), bytesOf(tensor.C64, 1, 2, 3, 6), 1, 1, 1, 4, 6},
		{"imaginary part, near", tensor.C64, tensor.C64, bytesOf(tensor.C64, 1, 2, 3, 4), bytesOf(tensor.C64, 1, 2.25, 3, 4), 1, 0, 0, 2, 2.25},
		{"both parts", tensor.C64, tensor.C64, bytesOf(tensor.C64, 1, 2), bytesOf(tensor.C64, 1.25, 9), 1, 1, 0, 1, 1.25},
		{"imaginary parts, far and near", tensor.C64, tensor.C64, bytesOf(tensor.C64, 1, 2, 3, 4), bytesOf(tensor.C64, 9, 2, 3.25, 4), 2, 1, 0, 1, 9},
		{"both halves, signs of zero", tensor.F4x2, tensor.F4x2, []byte{0x21, 0x20}, []byte{0x21, 0x28}, 1, 0, 1, 0, 0},
		{"two codes of one number", tensor.I4, tensor.I4, []byte{0x01, 0x08}, []byte{0x01, 0xf8}, 1, 0, 1, -8, -8},
		{"upper half", tensor.F4x2, tensor.F4x2, []byte{0x21, 0x21}, []byte{0x21, 0x71}, 1, 1, 1, 1, 6},
		{"lower half", tensor.F4x2, tensor.F4x2, []byte{0x21, 0x21}, []byte{0x21, 0x22}, 1, 0, 1, 0.5, 1},
		{"packed", tensor.F4, tensor.F4, []byte{0x21}, []byte{0x71}, 1, 1, 1, 1, 6},
		{"packed, signs of zero", tensor.F4, tensor.F4, []byte{0x20}, []byte{0x28}, 1, 0, 0, 0, 0},
		{"two types", tensor.F32, tensor.BF16, bytesOf(tensor.F32, 1, 2, 3), bytesOf(tensor.BF16, 1, 2.25, 9), 2, 1, 1, 2, 2.25},
		{"two types, signs of zero", tensor.F32, tensor.BF16, bytesOf(tensor.F32, 0), bytesOf(tensor.BF16, zero), 0, 0, -1, 0, 0},
		{"two types, NaN", tensor.F32, tensor.BF16, bytesOf(tensor.F32, nan, nan), bytesOf(tensor.BF16, nan, 1), 1, 1, 1, nan, 1},
		{"a real and a complex type", tensor.F32, tensor.C64, bytesOf(tensor.F32, 1, 2, 3), bytesOf(tensor.C64, 1, 0, 2, 0, 3, 4), 1, 1, 2, 0, 4},
		{"a real and a complex type, of which the first differ", tensor.F32, tensor.C64, bytesOf(tensor.F32, 1, 2), bytesOf(tensor.C64, 5, 0, 2, 0), 1, 1, 0, 1, 5},
		{"a complex and a real type", tensor.C64, tensor.F32, bytesOf(tensor.C64, 1, 0, 2, 0), bytesOf(tensor.F32, 1, 3), 1, 1, 1, 2, 3},
		{"integers and complex numbers", tensor.I64, tensor.C64, bytesOf(tensor.I64, 1, 2, 3), bytesOf(tensor.C64, 1, 0, 2, 0, 3, 4), 1, 1, 2, 0, 4},
		{"integers and numbers", tensor.I64, tensor.F32, bytesOf(tensor.I64, 1, 2), bytesOf(tensor.F32, 1, 2.5), 1, 0, 1, 2, 2.5},
	} {
		n := int64(len(tt.rawA)*8) / int64(tt.a.Bits())
		shape := []int64{n}
		p := &pair{a: whole(tensorOf("w", tt.a, shape, tt.rawA, false)), b: whole(tensorOf("w", tt.b, shape, tt.rawB, false))}
		c := newComparer(p, &Tolerance{Abs: 0.5}, n)
		got := c.compare(tt.rawA, tt.rawB, 0, int(n))
		if got.differing != tt.differing || got.beyond != tt.beyond || got.first != tt.first || !same(got.firstA, tt.firstA) || !same(got.firstB, tt.firstB) {
			t.Errorf("%s: %d differ, %d beyond, the first is %d: %v and %v; want %+v", tt.name, got.differing, got.beyond, got.first, got.firstA, got.firstB, tt)
		}
	}
}

func TestRoundingDiffering(t *testing.T) {
	nan := math.NaN()
	quiet := func(code uint16) []byte { return binary.LittleEndian.AppendUint16(nil, code) }
	r := newRounding(tensor.F32, tensor.BF16)
	for _, tt := range []struct {
		name     string
		from, to []byte
		want     int64
	}{
		{"rounded", bytesOf(tensor.F32, 1.001, 2), bytesOf(tensor.BF16, 1, 2), 0},
		{"another number", bytesOf(tensor.F32, 1, 2, 3), bytesOf(tensor.BF16, 1, 2.5, 3.5), 2},
		{"another NaN", bytesOf(tensor.F32, nan, 2), append(quiet(0xffff), bytesOf(tensor.BF16, 2)...), 0},
		{"a NaN of a number", bytesOf(tensor.F32, 1, 2), append(quiet(0x7fc0), bytesOf(tensor.BF16, 2)...), 1},
		{"a number of a NaN", bytesOf(tensor.F32, nan, 2), bytesOf(tensor.BF16, 1, 2), 1},
	} {
		if got := r.differing(tt.from, tt.to, make([]byte, 64)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	integers := newRounding(tensor.F32, tensor.I8)
	if got := integers.differing(nil, nil, nil); got != 1 {
		t.Errorf("to integers: %d", got)
	}
}

func TestToleranceText(t *testing.T) {
	for text, tolerance := range map[string]Tolerance{"abs=0": {}, "abs=1e-06": {Abs: 1e-6}, "rel=0.001": {Rel: 1e-3}, "ulp=2": {ULP: 2}, "abs=0.1,rel=0.25,ulp=3": {Abs: 0.1, Rel: 0.25, ULP: 3}, "abs=0.30000000000000004": {Abs: 0.30000000000000004}} {
		if got := tolerance.String(); got != text {
			t.Errorf("%+v is %s", tolerance, got)
		}
	}
	for _, given := range []string{"abs=0", "rel=0", "ulp=0", "abs=0,ulp=2", "abs=0,rel=0,ulp=0", "rel=0.5"} {
		if tolerance, err := ParseTolerance(given); err != nil || tolerance.String() != given {
			t.Errorf("%s is %s, %v", given, tolerance, err)
		}
	}
	for _, tt := range []struct {
		tolerance Tolerance
		a, b      float64
		ulp       uint64
		known     bool
		want      bool
	}{
		{Tolerance{}, 1, 1, 0, true, true}, {Tolerance{}, 1, 2, 1, true, false}, {Tolerance{Abs: 1}, 1, 2, 0, false, true}, {Tolerance{Abs: 1}, 1, 2.5, 0, false, false},
		{Tolerance{Rel: 0.5}, 1, 2, 0, false, true}, {Tolerance{Rel: 0.5}, 2, 1, 0, false, true}, {Tolerance{Rel: 0.5}, -1, -2.5, 0, false, false},
		{Tolerance{ULP: 3}, 1, 2, 3, true, true}, {Tolerance{ULP: 3}, 1, 2, 4, true, false}, {Tolerance{ULP: 3}, 1, 2, 3, false, false},
		{Tolerance{Abs: 1}, math.Inf(1), math.Inf(1), 0, false, true}, {Tolerance{Abs: 1}, math.Inf(1), math.Inf(-1), 0, false, false},
	} {
		if got := tt.tolerance.within(tt.a, tt.b, tt.a-tt.b, tt.ulp, tt.known); got != tt.want {
			t.Errorf("%+v: %v and %v, %d apart: %t", tt.tolerance, tt.a, tt.b, tt.ulp, got)
		}
	}
	if (&Tolerance{}).within(1<<62, 1<<62, 1, 0, false) { // integers whose nearest float64 is the same
		t.Error("integers that differ by 1 are equal")
	}
}

func TestWideText(t *testing.T) {
	for _, tt := range []struct {
		x, rest float64
		want    string
	}{
		{3, 0, "3"}, {-3, 0, "-3"}, {0.25, 0, "0.25"}, {1e30, 0, "1e+30"}, {1 << 62, 1, "4611686018427387905"}, {1 << 63, -1, "9223372036854775807"}, {1 << 63, 0, "9223372036854775808"},
		{1 << 63, 1, "9223372036854775809"}, {-(1 << 63), 0, "-9223372036854775808"}, {1 << 64, -1, "18446744073709551615"}, {1 << 64, -1024, "18446744073709550592"}, {1e-7, 0, "1e-07"},
	} {
		if got := wideText(tt.x, tt.rest); got != tt.want {
			t.Errorf("%v and %v: %s, want %s", tt.x, tt.rest, got, tt.want)
		}
	}
}

// The summary counts each entry once, in what it is.
func TestSummarize(t *testing.T) {
	beyond := func(n int64) *int64 { return &n }
	r := &Result{Config: make([]ConfigDifference, 2), Summary: Summary{Beyond: beyond(0)}, Tensors: []TensorDiff{
		{Status: Equal, Elements: 1}, {Status: Equal, Elements: 2, Renamed: true}, {Status: Differs, Elements: 4, Metrics: &Metrics{Differing: 3, Beyond: beyond(2), NaNA: 1, NaNB: 1}, Explanation: &explain.Explanation{Kind: explain.Scaled}},
		{Status: Differs, Elements: 8, Metrics: &Metrics{Differing: 5, Beyond: beyond(1), NaNA: 1, InfA: 1}, Explanation: &explain.Explanation{Kind: explain.Other}},
		{Status: DType, Elements: 16, Metrics: &Metrics{Differing: 7, NaNA: 1, InfB: 1}}, {Status: DType, Elements: 32, Metrics: &Metrics{}},
		{Status: DType, Metrics: &Metrics{}, Explanation: &explain.Explanation{Kind: explain.Rounded}}, {Status: OnlyA, Elements: 64}, {Status: OnlyB, Elements: 128}, {Status: Shape, Elements: 256}, {Status: Shape, Elements: 512}}}
	r.summarize()
	want := Summary{Tensors: 11, Equal: 2, Differ: 2, OnlyA: 1, OnlyB: 1, Shape: 2, DType: 3, Changed: 1, Renamed: 1, Explained: 2, Config: 2, Elements: 63, Differing: 15, NonFinite: 3}
	got := r.Summary
	got.Beyond = nil
	if got != want || *r.Summary.Beyond != 3 || r.Equal {
		t.Errorf("%+v, %d beyond, equal %t; want %+v", got, *r.Summary.Beyond, r.Equal, want)
	}
	for _, tt := range []struct {
		name string
		r    Result
		want bool
	}{
		{"nothing", Result{}, true}, {"equal", Result{Tensors: []TensorDiff{{Status: Equal}}}, true}, {"renamed", Result{Tensors: []TensorDiff{{Status: Equal, Renamed: true}}}, false},
		{"differs", Result{Tensors: []TensorDiff{{Status: Equal}, {Status: Differs}}}, false}, {"config", Result{Config: make([]ConfigDifference, 1)}, false},
		{"quantised", Result{A: Side{Quantized: "x"}}, false}, {"both quantised", Result{A: Side{Quantized: "x"}, B: Side{Quantized: "x"}}, true},
	} {
		if tt.r.summarize(); tt.r.Equal != tt.want {
			t.Errorf("%s: equal %t", tt.name, tt.r.Equal)
		}
	}
	// What matters most comes first.
	order := []TensorDiff{{Status: OnlyA}, {Status: OnlyB}, {Status: Shape}, {Status: Differs, Metrics: &Metrics{NaNA: 1}}, {Status: DType, Metrics: &Metrics{Differing: 1}}, {Status: DType, Metrics: &Metrics{}}, {Status: Equal, Renamed: true}, {Status: Equal}}
	for i := range order {
		if got := order[i].rank(); got != i {
			t.Errorf("%+v has rank %d, want %d", order[i], got, i)
		}
	}
	if (&TensorDiff{Status: DType}).rank() != 5 {
		t.Error("another dtype without metrics")
	}
	for _, tt := range []struct {
		e    TensorDiff
		want float64
	}{
		{TensorDiff{Status: Differs}, 0}, {TensorDiff{Status: Equal, Metrics: &Metrics{RelativeL2: 2}}, 0}, {TensorDiff{Status: Differs, Metrics: &Metrics{RelativeL2: 2}}, 2},
		{TensorDiff{Status: Differs, Metrics: &Metrics{RelativeL2: 2, NaNA: 1, NaNB: 1, InfA: 3, InfB: 3}}, 2}, {TensorDiff{Status: Differs, Metrics: &Metrics{RelativeL2: 2, NaNA: 1}}, math.Inf(1)},
		{TensorDiff{Status: Differs, Metrics: &Metrics{RelativeL2: 2, InfB: 1}}, math.Inf(1)}, {TensorDiff{Status: Differs, Metrics: &Metrics{RelativeL2: Number(math.NaN())}}, math.Inf(1)},
	} {
		if got := tt.e.Distance(); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.e, got, tt.want)
		}
	}
}

// What the tensors that are equal owe to the tolerance, whether the others are equal or not, and what is beyond it.
func TestAllowed(t *testing.T) {
	few := func(n int64, s Status, dtype string) TensorDiff {
		return TensorDiff{Status: s, DTypeB: dtype, Metrics: &Metrics{Differing: n}}
	}
	renamed := few(8, Equal, "")
	renamed.Renamed = true
	for _, tt := range []struct {
		r    Result
		want string
	}{
		{Result{Tolerance: "abs=1"}, ""},
		{Result{Tolerance: "abs=1", Tensors: []TensorDiff{few(1, Equal, ""), few(4, Differs, ""), renamed}}, "within abs=1 (1 element differs bitwise)"},
		{Result{Tolerance: "abs=1", Tensors: []TensorDiff{few(2, Equal, "x"), {Status: Equal}, few(4, Differs, "x")}}, "within abs=1 (2 elements differ bitwise, 1 tensor has another dtype)"},
		{Result{Tolerance: "abs=1", Tensors: []TensorDiff{{Status: Equal, DTypeB: "x"}, {Status: Equal, DTypeB: "x"}}}, "within abs=1 (2 tensors have another dtype)"},
		{Result{Tolerance: "abs=1", Tensors: []TensorDiff{few(4, Differs, "x")}}, ""},
		{Result{Tensors: []TensorDiff{few(1, Equal, "")}}, ""},
	} {
		if got := tt.r.Allowed(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		tt.r.Equal = true
		kind, _, _ := strings.Cut(tt.want, " (")
		for _, x := range [][2]string{{tt.r.Answer(), "equal " + tt.want}, {tt.r.Kind(), "equal " + kind}} {
			if x[0] != strings.TrimSpace(x[1]) {
				t.Errorf("%q, want %q", x[0], x[1])
			}
		}
	}
	if got := (&Result{}).Kind(); got != "different" {
		t.Errorf("%q", got)
	}
	for _, tt := range []struct {
		differing, beyond int64
		want              string
	}{
		{1000, 0, ""},
		{1, 1, "the only element that differs bitwise is beyond abs=1"},
		{1000, 1, "1 of 1,000 elements that differ bitwise is beyond abs=1"},
		{1000, 1000, "1,000 of 1,000 elements that differ bitwise are beyond abs=1"},
	} {
		r := Result{Tolerance: "abs=1", Summary: Summary{Differing: tt.differing, Beyond: &tt.beyond}}
		if got := r.NotAllowed(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := (&Result{Summary: Summary{Differing: 1}}).NotAllowed(); got != "" {
		t.Errorf("without a tolerance: %q", got)
	}
}

func TestExtent(t *testing.T) {
	ulp := func(n uint64) *uint64 { return &n }
	beyond := func(n int64) *int64 { return &n }
	r := &Result{Tensors: []TensorDiff{
		{Elements: 100}, // not compared
		{Elements: 10, Metrics: &Metrics{Differing: 1, Beyond: beyond(1), MaxAbs: 3, RelativeL2: 0.1, Cosine: 0.9, MaxULP: ulp(5), NaNA: 1, NaNB: 2, InfA: 3, InfB: 4}},
		{Elements: 20, Metrics: &Metrics{Differing: 2, Beyond: beyond(2), MaxAbs: 2, RelativeL2: 0.3, Cosine: 0.8, MaxULP: ulp(7), NaNA: 10, NaNB: 20, InfA: 30, InfB: 40}},
		{Elements: 40, Metrics: &Metrics{Differing: 4, MaxAbs: 1, RelativeL2: 0.2, Cosine: Number(math.NaN()), MaxULP: ulp(6)}},
		{Elements: 80, Metrics: &Metrics{Cosine: 0.95}, Quantized: &Quantized{Ratio: 2}},
	}}
	x := r.Extent(&Group{Tensors: []int{0, 1, 2, 3, 4}})
	if x.Elements != 250 || x.Differing != 7 || x.Beyond != 3 || x.MaxAbs != 3 || x.RelativeL2 != 0.3 || x.Cosine != 0.8 || *x.MaxULP != 7 || x.Ratio != 2 || x.NaN != [2]int64{11, 22} || x.Inf != [2]int64{33, 44} {
		t.Errorf("%+v", x)
	}
	if x := r.Extent(&Group{Tensors: []int{0, 3}}); !math.IsNaN(x.Cosine) || *x.MaxULP != 6 || x.Beyond != 0 {
		t.Errorf("%+v", x)
	}
	if x := r.Extent(&Group{Tensors: []int{0}}); x.MaxULP != nil || x.Elements != 100 {
		t.Errorf("%+v", x)
	}
}

func TestSplitLayer(t *testing.T) {
	for _, tt := range []struct {
		name, list string
		layer      int
		rest       string
	}{
		{"model.layers.3.mlp.w", "model.layers", 3, "mlp.w"}, {"layers.0.experts.5.w", "layers", 0, "experts.5.w"}, {"0.w", "", -1, "0.w"}, {"layers.3", "", -1, "layers.3"},
		{"layers.03.w", "", -1, "layers.03.w"}, {"layers.-3.w", "", -1, "layers.-3.w"}, {"layers.+3.w", "", -1, "layers.+3.w"}, {"embed.w", "", -1, "embed.w"}, {"0.layers.4.w", "0.layers", 4, "w"}, {"", "", -1, ""},
	} {
		if list, layer, rest := SplitLayer(tt.name); list != tt.list || layer != tt.layer || rest != tt.rest {
			t.Errorf("%s: %q, %d, %q", tt.name, list, layer, rest)
		}
		pattern, numbers := splitNumbers(tt.name)
		joined := pattern[0]
		for i, n := range numbers {
			joined += fmt.Sprint(n) + pattern[i+1]
		}
		if joined != tt.name {
			t.Errorf("%s: %q, %v", tt.name, pattern, numbers)
		}
	}
	for _, name := range []string{"a.03.b", "a.-3.b", "a.+3.b", "a.b"} {
		if _, numbers := splitNumbers(name); len(numbers) > 0 {
			t.Errorf("%s has the numbers %v", name, numbers)
		}
	}
}

// What is said to have happened to a tensor.
func TestChange(t *testing.T) {
	for _, tt := range []struct {
		e    TensorDiff
		want string
	}{
		{TensorDiff{Name: "a", Status: Equal, Renamed: true, B: "b"}, "renamed to b"},
		{TensorDiff{Name: "l.1.a", Status: Equal, Renamed: true, B: "l.1.b"}, "renamed to b"},
		{TensorDiff{Name: "l.1.a", Status: Equal, Renamed: true, B: "l.2.b"}, "renamed to l.2.b"},
		{TensorDiff{Name: "l.1.a", Status: Equal, Renamed: true, B: "k.1.b"}, "renamed to k.*.b"},
		{TensorDiff{Name: "l.1.a", Status: Equal, Renamed: true, B: "k.1.a"}, "l renamed to k"},
		{TensorDiff{Name: "l.1.a", Status: Equal, Renamed: true, B: "l.2.a"}, "moved to layer 2"},
		{TensorDiff{Name: "l.0.a", Status: Equal, Renamed: true, B: "l.0.b"}, "renamed to b"},
		{TensorDiff{Name: "a", Status: Shape, Shape: []int64{6}, ShapeB: []int64{2, 3}}, "[6] in A, [2, 3] in B"},
		{TensorDiff{Name: "a", Status: DType, DType: "float32", DTypeB: "bfloat16"}, "float32 became bfloat16, the same values"},
		{TensorDiff{Name: "a", Status: DType, DType: "float32", DTypeB: "bfloat16", Metrics: &Metrics{}}, "float32 became bfloat16, the same values"},
		{TensorDiff{Name: "a", Status: DType, DType: "float32", DTypeB: "bfloat16", Metrics: &Metrics{Differing: 1}}, "float32 became bfloat16, other values"},
		{TensorDiff{Name: "a", Status: Equal, DType: "float32", DTypeB: "bfloat16"}, "float32 became bfloat16"},
		{TensorDiff{Name: "a", Status: DType, DType: "float32", DTypeB: "bfloat16", Quantized: &Quantized{}}, ""},
		{TensorDiff{Name: "a", Status: Differs}, ""},
	} {
		if got := tt.e.Change(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.e, got, tt.want)
		}
	}
}

// The list with the most tensors is that of the layers; of two the first by its name.
func TestLongestList(t *testing.T) {
	for _, tt := range []struct {
		keys, list string
		numbers    []int
	}{
		{"a.0.w a.2.w b.0.w b.1.w b.3.w c", "b", []int{0, 1, 3}}, {"b.0.w b.1.w a.0.w a.1.w", "a", []int{0, 1}}, {"a.0.w a.1.w b.0.w b.1.w", "a", []int{0, 1}}, {"x y", "", nil}, {"b.0.w b.1.w b.3.w a.0.w", "b", []int{0, 1, 3}},
	} {
		if list, numbers := longestList(&side{keys: strings.Fields(tt.keys)}); list != tt.list || !slices.Equal(numbers, tt.numbers) {
			t.Errorf("%s: %q, %v", tt.keys, list, numbers)
		}
	}
}

// Prefixes are what more than half of the names begin with.
func TestWrappers(t *testing.T) {
	for names, want := range map[string]string{"a.x a.y b": "|a.", "a.x b.y": "", "a.b.x a.b.y a.b.z": "|a.|a.b.", "a a": "", "a.b.c.d.e.f a.b.c.d.e.g": "|a.|a.b.|a.b.c.|a.b.c.d.", "a.x a.y b.x b.y": "", "a.b.1 a.b.2 a.c.3 b.4 b.5": "|a."} {
		c := &tensor.Checkpoint{}
		var tensors []*tensor.Tensor
		for i, name := range strings.Fields(names) {
			if name == "a" {
				name = fmt.Sprint("a", i)
			}
			tensors = append(tensors, &tensor.Tensor{Name: name})
		}
		c = checkpointOf(t, tensors...)
		if got := strings.Join(wrappers(c), "|"); got != want {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}

// position is data that says where its streams begin.
type position struct{ at *int64 }

func (p position) Stream(off int64) (io.ReadCloser, error) {
	*p.at = off
	return io.NopCloser(strings.NewReader("")), nil
}

func TestOperands(t *testing.T) {
	for _, tt := range []struct {
		d           tensor.DType
		first, want int64
	}{{tensor.F32, 3, 12}, {tensor.F6E2M3, 4, 3}, {tensor.F6E2M3, 8, 6}, {tensor.F6E2M3, 20, 15}, {tensor.F4, 2, 1}, {tensor.F4, 14, 7}, {tensor.C128, 9, 144}, {tensor.U8, 13, 13}} {
		var at int64
		if _, err := whole(&tensor.Tensor{DType: tt.d, Data: position{&at}}).open(tt.first); err != nil || at != tt.want {
			t.Errorf("element %d of %s is at byte %d, want %d", tt.first, tt.d, at, tt.want)
		}
	}
	stored := tensorOf("w", tensor.F32, []int64{2, 3}, make([]byte, 24), false)
	square := tensorOf("w", tensor.F32, []int64{2, 2}, make([]byte, 16), false)
	decoded := tensorOf("w", tensor.F32, []int64{2, 3}, make([]byte, 24), true)
	turned := tensor.RowMajor(2, 3).Permute(1, 0)
	in := func(t *tensor.Tensor, view tensor.View) *operand {
		o, err := parameter(model.LayoutTensor{Name: "p", Stored: t, View: view})
		if err != nil {
			panic(err)
		}
		return o
	}
	for _, tt := range []struct {
		name                           string
		o                              *operand
		asIs, view, direct, contiguous bool // asIs: the stored tensor itself
	}{
		{"whole", whole(stored), true, false, true, true}, {"decoded", whole(decoded), true, false, false, false},
		{"all of a parameter", in(stored, tensor.RowMajor(2, 3)), true, false, true, true}, {"with an axis more", in(stored, tensor.RowMajor(2, 1, 3)), false, false, true, true},
		{"a part", in(stored, tensor.RowMajor(1, 3)), false, true, true, true}, {"transposed", in(stored, turned), false, true, true, false},
		{"transposed square", in(square, tensor.RowMajor(2, 2).Permute(1, 0)), false, true, true, false},
	} {
		o := tt.o
		asIs := slices.Contains([]*tensor.Tensor{stored, square, decoded}, o.Tensor)
		if asIs != tt.asIs || slices.Contains([]*tensor.Tensor{stored, square, decoded}, o.stored()) != (tt.asIs || tt.view) || (o.view != nil) != tt.view || o.direct() != tt.direct || o.contiguous() != tt.contiguous {
			t.Errorf("%s: as it is %t, view %t, direct %t, contiguous %t", tt.name, asIs, o.view != nil, o.direct(), o.contiguous())
		}
	}
	checked := whole(&tensor.Tensor{Shape: stored.Shape, DType: stored.DType, Data: &summed{lay: stored.Data.(*tensor.Strided)}})
	across := whole(&tensor.Tensor{Shape: []int64{3, 2}, DType: stored.DType, Data: &tensor.Strided{Store: bytes.NewReader(make([]byte, 24)), Length: 6, DType: tensor.F32, View: turned}})
	for name, o := range map[string]*operand{"checked": checked, "stored transposed": across} {
		if !o.direct() || o.contiguous() {
			t.Errorf("%s: direct %t, contiguous %t", name, o.direct(), o.contiguous())
		}
	}
	claims := &operand{Tensor: &tensor.Tensor{Shape: []int64{1 << 22}, Data: &tensor.Strided{Length: 1, DType: tensor.U8, View: tensor.View{Shape: []int64{1 << 22}, Strides: []int64{0}}}}}
	if claims.direct() || claims.contiguous() {
		t.Error("a tensor that claims too much can be read")
	}
}

// Elements that are not finite are in the metrics, whatever the counts of both sides add up to.
func TestCompleteNotFinite(t *testing.T) {
	for _, tl := range []tally{{nanA: 1, nanB: 1}, {nanA: 1, infA: 1}, {nanA: 1, infB: 1}, {infB: 1}, {differing: 1}, {}} {
		x := tensorOf("w", tensor.F32, []int64{4}, make([]byte, 16), false)
		p := &pair{a: whole(x), b: whole(x)}
		d := &differ{}
		d.complete(p, &tl)
		var m *Metrics
		if p.details != nil {
			m = p.details.metrics.unpack()
		}
		if got, want := m != nil, tl.differing+tl.nanA+tl.nanB+tl.infA+tl.infB > 0; got != want || got && m.MaxULP == nil || p.status != Differs {
			t.Errorf("%+v: %s, %+v", tl, p.status, m)
		}
	}
	x := tensorOf("w", tensor.I8, []int64{4}, make([]byte, 4), false)
	p := &pair{a: whole(x), b: whole(x)}
	(&differ{}).complete(p, &tally{differing: 1})
	if p.details.metrics.unpack().MaxULP != nil {
		t.Error("integers have representable values between them")
	}
}

// Each stage ends when all of its bytes are done.
func TestProgress(t *testing.T) {
	vectors := func(prefix string, shift float64) *tensor.Checkpoint {
		var all []*tensor.Tensor
		for i := range 4 {
			all = append(all, vector(fmt.Sprintf("%slayers.%d.w", prefix, i), float64(i), 2, 3), vector(fmt.Sprintf("%slayers.%d.v", prefix, i), float64(i), 5+shift, 3))
		}
		return checkpointOf(t, append(all, vector(prefix+"name"+fmt.Sprint(shift), 7, 8))...)
	}
	for name, b := range map[string]*tensor.Checkpoint{"values": vectors("", 1), "layers": layered(t, "", 2, 3, 4)} {
		done, total := map[string]int64{}, map[string]int64{}
		a := vectors("", 0)
		if name == "layers" {
			a = layered(t, "", 1, 2, 3, 4)
		}
		r, err := Diff(t.Context(), a, b, Options{Progress: func(stage string, d, all int64) { done[stage], total[stage] = d, all }})
		if err != nil {
			t.Fatal(err)
		}
		if len(done) < 2 {
			t.Errorf("%s: only %v", name, done)
		}
		for stage := range done {
			if done[stage] > total[stage] || total[stage] <= 0 || done[stage] < total[stage] && stage != "comparing" { // which stops at the first difference
				t.Errorf("%s: %s ends at %d of %d bytes", name, stage, done[stage], total[stage])
			}
		}
		if name == "values" && r.A.Tensors != 9 || r.A.Parameters <= 0 || r.A.Bytes != 4*r.A.Parameters {
			t.Errorf("%s: %+v", name, r.A)
		}
	}
}

func TestIsQuantization(t *testing.T) {
	for field, want := range map[string]bool{"quantization_config.bits": true, "quantization.group_size": true, "quantization_config": false, "vocab_size": false, "x.quantization.bits": false} {
		if got := isQuantization(field); got != want {
			t.Errorf("%s: %t", field, got)
		}
	}
}

// Ranges of a tensor follow one another to its end.
func TestRangesOfEqualJobs(t *testing.T) {
	raw := make([]byte, 10)
	p := &pair{a: whole(tensorOf("w", tensor.U8, []int64{10}, raw, false)), b: whole(tensorOf("w", tensor.U8, []int64{10}, raw, false))}
	var got [][2]int64
	for _, j := range newEqualJobs([]*pair{p}, 4).jobs {
		got = append(got, [2]int64{j.first, j.bytes})
	}
	if want := [][2]int64{{0, 4}, {4, 4}, {8, 2}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Tensors that have to be decoded are compared to their end, in steps.
func TestEqualOfLongStreams(t *testing.T) {
	content := bytes.Repeat([]byte("griffin"), stepBytes/7+5)
	open := func(content []byte) *tensor.Checkpoint {
		x := &tensor.Tensor{Name: "w", DType: tensor.U8, Shape: []int64{int64(len(content))}, Data: &tensortest.Stream{Content: content}}
		c, err := tensor.NewCheckpoint("x", "test", []*tensor.Tensor{x})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := bytes.Clone(content)
	other[len(other)-1]++
	for _, b := range [][]byte{content, other} {
		r, err := Diff(t.Context(), open(content), open(b), Options{Raw: true})
		if err != nil || r.Equal != bytes.Equal(content, b) {
			t.Errorf("%v, %v", r, err)
		}
	}
}

// A tensor that is measured in sections has the metrics of all of them, whether they fill it exactly or not.
func TestMeasuredInSections(t *testing.T) {
	for _, n := range []int{7, 8, 9, 15, 16, 17, 24} {
		a, b := make([]byte, n), make([]byte, n)
		for i := range b {
			b[i] = byte(i + 1)
		}
		d := newDiffer(Options{})
		d.rangeElements = 8
		x, y := tensorOf("w", tensor.U8, []int64{int64(n)}, a, false), tensorOf("w", tensor.U8, []int64{int64(n)}, b, false)
		r, err := d.run(t.Context(), checkpointOf(t, x), checkpointOf(t, y))
		if err != nil {
			t.Fatal(err)
		}
		if m := r.Tensors[0].Metrics; m == nil || m.Differing != int64(n) || float64(m.MaxAbs) != float64(n) || m.First[0] != 0 || float64(m.FirstB) != 1 {
			t.Errorf("%d elements: %+v", n, m)
		}
	}
}

// The names of a group are broken into lines that are as long as they may be.
func TestLinesOfNames(t *testing.T) {
	var names []string
	for i := range 40 {
		names = append(names, strings.Repeat("n", 1+i%9))
	}
	lines := (&Result{}).Where(&Group{List: "layers", Layers: []int{1, 3}, Names: names})
	if got, want := strings.Join(lines, " "), "layers 1, 3 of layers: "+strings.Join(names, ", "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for i, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(lines[i+1], " ")
		if len(line) > 110 || len(line)+len(word)+2 <= 110 || strings.TrimSpace(line) != line {
			t.Errorf("line %d, of %d columns, before %q: %q", i, len(line), word, line)
		}
	}
	if len(lines) < 2 {
		t.Errorf("%q", lines)
	}
	for width, count := range map[int]int{87: 1, 88: 2} { // of a name that begins in column 23
		if lines := (&Result{}).Where(&Group{List: "layers", Layers: []int{1, 3}, Names: []string{strings.Repeat("n", width)}}); len(lines) != count {
			t.Errorf("%d columns: %q", width, lines)
		}
	}
	long := strings.Repeat("n", 200)
	if lines := (&Result{}).Where(&Group{Names: []string{long}}); !slices.Equal(lines, []string{long}) {
		t.Errorf("%q", lines)
	}
}
