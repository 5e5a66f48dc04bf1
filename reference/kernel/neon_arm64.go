//go:build !noasm

package kernel

//go:generate sh -c "cd avo && go run ./neon -out ../tiles_arm64.s -stubs ../tiles_arm64.go"

func init() {
	neon := *use
	neon.name, neon.rows = "neon", len(tiles32NEON)
	neon.tile32, neon.tile64 = onePanel(tiles32NEON[:]), onePanel(tiles64NEON[:])
	available = append(available, &neon)
	use = &neon
}

type tileNEON[T Float] = func(c *T, ldc int, a *T, lda int, b *T, k int, fresh bool)

// The tiles of one panel, by rows-1.
var (
	tiles32NEON = [...]tileNEON[float32]{tile32x1NEON, tile32x2NEON, tile32x3NEON, tile32x4NEON}
	tiles64NEON = [...]tileNEON[float64]{tile64x1NEON, tile64x2NEON, tile64x3NEON, tile64x4NEON}
)

// onePanel returns the tile function of routines that multiply one panel.
func onePanel[T Float](routines []tileNEON[T]) func(rows, panels int, c []T, ldc int, a []T, lda int, b []T, k int, fresh bool, _ *lines) {
	return func(rows, panels int, c []T, ldc int, a []T, lda int, b []T, k int, fresh bool, _ *lines) {
		for p := range panels {
			routines[rows-1](&c[p*PanelWidth[T]()], ldc, &a[0], lda, &b[p*BlockTerms*PanelWidth[T]()], k, fresh)
		}
	}
}
