package tensor

import (
	"encoding/binary"
	"math"
)

// Divide is a Cast that divides each element first. The quotient is rounded once, to the new type.
// Divide returns how many finite elements became infinite and how many are inexact, which NewDivide
// defines.
type Divide func(dst, src []byte) (overflowed, inexact int64)

// NewDivide returns the division of elements of one type with the result in another or the same type.
// The types are those of NewCast. The divisor is a positive number that float32 holds exactly. Anything
// else is a *FormatError.
//
// An element x becomes q, the number of the new type nearest to x/divisor. It is inexact if q times
// divisor, rounded to the new type, differs from x rounded to the new type, since a model that
// multiplies by the divisor in that type then computes with another number than x.
func NewDivide(from, to DType, divisor float64) (Divide, error) {
	target, ok := roundTargets[to]
	source, known := floats[from]
	if !ok || !known {
		return nil, Bad("%s cannot be divided into %s", from, to)
	}
	if !(divisor > 0) || math.IsInf(divisor, 0) || float64(float32(divisor)) != divisor {
		return nil, Bad("elements cannot be divided by %v", divisor)
	}
	d := division{target, divisor}
	switch {
	case from == F32 && to == F32:
		return divideF32(float32(divisor)), nil
	case from.Size() < 4:
		return d.byTable(source, from.Bits(), to.Size()), nil
	}
	return func(dst, src []byte) (overflowed, inexact int64) {
		for ; len(src) > 0; src = src[from.Size():] {
			x := 0.0
			if from == F32 {
				x = float64FromF32(binary.LittleEndian.Uint32(src))
			} else {
				x = math.Float64frombits(binary.LittleEndian.Uint64(src))
			}
			code, over, lost := d.one(x)
			dst = putCode(dst, code, target)
			overflowed, inexact = overflowed+over, inexact+lost
		}
		return overflowed, inexact
	}, nil
}

// division divides single numbers.
type division struct {
	target floatFormat
	by     float64
}

// one returns the code of x divided, 1 if it overflowed, and 1 if it is inexact.
//
// The quotient is first rounded to float64, which does not change the result: let m be halfway between
// two numbers of the target. m times the divisor is a float64 (25 + 24 bits). If x differs from that
// product, it differs by at least its own last bit, so that x/divisor differs from m by more than half
// of m's last bit and is not rounded to m.
func (d division) one(x float64) (code uint32, overflowed, inexact int64) {
	quotient := x / d.by
	if math.IsNaN(x) {
		quotient = x // keeps its payload
	}
	code, _ = d.target.round(quotient)
	if math.IsInf(d.target.value(code), 0) && !math.IsInf(x, 0) {
		overflowed = 1
	}
	back, _ := d.target.round(d.target.value(code) * d.by) // exact before it is rounded
	if whole, _ := d.target.round(x); back != whole && !math.IsNaN(x) {
		inexact = 1
	}
	return code, overflowed, inexact
}

// value decodes a code of any of roundTargets.
func (f floatFormat) value(code uint32) float64 {
	if f.mantissa == 23 {
		return float64FromF32(code)
	}
	return f.decode(code)
}

// divideF32 divides in float32, which rounds once.
func divideF32(by float32) Divide {
	return func(dst, src []byte) (overflowed, inexact int64) {
		for len(src) >= 4 && len(dst) >= 4 {
			u := binary.LittleEndian.Uint32(src)
			x := math.Float32frombits(u)
			q := x / by
			code := math.Float32bits(q)
			switch magnitude := u & f32Magnitude; {
			case magnitude > f32Infinity:
				code = u | 0x400000
			case q*by != x:
				inexact++
				if code&f32Magnitude == f32Infinity {
					overflowed++
				}
			}
			binary.LittleEndian.PutUint32(dst, code)
			src, dst = src[4:], dst[4:]
		}
		return overflowed, inexact
	}
}

// byTable divides elements of 8 or 16 bits with a table of all quotients.
func (d division) byTable(source floatFormat, bits int, narrow int64) Divide {
	type entry struct {
		code                uint32
		overflowed, inexact uint8
	}
	table := make([]entry, 1<<bits)
	for old := range table {
		code, over, lost := d.one(source.decode(uint32(old)))
		table[old] = entry{code, uint8(over), uint8(lost)}
	}
	return func(dst, src []byte) (overflowed, inexact int64) {
		for wide := bits / 8; len(src) >= wide; src = src[wide:] {
			old := uint16(src[0])
			if wide == 2 {
				old = binary.LittleEndian.Uint16(src)
			}
			e := &table[old]
			dst = putCode(dst, e.code, d.target)
			overflowed, inexact = overflowed+int64(e.overflowed), inexact+int64(e.inexact)
		}
		return overflowed, inexact
	}
}
