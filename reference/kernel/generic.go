package kernel

import "math"

// generic32 is the twin of the tiles of float32 in assembly.
func generic32(rows, panels int, c []float32, ldc int, a []float32, lda int, b []float32, k int, fresh bool, _ *lines) {
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
				x, weights := a[i*lda+r], (*[width]float32)(b[(p*BlockTerms+i)*width:])
				for j := range to {
					to[j] = fma32(x, weights[j], to[j])
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

// generic64 is the twin of the tiles of float64 in assembly.
func generic64(rows, panels int, c []float64, ldc int, a []float64, lda int, b []float64, k int, fresh bool, _ *lines) {
	const width = panelBytes / 8
	for r := range rows {
		for p := range panels {
			sums := (*[width]float64)(c[r*ldc+p*width:])
			var own [width]float64
			to := sums
			if fresh {
				to = &own
			}
			for i := range k {
				x, weights := a[i*lda+r], (*[width]float64)(b[(p*BlockTerms+i)*width:])
				for j := range to {
					to[j] = math.FMA(x, weights[j], to[j])
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
