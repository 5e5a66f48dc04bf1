package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// compareTiles runs the tiles in use and their generic twins on the same numbers, or on the same pairs.
func compareTiles[T Float](t *testing.T, rows, panels, k, pad int, pairs, fresh bool, next func() T) {
	t.Helper()
	width := PanelWidth[T]()
	lda, ldc := rows+pad, panels*width+pad
	a, b, c := make([]T, k*lda), make([]T, ((panels-1)*BlockTerms+k)*width), make([]T, rows*ldc)
	for _, s := range [][]T{a, b, c} {
		for i := range s {
			s[i] = next()
		}
	}
	want := append([]T(nil), c...)
	tile(rows, panels, c, ldc, a, lda, b, k, pairs, fresh, &lines{run: 1})
	switch want := any(want).(type) {
	case []float32:
		generic := generic32
		if pairs {
			generic = genericPairs
		}
		generic(rows, panels, want, ldc, any(a).([]float32), lda, any(b).([]float32), k, fresh, &lines{run: 1})
	case []float64:
		generic64(rows, panels, want, ldc, any(a).([]float64), lda, any(b).([]float64), k, fresh, &lines{run: 1})
	}
	for i := range c {
		if !same(c[i], want[i]) {
			t.Fatalf("%s, %d rows, %d panels, %d steps, pairs %v, fresh %v: element %d is %x, generic %x", use.name, rows, panels, k, pairs, fresh, i, c[i], want[i])
		}
	}
}

func TestTilesGiveTheGenericBits(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for rows := 1; rows <= use.rows; rows++ {
			for panels := 1; panels <= pairPanels; panels++ {
				for _, k := range []int{1, 2, 5, 63, 256} {
					pad, fresh := rng.IntN(4), rng.IntN(2) == 0
					compareTiles(t, rows, panels, k, pad, false, fresh, func() float32 { return float32(rng.NormFloat64()) })
					compareTiles(t, rows, panels, k, pad, false, fresh, rng.NormFloat64)
					compareTiles(t, rows, panels, k, pad, false, fresh, func() float32 { return awkward[rng.IntN(len(awkward))] })
					compareTiles(t, rows, panels, k, pad, false, fresh, func() float64 { return float64(awkward[rng.IntN(len(awkward))]) * math.Exp(rng.NormFloat64()) })
					compareTiles(t, rows, panels, k, pad, false, fresh, func() float32 { return math.Float32frombits(rng.Uint32()) })
				}
			}
		}
	})
}

// repeat gives the bits of numbers over and over.
func repeat(numbers []byte) func() uint64 {
	at := 0
	return func() uint64 {
		if at+8 > len(numbers) {
			at = (at + 3) % 8 % (len(numbers) - 7)
		}
		at += 8
		return binary.LittleEndian.Uint64(numbers[at-8:])
	}
}

func FuzzTiles(f *testing.F) {
	f.Add(uint8(6), uint8(0), uint8(9), uint8(1), false, []byte("sixteen bytes of numbers, or so"))
	f.Add(uint8(1), uint8(1), uint8(4), uint8(0), true, []byte{0, 0, 0x80, 0x7f, 0, 0, 0x80, 0xff, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, rows, panels, k, pad uint8, fresh bool, numbers []byte) {
		if len(numbers) < 8 {
			return
		}
		bits := repeat(numbers)
		eachSet(t, func(t *testing.T) {
			r, p, n := int(rows)%use.rows+1, int(panels)%pairPanels+1, int(k)+1
			compareTiles(t, r, p, n, int(pad), false, fresh, func() float32 { return math.Float32frombits(uint32(bits())) })
			compareTiles(t, r, p, n, int(pad), false, fresh, func() float64 { return math.Float64frombits(bits()) })
		})
	})
}

// comparePacks packs a panel with the instruction set in use and one weight at a time.
func comparePacks[T Float](t *testing.T, w *Matrix, k, terms, j, outs int, order *Order) {
	t.Helper()
	width := PanelWidth[T]()
	var s Scratch[T]
	s.allocate()
	got, want := make([]T, BlockTerms*width), make([]T, BlockTerms*width)
	s.packPanel(got, w, k, terms, j, outs, order)
	defer func(set *instructions) { use = set }(use)
	name := use.name
	use = available[0]
	s.packPanel(want, w, k, terms, j, outs, order)
	for i := range want {
		if i%width < outs && !same(got[i], want[i]) {
			t.Fatalf("%s, %s, inout %v, %d terms of %d outputs: term %d, output %d is %x, generic %x", name, w.DType, w.InOut, terms, outs, i/width, i%width, got[i], want[i])
		}
	}
}

var dtypes = []tensor.DType{tensor.BF16, tensor.F16, tensor.F32, tensor.F64}

// comparePanels compares all panels of a matrix with those bits.
func comparePanels(t *testing.T, dtype tensor.DType, inOut, narrow bool, rows, cols, pad int, order *Order, bits func() uint64) {
	t.Helper()
	w := &Matrix{DType: dtype, Rows: rows, Cols: cols, Stride: cols + pad, InOut: inOut, Narrow: narrow}
	for range (rows-1)*w.Stride + cols {
		w.Data = append(w.Data, binary.LittleEndian.AppendUint64(nil, bits())[:dtype.Size()]...)
	}
	for k := 0; k < w.In(); k += BlockTerms {
		terms := min(BlockTerms, w.In()-k)
		for j := 0; j < w.Out(); j += PanelWidth[float32]() {
			comparePacks[float32](t, w, k, terms, j, min(PanelWidth[float32](), w.Out()-j), order)
		}
		for j := 0; j < w.Out(); j += PanelWidth[float64]() {
			comparePacks[float64](t, w, k, terms, j, min(PanelWidth[float64](), w.Out()-j), order)
		}
	}
}

func TestPacksGiveTheGenericBits(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		for _, dtype := range dtypes {
			for _, inOut := range []bool{false, true} {
				for _, shape := range [][2]int{{16, 32}, {33, 300}, {40, 17}, {257, 31}, {1, 1}} {
					comparePanels(t, dtype, inOut, rng.IntN(2) == 0, shape[0], shape[1], rng.IntN(5), SeededOrder(rng.Uint64N(3)), rng.Uint64)
				}
			}
		}
	})
}

func FuzzPacks(f *testing.F) {
	f.Add(uint8(0), true, false, uint16(16), uint16(64), uint8(0), uint8(0), []byte("sixteen bytes of numbers, or so"))
	f.Add(uint8(1), false, true, uint16(33), uint16(270), uint8(3), uint8(1), []byte{0, 0, 0x80, 0x7f, 0, 0, 0x80, 0xff, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, dtype uint8, inOut, narrow bool, rows, cols uint16, pad, order uint8, numbers []byte) {
		if len(numbers) < 8 {
			return
		}
		bits := repeat(numbers)
		eachSet(t, func(t *testing.T) {
			rows := int(rows)%300 + 1
			cols := int(cols)%min(300, 1<<12/rows) + 1 // a small matrix of any length
			comparePanels(t, dtypes[int(dtype)%len(dtypes)], inOut, narrow, rows, cols, int(pad), SeededOrder(uint64(order)), bits)
		})
	})
}

// FuzzMultiply compares whole products with their definition: the plain order, in every instruction set.
func FuzzMultiply(f *testing.F) {
	f.Add(uint8(0), false, uint8(1), uint16(2), uint16(40))
	f.Add(uint8(2), true, uint8(17), uint16(300), uint16(70))
	f.Fuzz(func(t *testing.T, dtype uint8, inOut bool, n uint8, in, out uint16) {
		eachSet(t, func(t *testing.T) {
			d, rows, in := dtypes[int(dtype)%len(dtypes)], int(n)%40, int(in)%600+1
			out := int(out) % min(150, 1<<13/in/max(rows, 1)+1) // a small product of any length
			testMultiply[float32](t, d, inOut, rows, in, out)
			testMultiply[float64](t, d, inOut, rows, in, out)
		})
	})
}
