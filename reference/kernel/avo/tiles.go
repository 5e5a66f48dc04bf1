package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// element is one of the two types that sums are taken in, with the instructions that differ.
type element struct {
	name      string // in the function's name
	goType    string
	size      int
	move      func(...operand.Op) // a whole vector
	broadcast func(...operand.Op)
	add       func(...operand.Op)
	fma       func(...operand.Op) // third operand += first × second, rounded once
}

var elements = []element{
	{"32", "float32", 4, VMOVUPS, VBROADCASTSS, VADDPS, VFMADD231PS},
	{"64", "float64", 8, VMOVUPD, VBROADCASTSD, VADDPD, VFMADD231PD},
}

// generateTiles writes a function for each shape of tile. The largest tiles keep 12 sums in the 16
// registers of AVX2, and 16 in the 32 of AVX-512, which is enough to hide the latency of two fused
// multiply-adds a cycle. Low tiles take two panels at once for the same reason.
func generateTiles() {
	for _, e := range elements {
		for rows := 1; rows <= 6; rows++ {
			tile(avx2, e, rows, 1)
			if rows <= 2 {
				tile(avx2, e, rows, 2)
			}
		}
		for rows := 1; rows <= 8; rows++ {
			tile(avx512, e, rows, 1)
			tile(avx512, e, rows, 2)
		}
	}
	for rows := 1; rows <= 8; rows++ {
		tile(bf16, pairs, rows, 1)
		tile(bf16, pairs, rows, 2)
	}
}

// tile writes one function: c[r][0:panels] += Σ over k of a[k][r]·b[k][0:panels], the sums taken in
// the order of k.
func tile(set *isa, e element, rows, panels int) {
	name := fmt.Sprintf("tile%sx%dx%d%s", e.name, rows, panels, set.name)
	TEXT(name, NOSPLIT, fmt.Sprintf("func(c *%[1]s, ldc int, a *%[1]s, lda int, b *%[1]s, k int, fresh bool, next *[4]int)", e.goType))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies k terms of %d rows of a by %d panels of b; see type tile.", name, rows, panels))
	c, ldc := Load(Param("c"), GP64()), Load(Param("ldc"), GP64())
	a, lda := Load(Param("a"), GP64()), Load(Param("lda"), GP64())
	b, k := Load(Param("b"), GP64()), Load(Param("k"), GP64())
	fresh := Load(Param("fresh"), GP8())
	next := Load(Param("next"), GP64())
	line, step, run, jump := GP64(), GP64(), GP64(), GP64() // see type lines
	for i, field := range []reg.Register{line, step, run, jump} {
		MOVQ(at(next, 8*i), field)
	}
	left := GP64()
	MOVQ(run, left)
	shift := operand.U8(2 + e.size/8)
	SHLQ(shift, ldc)
	SHLQ(shift, lda)

	sums := make([][]reg.VecVirtual, rows)
	for r := range sums {
		for range panels * panelBytes / set.bytes {
			sums[r] = append(sums[r], set.newV())
		}
	}
	// each calls f for every sum with its place in c.
	each := func(f func(sum reg.VecVirtual, m operand.Mem)) {
		row := GP64()
		MOVQ(c, row)
		for r := range sums {
			for v, sum := range sums[r] {
				f(sum, at(row, v*set.bytes))
			}
			if r < rows-1 {
				ADDQ(ldc, row)
			}
		}
	}

	for r := range sums {
		for _, sum := range sums[r] {
			zero(sum)
		}
	}
	TESTB(fresh, fresh)
	JNE(operand.LabelRef("terms"))
	each(func(sum reg.VecVirtual, m operand.Mem) { e.move(m, sum) })

	Label("terms")
	var weights []reg.VecVirtual
	for v := range sums[0] {
		w, perPanel := set.newV(), panelBytes/set.bytes
		e.move(at(b, v/perPanel*panelStride+v%perPanel*set.bytes), w)
		weights = append(weights, w)
	}
	x := set.newV()
	for r := range sums {
		e.broadcast(at(a, e.size*r), x)
		for v, sum := range sums[r] {
			e.fma(weights[v], x, sum)
		}
	}
	PREFETCHT1(at(line, 0))
	PREFETCHT1(at(line, 64))
	ADDQ(step, line)
	DECQ(left)
	JNE(operand.LabelRef("sameRun"))
	ADDQ(jump, line)
	MOVQ(run, left)
	Label("sameRun")
	ADDQ(lda, a)
	ADDQ(operand.U8(panelBytes), b)
	DECQ(k)
	JNE(operand.LabelRef("terms"))

	TESTB(fresh, fresh)
	JEQ(operand.LabelRef("store"))
	each(func(sum reg.VecVirtual, m operand.Mem) { e.add(m, sum, sum) })
	Label("store")
	each(func(sum reg.VecVirtual, m operand.Mem) { e.move(sum, m) })
	VZEROUPPER()
	RET()
}
