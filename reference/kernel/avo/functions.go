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

// generateFunctions writes exp and tanh of float32, computed in float64.
func generateFunctions() {
	for _, set := range isas {
		f := &functions{set: set, constants: map[uint64]reg.VecVirtual{}}
		f.write("exp", f.exp, log2e, ln2, roundToInt, expLow, expHigh, 1)
		f.write("tanh", f.tanh, log2e, ln2, roundToInt, tanhHigh, 1, 2)
	}
}

// functions writes functions of vectors of float64.
type functions struct {
	set       *isa
	constants map[uint64]reg.VecVirtual
	terms     operand.Mem // the coefficients, each as many times as a vector has elements
}

// write writes a function of slices of float32 whose length is a multiple of half a vector's.
func (f *functions) write(name string, compute func(x reg.VecVirtual) reg.VecVirtual, constants ...float64) {
	lanes := f.set.bytes / 8
	f.terms = GLOBL(name+"Terms"+f.set.name, RODATA|NOPTR)
	for i, c := range expm1Terms {
		for lane := range lanes {
			DATA(8*(i*lanes+lane), operand.U64(math.Float64bits(c)))
		}
	}
	TEXT(name+f.set.name, NOSPLIT, "func(dst, src *float32, n int)")
	Pragma("noescape")
	Doc(name + f.set.name + " sets n elements, a multiple of " + []string{"4", "8"}[lanes/8] + ".")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	clear(f.constants)
	for _, c := range constants {
		f.constant(c)
	}
	f.bits(1 << 63)
	Label("elements")
	narrow, x := f.half(), f.set.newV()
	VMOVUPS(at(src, 0), narrow)
	VCVTPS2PD(narrow, x)
	y := compute(x)
	if f.set == avx512 {
		VCVTPD2PS(y, narrow)
	} else {
		VCVTPD2PSY(y, narrow)
	}
	VMOVUPS(narrow, at(dst, 0))
	ADDQ(operand.U8(4*lanes), src)
	ADDQ(operand.U8(4*lanes), dst)
	SUBQ(operand.U8(lanes), n)
	JNE(operand.LabelRef("elements"))
	VZEROUPPER()
	RET()
}

// half returns a register for as many float32 as a vector has float64.
func (f *functions) half() reg.VecVirtual {
	if f.set == avx512 {
		return YMM()
	}
	return XMM()
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
