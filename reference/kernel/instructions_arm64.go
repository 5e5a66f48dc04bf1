package kernel

// On arm64, Go compiles x*y + z to one fused instruction, although the language does not guarantee it.
// If a trial shows that it did, fused32 gives the bits of generic32 many times faster.
func init() {
	if fuses() {
		fused := *use
		fused.name, fused.tile32 = "fused", fused32
		available = append(available, &fused)
		use = &fused
	}
}

// fuses reports whether fused32 rounds once: only then does (1 + 2⁻¹²)² − 1 keep its last bit.
func fuses() bool {
	a, b, c := []float32{1 + 0x1p-12}, make([]float32, panelBytes/4), make([]float32, panelBytes/4)
	for i := range b {
		b[i], c[i] = 1+0x1p-12, -1
	}
	fused32(1, 1, c, len(c), a, 1, b, 1, false, nil)
	for _, sum := range c {
		if sum != 0x1p-11+0x1p-24 {
			return false
		}
	}
	return true
}

// fused32 is generic32 with the fused instruction.
func fused32(rows, panels int, c []float32, ldc int, a []float32, lda int, b []float32, k int, fresh bool, _ *lines) {
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
					to[j] = x*weights[j] + to[j]
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
