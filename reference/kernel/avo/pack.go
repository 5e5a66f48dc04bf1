package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// source is a type that weights are stored in.
type source struct {
	name string
	size int
	pair bool // 32 bits of memory hold two terms, which are split after the transposition
	load func(m operand.Mem, v reg.VecVirtual)
	two  func(first, second operand.Mem, v reg.VecVirtual) // see pairSources
}

var sources = []source{
	{"BF16", 2, true, func(m operand.Mem, v reg.VecVirtual) { VPMOVZXWD(m, v); VPSLLD(operand.U8(16), v, v) }, nil},
	{"F16", 2, false, func(m operand.Mem, v reg.VecVirtual) { VCVTPH2PS(m, v) }, nil},
	{"F32", 4, false, func(m operand.Mem, v reg.VecVirtual) { VMOVUPS(m, v) }, nil},
}

// target is what panels hold. Panels of float64 are packed with AVX2 on all processors.
type target struct {
	name, goType string
	sets         []*isa
	store        func(v reg.VecVirtual, m operand.Mem)
}

var targets = []target{
	{"32", "float32", isas, func(v reg.VecVirtual, m operand.Mem) { VMOVUPS(v, m) }},
	{"64", "float64", []*isa{avx2}, storeDoubles},
}

// storeDoubles stores 8 float32 as float64.
func storeDoubles(v reg.VecVirtual, m operand.Mem) {
	high, low, wide := XMM(), YMM(), YMM()
	VEXTRACTF128(operand.U8(1), v, high)
	VCVTPS2PD(v.(reg.VecVirtual).AsX(), low)
	VMOVUPD(low, m)
	VCVTPS2PD(high, wide)
	VMOVUPD(wide, m.Offset(32))
}

// terms returns how many terms of [out, in] are transposed at a time.
func (s source) terms(set *isa) int {
	if s.pair {
		return set.bytes / 2
	}
	return set.bytes / 4
}

// loadRaw loads what is transposed: elements, or pairs of them as they are stored.
func (s source) loadRaw(m operand.Mem, v reg.VecVirtual) {
	if s.pair {
		VMOVUPS(m, v)
	} else {
		s.load(m, v)
	}
}

// fourRows returns the address of row i, 0 to 3, from base on.
func fourRows(base, stride, stride3 reg.Register, i int) operand.Mem {
	m := operand.Mem{Base: base}
	if i > 0 {
		m.Index, m.Scale = []reg.Register{stride, stride, stride3}[i-1], []uint8{1, 2, 1}[i-1]
	}
	return m
}

func generatePacks() {
	for _, t := range targets {
		for _, set := range t.sets {
			for _, s := range sources {
				packOutIn(t, set, s)
				packInOut(t, set, s)
			}
		}
	}
}

// packOutIn writes a function that transposes and widens as many rows of weights as a vector has
// float32.
func packOutIn(t target, set *isa, s source) {
	lanes, steps := set.bytes/4, s.terms(set)
	name := fmt.Sprintf("packOutIn%sto%s%s", s.name, t.name, set.name)
	TEXT(name, NOSPLIT, fmt.Sprintf("func(dst *%s, src *byte, stride, k int)", t.goType))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s packs k terms, a multiple of %d, of %d outputs that are stride bytes apart.", name, steps, lanes))
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	stride, k := Load(Param("stride"), GP64()), Load(Param("k"), GP64())
	stride3 := GP64()
	LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	var bases []reg.Register // of every fourth row
	for r := 0; r < lanes; r += 4 {
		base := GP64()
		if r == 0 {
			MOVQ(src, base)
		} else {
			LEAQ(operand.Mem{Base: bases[len(bases)-1], Index: stride, Scale: 4}, base)
		}
		bases = append(bases, base)
	}
	var upper reg.VecVirtual
	if s.pair {
		upper = set.newV()
		onesAbove(upper)
	}

	Label("terms")
	var x []reg.VecVirtual
	for r := range lanes {
		v := set.newV()
		s.loadRaw(fourRows(bases[r/4], stride, stride3, r%4), v)
		x = append(x, v)
	}
	for i, v := range transpose(set, x) {
		if !s.pair {
			t.store(v, at(dst, i*panelBytes))
			continue
		}
		first := set.newV()
		VPSLLD(operand.U8(16), v, first)
		and(upper, v)
		t.store(first, at(dst, 2*i*panelBytes))
		t.store(v, at(dst, (2*i+1)*panelBytes))
	}
	ADDQ(operand.U32(steps*panelBytes), dst)
	for _, base := range bases {
		ADDQ(operand.U32(steps*s.size), base)
	}
	SUBQ(operand.U8(steps), k)
	JNE(operand.LabelRef("terms"))
	VZEROUPPER()
	RET()
}

// onesAbove sets the upper half of each 32 bits.
func onesAbove(v reg.VecVirtual) {
	if v.Size() == 64 {
		VPTERNLOGD(operand.U8(0xff), v, v, v)
	} else {
		VPCMPEQD(v, v, v)
	}
	VPSLLD(operand.U8(16), v, v)
}

// and clears the bits of v that mask has not.
func and(mask, v reg.VecVirtual) {
	if v.Size() == 64 {
		VPANDD(mask, v, v)
	} else {
		VPAND(mask, v, v)
	}
}

// transpose transposes a square of 32-bit elements.
func transpose(set *isa, x []reg.VecVirtual) []reg.VecVirtual {
	// Within each 128 bits, 4 × 4 elements: x[4g+c] then has element c of each lane's rows 4g to 4g+3.
	for i := 0; i < len(x); i += 2 {
		low, high := set.newV(), set.newV()
		VUNPCKLPS(x[i+1], x[i], low)
		VUNPCKHPS(x[i+1], x[i], high)
		x[i], x[i+1] = low, high
	}
	for i := 0; i < len(x); i += 4 {
		var y [4]reg.VecVirtual
		for c := range y {
			y[c] = set.newV()
			if c%2 == 0 {
				VUNPCKLPD(x[i+2+c/2], x[i+c/2], y[c])
			} else {
				VUNPCKHPD(x[i+2+c/2], x[i+c/2], y[c])
			}
		}
		copy(x[i:], y[:])
	}
	// Then the squares of 4 × 4 change places.
	out := make([]reg.VecVirtual, len(x))
	for c := range 4 {
		if set == avx2 {
			out[c], out[4+c] = YMM(), YMM()
			VPERM2F128(operand.U8(0x20), x[4+c], x[c], out[c])
			VPERM2F128(operand.U8(0x31), x[4+c], x[c], out[4+c])
			continue
		}
		var half [4]reg.VecVirtual // lanes 0 and 2, or 1 and 3, of the first or the last 8 rows
		for i := range half {
			half[i] = ZMM()
			VSHUFF32X4(operand.U8([]uint8{0x88, 0xdd}[i%2]), x[8*(i/2)+4+c], x[8*(i/2)+c], half[i])
		}
		for lane := range 4 {
			out[4*lane+c] = ZMM()
			VSHUFF32X4(operand.U8([]uint8{0x88, 0xdd}[lane/2]), half[2+lane%2], half[lane%2], out[4*lane+c])
		}
	}
	return out
}

// packInOut writes a function that widens the rows of a panel.
func packInOut(t target, set *isa, s source) {
	name := fmt.Sprintf("packInOut%sto%s%s", s.name, t.name, set.name)
	TEXT(name, NOSPLIT, fmt.Sprintf("func(dst *%s, src *byte, stride, k int)", t.goType))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s packs k terms of the outputs of a panel; the terms are stride bytes apart.", name))
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	stride, k := Load(Param("stride"), GP64()), Load(Param("k"), GP64())
	lanes := set.bytes / 4
	outputs := 16
	if t.name == "64" {
		outputs = 8
	}
	Label("terms")
	for i := range outputs / lanes {
		v := set.newV()
		s.loadTerm(src, stride, i*lanes, v)
		t.store(v, at(dst, i*set.bytes))
	}
	ADDQ(operand.U8(panelBytes), dst)
	s.nextTerm(src, stride)
	DECQ(k)
	JNE(operand.LabelRef("terms"))
	VZEROUPPER()
	RET()
}
