// Command avo writes the SSE2 kernels that transpose matrices (package transfer) and compare them with
// their transposes (package proof), and their Go stubs. It is a module of its own so that building
// griffin needs no assembler generator. Run it with `go generate ./convert/...`.
package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	kernels := flag.String("kernels", "", "which to write: transpose or match")
	flag.Parse()
	ConstraintExpr("amd64,!noasm")
	switch *kernels {
	case "transpose":
		transpose("transposeBlocks16", 8, 2)
		transpose("transposeBlocks32", 4, 4)
	case "match":
		match("matchBlocks16", 8, 2)
	default:
		fmt.Fprintf(os.Stderr, "no kernels named %q\n", *kernels)
		os.Exit(2)
	}
	Generate()
}

// transpose writes a function that transposes blocks of side x side elements of size bytes, 16 bytes a
// row, that lie side by side in src and so below one another in dst.
func transpose(name string, side, size int) {
	TEXT(name, NOSPLIT, "func(dst *byte, dstPitch int, src *byte, srcPitch int, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s transposes n > 0 blocks of %d x %d elements of %d bytes that lie side by side in src.", name, side, side, size))
	dst, dstPitch := Load(Param("dst"), GP64()), Load(Param("dstPitch"), GP64())
	src, srcPitch := Load(Param("src"), GP64()), Load(Param("srcPitch"), GP64())
	n := Load(Param("n"), GP64())
	srcBlock, dstBlock := newRowPointer(src, srcPitch), newRowPointer(dst, dstPitch)

	Label("block")
	columns := transposed(load(srcBlock.rows(side)), size)
	for i, row := range dstBlock.rows(side) {
		MOVOU(columns[i], row)
	}
	ADDQ(operand.U8(16), src)
	LEAQ(operand.Mem{Base: dst, Index: dstPitch, Scale: uint8(side)}, dst)
	DECQ(n)
	JNZ(operand.LabelRef("block"))
	RET()
}

// match writes a function that compares a rectangle of blocks of src with their transposes in dst. Each
// block of side x side elements of size bytes has 16 bytes a row.
func match(name string, side, size int) {
	TEXT(name, NOSPLIT, "func(dst *byte, dstPitch int, src *byte, srcPitch int, n int, high int) uint64")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s returns 0 if dst holds the transposes of blocks of %d x %d elements of %d bytes:", name, side, side, size),
		"n > 0 side by side in src, high > 0 below one another.")
	dst, dstPitch := Load(Param("dst"), GP64()), Load(Param("dstPitch"), GP64())
	src, srcPitch := Load(Param("src"), GP64()), Load(Param("srcPitch"), GP64())
	n := Load(Param("n"), GP64())
	differing := XMM() // bits of all blocks
	PXOR(differing, differing)
	srcBlock, dstBlock, high := newRowPointer(GP64(), srcPitch), newRowPointer(GP64(), dstPitch), GP64()

	Label("columns")
	MOVQ(src, srcBlock.base)
	MOVQ(dst, dstBlock.base)
	Load(Param("high"), high)
	Label("rows")
	rows := srcBlock.rows(side)
	elements := load(rows)
	for _, m := range rows {
		PREFETCHT0(m.Offset(64)) // the next cache line
	}
	columns := transposed(elements, size)
	for i, row := range dstBlock.rows(side) {
		written := XMM()
		MOVOU(row, written)
		PXOR(written, columns[i])
	}
	for len(columns) > 1 { // in pairs, so that few instructions wait for one another
		half := len(columns) / 2
		for i := range half {
			POR(columns[i], columns[i+half])
		}
		columns = columns[half:]
	}
	POR(columns[0], differing)
	LEAQ(operand.Mem{Base: srcBlock.base, Index: srcPitch, Scale: uint8(side)}, srcBlock.base)
	ADDQ(operand.U8(16), dstBlock.base)
	DECQ(high)
	JNZ(operand.LabelRef("rows"))
	ADDQ(operand.U8(16), src)
	LEAQ(operand.Mem{Base: dst, Index: dstPitch, Scale: uint8(side)}, dst)
	DECQ(n)
	JNZ(operand.LabelRef("columns"))

	upper, bits := XMM(), GP64()
	MOVO(differing, upper)
	PSRLDQ(operand.U8(8), upper)
	POR(upper, differing)
	MOVQ(differing, bits)
	Store(bits, ReturnIndex(0))
	RET()
}

// rowPointer points to a block whose rows lie a pitch apart.
type rowPointer struct {
	base, pitch reg.Register
	three       reg.Register // three times the pitch
}

func newRowPointer(base, pitch reg.Register) rowPointer {
	three := GP64()
	LEAQ(operand.Mem{Base: pitch, Index: pitch, Scale: 2}, three)
	return rowPointer{base, pitch, three}
}

// rows returns the addresses of the first n rows, 8 at most.
func (r rowPointer) rows(n int) []operand.Mem {
	first, fifth := r.base, GP64()
	if n > 4 {
		LEAQ(operand.Mem{Base: r.base, Index: r.pitch, Scale: 4}, fifth)
	}
	var all []operand.Mem
	for i := range n {
		m := operand.Mem{Base: first}
		if i >= 4 {
			m.Base = fifth
		}
		switch i % 4 {
		case 1, 2:
			m.Index, m.Scale = r.pitch, uint8(i%4)
		case 3:
			m.Index, m.Scale = r.three, 1
		}
		all = append(all, m)
	}
	return all
}

// load reads 16 bytes of each row.
func load(rows []operand.Mem) []reg.VecVirtual {
	var all []reg.VecVirtual
	for _, m := range rows {
		x := XMM()
		MOVOU(m, x)
		all = append(all, x)
	}
	return all
}

// transposed transposes a block in registers, whose rows have elements of size bytes, and returns its
// columns. It interleaves the elements of the first half of the rows with those of the second half, as
// often as it takes until each register has one element of each row.
func transposed(rows []reg.VecVirtual, size int) []reg.VecVirtual {
	lower, upper := PUNPCKLWL, PUNPCKHWL
	if size == 4 {
		lower, upper = PUNPCKLLQ, PUNPCKHLQ
	}
	for n := 1; n < len(rows); n *= 2 {
		var next []reg.VecVirtual
		for i := range len(rows) / 2 {
			a, b, rest := rows[i], rows[i+len(rows)/2], XMM()
			MOVO(a, rest)
			lower(b, a)
			upper(b, rest)
			next = append(next, a, rest)
		}
		rows = next
	}
	return rows
}
