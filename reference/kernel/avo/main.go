// Command avo generates the assembly of package kernel: kernel_amd64.s and its Go declarations. It is
// a module of its own, so that building griffin needs no assembler generator. Run it with
// `go generate ./reference/kernel`.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is a vector instruction set.
type isa struct {
	name  string // suffix of its functions
	bytes int    // size of a vector
	newV  func() reg.VecVirtual
}

var (
	avx2   = &isa{"AVX2", 32, YMM}
	avx512 = &isa{"AVX512", 64, ZMM}
	bf16   = &isa{"AVX512BF16", 64, ZMM} // multiplies pairs of bfloat16, see pairs.go
)

var isas = []*isa{avx2, avx512}

// panelBytes is the size of one term of a panel. A panel is one vector wide with AVX-512, two with AVX2.
const panelBytes = 64

// panelStride is the distance between panels that are multiplied together: blockTerms terms.
const (
	blockTerms  = 256
	panelStride = blockTerms * panelBytes
)

func main() {
	ConstraintExpr("amd64,!noasm")
	generateTiles()
	generatePacks()
	generateDirect()
	generateFunctions()
	generatePause()
	generatePairs()
	Generate()
}

// at returns the memory operand at a displacement in bytes.
func at(base reg.Register, displacement int) operand.Mem {
	return operand.Mem{Base: base, Disp: displacement}
}

// zero clears a vector register.
func zero(v reg.VecVirtual) {
	if v.Size() == 64 {
		VPXORD(v, v, v) // VXORPS of 512 bits needs AVX512DQ
	} else {
		VXORPS(v, v, v)
	}
}
