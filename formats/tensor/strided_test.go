package tensor

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// elementAt reads one element of a view the slow way: the definition, not the engine.
func elementAt(store []byte, s *Strided, index []int64) []byte {
	at := s.View.Offset
	for k, i := range index {
		at += i * s.View.Strides[k]
	}
	size := s.DType.Size()
	e := bytes.Clone(store[s.Base+at*size:][:size])
	if s.BigEndian {
		SwapBytes(e, s.DType.SwapUnit())
	}
	return e
}

func naive(store []byte, s *Strided) []byte {
	var out []byte
	index := make([]int64, len(s.View.Shape))
	for n := s.View.Elements(); n > 0; n-- {
		out = append(out, elementAt(store, s, index)...)
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < s.View.Shape[k] {
				break
			}
			index[k] = 0
		}
	}
	return out
}

func randomView(rng *rand.Rand) View {
	shape := make([]int64, 1+rng.IntN(4))
	for i := range shape {
		shape[i] = 1 + rng.Int64N(6)
	}
	v := RowMajor(shape...)
	v.Offset = rng.Int64N(3)
	for range rng.IntN(4) {
		axis := rng.IntN(len(v.Shape))
		switch rng.IntN(5) {
		case 0:
			v = v.Permute(rng.Perm(len(v.Shape))...)
		case 1:
			v = v.Index(axis, rng.Int64N(v.Shape[axis]))
			if len(v.Shape) == 0 {
				return v
			}
		case 2:
			v = v.Unsqueeze(axis)
		case 3: // a step, as t[::2] leaves it
			v.Shape[axis] = (v.Shape[axis] + 1) / 2
			v.Strides[axis] *= 2
		case 4: // expand
			if v.Shape[axis] == 1 {
				v.Shape[axis], v.Strides[axis] = 1+rng.Int64N(4), 0
			}
		}
	}
	return v
}

func TestStridedStreamMatchesDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		dtype := []DType{U8, BF16, F32, C64, C128}[rng.IntN(5)]
		v := randomView(rng)
		_, end := v.Span()
		base := rng.Int64N(5)
		store := make([]byte, base+end*dtype.Size())
		for i := range store {
			store[i] = byte(rng.Uint32())
		}
		s := &Strided{Store: bytes.NewReader(store), Base: base, Length: end, DType: dtype, View: v, BigEndian: rng.IntN(2) == 0}
		if err := CheckView(v, end); err != nil {
			t.Fatalf("round %d: %v: %v", round, v, err)
		}
		want := naive(store, s)
		off := rng.Int64N(int64(len(want)) + 1)
		r, err := s.Stream(off)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(iotest.HalfReader(r))
		if err != nil || !bytes.Equal(got, want[off:]) {
			t.Fatalf("round %d: %s %+v from %d: got %x, %v; want %x", round, dtype, v, off, got, err, want[off:])
		}
	}
}

func TestLeadingBoxesTile(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		v := randomView(rng)
		for next, total := int64(0), v.Elements(); next < total; {
			limit := 1 + rng.Int64N(9)
			box, n := LeadingBox(v, next, limit)
			if n < 1 || n > limit || box.Elements() != n {
				t.Fatalf("%+v from %d, limit %d: box %+v of %d elements", v, next, limit, box, n)
			}
			next += n
			if next > total {
				t.Fatalf("%+v: boxes run past the end", v)
			}
		}
	}
}

func TestViewClaimingTooMuchIsRefused(t *testing.T) {
	v := View{Shape: []int64{1e9, 1000}, Strides: []int64{0, 0}}
	s := &Strided{Store: bytes.NewReader(make([]byte, 4)), Length: 1, DType: F32, View: v}
	if _, err := s.Stream(0); err == nil {
		t.Error("Stream gave 10^12 elements of a storage of one")
	}
	if _, _, err := Layout(&Tensor{Name: "w", DType: F32, Shape: v.Shape, Data: s}); err == nil {
		t.Error("Layout gave 10^12 elements of a storage of one")
	}
}

func TestCheckView(t *testing.T) {
	const big = 1 << 62
	for _, tt := range []struct {
		name  string
		v     View
		store int64
		ok    bool
	}{
		{"whole", RowMajor(2, 3), 6, true},
		{"one short", RowMajor(2, 3), 5, false},
		{"offset", View{Shape: []int64{2}, Strides: []int64{1}, Offset: 4}, 6, true},
		{"offset past end", View{Shape: []int64{2}, Strides: []int64{1}, Offset: 5}, 6, false},
		{"scalar", View{}, 1, true},
		{"scalar of nothing", View{}, 0, false},
		{"empty", RowMajor(0, 3), 0, true},
		{"negative stride", View{Shape: []int64{2}, Strides: []int64{-1}, Offset: 1}, 6, false},
		{"negative offset", View{Offset: -1}, 6, false},
		{"negative size", View{Shape: []int64{-2}, Strides: []int64{1}}, 6, false},
		{"rank mismatch", View{Shape: []int64{2}, Strides: []int64{1, 1}}, 6, false},
		{"stride overflow", View{Shape: []int64{3}, Strides: []int64{big}}, 6, false},
		{"sum overflow", View{Shape: []int64{2, 2}, Strides: []int64{big, big}, Offset: big}, 6, false},
		{"product overflow", View{Shape: []int64{big, 4}, Strides: []int64{0, 0}}, 6, false},
		{"product that fits in no 64 bits", View{Shape: []int64{5}, Strides: []int64{big}}, 10, false},
		{"sum that fits in no 64 bits", View{Shape: []int64{4}, Strides: []int64{(1<<63 + 1) / 3}, Offset: 1<<63 - 1}, 10, false},
		{"largest shape", View{Shape: []int64{1<<63 - 1}, Strides: []int64{0}}, 1, true},
		{"expanded", View{Shape: []int64{1 << 40}, Strides: []int64{0}}, 1, true},
	} {
		if err := CheckView(tt.v, tt.store); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestSizeOf(t *testing.T) {
	for _, tt := range []struct {
		d     DType
		shape []int64
		size  int64 // -1 for refused
	}{
		{F32, nil, 4}, {BF16, []int64{3, 2}, 12}, {F32, []int64{0, 5}, 0}, {F4, []int64{2, 3}, 3}, {F4, []int64{3}, -1},
		{F6E2M3, []int64{4}, 3}, {F6E2M3, []int64{3}, -1}, {F32, []int64{1 << 62}, -1}, {U8, []int64{1 << 40, 1 << 40, 0}, -1},
		{U8, []int64{-1}, -1},
	} {
		_, size, err := SizeOf(tt.d, tt.shape)
		if (err != nil) != (tt.size < 0) || err == nil && size != tt.size {
			t.Errorf("SizeOf(%s, %v) = %d, %v; want %d", tt.d, tt.shape, size, err, tt.size)
		}
		if err == nil {
			if got := (&Tensor{DType: tt.d, Shape: tt.shape}).Bytes(); got != size {
				t.Errorf("Bytes of %s %v: %d, want %d", tt.d, tt.shape, got, size)
			}
		}
	}
}
