package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Products of bfloat16. A step of a sum is a pair of terms, 32 bits that lie where a float32 lies in other products.

// pairs is the element of tiles that multiply pairs.
var pairs = element{"Pairs", "float32", 4, VMOVUPS, VBROADCASTSS, VADDPS, dotPairs}

// pairSources are the types of weights, with the size of two elements, as pairs: load loads consecutive elements of one
// row; two loads elements of two rows, the even terms from the first and the odd ones from the second.
var pairSources = []source{
	{name: "BF16", size: 4, load: func(m operand.Mem, v reg.VecVirtual) { VMOVUPS(m, v) },
		two: func(first, second operand.Mem, v reg.VecVirtual) {
			odd := ZMM()
			VPMOVZXWD(first, v)
			VPMOVZXWD(second, odd)
			interleave(odd, v)
		}},
	{name: "F16", size: 4, load: rounded(2, sources[1].load), two: roundedRows(sources[1].load)},
	{name: "F32", size: 8, load: rounded(4, sources[2].load), two: roundedRows(sources[2].load)},
}

// rounded returns a function that loads 32 elements of that size in bytes and rounds them.
func rounded(size int, load func(m operand.Mem, v reg.VecVirtual)) func(m operand.Mem, v reg.VecVirtual) {
	return func(m operand.Mem, v reg.VecVirtual) {
		high := ZMM()
		load(m, v)
		load(m.Offset(16*size), high)
		roundPairs(high, v, v)
	}
}

// roundedRows returns a function that loads 16 elements of two rows and rounds them.
func roundedRows(load func(m operand.Mem, v reg.VecVirtual)) func(first, second operand.Mem, v reg.VecVirtual) {
	return func(first, second operand.Mem, v reg.VecVirtual) {
		odd, half := ZMM(), YMM()
		load(first, v)
		load(second, odd)
		roundPairs(odd, v, odd)
		VPMOVZXWD(odd.AsY(), v)
		VEXTRACTI64X4(operand.U8(1), odd, half)
		VPMOVZXWD(half, odd)
		interleave(odd, v)
	}
}

// interleave puts the lower halves of odd into the upper halves of even.
func interleave(odd, even reg.VecVirtual) {
	VPSLLD(operand.U8(16), odd, odd)
	VPORD(odd, even, even)
}

// element returns the size of an element.
func (s source) element() int {
	if s.two != nil {
		return s.size / 2
	}
	return s.size
}

// loadTerm loads a term, or the two of a pair, of weights [in, out] from the output first on.
func (s source) loadTerm(row, stride reg.Register, first int, v reg.VecVirtual) {
	m := at(row, first*s.element())
	if s.two == nil {
		s.load(m, v)
		return
	}
	s.two(m, m.Idx(stride, 1), v)
}

// nextTerm moves row on to the terms after those of loadTerm.
func (s source) nextTerm(row, stride reg.Register) {
	ADDQ(stride, row)
	if s.two != nil {
		ADDQ(stride, row)
	}
}

func generatePairs() {
	t := target{"Pairs", "float32", []*isa{bf16}, func(v reg.VecVirtual, m operand.Mem) { VMOVUPS(v, m) }}
	for _, s := range pairSources {
		if s.name != "BF16" { // it is packed as float32 are
			packOutIn(t, bf16, s)
		}
		packInOut(t, bf16, s)
		highest := 1
		if s.name == "BF16" {
			highest = 4
		}
		for rows := 1; rows <= highest; rows++ {
			directOutIn(bf16, s, rows)
			directInOut(bf16, s, rows)
		}
	}
}
