package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The constants of functions.go in package kernel, which explains them.
const (
	log2e           = 0x1.71547652b82fep0
	ln2             = 0x1.62e42fefa39efp-1
	roundToInt      = 0x1.8p52
	expLow, expHigh = -105, 89
	tanhHigh        = 20
)

var expm1Terms = [8]float64{
	0x1.fffffffffe062p-2, 0x1.5555555554f96p-3, 0x1.55555565c7e0ep-5, 0x1.111111170bc08p-7,
	0x1.6c166bde96885p-10, 0x1.a019c36bc053cp-13, 0x1.a136bf03ec612p-16, 0x1.72ad458027fbcp-19,
}

// generateFunctions writes functions of float32 of which a step is computed in float64, and sums in float32.
func generateFunctions() {
	for _, set := range isas {
		f := newFunctions(set)
		exp, tanh := []float64{log2e, ln2, roundToInt, expLow, expHigh, 1}, []float64{log2e, ln2, roundToInt, tanhHigh, 1, 2}
		f.write("exp", []string{"src"}, "", exp, func(x []reg.VecVirtual) reg.VecVirtual { return f.wide(x[0], f.exp) })
		f.write("tanh", []string{"src"}, "", tanh, func(x []reg.VecVirtual) reg.VecVirtual { return f.wide(x[0], f.tanh) })
		f.write("sigmoid", []string{"src"}, "", exp, f.sigmoid)
		f.write("softCap", []string{"src"}, "bound", tanh, f.softCap)
		f.write("multiplyByGELU", []string{"src", "dst"}, "", tanh, f.multiplyByGELU)
		(&elementwise{set: set, masks: f.masks, name: "add", inputs: []string{"dst", "src"}, lanes: set.bytes / 4, vector: set.newV,
			compute: func(x []reg.VecVirtual) reg.VecVirtual { return f.add(x[1], x[0]) }}).write()
		(&elementwise{set: set, masks: f.masks, name: "addProduct", inputs: []string{"dst", "a", "b"}, lanes: set.bytes / 4, vector: set.newV,
			compute: func(x []reg.VecVirtual) reg.VecVirtual { return f.add(f.multiply(x[2], x[1]), x[0]) }}).write()
	}
}

// functions writes functions of vectors of float32 and, half as many, of float64.
type functions struct {
	set       *isa
	constants map[uint64]reg.VecVirtual // of float64
	terms     operand.Mem               // the coefficients, each as many times as a vector has elements
	singles   map[float32]operand.Mem   // of float32, likewise
	masks     operand.Mem
}

// newFunctions writes the tables of constants.
func newFunctions(set *isa) *functions {
	f := &functions{set: set, masks: masks(set), singles: map[float32]operand.Mem{}}
	f.terms = GLOBL("terms"+set.name, RODATA|NOPTR)
	lanes := set.bytes / 8
	for i, c := range expm1Terms {
		for lane := range lanes {
			DATA(8*(i*lanes+lane), operand.U64(math.Float64bits(c)))
		}
	}
	table := GLOBL("singles"+set.name, RODATA|NOPTR)
	for i, c := range []float32{-1, 0.5, 1, cubic, scale} {
		f.singles[c] = table.Offset(i * set.bytes)
		for lane := range 2 * lanes {
			DATA(i*set.bytes+4*lane, operand.U32(math.Float32bits(c)))
		}
	}
	return f
}

// write writes a function of slices of float32, which needs some constants in float64.
func (f *functions) write(name string, inputs []string, number string, constants []float64, compute func(x []reg.VecVirtual) reg.VecVirtual) {
	prepare := func() {
		f.constants = map[uint64]reg.VecVirtual{}
		for _, c := range constants {
			f.constant(c)
		}
		f.bits(1 << 63)
	}
	(&elementwise{set: f.set, masks: f.masks, name: name, inputs: inputs, number: number, lanes: int(f.single().Size()) / 4, vector: f.single, prepare: prepare, compute: compute}).write()
}

// single returns a register for the elements of float32 that are computed at a time: two vectors of float64 with AVX-512, one
// with AVX2, which has half as many registers.
func (f *functions) single() reg.VecVirtual {
	if f.set == avx512 {
		return ZMM()
	}
	return XMM()
}

// wide returns what compute, a function in float64, makes of elements of float32.
func (f *functions) wide(x reg.VecVirtual, compute func(reg.VecVirtual) reg.VecVirtual) reg.VecVirtual {
	in, out := f.set.newV(), f.single()
	if f.set == avx2 {
		VCVTPS2PD(x, in)
		VCVTPD2PSY(compute(in), out)
		return out
	}
	high := YMM()
	VCVTPS2PD(x.AsY(), in)
	VCVTPD2PS(compute(in), out.AsY())
	VEXTRACTF64X4(operand.U8(1), x, high)
	in = f.set.newV()
	VCVTPS2PD(high, in)
	VCVTPD2PS(compute(in), high)
	VINSERTF64X4(operand.U8(1), high, out, out)
	return out
}

// Operations of float32: the first operand may lie in memory.

func (f *functions) add(x operand.Op, y reg.VecVirtual) reg.VecVirtual {
	VADDPS(x, y, y)
	return y
}

func (f *functions) multiply(x operand.Op, y reg.VecVirtual) reg.VecVirtual {
	VMULPS(x, y, y)
	return y
}

// sigmoid returns 1 / (1 + e⁻ˣ).
func (f *functions) sigmoid(x []reg.VecVirtual) reg.VecVirtual {
	power := f.add(f.singles[1], f.wide(f.multiply(f.singles[-1], x[0]), f.exp))
	one := f.single()
	VMOVUPS(f.singles[1], one)
	VDIVPS(power, one, one)
	return one
}

// softCap returns bound·tanh(x/bound).
func (f *functions) softCap(x []reg.VecVirtual) reg.VecVirtual {
	VDIVPS(x[1], x[0], x[0])
	return f.multiply(x[1], f.wide(x[0], f.tanh))
}

// The constants of GELU, rounded to float32.
var (
	cubic = float32(0.044715)
	scale = float32(math.Sqrt(2 / math.Pi))
)

// multiplyByGELU returns y·(x·((1 + tanh(scale·(x + cubic·x³)))/2)).
func (f *functions) multiplyByGELU(x []reg.VecVirtual) reg.VecVirtual {
	in := f.single()
	VMULPS(x[0], x[0], in)
	f.multiply(f.singles[cubic], f.multiply(x[0], in))
	f.multiply(f.singles[scale], f.add(x[0], in))
	half := f.multiply(f.singles[0.5], f.add(f.singles[1], f.wide(in, f.tanh)))
	return f.multiply(f.multiply(x[0], half), x[1])
}

// constant returns a vector of a constant, which is loaded when it is first asked for.
func (f *functions) constant(c float64) reg.VecVirtual { return f.bits(math.Float64bits(c)) }

func (f *functions) bits(b uint64) reg.VecVirtual {
	if v, ok := f.constants[b]; ok {
		return v
	}
	word, low, v := GP64(), XMM(), f.set.newV()
	MOVQ(operand.U64(b), word)
	VMOVQ(word, low)
	VPBROADCASTQ(low, v)
	f.constants[b] = v
	return v
}

// expm1Reduced returns e^r − 1 and n in the last 12 bits.
func (f *functions) expm1Reduced(x reg.VecVirtual) (expm1, n reg.VecVirtual) {
	whole, r, q := f.set.newV(), f.set.newV(), f.set.newV()
	VMOVAPD(f.constant(roundToInt), whole)
	VFMADD231PD(f.constant(log2e), x, whole)
	VSUBPD(whole, f.constant(roundToInt), r)
	VFMADD213PD(x, f.constant(ln2), r)
	VMOVUPD(f.terms.Offset(7*f.set.bytes), q)
	for i := 6; i >= 0; i-- {
		VFMADD213PD(f.terms.Offset(i*f.set.bytes), r, q)
	}
	square := f.set.newV()
	VMULPD(r, r, square)
	VFMADD231PD(square, q, r)
	return r, whole
}

// power adds n to the exponent of v.
func (f *functions) power(n, v, to reg.VecVirtual) {
	VPSLLQ(operand.U8(52), n, to)
	VPADDQ(v, to, to)
}

// exp returns eˣ.
func (f *functions) exp(x reg.VecVirtual) reg.VecVirtual {
	// Of a NaN and a number, minimum and maximum are the operand that Go's assembler writes first.
	VMAXPD(x, f.constant(expLow), x)
	VMINPD(x, f.constant(expHigh), x)
	expm1, n := f.expm1Reduced(x)
	y := f.set.newV()
	VADDPD(f.constant(1), expm1, expm1)
	f.power(n, expm1, y)
	return y
}

// tanh returns the hyperbolic tangent.
func (f *functions) tanh(x reg.VecVirtual) reg.VecVirtual {
	sign, double := f.set.newV(), f.set.newV()
	f.and(f.bits(1<<63), x, sign)
	f.xor(sign, x, double)
	VADDPD(double, double, double)
	VMINPD(double, f.constant(tanhHigh), double)
	expm1, n := f.expm1Reduced(double)
	power, less := f.set.newV(), f.set.newV()
	f.power(n, f.constant(1), power)
	VSUBPD(f.constant(1), power, less)
	VFMADD231PD(power, expm1, less)
	more := f.set.newV()
	VADDPD(f.constant(2), less, more)
	VDIVPD(more, less, less)
	f.xor(sign, less, less)
	return less
}

func (f *functions) and(a, b, to reg.VecVirtual) {
	if f.set == avx512 {
		VPANDQ(a, b, to)
	} else {
		VPAND(a, b, to)
	}
}

func (f *functions) xor(a, b, to reg.VecVirtual) {
	if f.set == avx512 {
		VPXORQ(a, b, to)
	} else {
		VPXOR(a, b, to)
	}
}

// generatePause writes a function that waits for as long as the processor finds good in a loop that waits.
func generatePause() {
	TEXT("pause", NOSPLIT, "func()")
	Doc("pause executes PAUSE.")
	PAUSE()
	RET()
}
