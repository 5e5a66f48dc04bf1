package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// wantDivided checks a quotient by its definition: no value of the target is nearer to x/d, and of two
// as near it has the even code. All is exact, in fractions; infinity stands at the next power of two.
func wantDivided(x, d float64, code uint32, exponent, mantissa int) error {
	sign, infinity := uint32(1)<<(exponent+mantissa), uint32(1<<exponent-1)<<mantissa
	magnitude := code &^ sign
	if (code&sign != 0) != math.Signbit(x) {
		return fmt.Errorf("%g lost its sign: %x", x, code)
	}
	value := func(c uint32) *big.Rat {
		e, m := int(c>>mantissa), int64(c&(1<<mantissa-1))
		if e == 0 {
			e = 1
		} else {
			m += 1 << mantissa
		}
		r := new(big.Rat).SetInt64(m)
		power := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 400))
		r.Quo(r, power)
		power.SetInt(new(big.Int).Lsh(big.NewInt(1), uint(400+e-(1<<(exponent-1)-1)-mantissa)))
		return r.Mul(r, power)
	}
	quotient := new(big.Rat).SetFloat64(math.Abs(x))
	quotient.Quo(quotient, new(big.Rat).SetFloat64(d))
	distance := func(c uint32) *big.Rat {
		r := new(big.Rat).Sub(quotient, value(c))
		return r.Abs(r)
	}
	mine := distance(magnitude)
	for _, other := range []int64{int64(magnitude) - 1, int64(magnitude) + 1} {
		if other < 0 || uint32(other) > infinity {
			continue
		}
		if c := mine.Cmp(distance(uint32(other))); c > 0 || c == 0 && magnitude&1 == 1 {
			return fmt.Errorf("%g / %g became %x, and %x is better", x, d, code, other)
		}
	}
	return nil
}

// TestDivide takes random numbers and such whose quotients lie halfway or next to it.
func TestDivide(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	divisors := []float64{64, 50.5, 13.875, 1, 0.3125, float64(float32(math.Sqrt(2560))), float64(float32(1e-20)), 3}
	for _, from := range []DType{F64, F32, BF16, F16} {
		for _, to := range castTargets {
			divides := map[float64]Divide{}
			for round := range 4000 {
				by := divisors[round*len(divisors)/4000]
				if divides[by] == nil {
					var err error
					if divides[by], err = NewDivide(from, to.dtype, by); err != nil {
						t.Fatal(err)
					}
				}
				code := rng.Uint64()
				if round%2 == 0 && from.Size() > 2 { // near halfway between two numbers of the target
					half := uint64(rng.Uint32()) >> 1 &^ (1<<(23-to.mantissa) - 1)
					near := float64(math.Float32frombits(uint32(half)))
					near = (near + math.Ldexp(1, math.Ilogb(near)-to.mantissa-1)) * by
					code = math.Float64bits(near) + rng.Uint64N(3) - 1
					if from == F32 {
						code = uint64(math.Float32bits(float32(near))) + rng.Uint64N(3) - 1
					}
				}
				checkDivide(t, divides[by], from, to.dtype, code, by, to.exponent, to.mantissa)
			}
		}
	}
}

func checkDivide(t *testing.T, divide Divide, from, to DType, code uint64, by float64, exponent, mantissa int) {
	t.Helper()
	src := encode(from, code)
	x := map[DType]func() float64{
		F64:  func() float64 { return math.Float64frombits(code) },
		F32:  func() float64 { return float64(math.Float32frombits(uint32(code))) },
		BF16: func() float64 { return floats[BF16].decode(uint32(code & 0xffff)) },
		F16:  func() float64 { return floats[F16].decode(uint32(code & 0xffff)) },
	}[from]()
	dst := make([]byte, to.Size())
	over, inexact := divide(dst, src)
	got := decodeResult(dst)
	value := roundTargets[to].value(got)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		if math.IsNaN(x) != math.IsNaN(value) || math.IsInf(x, 0) && value != x || over+inexact != 0 {
			t.Fatalf("%s %g to %s: %g", from, x, to, value)
		}
		return
	}
	if err := wantDivided(x, by, got, exponent, mantissa); err != nil {
		t.Fatalf("%s to %s: %v", from, to, err)
	}
	if infinite := math.IsInf(value, 0); (over == 1) != infinite {
		t.Fatalf("%s %g / %g to %s: counted %d overflows", from, x, by, to, over)
	}
	// What a model in that type computes, and what it should have.
	back, whole := make([]byte, to.Size()), make([]byte, to.Size())
	castTo(t, F64, to, back, encode(F64, math.Float64bits(value*by)))
	castTo(t, F64, to, whole, encode(F64, math.Float64bits(x)))
	if lost := string(back) != string(whole); (inexact == 1) != lost {
		t.Fatalf("%s %g / %g to %s: %x times the divisor is %x, wanted %x, counted %d", from, x, by, to, got, back, whole, inexact)
	}
}

func castTo(t *testing.T, from, to DType, dst, src []byte) {
	t.Helper()
	cast, err := NewCast(from, to)
	if err != nil {
		t.Fatal(err)
	}
	cast(dst, src)
}

// Dividing by a power of two loses nothing but what falls below the smallest numbers.
func TestDivideByPowersOfTwo(t *testing.T) {
	divide, err := NewDivide(BF16, BF16, 64)
	if err != nil {
		t.Fatal(err)
	}
	for code := range uint32(1 << 16) {
		src, dst := make([]byte, 2), make([]byte, 2)
		binary.LittleEndian.PutUint16(src, uint16(code))
		_, inexact := divide(dst, src)
		exponent := code >> 7 & 0xff
		if normal := exponent > 6 || code&0x7fff == 0; normal && inexact != 0 {
			t.Errorf("%#x is not given back", code)
		}
	}
	if _, inexact := divide(make([]byte, 2), []byte{1, 0}); inexact != 1 {
		t.Error("the smallest subnormal, divided by 64, is counted as exact")
	}
}

func TestDivideRefuses(t *testing.T) {
	for _, tt := range []struct {
		from, to DType
		by       float64
	}{{F32, F64, 2}, {I32, F32, 2}, {F32, F32, 0}, {F32, F32, -1}, {F32, F32, math.NaN()}, {F32, F32, math.Inf(1)}, {F32, F32, 0.1}} {
		if _, err := NewDivide(tt.from, tt.to, tt.by); err == nil {
			t.Errorf("%+v was taken", tt)
		}
	}
}
