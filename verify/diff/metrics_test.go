package diff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

// everyDType lists all types of elements.
func everyDType() (all []tensor.DType) {
	for d := tensor.F64; d.Bits() > 0; d++ {
		all = append(all, d)
	}
	return all
}

// tensorOf returns a tensor whose bytes lie uncompressed, or that has to be decoded.
func tensorOf(name string, d tensor.DType, shape []int64, content []byte, decoded bool) *tensor.Tensor {
	t := &tensor.Tensor{Name: name, DType: d, Shape: shape, Data: stored{content}}
	if !decoded && d.Size() > 0 {
		t.Data = &tensor.Strided{Store: bytes.NewReader(content), Length: t.Elements(), DType: d, View: tensor.RowMajor(shape...)}
	}
	return t
}

func checkpointOf(t testing.TB, tensors ...*tensor.Tensor) *tensor.Checkpoint {
	t.Helper()
	c, err := tensor.NewCheckpoint("memory", "test", tensors)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// elementsOf returns the numbers of each element.
func elementsOf(d tensor.DType, content []byte, n int) [][]float64 {
	v := tensor.ValuesOf(d)
	all := make([]float64, n*v.Lanes)
	v.Decode(all, content)
	out := make([][]float64, n)
	for i := range out {
		out[i] = all[i*v.Lanes : (i+1)*v.Lanes]
	}
	return out
}

// naive computes Metrics by their definitions, and which elements differ.
func naive(d tensor.DType, a, b []byte, n int) (m Metrics, differing []bool) {
	x, y := elementsOf(d, a, n), elementsOf(d, b, n)
	var dd, aa, bb, ab, sum, finite float64
	var undefined, infinite bool
	differing = make([]bool, n)
	for i := range n {
		if size := int(d.Size()); size > 0 {
			differing[i] = !bytes.Equal(a[i*size:(i+1)*size], b[i*size:(i+1)*size])
		} else {
			differing[i] = x[i][0] != y[i][0] || math.Signbit(x[i][0]) != math.Signbit(y[i][0])
		}
		if differing[i] {
			m.Differing++
		}
		for k := range x[i] {
			p, q := x[i][k], y[i][k]
			for _, c := range []struct {
				v        float64
				nan, inf *int64
			}{{p, &m.NaNA, &m.InfA}, {q, &m.NaNB, &m.InfB}} {
				if math.IsNaN(c.v) {
					*c.nan++
				} else if math.IsInf(c.v, 0) {
					*c.inf++
				}
			}
			switch {
			case math.IsNaN(p) != math.IsNaN(q):
				undefined = true
				continue
			case math.IsNaN(p) || p == q && math.IsInf(p, 0):
				continue
			case math.IsInf(p, 0) || math.IsInf(q, 0):
				infinite = true
				continue
			}
			distance := math.Abs(p - q)
			m.MaxAbs = Number(max(float64(m.MaxAbs), distance))
			finite++
			sum += distance
			dd += distance * distance
			aa += p * p
			bb += q * q
			ab += p * q
		}
	}
	m.MeanAbs, m.RelativeL2, m.Cosine = Number(sum/finite), Number(math.Sqrt(dd/aa)), Number(ab/math.Sqrt(aa*bb))
	nan, inf := Number(math.NaN()), Number(math.Inf(1))
	if undefined {
		m.MaxAbs, m.MeanAbs, m.RelativeL2, m.Cosine = nan, nan, nan, nan
	} else if infinite {
		m.MaxAbs, m.MeanAbs, m.RelativeL2, m.Cosine = inf, inf, inf, nan
	}
	return m, differing
}

// The metrics of every dtype agree with their definitions, however the tensors are stored and divided.
func TestMetricsAgainstDefinitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, d := range everyDType() {
		for round := range 4 {
			const n = 20000
			shape := []int64{n / 50, 50}
			a := make([]byte, n*d.Bits()/8)
			for i := range a {
				a[i] = byte(rng.Uint32())
			}
			tame(d, a)
			b := bytes.Clone(a)
			changed := []int{1, 7, n / 3, n * 2}[round]
			for range changed {
				at := rng.IntN(len(b))
				b[at] ^= byte(1 + rng.IntN(255))
			}
			tame(d, b)
			want, differing := naive(d, a, b, n)
			if want.Differing == 0 {
				continue
			}
			first := int64(0)
			for !differing[first] {
				first++
			}
			name := fmt.Sprintf("%s, %d bytes changed", d, changed)
			g := newDiffer(Options{})
			g.rangeBytes, g.rangeElements = 64*(1+rng.Int64N(100)), 8*(1+rng.Int64N(1000))
			decoded := rng.IntN(2) == 0
			r, err := g.run(t.Context(), checkpointOf(t, tensorOf("w", d, shape, a, decoded)), checkpointOf(t, tensorOf("w", d, shape, b, decoded != (round == 2))))
			if err != nil {
				t.Fatal(name, err)
			}
			e := &r.Tensors[0]
			if e.Status != Differs || r.Equal {
				t.Fatalf("%s: %s", name, e.Status)
			}
			m := e.Metrics
			got := []float64{float64(m.Differing), float64(m.MaxAbs), float64(m.MeanAbs), float64(m.RelativeL2), float64(m.Cosine), float64(m.NaNA), float64(m.NaNB), float64(m.InfA), float64(m.InfB)}
			expect := []float64{float64(want.Differing), float64(want.MaxAbs), float64(want.MeanAbs), float64(want.RelativeL2), float64(want.Cosine), float64(want.NaNA), float64(want.NaNB), float64(want.InfA), float64(want.InfB)}
			for i := range got {
				if !(got[i] == expect[i] || math.Abs(got[i]-expect[i]) <= 1e-9*math.Abs(expect[i]) || math.IsNaN(got[i]) && math.IsNaN(expect[i])) {
					t.Errorf("%s: metric %d is %v, not %v", name, i, got[i], expect[i])
				}
			}
			if at := m.First[0]*50 + m.First[1]; at != first {
				t.Errorf("%s: the first is %d, not %d", name, at, first)
			}
			if x := elementsOf(d, a, n)[first]; float64(m.FirstA) != x[0] && float64(m.FirstA) != x[len(x)-1] && !math.IsNaN(float64(m.FirstA)) {
				t.Errorf("%s: the first is %v, not %v", name, m.FirstA, x)
			}
		}
	}
}

// tame limits the values of wide dtypes to a range in which squares neither overflow nor underflow.
func tame(d tensor.DType, content []byte) {
	switch d {
	case tensor.F64, tensor.C128:
		for i := 7; i < len(content); i += 8 {
			content[i] = content[i]&0x80 | 0x3f
		}
	}
}

// The number of representable values between two elements.
func TestULP(t *testing.T) {
	for _, tt := range []struct {
		d    tensor.DType
		a, b []byte
		want uint64
	}{
		{tensor.F32, []byte{0, 0, 0x80, 0x3f}, []byte{1, 0, 0x80, 0x3f}, 1},
		{tensor.F32, []byte{0, 0, 0x80, 0x3f}, []byte{0xff, 0xff, 0x7f, 0x3f}, 1},
		{tensor.F32, []byte{1, 0, 0, 0}, []byte{1, 0, 0, 0x80}, 2}, // the smallest of either sign
		{tensor.F32, []byte{0, 0, 0, 0}, []byte{0, 0, 0, 0x80}, 0},
		{tensor.BF16, []byte{0x80, 0x3f}, []byte{0x80, 0xbf}, 2 * 0x3f80},
		{tensor.F16, []byte{0, 0x3c}, []byte{2, 0x3c}, 2},
		{tensor.F64, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x7f}, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0xff}, 2 * 0x7ff0000000000000},
		{tensor.F8E4M3, []byte{0x7e}, []byte{0xfe}, 2 * 0x7e},
		{tensor.F8E8M0, []byte{3}, []byte{200}, 197},
	} {
		if got := ulpsOf(tt.d).between(tt.a, tt.b, 0); got != tt.want {
			t.Errorf("%s %x to %x: %d values, not %d", tt.d, tt.a, tt.b, got, tt.want)
		}
	}
}

// Numbers that are not finite are counted for each side. Where both sides have the same, they do not count in distances.
func TestMetricsNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	d := func(a, b []float64) *Metrics {
		t.Helper()
		x, y := array{tensor.F32, []int64{int64(len(a))}, a}, array{tensor.F32, []int64{int64(len(b))}, b}
		r, err := Diff(t.Context(), checkpointOf(t, x.tensor("w")), checkpointOf(t, y.tensor("w")), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Tensors[0].Metrics
	}
	m := d([]float64{1, nan, inf, 4, -inf}, []float64{2, nan, -inf, nan, -inf})
	if m.NaNA != 1 || m.NaNB != 2 || m.InfA != 2 || m.InfB != 2 || m.Differing != 3 || !math.IsNaN(float64(m.MaxAbs)) {
		t.Errorf("%+v", m)
	}
	if m := d([]float64{1, nan, inf, -inf}, []float64{2, nan, inf, -inf}); m.NaNA != 1 || m.NaNB != 1 || m.InfA != 2 || m.InfB != 2 || m.Differing != 1 || m.MaxAbs != 1 || m.MeanAbs != 1 {
		t.Errorf("the same on both sides: %+v", m)
	}
	if m := d([]float64{0, 0}, []float64{0, 1}); !math.IsInf(float64(m.RelativeL2), 1) || !math.IsNaN(float64(m.Cosine)) {
		t.Errorf("from nothing: %+v", m)
	}
	if m := d([]float64{0, 0}, []float64{0, math.Copysign(0, -1)}); m.Differing != 1 || m.RelativeL2 != 0 || *m.MaxULP != 0 {
		t.Errorf("the sign of zero: %+v", m)
	}
	if m := d([]float64{1, 2}, []float64{-1, -2}); m.Cosine != -1 || m.RelativeL2 != 2 {
		t.Errorf("turned round: %+v", m)
	}
}

// Pairs of two dtypes are compared by value. If one side is the other, rounded, this is the explanation.
func TestTwoTypes(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	wide := array{tensor.F32, []int64{40, 10}, make([]float64, 400)}
	for i := range wide.values {
		wide.values[i] = float64(float32(rng.NormFloat64()))
	}
	narrow := wide.bfloat16()
	back := narrow.clone()
	back.dtype = tensor.F32
	off := narrow.clone()
	off.values[17] *= 2
	other := wide.clone()
	for i := range other.values {
		other.values[i] = float64(float32(rng.NormFloat64()))
	}
	for _, tt := range []struct {
		name        string
		a, b        array
		differing   int64
		explanation string
	}{
		{"the same values", narrow, back, 0, ""},
		{"rounded", wide, narrow, -1, "rounded: to bfloat16"},
		{"rounded the other way", narrow, wide, -1, "rounded: the other way: A is B rounded to bfloat16"},
		{"one more changed", back, off, 1, "sparse"},
		{"other values", wide, other.bfloat16(), -1, "other"},
	} {
		r, err := Diff(t.Context(), checkpointOf(t, tt.a.tensor("w")), checkpointOf(t, tt.b.tensor("w")), Options{})
		if err != nil {
			t.Fatal(err)
		}
		e := r.Tensors[0]
		if e.Status != DType || r.Equal {
			t.Errorf("%s: %s", tt.name, e.Status)
		}
		if tt.differing == 0 && e.Metrics != nil || tt.differing > 0 && (e.Metrics == nil || e.Metrics.Differing != tt.differing) {
			t.Errorf("%s: %+v", tt.name, e.Metrics)
		}
		said := ""
		if e.Explanation != nil {
			said = string(e.Explanation.Kind)
			if e.Explanation.Kind == explain.Rounded {
				said += ": " + e.Explanation.Detail
			}
		}
		if said != tt.explanation {
			t.Errorf("%s: %q, not %q", tt.name, said, tt.explanation)
		}
		changed := tt.explanation == "sparse" || tt.explanation == "other" // by more than the cast
		if e.ChangedToo() != changed || r.Summary.Changed != map[bool]int{true: 1}[changed] || r.Summary.DType != 1 {
			t.Errorf("%s: %+v", tt.name, r.Summary)
		}
		if words := e.Change(); strings.Contains(words, "other values") != (tt.explanation == "other") {
			t.Errorf("%s: %q", tt.name, words)
		}
	}
}

func TestTolerance(t *testing.T) {
	a := array{tensor.F32, []int64{4}, []float64{1, 100, math.NaN(), 0}}
	b := array{tensor.F32, []int64{4}, []float64{1.0009765625, 100.0625, math.NaN(), math.Copysign(0, -1)}}
	for _, tt := range []struct {
		text   string
		beyond int64
	}{
		{"abs=0.1", 0}, {"abs=0.01", 1}, {"rel=1e-3", 0}, {"rel=7e-4", 1}, {"ulp=8192", 0}, {"ulp=8191", 2},
		{"abs=0.001,rel=7e-4", 0}, {"abs=0", 2},
	} {
		tolerance, err := ParseTolerance(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Diff(t.Context(), checkpointOf(t, a.tensor("w")), checkpointOf(t, b.tensor("w")), Options{Tolerance: tolerance})
		if err != nil {
			t.Fatal(err)
		}
		e := r.Tensors[0]
		if m := e.Metrics; *m.Beyond != tt.beyond || r.Equal != (tt.beyond == 0) || m.Differing != 3 {
			t.Errorf("%s: %d beyond, equal %v, %d differing", tt.text, *m.Beyond, r.Equal, m.Differing)
		}
	}
	if nan := math.NaN(); !(&Tolerance{}).within(nan, nan, nan, 5, true) || (&Tolerance{Abs: 1}).within(nan, 1, nan, 0, false) || (&Tolerance{Abs: 1, Rel: 1}).within(math.Inf(1), 1, math.Inf(1), 0, false) {
		t.Error("NaN is NaN, and near to nothing else; nothing is near to infinity")
	}
	for _, bad := range []string{"", "abs", "abs=-1", "abs=nan", "rel=inf", "ulp=1.5", "abs=1,abs=2", "abs=1,,", "x=1", "ulp=-1"} {
		if _, err := ParseTolerance(bad); err == nil {
			t.Errorf("%q is taken for a tolerance", bad)
		}
	}
}

// An element that is NaN on one side makes every distance NaN, and one that is infinite makes them infinite: they are never 0,
// nor the cosine 1.
func TestDistancesNotFinite(t *testing.T) {
	values := func(x float64) array { return array{tensor.F32, []int64{4}, []float64{1, x, 3, 4}} }
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		a, b             float64
		distance, cosine float64
	}{{nan, 2, nan, nan}, {2, nan, nan, nan}, {inf, nan, nan, nan}, {inf, 2, inf, nan}, {2, -inf, inf, nan}, {inf, -inf, inf, nan}} {
		r, err := Diff(t.Context(), checkpointOf(t, values(tt.a).tensor("w")), checkpointOf(t, values(tt.b).tensor("w")), Options{Tolerance: &Tolerance{Abs: 1, Rel: 1}})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Tensors[0].Metrics
		for _, got := range []Number{m.MaxAbs, m.MeanAbs, m.RelativeL2} {
			if !same(float64(got), tt.distance) {
				t.Errorf("%v and %v: %+v", tt.a, tt.b, m)
			}
		}
		if !same(float64(m.Cosine), tt.cosine) || m.Differing != 1 || *m.Beyond != 1 || r.Equal {
			t.Errorf("%v and %v: %+v", tt.a, tt.b, m)
		}
	}
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// 64-bit integers are compared as they are, although float64 has the same number for many of them.
func TestWideIntegers(t *testing.T) {
	const big = 1 << 53
	i64 := func(x ...int64) *tensor.Tensor {
		var raw []byte
		for _, v := range x {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
		}
		return tensorOf("w", tensor.I64, []int64{int64(len(x))}, raw, false)
	}
	u64 := func(x ...uint64) *tensor.Tensor {
		var raw []byte
		for _, v := range x {
			raw = binary.LittleEndian.AppendUint64(raw, v)
		}
		return tensorOf("w", tensor.U64, []int64{int64(len(x))}, raw, false)
	}
	f64 := func(x float64) *tensor.Tensor {
		return tensorOf("w", tensor.F64, []int64{1}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)), false)
	}
	for _, tt := range []struct {
		a, b      *tensor.Tensor
		tolerance Tolerance
		beyond    int64
		maxAbs    Number
		first     []string
	}{
		{i64(big, big+1), i64(big, big), Tolerance{}, 1, 1, []string{"9007199254740993", "9007199254740992"}},
		{i64(big, big+1), i64(big, big), Tolerance{Abs: 0.5}, 1, 1, []string{"9007199254740993", "9007199254740992"}},
		{i64(big + 1), i64(big), Tolerance{Abs: 1}, 0, 1, []string{"9007199254740993", "9007199254740992"}},
		{i64(math.MaxInt64), i64(math.MaxInt64 - 3), Tolerance{Abs: 2}, 1, 3, []string{"9223372036854775807", "9223372036854775804"}},
		{i64(math.MinInt64), i64(math.MinInt64 + 1), Tolerance{}, 1, 1, []string{"-9223372036854775808", "-9223372036854775807"}},
		{u64(math.MaxUint64), u64(math.MaxUint64 - 1), Tolerance{}, 1, 1, []string{"18446744073709551615", "18446744073709551614"}},
		{u64(1<<63 + 1), u64(1<<63 - 1), Tolerance{Abs: 1}, 1, 2, []string{"9223372036854775809", "9223372036854775807"}},
		{u64(math.MaxInt64), i64(math.MaxInt64 - 1), Tolerance{}, 1, 1, []string{"9223372036854775807", "9223372036854775806"}},
		{i64(big + 1), f64(big), Tolerance{}, 1, 1, []string{"9007199254740993", "9007199254740992"}},
		{i64(big + 1), f64(0.5), Tolerance{}, 1, big, []string{"9007199254740993", "0.5"}},
		{i64(5), i64(7), Tolerance{Abs: 1}, 1, 2, nil},
		{i64(big + 1), array{tensor.C64, []int64{1}, []float64{big, 0}}.tensor("w"), Tolerance{}, 1, 1, []string{"9007199254740993", "9007199254740992"}},
	} {
		r, err := Diff(t.Context(), checkpointOf(t, tt.a), checkpointOf(t, tt.b), Options{Tolerance: &tt.tolerance})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Tensors[0].Metrics
		if m == nil || *m.Beyond != tt.beyond || r.Equal != (tt.beyond == 0) || m.MaxAbs != tt.maxAbs || !slices.Equal(m.FirstIntegers, tt.first) {
			t.Errorf("%v, %+v: equal %t, %+v", tt.first, tt.tolerance, r.Equal, m)
		}
	}
}
