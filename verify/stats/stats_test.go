package stats

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// memory is a tensor's data in memory.
type memory []byte

func (m memory) Stream(off int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[off:])), nil
}

func tensorOf(d tensor.DType, data []byte, shape ...int64) *tensor.Tensor {
	return &tensor.Tensor{Name: "t", DType: d, Shape: shape, Data: memory(data)}
}

func encode(d tensor.DType, v []float64) []byte {
	var out []byte
	for _, x := range v {
		switch d {
		case tensor.F64:
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
		case tensor.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(x)))
		case tensor.BF16:
			out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(float32(x))>>16))
		}
	}
	return out
}

// decode is what the type made of v.
func decode(d tensor.DType, data []byte, n int) []float64 {
	v := make([]float64, n)
	tensor.ValuesOf(d).Decode(v, data)
	return v
}

// naive computes the same in the plainest way.
func naive(v []float64) *Stats {
	s := noValues()
	s.Values = int64(len(v))
	var finite []float64
	for _, x := range v {
		switch {
		case math.IsNaN(x):
			s.NaN++
		case math.IsInf(x, 0):
			s.Inf++
		default:
			finite = append(finite, x)
			if x == 0 {
				s.Zeros++
			}
		}
	}
	if len(finite) == 0 {
		return &s
	}
	low, high, sum, squares := finite[0], finite[0], 0.0, 0.0
	for _, x := range finite {
		low, high, sum = min(low, x), max(high, x), sum+x
	}
	mean := sum / float64(len(finite))
	for _, x := range finite {
		squares += (x - mean) * (x - mean)
	}
	s.Min, s.Max, s.Mean, s.Std, s.AbsMax = Number(low), Number(high), Number(mean), Number(math.Sqrt(squares/float64(len(finite)))), Number(max(-low, high))
	return &s
}

func near(a, b Number, scale float64) bool {
	return math.IsNaN(float64(b)) && math.IsNaN(float64(a)) || math.IsInf(float64(b), 0) || math.Abs(float64(a)-float64(b)) <= 1e-11*scale
}

func check(t *testing.T, s *Stats, v []float64) {
	t.Helper()
	want := naive(v)
	scale := math.Abs(float64(want.AbsMax))
	if s.Values != want.Values || s.NaN != want.NaN || s.Inf != want.Inf || s.Zeros != want.Zeros || !near(s.Min, want.Min, 0) || !near(s.Max, want.Max, 0) ||
		!near(s.AbsMax, want.AbsMax, 0) || !near(s.Mean, want.Mean, scale) || !near(s.Std, want.Std, scale) {
		t.Errorf("have %+v, want %+v", *s, *want)
	}
	h := s.Histogram
	if want.Values == want.NaN+want.Inf {
		if len(h.Edges) != 0 || len(h.Counts) != 0 {
			t.Errorf("a histogram of nothing: %+v", h)
		}
		return
	}
	if len(h.Edges) != len(h.Counts)+1 || h.Edges[0] != want.Min || h.Edges[len(h.Counts)] != want.Max || len(h.Counts) > Bins {
		t.Fatalf("edges %v, counts %v", h.Edges, h.Counts)
	}
	counts := make([]int64, len(h.Counts))
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		k := 0
		for k+1 < len(counts) && x >= float64(h.Edges[k+1]) {
			k++
		}
		counts[k]++
	}
	if fmt.Sprint(counts) != fmt.Sprint(h.Counts) {
		t.Errorf("counts %v, want %v of edges %v", h.Counts, counts, h.Edges)
	}
}

func TestStatsAgainstTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	normal := make([]float64, 100_000) // several panels
	for i := range normal {
		normal[i] = rng.NormFloat64()
	}
	shifted := make([]float64, 5000)
	for i := range shifted {
		shifted[i] = 1e4 + rng.Float64()
	}
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name string
		v    []float64
	}{
		{"empty", nil}, {"one", []float64{2.5}}, {"constant", []float64{-3, -3, -3}}, {"zeros", []float64{0, math.Copysign(0, -1), 0}},
		{"normal", normal}, {"shifted", shifted}, {"outlier", append([]float64{1e30}, normal[:1000]...)},
		{"not finite", []float64{nan, inf, -inf, nan}}, {"some not finite", []float64{1, nan, -2, inf, 0, -inf, 0.5}},
		{"subnormal", []float64{1e-40, -1e-40, 3e-41}}, {"large", []float64{3e38, -3e38, 1}}, {"negative", []float64{-1, -2.5, -2.25, -1.0078125}},
	} {
		for _, d := range []tensor.DType{tensor.F64, tensor.F32, tensor.BF16} {
			t.Run(c.name+" "+d.String(), func(t *testing.T) {
				data := encode(d, c.v)
				s, err := Of(context.Background(), tensorOf(d, data, int64(len(c.v))))
				if err != nil {
					t.Fatal(err)
				}
				check(t, s, decode(d, data, len(c.v)))
			})
		}
	}
	t.Run("beyond float32", func(t *testing.T) {
		v := []float64{1e300, -1e300, math.MaxFloat64, -math.MaxFloat64, 1e-300, 0.1, -0.1}
		s, err := Of(context.Background(), tensorOf(tensor.F64, encode(tensor.F64, v), int64(len(v))))
		if err != nil {
			t.Fatal(err)
		}
		s.Std = Number(math.NaN()) // overflows, as the definition does
		w := naive(v)
		if s.Min != w.Min || s.Max != w.Max || s.Zeros != 0 {
			t.Errorf("%+v", *s)
		}
		var n int64
		for _, c := range s.Histogram.Counts {
			n += c
		}
		if n != int64(len(v)) {
			t.Errorf("the histogram counts %d of %d", n, len(v))
		}
	})
}

// Every type that is read has as many values as it should, packed ones included.
func TestStatsOfEveryType(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	types := 0
	for d := tensor.Invalid + 1; d.String() != "invalid" && tensor.ValuesOf(d).Lanes > 0; d++ {
		types++
		for _, n := range []int64{0, 1, 7, 70_001} {
			x := tensorOf(d, nil, n)
			data := make([]byte, (n*int64(d.Bits())+7)/8)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			if d.Bits()%8 != 0 && n*int64(d.Bits())%8 != 0 {
				continue // no format holds a part of a byte
			}
			x.Data = memory(data)
			s, err := Of(context.Background(), x)
			if err != nil {
				t.Fatalf("%s: %v", d, err)
			}
			check(t, s, decode(d, data, int(n)*tensor.ValuesOf(d).Lanes))
		}
	}
	if types < 20 {
		t.Errorf("only %d types", types)
	}
}

// Bins are equally wide. Edges of dtypes of more than 16 bits are moved down to the next value at which the upper 16 bits of a float32 change,
// which are 128 values from 1 to 2, and those that coincide are one.
func TestEdges(t *testing.T) {
	exact := func(x float64) float64 { return x }
	for _, tt := range []struct {
		d         tensor.DType
		data      []byte
		low, high float64
		bins      int
		down      func(x float64) float64
	}{
		{tensor.U8, []byte{80, 0}, 0, 80, 40, exact},
		{tensor.I16, []byte{0xf0, 0xd8, 0x10, 0x27}, -10000, 10000, 40, exact},
		{tensor.BF16, encode(tensor.BF16, []float64{3, -1}), -1, 3, 40, exact},
		{tensor.BF16, encode(tensor.BF16, []float64{3, 3}), 3, 3, 1, exact},
		{tensor.F32, encode(tensor.F32, []float64{1, 2}), 1, 2, 40, func(x float64) float64 { return math.Floor(x*128) / 128 }},
		{tensor.F64, encode(tensor.F64, []float64{-1, -2}), -2, -1, 40, func(x float64) float64 { return -(math.Floor(-x*128)+1)/128 + 1.0/(1<<23) }},
		{tensor.F32, encode(tensor.F32, []float64{1.03125, 1}), 1, 1.03125, 4, nil},
		{tensor.F64, encode(tensor.F64, []float64{3, 3}), 3, 3, 1, nil},
	} {
		s, err := Of(context.Background(), tensorOf(tt.d, tt.data, int64(len(tt.data)*8/tt.d.Bits())))
		if err != nil {
			t.Fatal(err)
		}
		edges := s.Histogram.Edges
		if len(edges) != tt.bins+1 || len(s.Histogram.Counts) != tt.bins || float64(edges[0]) != tt.low || float64(edges[tt.bins]) != tt.high {
			t.Errorf("%s from %g to %g: %v, %v", tt.d, tt.low, tt.high, edges, s.Histogram.Counts)
			continue
		}
		for k := 1; k < tt.bins; k++ {
			want := tt.low + float64(k)/float64(tt.bins)*(tt.high-tt.low)
			if tt.down != nil {
				want = tt.down(want)
			}
			if !(math.Abs(float64(edges[k])-want) <= 1e-12*(tt.high-tt.low)) {
				t.Errorf("%s from %g to %g: edge %d is %g, want %g", tt.d, tt.low, tt.high, k, edges[k], want)
			}
		}
	}
}

// The mean of values whose sum overflows does not.
func TestMeanOfLargeValues(t *testing.T) {
	v := []float64{math.MaxFloat64, math.MaxFloat64, math.MaxFloat64 / 2, -math.MaxFloat64}
	s, err := Of(context.Background(), tensorOf(tensor.F64, encode(tensor.F64, v), int64(len(v))))
	if want := 0.375 * math.MaxFloat64; err != nil || !(math.Abs(float64(s.Mean)-want) <= 1e-12*want) {
		t.Errorf("%g, want %g; %v", s.Mean, want, err)
	}
}

func TestFinite(t *testing.T) {
	for _, tt := range []struct {
		nan, inf int64
		want     bool
	}{{0, 0, true}, {1, 0, false}, {0, 1, false}, {2, 3, false}} {
		if s := (&Stats{NaN: tt.nan, Inf: tt.inf}); s.Finite() != tt.want {
			t.Errorf("%+v", tt)
		}
	}
}

// checked is data whose checksum is compared once it was read.
type checked struct {
	memory
	err error
}

func (c checked) Check() error { return c.err }

// A checksum that is wrong is an error, but not instead of one about reading.
func TestChecksum(t *testing.T) {
	for _, tt := range []struct {
		bytes int
		err   error
		want  string
	}{
		{16, nil, ""},
		{16, tensor.Bad("checksum"), `tensor "t": checksum`},
		{10, nil, "data ends after 10 of 16 bytes"},
		{10, tensor.Bad("checksum"), "data ends after 10 of 16 bytes"},
	} {
		x := tensorOf(tensor.F32, nil, 4)
		x.Data = checked{make([]byte, tt.bytes), tt.err}
		if _, err := Of(context.Background(), x); (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// A checksum is computed from what is read for the statistics.
func TestChecksumOfOneReading(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		view := tensor.RowMajor(100, 70)
		data := tensortest.NewSummed(tensor.F32, view, make([]byte, 28000), 0, 28000, wrong)
		_, err := Of(t.Context(), &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: view.Shape, Data: data})
		if n := data.Checked.Load(); (err != nil) != wrong || n > 0 != wrong {
			t.Errorf("wrong: %t: %v, and %d readings more", wrong, err, n)
		}
	}
}

func TestStatsOfWhatIsTooShort(t *testing.T) {
	_, err := Of(context.Background(), tensorOf(tensor.F32, make([]byte, 10), 4))
	if err == nil || !strings.Contains(err.Error(), `tensor "t": data ends after 10 of 16 bytes`) {
		t.Error(err)
	}
}

// Values that are not finite are named by their kinds.
func TestNotFinite(t *testing.T) {
	for _, tt := range []struct {
		nan, inf int64
		want     string
	}{{0, 0, ""}, {1, 0, "1 NaN"}, {1234, 0, "1,234 NaN"}, {0, 1, "1 infinity"}, {0, 2, "2 infinities"}, {2, 1, "2 NaN and 1 infinity"}, {1, 1234, "1 NaN and 1,234 infinities"}} {
		if got := (&Stats{NaN: tt.nan, Inf: tt.inf}).NotFinite().String(); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func BenchmarkStats(b *testing.B) {
	for _, d := range []tensor.DType{tensor.BF16, tensor.F32, tensor.F64} {
		b.Run(d.String(), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(5, 6))
			v := make([]float64, 1<<22)
			for i := range v {
				v[i] = rng.NormFloat64()
			}
			x := tensorOf(d, encode(d, v), int64(len(v)))
			b.SetBytes(x.Bytes())
			for b.Loop() {
				if _, err := Of(context.Background(), x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
