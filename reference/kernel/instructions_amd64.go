//go:build amd64 && !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func init() {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA || !cpu.X86.HasF16C {
		return
	}
	available = append(available, &instructions{name: "avx2", rows: 6, tile32: tilesOf(tiles32AVX2), tile64: tilesOf(tiles64AVX2), pairs: genericPairInstructions,
		pack32: packsOf(packs32AVX2, 8, false), pack64: packsOf(packs64AVX2, 8, false),
		direct: directOf(directAVX2, 8, false), functions: functionsAVX2, pause: pause})
	if cpu.X86.HasAVX512F {
		available = append(available, &instructions{name: "avx512", rows: 8, tile32: tilesOf(tiles32AVX512), block32: blockOf(tile32x8x2AVX512), tile64: tilesOf(tiles64AVX512),
			pack32: packsOf(packs32AVX512, 16, false), pack64: packsOf(packs64AVX2, 8, false),
			direct: directOf(directAVX512, 16, false), functions: functionsAVX512, pairs: genericPairInstructions, pause: pause})
		if cpu.X86.HasAVX512BF16 {
			set := *available[len(available)-1]
			set.name = "avx512_bf16"
			set.pairs = pairInstructions{tile: tilesOf(tilesPairs), block: blockOf(tilePairsx8x2AVX512BF16), pack: packsOf(packsPairs, 16, true), direct: directOf(directPairs, 16, true)}
			available = append(available, &set)
		}
	}
	use = available[len(available)-1]
}

type (
	tileAssembly[T Float] = func(c *T, ldc int, a *T, lda int, b *T, k int, fresh bool, next *[4]int)
	packAssembly[T Float] = func(dst *T, src *byte, stride, k int)
)

// The tiles of one and of two panels, by rows-1.
var (
	tiles32AVX2 = [2][]tileAssembly[float32]{
		{tile32x1x1AVX2, tile32x2x1AVX2, tile32x3x1AVX2, tile32x4x1AVX2, tile32x5x1AVX2, tile32x6x1AVX2},
		{tile32x1x2AVX2, tile32x2x2AVX2},
	}
	tiles64AVX2 = [2][]tileAssembly[float64]{
		{tile64x1x1AVX2, tile64x2x1AVX2, tile64x3x1AVX2, tile64x4x1AVX2, tile64x5x1AVX2, tile64x6x1AVX2},
		{tile64x1x2AVX2, tile64x2x2AVX2},
	}
	tiles32AVX512 = [2][]tileAssembly[float32]{
		{tile32x1x1AVX512, tile32x2x1AVX512, tile32x3x1AVX512, tile32x4x1AVX512,
			tile32x5x1AVX512, tile32x6x1AVX512, tile32x7x1AVX512, tile32x8x1AVX512},
		{tile32x1x2AVX512, tile32x2x2AVX512, tile32x3x2AVX512, tile32x4x2AVX512,
			tile32x5x2AVX512, tile32x6x2AVX512, tile32x7x2AVX512, tile32x8x2AVX512},
	}
	tiles64AVX512 = [2][]tileAssembly[float64]{
		{tile64x1x1AVX512, tile64x2x1AVX512, tile64x3x1AVX512, tile64x4x1AVX512,
			tile64x5x1AVX512, tile64x6x1AVX512, tile64x7x1AVX512, tile64x8x1AVX512},
		{tile64x1x2AVX512, tile64x2x2AVX512, tile64x3x2AVX512, tile64x4x2AVX512,
			tile64x5x2AVX512, tile64x6x2AVX512, tile64x7x2AVX512, tile64x8x2AVX512},
	}
)

// tilesOf returns the tile function of routines in assembly, by panels-1 and rows-1. Where there is none
// for two panels, they are multiplied one after the other.
func tilesOf[T Float](routines [2][]tileAssembly[T]) func(rows, panels int, c []T, ldc int, a []T, lda int, b []T, k int, fresh bool, next *lines) {
	return func(rows, panels int, c []T, ldc int, a []T, lda int, b []T, k int, fresh bool, next *lines) {
		if panels == 2 && rows > len(routines[1]) {
			routines[0][rows-1](&c[0], ldc, &a[0], lda, &b[0], k, fresh, (*[4]int)(next))
			c, b, panels = c[PanelWidth[T]():], b[BlockTerms*PanelWidth[T]():], 1
		}
		routines[panels-1][rows-1](&c[0], ldc, &a[0], lda, &b[0], k, fresh, (*[4]int)(next))
	}
}

// tilesPairs are the tiles of pairs, packsPairs and directPairs the other routines by dtype.
var (
	tilesPairs = [2][]tileAssembly[float32]{
		{tilePairsx1x1AVX512BF16, tilePairsx2x1AVX512BF16, tilePairsx3x1AVX512BF16, tilePairsx4x1AVX512BF16,
			tilePairsx5x1AVX512BF16, tilePairsx6x1AVX512BF16, tilePairsx7x1AVX512BF16, tilePairsx8x1AVX512BF16},
		{tilePairsx1x2AVX512BF16, tilePairsx2x2AVX512BF16, tilePairsx3x2AVX512BF16, tilePairsx4x2AVX512BF16,
			tilePairsx5x2AVX512BF16, tilePairsx6x2AVX512BF16, tilePairsx7x2AVX512BF16, tilePairsx8x2AVX512BF16},
	}
	packsPairs = []packs[float32]{
		tensor.BF16: {packOutInF32to32AVX512, packInOutBF16toPairsAVX512BF16}, // 32 bits are transposed, whatever they are
		tensor.F16:  {packOutInF16toPairsAVX512BF16, packInOutF16toPairsAVX512BF16},
		tensor.F32:  {packOutInF32toPairsAVX512BF16, packInOutF32toPairsAVX512BF16},
	}
	directPairs = []directs{
		tensor.BF16: {
			[]directAssembly{directOutInBF16x1AVX512BF16, directOutInBF16x2AVX512BF16, directOutInBF16x3AVX512BF16, directOutInBF16x4AVX512BF16},
			[]directAssembly{directInOutBF16x1AVX512BF16, directInOutBF16x2AVX512BF16, directInOutBF16x3AVX512BF16, directInOutBF16x4AVX512BF16},
		},
		tensor.F16: {[]directAssembly{directOutInF16x1AVX512BF16}, []directAssembly{directInOutF16x1AVX512BF16}},
		tensor.F32: {[]directAssembly{directOutInF32x1AVX512BF16}, []directAssembly{directInOutF32x1AVX512BF16}},
	}
)

// blockOf returns the block function that calls a tile of 8 rows and two panels in a loop of its own, without the cost of a
// general call for each.
func blockOf(tile tileAssembly[float32]) func(n int, c []float32, ldc int, a, b []float32, k int, next *lines) {
	return func(n int, c []float32, ldc int, a, b []float32, k int, next *lines) {
		const width, rows = 16, 8
		_, _, _ = c[(n-1)*ldc+2*width-1], a[n*k-1], b[(BlockTerms+k)*width-1] // the assembly does not check bounds
		for row := 0; row < n; row += width {
			tile(&c[row*ldc], ldc, &a[row*k], width, &b[0], k, false, (*[4]int)(next))
			next.none()
			tile(&c[(row+rows)*ldc], ldc, &a[row*k+rows], width, &b[0], k, false, (*[4]int)(next))
		}
	}
}

// packs are the routines for one dtype of weights.
type packs[T Float] struct{ outIn, inOut packAssembly[T] }

// The routines by dtype.
var (
	packs32AVX2 = []packs[float32]{
		tensor.BF16: {packOutInBF16to32AVX2, packInOutBF16to32AVX2},
		tensor.F16:  {packOutInF16to32AVX2, packInOutF16to32AVX2},
		tensor.F32:  {packOutInF32to32AVX2, packInOutF32to32AVX2},
	}
	packs64AVX2 = []packs[float64]{
		tensor.BF16: {packOutInBF16to64AVX2, packInOutBF16to64AVX2},
		tensor.F16:  {packOutInF16to64AVX2, packInOutF16to64AVX2},
		tensor.F32:  {packOutInF32to64AVX2, packInOutF32to64AVX2},
	}
	packs32AVX512 = []packs[float32]{
		tensor.BF16: {packOutInBF16to32AVX512, packInOutBF16to32AVX512},
		tensor.F16:  {packOutInF16to32AVX512, packInOutF16to32AVX512},
		tensor.F32:  {packOutInF32to32AVX512, packInOutF32to32AVX512},
	}
)

// packsOf returns the pack function of routines in assembly, which for [out, in] take lanes outputs and
// as many terms (of bfloat16 twice as many) at a time.
func packsOf[T Float](routines []packs[T], lanes int, pairs bool) func(dst []T, dtype tensor.DType, inOut bool, src []byte, stride, k int) int {
	return func(dst []T, dtype tensor.DType, inOut bool, src []byte, stride, k int) int {
		if int(dtype) >= len(routines) || routines[dtype].outIn == nil {
			return 0
		}
		p := &routines[dtype]
		if inOut {
			p.inOut(&dst[0], &src[0], stride, k)
			return k
		}
		if k = transposed(k, dtype, lanes, pairs); k == 0 {
			return 0
		}
		for j := 0; j < PanelWidth[T](); j += lanes {
			p.outIn(&dst[j], &src[j*stride], stride, k)
		}
		return k
	}
}

// transposed returns how many of k terms of [out, in] the assembly takes: a multiple of lanes, of bfloat16
// of twice as many. Of pairs, it takes a multiple of lanes.
func transposed(k int, dtype tensor.DType, lanes int, pairs bool) int {
	if dtype == tensor.BF16 && !pairs {
		lanes *= 2
	}
	return k - k%lanes
}

// directs are the routines for one dtype of weights, by rows-1.
type (
	directs        struct{ outIn, inOut []directAssembly }
	directAssembly = func(y *float32, ldy int, x *float32, src *byte, stride, k, outs int, next *byte, run, jump int)
)

// The routines by dtype.
var (
	directAVX2 = []directs{
		tensor.BF16: {[]directAssembly{directOutInBF16x1AVX2}, []directAssembly{directInOutBF16x1AVX2}},
		tensor.F16:  {[]directAssembly{directOutInF16x1AVX2}, []directAssembly{directInOutF16x1AVX2}},
		tensor.F32:  {[]directAssembly{directOutInF32x1AVX2}, []directAssembly{directInOutF32x1AVX2}},
	}
	directAVX512 = []directs{
		tensor.BF16: {
			[]directAssembly{directOutInBF16x1AVX512, directOutInBF16x2AVX512, directOutInBF16x3AVX512, directOutInBF16x4AVX512},
			[]directAssembly{directInOutBF16x1AVX512, directInOutBF16x2AVX512, directInOutBF16x3AVX512, directInOutBF16x4AVX512},
		},
		tensor.F16: {[]directAssembly{directOutInF16x1AVX512}, []directAssembly{directInOutF16x1AVX512}},
		tensor.F32: {[]directAssembly{directOutInF32x1AVX512}, []directAssembly{directInOutF32x1AVX512}},
	}
)

// directOf returns the direct function of routines in assembly, for vectors of lanes float32.
func directOf(routines []directs, lanes int, pairs bool) func(rows int, y []float32, ldy int, x []float32, dtype tensor.DType, inOut bool, src []byte, stride, k, outs int, next stream) int {
	return func(rows int, y []float32, ldy int, x []float32, dtype tensor.DType, inOut bool, src []byte, stride, k, outs int, next stream) int {
		if int(dtype) >= len(routines) {
			return 0
		}
		byRows := routines[dtype].outIn
		if inOut {
			byRows = routines[dtype].inOut
		} else {
			if lanes < 16 || dtype != tensor.BF16 || !inLines(src, stride, pairs) {
				k = transposed(k, dtype, lanes, pairs)
			}
		}
		if rows > len(byRows) || k == 0 {
			return 0
		}
		byRows[rows-1](&y[0], ldy, &x[0], &src[0], stride, k, outs, next.first, next.run, next.jump)
		return k
	}
}

// inLines reports whether all rows of 2-byte weights begin at the same element, or pair of them, of a cache line. Routines for AVX-512 then load whole lines,
// ignore the elements that are not in the rows, and take any number of terms. Without a common beginning, a load may cross into a
// page that cannot be read.
func inLines(src []byte, stride int, pairs bool) bool {
	unit := uintptr(2)
	if pairs {
		unit = 4
	}
	return stride%64 == 0 && uintptr(unsafe.Pointer(&src[0]))%unit == 0
}

// The functions of float32.
var (
	functionsAVX2 = functions{exp: functionOf(expAVX2), tanh: functionOf(tanhAVX2), sigmoid: functionOf(sigmoidAVX2), softCap: boundedOf(softCapAVX2),
		multiplyByGELU: functionOf(multiplyByGELUAVX2), add: functionOf(addAVX2), addProduct: productOf(addProductAVX2)}
	functionsAVX512 = functions{exp: functionOf(expAVX512), tanh: functionOf(tanhAVX512), sigmoid: functionOf(sigmoidAVX512), softCap: boundedOf(softCapAVX512),
		multiplyByGELU: functionOf(multiplyByGELUAVX512), add: functionOf(addAVX512), addProduct: productOf(addProductAVX512)}
)

// functionOf returns a function of slices of equal length.
func functionOf(assembly func(dst, src *float32, n int)) func(dst, src []float32) {
	return func(dst, src []float32) {
		if len(src) > 0 {
			assembly(&dst[0], &src[0], len(src))
		}
	}
}

// boundedOf returns a function of slices of equal length, with a bound.
func boundedOf(assembly func(dst, src *float32, n int, bound float32)) func(dst, src []float32, bound float32) {
	return func(dst, src []float32, bound float32) {
		if len(src) > 0 {
			assembly(&dst[0], &src[0], len(src), bound)
		}
	}
}

// productOf returns a function of three slices of equal length.
func productOf(assembly func(dst, a, b *float32, n int)) func(dst, a, b []float32) {
	return func(dst, a, b []float32) {
		if len(a) > 0 {
			assembly(&dst[0], &a[0], &b[0], len(a))
		}
	}
}
