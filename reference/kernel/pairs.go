package kernel

import "math"

// MultipliesPairs reports whether the processor has instructions for the products of ResetPairs. Otherwise they take far longer
// than those of float32.
func MultipliesPairs() bool { return use.pairs.block != nil }

// packPairs packs the weights of the pairs of terms [k, k+steps) and the outputs [j, j+outs) into dst as [step][PanelWidth]. 32
// bits hold a pair of bfloat16, the term of even number in the lower half. After an odd number of terms follows a zero.
func packPairs(dst []float32, w *Matrix, k, steps, j, outs int, wide []float32) {
	const width = panelBytes / 4
	dst = dst[:steps*width]
	size, packed := int(w.DType.Size()), 0
	if whole := min(steps, w.In()/2-k); outs == width && whole > 0 {
		src := w.Data[w.offset(2*k, j) : w.offset(2*(k+whole)-1, j+width-1)+size]
		packed = use.pairs.pack(dst, w.DType, w.InOut, src, w.Stride*size, whole)
	}
	for t := packed; t < steps && w.InOut; t++ {
		even, odd := wide[:outs], wide[outs:][:outs]
		Widen(even, w.DType, w.Data[w.offset(2*(k+t), j):][:outs*size])
		if clear(odd); 2*(k+t)+1 < w.In() {
			Widen(odd, w.DType, w.Data[w.offset(2*(k+t)+1, j):][:outs*size])
		}
		for o := range outs {
			dst[t*width+o] = pairOf(even[o], odd[o])
		}
	}
	if w.InOut || packed == steps {
		return
	}
	for o := range outs {
		wide := wide[:min(2*steps, w.In()-2*k)-2*packed]
		Widen(wide, w.DType, w.Data[w.offset(2*(k+packed), j+o):][:len(wide)*size])
		scatterPairs(dst[packed*width+o:], width, wide, steps-packed)
	}
}

// scatterPairs writes so many pairs of elements into a column of rows of that width. A missing last element is zero.
func scatterPairs(column []float32, width int, elements []float32, pairs int) {
	for k := range pairs {
		odd := float32(0)
		if 2*k+1 < len(elements) {
			odd = elements[2*k+1]
		}
		column[k*width] = pairOf(elements[2*k], odd)
	}
}

// pairOf returns 32 bits with two numbers rounded to bfloat16 as VCVTNE2PS2BF16 does: subnormal ones are zero.
func pairOf(even, odd float32) float32 {
	return math.Float32frombits(math.Float32bits(RoundBF16(flush(even)))>>16 | math.Float32bits(RoundBF16(flush(odd)))&0xffff0000)
}

// genericPairs is the twin of the tiles of pairs in assembly. They add the products of a pair as VDPBF16PS does: that of odd
// number first (Intel's manual, volume 2).
func genericPairs(rows, panels int, c []float32, ldc int, a []float32, lda int, b []float32, k int, fresh bool, _ *lines) {
	const width = panelBytes / 4
	for r := range rows {
		for p := range panels {
			sums := (*[width]float32)(c[r*ldc+p*width:])
			var own [width]float32
			to := sums
			if fresh {
				to = &own
			}
			for i := range k {
				x, weights := math.Float32bits(a[i*lda+r]), (*[width]float32)(b[(p*BlockTerms+i)*width:])
				even, odd := flush(math.Float32frombits(x<<16)), flush(math.Float32frombits(x&0xffff0000))
				for j := range to {
					w := math.Float32bits(weights[j])
					sum := fmaFlushing(odd, flush(math.Float32frombits(w&0xffff0000)), flush(to[j]))
					to[j] = fmaFlushing(even, flush(math.Float32frombits(w<<16)), sum)
				}
			}
			if fresh {
				for j := range sums {
					sums[j] += own[j]
				}
			}
		}
	}
}

// flush returns zero, of the same sign, for a subnormal number.
func flush(x float32) float32 {
	if bits := math.Float32bits(x); bits&0x7f800000 == 0 {
		return math.Float32frombits(bits & 0x80000000)
	}
	return x
}

// fmaFlushing returns x·y + z with one rounding to 24 bits, or zero if the result is below the normal numbers. x and y are
// bfloat16, and none of the three is subnormal.
func fmaFlushing(x, y, z float32) float32 {
	const small, scale = 0x1p-100, 0x1p100
	product, addend := float64(x)*float64(y), float64(z)
	if math.Abs(product) >= small || math.Abs(addend) >= small { // the sum is 0, or at least a unit of one of them: a normal number
		return addOnce(product, addend)
	}
	sum := addOnce(product*scale, addend*scale) // rounding a subnormal number would leave it fewer bits
	if math.Abs(float64(sum)) < 0x1p-126*scale {
		return float32(math.Copysign(0, float64(sum)))
	}
	return sum / scale
}
