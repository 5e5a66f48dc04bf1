package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// elementwise is a function that sets each element of dst, a slice of float32, from elements of slices.
type elementwise struct {
	set     *isa
	masks   operand.Mem
	name    string
	inputs  []string              // the slices whose elements are loaded; dst may be one of them
	number  string                // a parameter that is the same for all elements, loaded after those; "" for none
	lanes   int                   // elements that are computed at a time
	vector  func() reg.VecVirtual // holds them, and nothing else in its other elements
	prepare func()                // comes before the loop; nil for nothing
	compute func(x []reg.VecVirtual) reg.VecVirtual
}

// write writes the function, for one element or more. The last ones, if there are fewer than lanes, are loaded and stored under
// a mask.
func (e *elementwise) write() {
	names := []string{"dst"}
	for _, name := range e.inputs {
		if name != "dst" {
			names = append(names, name)
		}
	}
	signature := "func(" + strings.Join(names, ", ") + " *float32, n int"
	if e.number != "" {
		signature += ", " + e.number + " float32"
	}
	TEXT(e.name+e.set.name, NOSPLIT, signature+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s computes n > 0 elements.", e.name, e.set.name))
	pointers := map[string]reg.Register{}
	for _, name := range names {
		pointers[name] = Load(Param(name), GP64())
	}
	n := Load(Param("n"), GP64())
	mask := newMask(e)
	var number reg.VecVirtual
	if e.number != "" {
		number = e.vector()
		VBROADCASTSS(Load(Param(e.number), XMM()), number)
	}
	if e.prepare != nil {
		e.prepare()
	}
	Label("elements")
	CMPQ(n, operand.U8(e.lanes))
	JGE(operand.LabelRef("load"))
	mask.shorten(n)
	Label("load")
	var x []reg.VecVirtual
	for _, name := range e.inputs {
		v := e.vector()
		mask.load(at(pointers[name], 0), v)
		x = append(x, v)
	}
	y := e.compute(append(x, number))
	CMPQ(n, operand.U8(e.lanes))
	JL(operand.LabelRef("last"))
	VMOVUPS(y, at(pointers["dst"], 0))
	JMP(operand.LabelRef("stored"))
	Label("last")
	mask.store(y, at(pointers["dst"], 0)) // of AVX2, it takes many times as long
	Label("stored")
	for _, name := range names {
		ADDQ(operand.U8(4*e.lanes), pointers[name])
	}
	SUBQ(operand.U8(e.lanes), n)
	JG(operand.LabelRef("elements"))
	VZEROUPPER()
	RET()
}

// masks writes a table of masks that select the first n elements of a vector. With AVX-512, entry n of the table is the mask of n, a bit for
// each element. With AVX2, a mask is a vector: longestMask elements of ones come before as many zeros, and the mask of n begins at
// element longestMask − n.
func masks(set *isa) operand.Mem {
	table := GLOBL("masks"+set.name, RODATA|NOPTR)
	if set == avx512 {
		for n := range 17 {
			DATA(2*n, operand.U16(1<<n-1))
		}
		return table
	}
	for n := range 2 * longestMask {
		DATA(4*n, operand.U32(uint32(-min(max(longestMask-n, 0), 1))))
	}
	return table
}

const longestMask = 8

// mask selects the elements that are loaded and stored: lanes of them until it is shortened.
type mask struct {
	*elementwise
	k     reg.OpmaskVirtual // AVX-512
	v     reg.VecVirtual    // AVX2: elements whose highest bit is set
	table reg.GPVirtual
}

// newMask loads the mask of all lanes.
func newMask(e *elementwise) *mask {
	m := &mask{elementwise: e, table: GP64()}
	LEAQ(e.masks, m.table)
	if e.set == avx512 {
		m.k = K()
		KMOVW(operand.Mem{Base: m.table, Disp: 2 * e.lanes}, m.k)
		return m
	}
	m.v = e.vector()
	VMOVUPS(at(m.table, 0), m.v)
	return m
}

// shorten makes it a mask of n elements, fewer than lanes.
func (m *mask) shorten(n reg.Register) {
	if m.set == avx512 {
		KMOVW(operand.Mem{Base: m.table, Index: n, Scale: 2}, m.k)
		return
	}
	from := GP64()
	MOVQ(operand.U32(longestMask), from)
	SUBQ(n, from)
	VMOVUPS(operand.Mem{Base: m.table, Index: from, Scale: 4}, m.v)
}

func (m *mask) load(from operand.Mem, to reg.VecVirtual) {
	if m.set == avx512 {
		VMOVUPS_Z(from, m.k, to)
	} else {
		VMASKMOVPS(from, m.v, to)
	}
}

func (m *mask) store(from reg.VecVirtual, to operand.Mem) {
	if m.set == avx512 {
		VMOVUPS(from, m.k, to)
	} else {
		VMASKMOVPS(from, m.v, to)
	}
}
