package tensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// wantRounded checks a rounding by its definition and shares nothing with the casts: no value of
// the target type is nearer to x than the code's, and of two as near it has the even code.
// Distances are exact, in large integers. Infinity stands at 2^(largest exponent + 1).
func wantRounded(x float64, code uint32, exponent, mantissa int) error {
	signBit := uint32(1) << (exponent + mantissa)
	infinity := uint32(1<<exponent-1) << mantissa
	magnitude := code &^ signBit
	switch {
	case math.IsNaN(x):
		if magnitude <= infinity || magnitude&(1<<(mantissa-1)) == 0 {
			return fmt.Errorf("NaN became %x", code)
		}
		return nil
	case math.Signbit(x) != (code&signBit != 0):
		return fmt.Errorf("%g lost its sign: %x", x, code)
	case math.IsInf(x, 0):
		if magnitude != infinity {
			return fmt.Errorf("%g became %x", x, code)
		}
		return nil
	case magnitude > infinity:
		return fmt.Errorf("%g became NaN %x", x, code)
	}
	bias := 1<<(exponent-1) - 1
	const scale = 1200 // all are whole multiples of 2^-1200
	value := func(c uint32) *big.Int {
		e, m := int(c>>mantissa), int64(c&(1<<mantissa-1))
		if e == 0 {
			e = 1
		} else {
			m += 1 << mantissa
		}
		return new(big.Int).Lsh(big.NewInt(m), uint(scale+e-bias-mantissa))
	}
	fraction, power := math.Frexp(math.Abs(x))
	target := new(big.Int).Lsh(big.NewInt(int64(math.Ldexp(fraction, 53))), uint(max(scale+power-53, 0)))
	distance := func(c uint32) *big.Int {
		d := new(big.Int).Sub(target, value(c))
		return d.Abs(d)
	}
	mine := distance(magnitude)
	for _, other := range []int64{int64(magnitude) - 1, int64(magnitude) + 1} {
		if other < 0 || uint32(other) > infinity {
			continue
		}
		switch mine.Cmp(distance(uint32(other))) {
		case 1:
			return fmt.Errorf("%g became %x, but %x is nearer", x, code, other)
		case 0:
			if magnitude&1 == 1 {
				return fmt.Errorf("%g became %x, but the even %x is as near", x, code, other)
			}
		}
	}
	return nil
}

var castTargets = []struct {
	dtype              DType
	exponent, mantissa int
}{{F32, 8, 23}, {F16, 5, 10}, {BF16, 8, 7}}

func encode(d DType, code uint64) []byte {
	return binary.LittleEndian.AppendUint64(nil, code)[:d.Size()]
}

func decodeResult(p []byte) uint32 {
	if len(p) == 2 {
		return uint32(binary.LittleEndian.Uint16(p))
	}
	return binary.LittleEndian.Uint32(p)
}

// checkCast casts one element and holds it against the definition, the overflow count included.
func checkCast(t *testing.T, from, to DType, code uint64, x float64, exponent, mantissa int) {
	t.Helper()
	cast, err := NewCast(from, to)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, to.Size())
	over := cast(dst, encode(from, code))
	got := decodeResult(dst)
	if err := wantRounded(x, got, exponent, mantissa); err != nil {
		t.Fatalf("%s %#x to %s: %v", from, code, to, err)
	}
	infinite := got&^(1<<(exponent+mantissa)) == uint32(1<<exponent-1)<<mantissa
	if want := infinite && !math.IsInf(x, 0); (over == 1) != want || over > 1 {
		t.Fatalf("%s %#x (%g) to %s: counted %d overflows", from, code, x, to, over)
	}
}

// TestCastEvery16BitPattern takes the values of float16 and bfloat16 from Go's own arithmetic.
func TestCastEvery16BitPattern(t *testing.T) {
	half := func(c uint32) float64 {
		sign, e, m := 1-2*float64(c>>15), int(c>>10&31), float64(c&1023)
		switch {
		case e == 31 && m != 0:
			return math.NaN()
		case e == 31:
			return math.Inf(int(sign))
		case e == 0:
			return math.Copysign(m*math.Pow(2, -24), sign)
		}
		return sign * (1024 + m) * math.Pow(2, float64(e-25))
	}
	brain := func(c uint32) float64 { return float64(math.Float32frombits(c << 16)) }
	for _, to := range castTargets {
		for c := range uint32(1 << 16) {
			checkCast(t, F16, to.dtype, uint64(c), half(c), to.exponent, to.mantissa)
			checkCast(t, BF16, to.dtype, uint64(c), brain(c), to.exponent, to.mantissa)
		}
	}
}

// TestCastF8 has the values of the 8-bit types written out at their landmarks.
func TestCastF8(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		from  DType
		code  uint64
		value float64
	}{
		{F8E4M3, 0x00, 0}, {F8E4M3, 0x80, math.Copysign(0, -1)}, {F8E4M3, 0x01, 1.0 / 512}, {F8E4M3, 0x07, 7.0 / 512}, {F8E4M3, 0x08, 1.0 / 64},
		{F8E4M3, 0x38, 1}, {F8E4M3, 0xb9, -1.125}, {F8E4M3, 0x7e, 448}, {F8E4M3, 0x78, 256}, {F8E4M3, 0x7f, nan}, {F8E4M3, 0xff, nan},
		{F8E5M2, 0x01, math.Pow(2, -16)}, {F8E5M2, 0x3c, 1}, {F8E5M2, 0x7b, 57344}, {F8E5M2, 0x7c, inf}, {F8E5M2, 0xfc, -inf}, {F8E5M2, 0x7d, nan},
		{F8E4M3FNUZ, 0x80, nan}, {F8E4M3FNUZ, 0x7f, 240}, {F8E4M3FNUZ, 0x40, 1}, {F8E4M3FNUZ, 0x01, math.Pow(2, -10)}, {F8E4M3FNUZ, 0x81, -math.Pow(2, -10)},
		{F8E5M2FNUZ, 0x80, nan}, {F8E5M2FNUZ, 0x7f, 57344}, {F8E5M2FNUZ, 0x40, 1}, {F8E5M2FNUZ, 0x01, math.Pow(2, -17)},
		{F8E4M3B11FNUZ, 0x80, nan}, {F8E4M3B11FNUZ, 0x7f, 30}, {F8E4M3B11FNUZ, 0x58, 1}, {F8E4M3B11FNUZ, 0x01, math.Pow(2, -13)},
		{F8E3M4, 0x30, 1}, {F8E3M4, 0x01, 1.0 / 64}, {F8E3M4, 0x6f, 15.5}, {F8E3M4, 0x70, inf}, {F8E3M4, 0x71, nan},
		{F8E8M0, 0x7f, 1}, {F8E8M0, 0x00, math.Pow(2, -127)}, {F8E8M0, 0xfe, math.Pow(2, 127)}, {F8E8M0, 0xff, nan},
	} {
		for _, to := range castTargets {
			checkCast(t, tt.from, to.dtype, tt.code, tt.value, to.exponent, to.mantissa)
		}
	}
}

// edges returns values at, beside and halfway between the codes of every target type.
func edges(rng *rand.Rand) float64 {
	mantissa := []int{7, 10, 23}[rng.IntN(3)]
	x := math.Ldexp(float64(rng.Int64N(1<<(mantissa+2))), rng.IntN(320)-170)
	switch rng.IntN(4) {
	case 0:
		x = math.Nextafter(x, math.Inf(1))
	case 1:
		x = math.Nextafter(x, 0)
	}
	if rng.IntN(2) == 0 {
		x = -x
	}
	return x
}

func TestCastRandomFloat32And64(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	special := []uint32{0, 1 << 31, 1, 0x007fffff, 0x00800000, 0x33000000, 0x33000001, 0x33800000, 0x387fe000, 0x387ff000, 0x387fffff, 0x38800000,
		0x477fe000, 0x477fefff, 0x477ff000, 0x47800000, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffffffff, 0x7fa00000}
	for round := range 100_000 {
		u := rng.Uint32()
		if round < len(special) {
			u = special[round]
		} else if round%2 == 0 {
			u = math.Float32bits(float32(edges(rng)))
		}
		for _, to := range castTargets {
			checkCast(t, F32, to.dtype, uint64(u), float64(math.Float32frombits(u)), to.exponent, to.mantissa)
		}
		if round%4 == 0 {
			x := math.Float64frombits(rng.Uint64())
			if round%8 == 0 {
				x = edges(rng)
			}
			for _, to := range castTargets {
				checkCast(t, F64, to.dtype, math.Float64bits(x), x, to.exponent, to.mantissa)
			}
		}
	}
}

func TestCastFloat64AtTheEdges(t *testing.T) {
	for _, edge := range []float64{65504, 65520, 65536, math.Ldexp(1, -24), math.Ldexp(1, -25), math.Ldexp(1, -14),
		math.MaxFloat32, math.MaxFloat32 + math.Ldexp(1, 103), math.Ldexp(1, 128), math.Ldexp(1, -149), math.Ldexp(1, -150),
		math.Ldexp(0x1.fep0, 127), math.Ldexp(0x1.ffp0, 127), math.Ldexp(1, -133), math.Ldexp(1, -134), math.SmallestNonzeroFloat64} {
		for _, x := range []float64{math.Nextafter(edge, 0), edge, math.Nextafter(edge, math.Inf(1))} {
			for _, to := range castTargets {
				checkCast(t, F64, to.dtype, math.Float64bits(x), x, to.exponent, to.mantissa)
				checkCast(t, F64, to.dtype, math.Float64bits(-x), -x, to.exponent, to.mantissa)
			}
		}
	}
}

func TestCastKeepsPayloadOfNaN(t *testing.T) {
	for _, tt := range []struct {
		from, to   DType
		code, want uint64
	}{
		{F32, F16, 0x7f800001, 0x7e00}, {F32, F16, 0xff812345, 0xfe09}, {F32, BF16, 0x7fa00000, 0x7fe0}, {F32, BF16, 0xff800001, 0xffc0},
		{F16, F32, 0x7c01, 0x7fc02000}, {F16, F32, 0xfd55, 0xffeaa000}, {BF16, F32, 0x7f81, 0x7fc10000}, {F8E4M3, F32, 0x7f, 0x7ff00000},
		{F64, F32, 0x7ff0000000000001, 0x7fc00000}, {F64, F16, 0xfff4000000000000, 0xff00}, {F16, BF16, 0x7d00, 0x7fe0},
	} {
		cast, err := NewCast(tt.from, tt.to)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, tt.to.Size())
		if over := cast(dst, encode(tt.from, tt.code)); over != 0 || uint64(decodeResult(dst)) != tt.want {
			t.Errorf("%s %#x to %s: %#x, %d overflows; want %#x", tt.from, tt.code, tt.to, decodeResult(dst), over, tt.want)
		}
	}
}

func TestCastCountsAndLeavesNothingOut(t *testing.T) {
	src := make([]byte, 0, 4*1000)
	for i := range 1000 {
		src = binary.LittleEndian.AppendUint32(src, math.Float32bits(float32(i)*100))
	}
	cast, _ := NewCast(F32, F16)
	dst := make([]byte, 2*1000)
	if over := cast(dst, src); over != 1000-656 { // 65520 and more
		t.Errorf("%d overflows", over)
	}
	if got := binary.LittleEndian.Uint16(dst[2*10:]); got != 0x63d0 { // 1000
		t.Errorf("element 10 is %#x", got)
	}
}

// Many elements at once become what each becomes alone.
func TestCastOfMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	for _, from := range []DType{F64, F32, F16, BF16, F8E4M3} {
		for _, to := range castTargets {
			cast, err := NewCast(from, to.dtype)
			if err != nil {
				t.Fatal(err)
			}
			for n := range 40 {
				var src, want []byte
				var wantOver int64
				for range n {
					e := encode(from, rng.Uint64())
					if from == F32 && rng.IntN(4) > 0 {
						u := []uint32{0x3f800000, 0x7f7f7ffe, 0x7f7ffffe, 0x7f7ffffe}[n%4] // 1, overflow in bfloat16, infinity
						e = encode(F32, uint64(u+rng.Uint32N(4)|rng.Uint32N(2)<<31))
					}
					src = append(src, e...)
					one := make([]byte, to.dtype.Size())
					wantOver += cast(one, e)
					want = append(want, one...)
				}
				dst := make([]byte, len(want))
				if over := cast(dst, src); over != wantOver || !bytes.Equal(dst, want) {
					t.Fatalf("%d of %s to %s: %x, %d overflows; want %x, %d", n, from, to.dtype, dst, over, want, wantOver)
				}
			}
		}
	}
}

func TestCastRefusesWhatIsNoFloat(t *testing.T) {
	for _, pair := range [][2]DType{{I32, F32}, {F32, I32}, {F32, F64}, {Bool, F16}, {C64, F32}, {F32, F8E4M3}, {F4, F32}} {
		if _, err := NewCast(pair[0], pair[1]); err == nil {
			t.Errorf("%s to %s was accepted", pair[0], pair[1])
		}
	}
}

func BenchmarkCast(b *testing.B) {
	for _, pair := range [][2]DType{{F32, BF16}, {F32, F16}, {BF16, F32}, {F16, BF16}, {BF16, F16}, {F64, F32}} {
		b.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(b *testing.B) {
			const n = 1 << 16
			cast, _ := NewCast(pair[0], pair[1])
			src := make([]byte, n*pair[0].Size())
			rng := rand.New(rand.NewPCG(1, 2))
			one, _ := NewCast(F32, pair[0])
			for i := range n {
				x := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(rng.NormFloat64())))
				if one != nil {
					one(src[i*int(pair[0].Size()):][:pair[0].Size()], x)
				}
			}
			dst := make([]byte, n*pair[1].Size())
			b.SetBytes(n * pair[0].Size())
			for b.Loop() {
				cast(dst, src)
			}
		})
	}
}
