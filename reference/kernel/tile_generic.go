package kernel

import "math"

// generic32 is the Go form of tile32x1 to tile32x6.
func generic32(rows int, c []float32, ldc int, a []float32, lda int, b []float32, k int) {
	const width = panelBytes / 4
	for r := range rows {
		sums := (*[width]float32)(c[r*ldc:])
		for i, x := range a[r*lda:][:k] {
			weights := (*[width]float32)(b[i*width:])
			for j := range sums {
				sums[j] = fma32(x, weights[j], sums[j])
			}
		}
	}
}

// generic64 is the Go form of tile64x1 to tile64x6.
func generic64(rows int, c []float64, ldc int, a []float64, lda int, b []float64, k int) {
	const width = panelBytes / 8
	for r := range rows {
		sums := (*[width]float64)(c[r*ldc:])
		for i, x := range a[r*lda:][:k] {
			weights := (*[width]float64)(b[i*width:])
			for j := range sums {
				sums[j] = math.FMA(x, weights[j], sums[j])
			}
		}
	}
}
