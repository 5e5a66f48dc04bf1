package kernel

import "math"

// fma32 returns x·y + z with one rounding, as VFMADD231SS does. The product of two float32 is exact in
// float64, but rounding the sum to float64 and then to float32 can differ from rounding once. addOnce
// therefore rounds the inexact sum to odd first: to the one of the two neighbouring float64 whose last
// bit is set. That keeps the sum on its side of every tie between two float32, and float64 has more
// than the two extra bits that this needs (Boldo and Melquiond, "Emulation of FMA and correctly rounded
// sums: proved algorithms using rounding to odd", 2008).
func fma32(x, y, z float32) float32 { return addOnce(float64(x)*float64(y), float64(z)) }

// addOnce returns the sum of an exact product of two float32 and a float32, rounded once.
func addOnce(product, addend float64) float32 {
	sum := product + addend
	part := sum - product // Knuth's two-sum gives the exact error of the sum
	lost := (product - (sum - part)) + (addend - part)
	if lost < 0 || lost > 0 { // false for NaN, the error of an infinite sum
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
