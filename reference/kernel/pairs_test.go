package kernel

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// upper returns the upper half of x: its bits as bfloat16 if the lower half is zero.
func upper(x float32) uint32 { return math.Float32bits(x) >> 16 }

// eachPairSet runs a test with each instruction set that has routines for pairs, and without assembly.
func eachPairSet(t *testing.T, test func(t *testing.T)) {
	eachSet(t, func(t *testing.T) {
		if use == available[0] || MultipliesPairs() {
			test(t)
		}
	})
}

// exactPair is the definition of a step: the sum and the product of the odd terms, rounded once, and then the same with the even
// ones. Subnormal numbers are zero, before and after.
func exactPair(sum, even, evenWeight, odd, oddWeight float32) float32 {
	for _, f := range [][2]float32{{odd, oddWeight}, {even, evenWeight}} {
		x, y, z := flush(f[0]), flush(f[1]), flush(sum)
		plain := float64(x)*float64(y) + float64(z)
		if sum = float32(plain); math.IsNaN(plain) || math.IsInf(plain, 0) || plain == 0 {
			continue
		}
		exact := new(big.Float).SetPrec(1200).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
		rounded := new(big.Float).SetPrec(24).Add(exact, big.NewFloat(float64(z)))
		if sum, _ = rounded.Float32(); rounded.MantExp(nil) < -125 {
			sum = float32(math.Copysign(0, plain))
		}
	}
	return sum
}

// TestPairByPair: known sums of one pair, among them the order of its products and what becomes of subnormal numbers.
func TestPairByPair(t *testing.T) {
	const normal = 0x1p-126 // the least normal number
	nan := float32(math.NaN())
	inf := float32(math.Inf(1))
	for _, tt := range []struct {
		name                      string
		sum, x0, w0, x1, w1, want float32
	}{
		{"plain", 1, 2, 3, 4, 5, 27},
		{"the odd product first", 1, 1, -0x1p40, 1, 0x1p40, 0},
		{"the even product last", 0, 1, 1, 1, 0x1p30, 0x1p30},
		{"each product rounded to even", 0x1p24, 1, 1, 1, 1, 0x1p24},
		{"a product is not rounded", -1, 1 + 0x1p-7, 1 + 0x1p-7, 0, 0, 0x1p-6 + 0x1p-14},
		{"subnormal sum", 0x1p-127, 0, 1, 0, 1, 0},
		{"subnormal x", 0, 0x1p-127, 0x1p100, 0, 1, 0},
		{"subnormal weight", 0, 0x1p100, 0x1p-130, 0, 1, 0},
		{"subnormal result", normal, -0x1p-75, 0x1p-75, 0, 1, 0},
		{"a result that rounds to a normal one", normal, -0x1p-75, 0x1p-76, 0, 1, normal},
		{"subnormal result between", 0, normal, -1, normal, 0.5, -normal},
		{"negative zero", -normal, 0x1p-75, 0x1p-75, 0, 1, float32(math.Copysign(0, -1))},
		{"least normal result", 0, 0x1p-63, 0x1p-63, 0, 1, normal},
		{"infinite", 1, inf, 1, 0, 1, inf},
		{"overflow", math.MaxFloat32, 0x1p127, 1, 0, 1, inf},
		{"NaN", 1, inf, 0, 0, 1, nan},
		{"infinite difference", 0, inf, -1, inf, 1, nan},
	} {
		if want := exactPair(tt.sum, tt.x0, tt.w0, tt.x1, tt.w1); !same(want, tt.want) {
			t.Errorf("%s: %g, want %g", tt.name, want, tt.want)
		}
		a := []float32{pairOf(tt.x0, tt.x1)}
		b := make([]float32, panelBytes/4)
		for j := range b {
			b[j] = pairOf(tt.w0, tt.w1)
		}
		if tt.x0 > 0 && tt.x0 < normal { // pairOf would flush it
			a[0] = math.Float32frombits(upper(tt.x0))
		}
		if tt.w0 > 0 && tt.w0 < normal {
			for j := range b {
				b[j] = math.Float32frombits(upper(tt.w0))
			}
		}
		eachPairSet(t, func(t *testing.T) {
			c := make([]float32, panelBytes/4)
			for j := range c {
				c[j] = tt.sum
			}
			tile(1, 1, c, len(c), a, 1, b, 1, true, false, &lines{run: 1})
			for _, got := range c {
				if !same(got, tt.want) {
					t.Fatalf("%s: %s gives %g, want %g", use.name, tt.name, got, tt.want)
				}
			}
		})
	}
}

// pairBits gives pairs of numbers near each other, near the limits of float32, or anywhere.
func pairBits(rng *rand.Rand, near int) func() float32 {
	half := func() uint32 {
		switch {
		case near == 0:
			return rng.Uint32() >> 16
		case rng.IntN(16) == 0:
			return upper(awkward[rng.IntN(len(awkward))])
		}
		return rng.Uint32()&0x807f | uint32(near+rng.IntN(8))<<7
	}
	return func() float32 { return math.Float32frombits(half() | half()<<16) }
}

func TestPairTilesGiveTheGenericBits(t *testing.T) {
	eachPairSet(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for rows := 1; rows <= use.rows; rows++ {
			for panels := 1; panels <= pairPanels; panels++ {
				for _, k := range []int{1, 2, 5, 63, 256} {
					for _, near := range []int{0, 60, 124} {
						compareTiles(t, rows, panels, k, rng.IntN(4), true, rng.IntN(2) == 0, pairBits(rng, near))
					}
				}
			}
		}
	})
}

func FuzzPairTiles(f *testing.F) {
	f.Add(uint8(6), uint8(0), uint8(9), uint8(1), false, []byte("sixteen bytes of numbers, or so"))
	f.Add(uint8(1), uint8(1), uint8(4), uint8(0), true, []byte{0, 0, 0x80, 0x7f, 0, 0, 0x80, 0xff, 1, 0, 0, 0})
	f.Add(uint8(1), uint8(1), uint8(0), uint8(0), false, []byte{0x80, 0, 0x80, 0x9f, 0x00, 0x1f, 0x80, 0x1a})
	f.Fuzz(func(t *testing.T, rows, panels, k, pad uint8, fresh bool, numbers []byte) {
		if len(numbers) < 8 {
			return
		}
		bits := repeat(numbers)
		eachPairSet(t, func(t *testing.T) {
			r, p := int(rows)%use.rows+1, int(panels)%pairPanels+1
			compareTiles(t, r, p, int(k)+1, int(pad), true, fresh, func() float32 { return math.Float32frombits(uint32(bits())) })
		})
	})
}

// FuzzPair compares the twin with the definition.
func FuzzPair(f *testing.F) {
	f.Add(uint32(0x3f800000), uint32(0x3f803f81), uint32(0xbf803f80))
	f.Add(uint32(0x00800000), uint32(0x1a000000), uint32(0x9a000000))
	f.Fuzz(func(t *testing.T, sum, x, w uint32) {
		c, low := make([]float32, panelBytes/4), func(bits uint32) float32 { return math.Float32frombits(bits << 16) }
		high := func(bits uint32) float32 { return math.Float32frombits(bits & 0xffff0000) }
		b := make([]float32, panelBytes/4)
		for j := range b {
			b[j] = math.Float32frombits(w)
		}
		c[0] = math.Float32frombits(sum)
		want := exactPair(c[0], low(x), low(w), high(x), high(w))
		genericPairs(1, 1, c, len(c), []float32{math.Float32frombits(x)}, 1, b, 1, false, nil)
		if !same(c[0], want) {
			t.Fatalf("sum %x, pairs %x and %x: %x, want %x", sum, x, w, c[0], want)
		}
	})
}

// TestPairSums is FuzzPair on random numbers.
func TestPairSums(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for range 100_000 {
		near := []int{0, 60, 64, 124}[rng.IntN(4)]
		x, w := pairBits(rng, near)(), pairBits(rng, near)()
		b, c := make([]float32, panelBytes/4), make([]float32, panelBytes/4)
		b[0], c[0] = w, math.Float32frombits(rng.Uint32())
		if near > 0 {
			c[0] = math.Float32frombits(rng.Uint32()&0x807fffff | uint32(max(2*near-127, 0)+rng.IntN(8))<<23)
		}
		half := func(x float32, shift int) float32 {
			return math.Float32frombits(math.Float32bits(x) << shift & 0xffff0000)
		}
		want := exactPair(c[0], half(x, 16), half(w, 16), half(x, 0), half(w, 0))
		sum := c[0]
		genericPairs(1, 1, c, len(c), []float32{x}, 1, b, 1, false, nil)
		if !same(c[0], want) {
			t.Fatalf("sum %x, pairs %x and %x: %x, want %x", sum, math.Float32bits(x), math.Float32bits(w), c[0], want)
		}
	}
}

// canonical returns a pair without what no product shows: subnormal numbers, and which NaN it is.
func canonical(pair float32) uint32 {
	bits := math.Float32bits(pair)
	for _, shift := range []int{0, 16} {
		switch half := bits >> shift & 0x7fff; {
		case half < 0x80:
			bits &^= 0x7fff << shift
		case half > 0x7f80:
			bits |= 0xffff << shift
		}
	}
	return bits
}

// comparePairs packs all panels of a matrix with those bits with the instruction set in use and without assembly.
func comparePairs(t *testing.T, dtype tensor.DType, inOut bool, rows, cols, pad int, bits func() uint64) {
	t.Helper()
	const width = panelBytes / 4
	w := &Matrix{DType: dtype, Rows: rows, Cols: cols, Stride: cols + pad, InOut: inOut}
	for range (rows-1)*w.Stride + cols {
		w.Data = append(w.Data, binary.LittleEndian.AppendUint64(nil, bits())[:dtype.Size()]...)
	}
	set := use
	defer func() { use = set }()
	wide, got, want := make([]float32, 2*BlockTerms), make([]float32, BlockTerms*width), make([]float32, BlockTerms*width)
	all := (w.In() + 1) / 2
	for k := 0; k < all; k += BlockTerms {
		steps := min(BlockTerms, all-k)
		for j := 0; j < w.Out(); j += width {
			outs := min(width, w.Out()-j)
			use = set
			packPairs(got, w, k, steps, j, outs, wide)
			use = available[0]
			packPairs(want, w, k, steps, j, outs, wide)
			for i := range steps * width {
				if i%width < outs && canonical(got[i]) != canonical(want[i]) {
					t.Fatalf("%s, %s, inout %v, %d steps of %d outputs: step %d, output %d is %x, generic %x", set.name, dtype, inOut, steps, outs, i/width, i%width, math.Float32bits(got[i]), math.Float32bits(want[i]))
				}
			}
		}
	}
}

var pairDTypes = []tensor.DType{tensor.BF16, tensor.F16, tensor.F32}

func TestPairPacksGiveTheGenericBits(t *testing.T) {
	eachPairSet(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(15, 16))
		for _, dtype := range pairDTypes {
			for _, inOut := range []bool{false, true} {
				for _, shape := range [][2]int{{16, 32}, {33, 700}, {40, 17}, {557, 31}, {1, 1}} {
					comparePairs(t, dtype, inOut, shape[0], shape[1], rng.IntN(5), rng.Uint64)
				}
			}
		}
	})
}

func FuzzPairPacks(f *testing.F) {
	f.Add(uint8(0), true, uint16(16), uint16(64), uint8(0), []byte("sixteen bytes of numbers, or so"))
	f.Add(uint8(2), false, uint16(33), uint16(270), uint8(3), []byte{0, 0, 0x80, 0x7f, 0, 0, 0x80, 0xff, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, dtype uint8, inOut bool, rows, cols uint16, pad uint8, numbers []byte) {
		if len(numbers) < 8 {
			return
		}
		bits := repeat(numbers)
		eachPairSet(t, func(t *testing.T) {
			comparePairs(t, pairDTypes[int(dtype)%len(pairDTypes)], inOut, int(rows)%300+1, int(cols)%300+1, int(pad), bits)
		})
	})
}

// testMultiplyPairs compares a product of bfloat16 with its definition. The weights begin at an offset from a cache line. Rows [out, in]
// of more than 32 begin at the same offset each.
func testMultiplyPairs(t *testing.T, dtype tensor.DType, inOut bool, n, in, out, offset int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(in), uint64(out)))
	stride := in
	if in > 32 {
		stride = (in + 31) / 32 * 32
	}
	values := make([]float64, stride*out)
	for i := range values {
		if values[i] = float64(rng.IntN(255)-127) / 64; dtype != tensor.BF16 {
			values[i] = float64(rng.IntN(2047)-1023) / 512 // to be rounded
		}
	}
	w := &Matrix{DType: dtype, Data: between(encode(dtype, values), offset), Rows: out, Cols: in, Stride: stride, InOut: inOut}
	at := func(k, j int) int { return j*stride + k }
	if inOut {
		w.Rows, w.Cols, w.Stride = in, out, out
		at = func(k, j int) int { return k*out + j }
	}
	x, want := make([]float32, n*in), make([]float32, n*out)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range want {
		want[i] = float32(rng.NormFloat64())
	}
	got := append([]float32(nil), want...)
	for r := range n {
		for j := range out {
			term := func(k int) (x0, w0 float32) {
				if k == in {
					return 0, 0
				}
				return RoundBF16(x[r*in+k]), RoundBF16(float32(values[at(k, j)]))
			}
			sum := want[r*out+j]
			for k := 0; k < in; k += 2 {
				x0, w0 := term(k)
				x1, w1 := term(k + 1)
				sum = fma32(x0, w0, fma32(x1, w1, sum))
			}
			want[r*out+j] = sum
		}
	}
	var rows Rows[float32]
	var s Scratch[float32]
	ResetPairs(&rows, n, in)
	for block := range rows.Blocks() {
		rows.Pack(x, in, block, &s)
	}
	cut := out / 3 // two calls, as from two goroutines
	MultiplyPacked(got, out, &rows, 0, w, 0, cut, &s)
	MultiplyPacked(got, out, &rows, 0, w, cut, out, &s)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s, %s, inout %v, %d rows, %d inputs, %d outputs: element %d is %v, want %v", use.name, dtype, inOut, n, in, out, i, got[i], want[i])
		}
	}
}

func TestMultiplyPairs(t *testing.T) {
	eachPairSet(t, func(t *testing.T) {
		for _, dtype := range pairDTypes {
			for _, inOut := range []bool{false, true} {
				for _, size := range [][3]int{{1, 1, 1}, {1, 7, 130}, {1, 700, 96}, {4, 64, 64}, {2, 63, 64}, {7, 600, 33}, {13, 1057, 65}, {6, 512, 16}, {16, 64, 32}, {35, 570, 300}, {3, 9, 0}, {0, 9, 3}} {
					testMultiplyPairs(t, dtype, inOut, size[0], size[1], size[2], 0)
				}
				for offset := range 64 {
					testMultiplyPairs(t, dtype, inOut, 1+offset%4, 20+offset, 64, offset)
				}
			}
		}
	})
}

func FuzzMultiplyPairs(f *testing.F) {
	f.Add(uint8(0), false, uint8(1), uint16(2), uint16(40), uint8(0))
	f.Add(uint8(2), true, uint8(17), uint16(300), uint16(70), uint8(6))
	f.Fuzz(func(t *testing.T, dtype uint8, inOut bool, n uint8, in, out uint16, offset uint8) {
		eachPairSet(t, func(t *testing.T) {
			testMultiplyPairs(t, pairDTypes[int(dtype)%len(pairDTypes)], inOut, int(n)%20, int(in)%1100+1, int(out)%70, int(offset)%64)
		})
	})
}
