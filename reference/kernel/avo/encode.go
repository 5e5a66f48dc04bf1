package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/reg"
)

// unknown are the instructions of AVX512_BF16 that are used here. Neither avo nor Go's assembler knows them, so that they are
// written as bytes.
var unknown = map[string]evex{
	"VDPBF16PS":      {prefix: 2, opcode: 0x52}, // EVEX.512.F3.0F38.W0 52 /r
	"VCVTNE2PS2BF16": {prefix: 3, opcode: 0x72}, // EVEX.512.F2.0F38.W0 72 /r
}

// evex is an instruction of the map 0F38 with three vectors of 512 bits.
type evex struct{ prefix, opcode byte }

// encode returns the bytes of the instruction for registers by their numbers: the destination, and the first and second source
// of Intel's notation (Intel's manual, volume 2, section 2.7).
func (e evex) encode(to, first, second byte) [6]byte {
	bit := func(register byte, n int) byte { return ^register >> n & 1 } // the prefix has the bits of registers inverted
	return [6]byte{
		0x62,
		bit(to, 3)<<7 | bit(second, 4)<<6 | bit(second, 3)<<5 | bit(to, 4)<<4 | 2,
		^first&15<<3 | 1<<2 | e.prefix,
		2<<5 | bit(first, 4)<<3,
		e.opcode,
		3<<6 | to&7<<3 | second&7,
	}
}

// dotPairs adds the products of pairs of bfloat16 in x and y to sum: the odd elements, then the even ones.
func dotPairs(ops ...operand.Op) {
	x, y, sum := ops[0], ops[1], ops[2]
	Instruction(&ir.Instruction{Opcode: "VDPBF16PS", Operands: ops, Inputs: []operand.Op{x, y, sum}, Outputs: []operand.Op{sum}, ISA: []string{"AVX512_BF16"}})
}

// roundPairs rounds the float32 of low and high to bfloat16, and stores those of low in the lower half of to.
func roundPairs(high, low, to operand.Op) {
	ops := []operand.Op{low, high, to}
	Instruction(&ir.Instruction{Opcode: "VCVTNE2PS2BF16", Operands: ops, Inputs: []operand.Op{low, high}, Outputs: []operand.Op{to}, ISA: []string{"AVX512_BF16"}})
}

// encodeUnknown writes the unknown instructions as bytes, when their registers are known.
func encodeUnknown(i *ir.Instruction) error {
	e, ok := unknown[i.Opcode]
	if !ok {
		return nil
	}
	var n [3]byte
	for k, op := range i.Operands {
		n[k] = byte(op.(reg.Physical).PhysicalIndex())
	}
	b := e.encode(n[2], n[1], n[0])
	i.Opcode = fmt.Sprintf("LONG $0x%02x%02x%02x%02x; WORD $0x%02x%02x // %s %s, %s, %s",
		b[3], b[2], b[1], b[0], b[5], b[4], i.Opcode, i.Operands[0].Asm(), i.Operands[1].Asm(), i.Operands[2].Asm())
	i.Operands = nil
	return nil
}

func init() { pass.Compile = pass.Concat(pass.Compile, pass.InstructionPass(encodeUnknown)) }
