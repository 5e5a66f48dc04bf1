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
	steps := s.terms(set)
	aligns := alignsOutIn(set, s)
	name := fmt.Sprintf("directOutIn%sx%d%s", s.name, rows, set.name)
	TEXT(name, NOSPLIT, "func("+directArguments+")")
	Pragma("noescape")
	multiple := fmt.Sprintf(", a multiple of %d,", steps)
	if aligns {
		multiple = ""
	}
	Doc(fmt.Sprintf("%s multiplies k terms%s of %d rows of x by %d outputs; see type direct.", name, multiple, rows, directOutputs))
	x, src := Load(Param("x"), GP64()), Load(Param("src"), GP64())
	stride, k := Load(Param("stride"), GP64()), Load(Param("k"), GP64())
	f := newFetcher(Load(Param("next"), GP64()), Load(Param("run"), GP64()), Load(Param("jump"), GP64()))
	stride3 := GP64()
	LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	upper := set.newV()
	if s.pair {
		onesAbove(upper)
	}
	y, ldy := Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	SHLQ(operand.U8(2), ldy)
	total := newSums(set, rows, ldy)
	total.load(y)
	d := &directLoop{set: set, source: s, rows: rows, x: x, src: src, stride: stride, stride3: stride3, upper: upper, fetcher: f, total: total}
	first := GP64() // terms before the first one
	if aligns {
		d.align(first, k)
	}

	Label("terms")
	if aligns {
		TESTQ(first, first)
		JNE(operand.LabelRef("some"))
		CMPQ(k, operand.U8(steps))
		JLT(operand.LabelRef("some"))
	}
	d.multiply(nil)
	Label("next")
	ADDQ(operand.U32(4*steps*rows), x)
	ADDQ(operand.U32(steps*s.size), src)
	SUBQ(operand.U8(steps), k)
	JGT(operand.LabelRef("terms"))
	y, ldy = Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	SHLQ(operand.U8(2), ldy)
	total.stride = ldy
	total.store(y)
	VZEROUPPER()
	RET()
	if !aligns {
		return
	}
	Label("some")
	mask, last := GP32(), GP64()
	MOVL(operand.U32(0xffffffff), mask)
	SHLXL(first.(reg.GPVirtual).As32(), mask, mask)
	XORQ(first, first)
	MOVQ(operand.U32(uint32(steps)), last)
	CMPQ(k, last)
	CMOVQLT(k, last)
	BZHIL(last.(reg.GPVirtual).As32(), mask, mask)
	d.multiply(mask)
	JMP(operand.LabelRef("next"))
}

// alignsOutIn reports whether a function takes any number of terms and loads whole cache lines, also if rows do not begin with one: a
// load that crosses lines takes twice as long.
func alignsOutIn(set *isa, s source) bool { return set.bytes == 64 && s.name == "BF16" }

// directLoop is what one round of directOutIn works with.
type directLoop struct {
	set                     *isa
	source                  source
	rows                    int
	x, src, stride, stride3 reg.Register
	upper                   reg.VecVirtual
	fetcher                 *fetcher
	total                   *sums
}

// align makes src the start of a cache line, if all rows begin at the same place of one. first becomes the number of terms by which x
// and src come earlier then, and k that much larger.
func (d *directLoop) align(first, k reg.Register) {
	at := GP64()
	XORQ(first, first)
	MOVQ(d.src, at)
	ANDQ(operand.U8(63), at)
	TESTQ(operand.U32(63), d.stride)
	JNE(operand.LabelRef("terms"))
	TESTQ(operand.U32(d.source.size-1), at)
	JNE(operand.LabelRef("terms"))
	SUBQ(at, d.src)
	if d.source.size == 2 {
		ADDQ(at, at) // 4 bytes of x for 2 of the weights
	}
	for range d.rows {
		SUBQ(at, d.x)
	}
	SHRQ(operand.U8(2), at)
	MOVQ(at, first)
	ADDQ(at, k)
}

// multiply multiplies a vector of terms of each output, or those whose bit of mask is set.
func (d *directLoop) multiply(mask reg.Register) {
	set, s, total := d.set, d.source, d.total
	lanes := set.bytes / 4
	row := GP64()
	MOVQ(d.src, row)
	for g := range total.v[0] {
		var w []reg.VecVirtual
		for r := 0; r < lanes; r += 4 {
			if g+r > 0 {
				LEAQ(operand.Mem{Base: row, Index: d.stride, Scale: 4}, row)
			}
			for i := range 4 {
				v := set.newV()
				s.loadRaw(fourRows(row, d.stride, d.stride3, i), v)
				w = append(w, v)
			}
		}
		multiply := func(term int, v reg.VecVirtual) {
			skip := fmt.Sprintf("skip%d_%d", g, term)
			if mask != nil {
				BTL(operand.U8(term), mask)
				JCC(operand.LabelRef(skip))
			}
			for r := range d.rows {
				multiplyByScalar(set, at(d.x, 4*(term*d.rows+r)), v, total.v[r][g])
			}
			if mask != nil {
				Label(skip)
			}
		}
		bytes := 0 // of the weights used that have not been replaced by fetched ones
		for i, v := range transpose(set, w) {
			if s.pair {
				first := set.newV()
				VPSLLD(operand.U8(16), v, first)
				multiply(2*i, first)
				and(d.upper, v)
				multiply(2*i+1, v)
			} else {
				multiply(i, v)
			}
			for bytes += s.terms(set) * s.size * lanes / len(w); bytes >= 64; bytes -= 64 {
				d.fetcher.next()
			}
		}
	}
}

// multiplyByScalar adds v times the number at m to sum.
func multiplyByScalar(set *isa, m operand.Mem, v, sum reg.VecVirtual) {
	if set == avx512 {
		VFMADD231PS_BCST(m, v, sum)
		return
	}
	x := set.newV()
	VBROADCASTSS(m, x)
	set.multiply(x, v, sum)
}

// multiply adds x times y to sum.
func (set *isa) multiply(x, y, sum reg.VecVirtual) {
	if set == bf16 {
		dotPairs(x, y, sum)
	} else {
		VFMADD231PS(x, y, sum)
	}
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
		s.loadTerm(row, stride, g*set.bytes/4, w)
		for r, v := range scalars {
			set.multiply(w, v, total.v[r][g])
		}
	}
	for range directOutputs * s.size / 64 {
		f.next()
	}
	s.nextTerm(row, stride)
	ADDQ(operand.U8(4*rows), term)
	DECQ(left)
	JNE(operand.LabelRef("terms"))
	total.store(y)
	ADDQ(operand.U32(directOutputs*4), y)
	ADDQ(operand.U32(directOutputs*s.element()), src)
	SUBQ(operand.U8(directOutputs), outs)
	JNE(operand.LabelRef("outputs"))
	VZEROUPPER()
	RET()
}
