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

func TestStatsOfWhatIsTooShort(t *testing.T) {
	_, err := Of(context.Background(), tensorOf(tensor.F32, make([]byte, 10), 4))
	if err == nil || !strings.Contains(err.Error(), `tensor "t": data ends after 10 of 16 bytes`) {
		t.Error(err)
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
