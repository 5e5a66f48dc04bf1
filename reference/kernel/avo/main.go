// Command avo writes the AVX2 and FMA tiles of package kernel: tiles_amd64.s and its Go stubs. It is
// a module of its own so that building griffin needs no assembler generator. Run it with
// `go generate ./reference/kernel`.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// maxRows is the number of rows of the largest tile. Of the 16 vector registers, 6 rows of two vectors
// take 12 for the sums, the packed weights two, and the activation one.
const maxRows = 6

// unroll is the number of terms that one iteration of the main loop adds.
const unroll = 4

// element is an element type and the instructions for it.
type element struct {
	name      string // part of the function's name
	goType    string
	size      int
	load      func(...operand.Op) // whole vectors
	broadcast func(...operand.Op)
	fma       func(...operand.Op) // third operand += first × second, rounded once
}

var elements = []element{
	{"32", "float32", 4, VMOVUPS, VBROADCASTSS, VFMADD231PS},
	{"64", "float64", 8, VMOVUPD, VBROADCASTSD, VFMADD231PD},
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, e := range elements {
		for rows := 1; rows <= maxRows; rows++ {
			tile(e, rows)
		}
	}
	Generate()
}

// tile generates one function: c[r][0:2 vectors] += Σk a[r][k]·b[k][0:2 vectors], summed in the order
// of k.
func tile(e element, rows int) {
	TEXT(fmt.Sprintf("tile%sx%d", e.name, rows), NOSPLIT,
		fmt.Sprintf("func(c *%[1]s, ldc int, a *%[1]s, lda int, b *%[1]s, k int)", e.goType))
	Pragma("noescape")
	Doc(fmt.Sprintf("tile%sx%d adds the first k elements of each of %d rows of a, times the packed panel b, to c.", e.name, rows, rows))
	c, ldc := Load(Param("c"), GP64()), Load(Param("ldc"), GP64())
	a, lda := Load(Param("a"), GP64()), Load(Param("lda"), GP64())
	b, k := Load(Param("b"), GP64()), Load(Param("k"), GP64())
	shift := operand.U8(2 + e.size/8)
	SHLQ(shift, ldc)
	SHLQ(shift, lda)
	cRows, aRows := rowAddresses(c, ldc, rows), rowAddresses(a, lda, rows)

	sums := make([][2]reg.VecVirtual, rows)
	for r := range sums {
		for v := range sums[r] {
			sums[r][v] = YMM()
			e.load(cRows(r).Offset(32*v), sums[r][v])
		}
	}
	add := func(step int) {
		b0, b1, x := YMM(), YMM(), YMM()
		e.load(operand.Mem{Base: b, Disp: 64 * step}, b0)
		e.load(operand.Mem{Base: b, Disp: 64*step + 32}, b1)
		for r := range sums {
			e.broadcast(aRows(r).Offset(e.size*step), x)
			e.fma(b0, x, sums[r][0])
			e.fma(b1, x, sums[r][1])
		}
	}
	advance := func(steps int) {
		for _, base := range bases(aRows, rows) {
			ADDQ(operand.U32(e.size*steps), base)
		}
		ADDQ(operand.U32(64*steps), b)
	}

	SUBQ(operand.U8(unroll), k)
	JL(operand.LabelRef("rest"))
	Label("main")
	for step := range unroll {
		add(step)
	}
	advance(unroll)
	SUBQ(operand.U8(unroll), k)
	JGE(operand.LabelRef("main"))
	Label("rest")
	ADDQ(operand.U8(unroll), k)
	JE(operand.LabelRef("store"))
	Label("one")
	add(0)
	advance(1)
	DECQ(k)
	JNE(operand.LabelRef("one"))
	Label("store")
	for r := range sums {
		for v := range sums[r] {
			e.load(sums[r][v], cRows(r).Offset(32*v))
		}
	}
	VZEROUPPER()
	RET()
}

// rowAddresses returns a function that gives the address of each row. Three rows share a base register.
func rowAddresses(base reg.Register, stride reg.Register, rows int) func(int) operand.Mem {
	second := base
	if rows > 3 {
		next := GP64()
		LEAQ(operand.Mem{Base: base, Index: stride, Scale: 2}, next)
		ADDQ(stride, next)
		second = next
	}
	return func(r int) operand.Mem {
		m := operand.Mem{Base: base}
		if r >= 3 {
			m.Base = second
		}
		if r%3 > 0 {
			m.Index, m.Scale = stride, uint8(r%3)
		}
		return m
	}
}

// bases returns the base registers of the rows.
func bases(address func(int) operand.Mem, rows int) []reg.Register {
	if rows > 3 {
		return []reg.Register{address(0).Base, address(3).Base}
	}
	return []reg.Register{address(0).Base}
}
