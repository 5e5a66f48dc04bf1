// Command ceiling generates the loops of package ceiling.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sums is how many independent sums hide the latency of a fused multiply-add.
const sums = 12

func main() {
	ConstraintExpr("amd64,!noasm")
	multiply("multiplyAVX2", YMM)
	multiply("multiplyAVX512", ZMM)
	read("readAVX2", YMM, 32, func(ops ...operand.Op) { VPOR(ops[0], ops[1], ops[2]) })
	read("readAVX512", ZMM, 64, VPORD)
	Generate()
}

func multiply(name string, vector func() reg.VecVirtual) {
	TEXT(name, NOSPLIT, "func(n int)")
	Doc(name + " does 12 independent fused multiply-adds of vectors of float32, n times, in registers.")
	n := Load(Param("n"), GP64())
	var v [sums + 2]reg.VecVirtual
	for i := range v {
		v[i] = vector()
		if v[i].Size() == 64 {
			VPXORD(v[i], v[i], v[i])
		} else {
			VXORPS(v[i], v[i], v[i])
		}
	}
	Label("loop")
	for _, sum := range v[:sums] {
		VFMADD231PS(v[sums], v[sums+1], sum)
	}
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func read(name string, vector func() reg.VecVirtual, size int, or func(...operand.Op)) {
	TEXT(name, NOSPLIT, "func(p *byte, n int)")
	Pragma("noescape")
	Doc(name + " loads n bytes, a multiple of 256, and does nothing with them.")
	p, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	all := vector()
	Label("loop")
	for i := 0; i < 256; i += size {
		or(operand.Mem{Base: p, Disp: i}, all, all)
	}
	PREFETCHT0(operand.Mem{Base: p, Disp: 2048})
	PREFETCHT0(operand.Mem{Base: p, Disp: 2048 + 128})
	ADDQ(operand.U32(256), p)
	SUBQ(operand.U32(256), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
