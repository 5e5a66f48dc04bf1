package diff

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// isWide reports whether a dtype has integers that float64 cannot hold.
func isWide(d tensor.DType) bool { return d == tensor.I64 || d == tensor.U64 }

// rest computes what 64-bit integers are more than the nearest float64. The sum of both is exact, and two integers are the
// same if both parts are.
type rest func(code uint64) float64

// restOf returns nil for dtypes that float64 holds.
func restOf(d tensor.DType) rest {
	switch d {
	case tensor.I64:
		return func(code uint64) float64 {
			x := float64(int64(code))
			if x == 1<<63 {
				return float64(int64(code) - math.MaxInt64 - 1)
			}
			return float64(int64(code) - int64(x))
		}
	case tensor.U64:
		return func(code uint64) float64 {
			x := float64(code)
			if x == 1<<64 {
				return float64(int64(code)) // code - 1<<64
			}
			return float64(int64(code - uint64(x)))
		}
	}
	return nil
}

// decode sets dst to the rests of the elements in raw, which have as many numbers as lanes says; those of their imaginary parts
// are 0.
func (r rest) decode(dst []float64, raw []byte, lanes int) {
	clear(dst)
	if r == nil {
		return
	}
	for i := 0; i < len(dst); i += lanes {
		dst[i] = r(binary.LittleEndian.Uint64(raw[8*i/lanes:]))
	}
}

// wideDifference returns a - b for two numbers and their rests.
func wideDifference(a, b, restA, restB float64) float64 { return (a - b) + (restA - restB) }

// addWide is addValues for numbers with rests.
func (t *tally) addWide(x, y, restX, restY []float64, sizes *histogram) {
	for i, a := range x {
		b := y[i]
		if !(math.Abs(a) <= math.MaxFloat64 && math.Abs(b) <= math.MaxFloat64) { // a float of the other side
			t.addNonFinite(a, b)
			continue
		}
		distance := math.Abs(wideDifference(a, b, restX[i], restY[i]))
		t.maxAbs = max(t.maxAbs, distance)
		sizes[math.Float64bits(distance)>>52]++
		t.finite++
		t.sumAbs += distance
		t.dd += distance * distance
		t.aa += a * a
		t.bb += b * b
		t.ab += a * b
	}
}

// wideText writes a number with its rest, which together are a 64-bit integer or a number without rest.
func wideText(x, rest float64) string {
	const limit = 1 << 63
	switch {
	case x != math.Trunc(x) || math.Abs(x) > 2*limit:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case x >= limit && (x > limit || rest >= 0):
		if x == 2*limit {
			return strconv.FormatUint(math.MaxUint64-uint64(-rest)+1, 10)
		}
		return strconv.FormatUint(uint64(x)+uint64(int64(rest)), 10)
	case x == limit:
		return strconv.FormatInt(math.MaxInt64+int64(rest)+1, 10)
	}
	return strconv.FormatInt(int64(x)+int64(rest), 10)
}
