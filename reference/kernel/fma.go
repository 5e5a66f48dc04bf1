package kernel

import "math"

// fma32 returns x·y + z with one rounding, as VFMADD231SS does. The product of two float32 is exact
// in float64, but rounding the sum to float64 and then to float32 can differ from rounding once.
// Rounding the sum to odd first (of the two float64 around it, the one whose last bit is set)
// keeps on which side of every float32 tie it lies, and float64 has more than the two extra bits
// that this needs (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
func fma32(x, y, z float32) float32 {
	product, addend := float64(x)*float64(y), float64(z)
	sum := product + addend
	back := sum - product // the error of the sum, exactly (Knuth's two-sum)
	lost := (product - (sum - back)) + (addend - back)
	if lost < 0 || lost > 0 { // not for NaN, the error of an infinite sum
		bits := math.Float64bits(sum)
		if bits&1 == 0 {
			if (lost > 0) == (sum > 0) {
				bits++
			} else {
				bits--
			}
			sum = math.Float64frombits(bits)
		}
	}
	return float32(sum)
}
