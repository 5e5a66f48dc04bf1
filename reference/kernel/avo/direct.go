package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// directOutputs is how many outputs are computed together where a few rows of x are multiplied by
// weights that are not packed. Their sums are independent, and hide each other's latency.
const directOutputs = 32

// generateDirect writes the products of a few rows of x: weights are transposed in registers, or
// need not be, and multiplied there. They are bounded by the rate at which memory is read.
func generateDirect() {
	for _, set := range isas {
		for _, s := range sources {
			highest := 1
			if set == avx512 && s.pair {
				highest = 4
			}
			for rows := 1; rows <= highest; rows++ {
				directOutIn(set, s, rows)
				directInOut(set, s, rows)
			}
		}
	}
}

// sums are the sums of some outputs, in memory [rows][outputs] with rows stride apart.
type sums struct {
	set    *isa
	stride reg.Register
	v      [][]reg.VecVirtual // [row][vector of outputs]
}

func newSums(set *isa, rows int, stride reg.Register) *sums {
	s := &sums{set: set, stride: stride, v: make([][]reg.VecVirtual, rows)}
	for r := range s.v {
		for range directOutputs * 4 / set.bytes {
			s.v[r] = append(s.v[r], set.newV())
		}
	}
	return s
}

func (s *sums) each(y reg.Register, f func(m operand.Mem, v reg.VecVirtual)) {
	row := GP64()
	MOVQ(y, row)
	for r := range s.v {
		for g, v := range s.v[r] {
			f(at(row, g*s.set.bytes), v)
		}
		if r < len(s.v)-1 {
			ADDQ(s.stride, row)
		}
	}
}

func (s *sums) load(y reg.Register) {
	s.each(y, func(m operand.Mem, v reg.VecVirtual) { VMOVUPS(m, v) })
}

func (s *sums) store(y reg.Register) {
	s.each(y, func(m operand.Mem, v reg.VecVirtual) { VMOVUPS(v, m) })
}

// fetcher walks over cache lines that are needed later: run lines, then those that lie jump bytes
// further on, and so forth. AMD's processors forget fetches that come too fast one after another, and
// the weights are waited for; two multiplications by 1 in the chain of addresses pace them.
type fetcher struct {
	line, run, jump, left, one reg.Register
	labels                     int
}

func newFetcher(line, run, jump reg.Register) *fetcher {
	f := &fetcher{line: line, run: run, jump: jump, left: GP64(), one: GP64()}
	MOVQ(run, f.left)
	MOVQ(operand.U32(1), f.one)
	return f
}

func (f *fetcher) next() {
	PREFETCHT0(at(f.line, 0))
	IMULQ(f.one, f.line)
	IMULQ(f.one, f.line)
	ADDQ(operand.U8(64), f.line)
	DECQ(f.left)
	label := fmt.Sprintf("line%d", f.labels)
	f.labels++
	JNE(operand.LabelRef(label))
	ADDQ(f.jump, f.line)
	MOVQ(f.run, f.left)
	Label(label)
}

const directArguments = "y *float32, ldy int, x *float32, src *byte, stride, k, outs int, next *byte, run, jump int"

// directOutIn writes a function for weights [out, in].
func directOutIn(set *isa, s source, rows int) {
	lanes, steps := set.bytes/4, s.terms(set)
	name := fmt.Sprintf("directOutIn%sx%d%s", s.name, rows, set.name)
	TEXT(name, NOSPLIT, "func("+directArguments+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies k terms, a multiple of %d, of %d rows of x by %d outputs; see type direct.", name, steps, rows, directOutputs))
	y, ldy := Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	x, src := Load(Param("x"), GP64()), Load(Param("src"), GP64())
	stride, k := Load(Param("stride"), GP64()), Load(Param("k"), GP64())
	f := newFetcher(Load(Param("next"), GP64()), Load(Param("run"), GP64()), Load(Param("jump"), GP64()))
	SHLQ(operand.U8(2), ldy)
	stride3 := GP64()
	LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	upper := set.newV()
	if s.pair {
		onesAbove(upper)
	}
	total := newSums(set, rows, ldy)
	total.load(y)

	Label("terms")
	row := GP64()
	MOVQ(src, row)
	for g := range total.v[0] {
		var w []reg.VecVirtual
		for r := 0; r < lanes; r += 4 {
			if g+r > 0 {
				LEAQ(operand.Mem{Base: row, Index: stride, Scale: 4}, row)
			}
			for i := range 4 {
				v := set.newV()
				s.loadRaw(fourRows(row, stride, stride3, i), v)
				w = append(w, v)
			}
		}
		multiply := func(term int, v reg.VecVirtual) {
			for r := range rows {
				multiplyByScalar(set, at(x, 4*(term*rows+r)), v, total.v[r][g])
			}
		}
		bytes := 0 // of the weights used that have not been replaced by fetched ones
		for i, v := range transpose(set, w) {
			if s.pair {
				first := set.newV()
				VPSLLD(operand.U8(16), v, first)
				multiply(2*i, first)
				and(upper, v)
				multiply(2*i+1, v)
			} else {
				multiply(i, v)
			}
			for bytes += steps * s.size * lanes / len(w); bytes >= 64; bytes -= 64 {
				f.next()
			}
		}
	}
	ADDQ(operand.U32(4*steps*rows), x)
	ADDQ(operand.U8(steps*s.size), src)
	SUBQ(operand.U8(steps), k)
	JNE(operand.LabelRef("terms"))
	total.store(y)
	VZEROUPPER()
	RET()
}

// multiplyByScalar adds v times the number at m to sum.
func multiplyByScalar(set *isa, m operand.Mem, v, sum reg.VecVirtual) {
	if set == avx512 {
		VFMADD231PS_BCST(m, v, sum)
		return
	}
	x := set.newV()
	VBROADCASTSS(m, x)
	VFMADD231PS(x, v, sum)
}

// directInOut writes a function for weights [in, out]. It goes along k rows of them at the same time.
func directInOut(set *isa, s source, rows int) {
	name := fmt.Sprintf("directInOut%sx%d%s", s.name, rows, set.name)
	TEXT(name, NOSPLIT, "func("+directArguments+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies k terms of %d rows of x by outs outputs, a multiple of %d; see type direct.", name, rows, directOutputs))
	y, ldy := Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	x, src := Load(Param("x"), GP64()), Load(Param("src"), GP64())
	stride, k, outs := Load(Param("stride"), GP64()), Load(Param("k"), GP64()), Load(Param("outs"), GP64())
	f := newFetcher(Load(Param("next"), GP64()), Load(Param("run"), GP64()), Load(Param("jump"), GP64()))
	SHLQ(operand.U8(2), ldy)
	total := newSums(set, rows, ldy)

	Label("outputs")
	total.load(y)
	row, term, left := GP64(), GP64(), GP64()
	MOVQ(src, row)
	MOVQ(x, term)
	MOVQ(k, left)
	Label("terms")
	var scalars []reg.VecVirtual
	for r := range rows {
		v := set.newV()
		VBROADCASTSS(at(term, 4*r), v)
		scalars = append(scalars, v)
	}
	for g := range total.v[0] {
		w := set.newV()
		s.load(at(row, g*set.bytes/4*s.size), w)
		for r, v := range scalars {
			VFMADD231PS(w, v, total.v[r][g])
		}
	}
	for range directOutputs * s.size / 64 {
		f.next()
	}
	ADDQ(stride, row)
	ADDQ(operand.U8(4*rows), term)
	DECQ(left)
	JNE(operand.LabelRef("terms"))
	total.store(y)
	ADDQ(operand.U32(directOutputs*4), y)
	ADDQ(operand.U32(directOutputs*s.size), src)
	SUBQ(operand.U8(directOutputs), outs)
	JNE(operand.LabelRef("outputs"))
	VZEROUPPER()
	RET()
}
