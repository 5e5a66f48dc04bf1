package explain

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// A rank is small from eight rows and columns on, whatever the size of what was added; after a transposition only if it leaves the tensor alike.
func TestLowRankLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	shaped := func(rows, cols int64) array { return weights(rng, tensor.F32, rows, cols) }
	eight, seven, x, square, tall, large := shaped(8, 64), shaped(7, 64), shaped(48, 64), shaped(48, 48), shaped(64, 12), shaped(100, 100)
	zeroRow := x.clone()
	clear(zeroRow.values[:64])
	for _, tt := range []struct {
		name string
		a, b array
		want string
	}{
		{"eight rows", eight, eight.merged(rng, 1, 1e-3), "low_rank (rank 1,"},
		{"seven rows", seven, seven.merged(rng, 1, 1e-3), "other"},
		{"of a quarter of the rows", x, x.merged(rng, 12, 1e-3), "low_rank (rank 12,"},
		{"of more", x, x.merged(rng, 13, 1e-3), "other"},
		{"large", x, x.merged(rng, 2, 1), "low_rank (rank 2,"},
		{"a row of zeros", zeroRow, zeroRow.merged(rng, 2, 1e-3), "low_rank (rank 2,"},
		{"of a quarter of the columns", tall, tall.merged(rng, 3, 1e-3), "low_rank (rank 3,"},
		{"of more of the columns", tall, tall.merged(rng, 4, 1e-3), "other"},
		{"transposed, and of a rank that a first sketch does not show", large, transposeOf(large).merged(rng, 25, 1e-3), "transposed, then low_rank (rank 25,"},
		{"transposed, and of too large a rank", large, transposeOf(large).merged(rng, 26, 1e-3), "other"},
		{"noise", x, x.each(func(v float64) float64 { return v + 1e-3*rng.NormFloat64() }), "other"},
		{"noise, transposed", square, transposeOf(square).each(func(v float64) float64 { return v + 1e-3*rng.NormFloat64() }), "other"},
		{"transposed", square, transposeOf(square).merged(rng, 2, 1e-3), "transposed, then low_rank (rank 2,"},
		{"transposed, and large", square, transposeOf(square).merged(rng, 2, 1), "other"},
		{"not finite", x, withNaN(x.merged(rng, 2, 1e-3)), "other"},
	} {
		if got := explained(t, pairOf("x", tt.a, tt.b)); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, not %s", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct {
		a, b float64
		want bool
	}{{1, 1, true}, {1.4, 1, true}, {1.5, 1, false}, {-1, 1, false}, {2.9, 2, true}, {3, 2, false}, {-2.1, -2, true}, {0, 0, false}} {
		if got := resemble(slices.Repeat([]float64{tt.a}, 3), slices.Repeat([]float64{tt.b}, 3)); got != tt.want {
			t.Errorf("%g and %g resemble each other: %t", tt.a, tt.b, got)
		}
	}
}

// Rows are taken until what is left is no more than may be.
func TestEliminate(t *testing.T) {
	diagonal := []float64{1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2} // 4 x 4
	twice := []float64{1, 2, 3, 2, 4, 6, 0, 1, 0}                         // 3 x 3, of rank 2
	for _, tt := range []struct {
		d           []float64
		rows, limit int
		left        float64
		want        int
	}{
		{diagonal, 4, 4, 0, 3}, {diagonal, 4, 4, 1, 2}, {diagonal, 4, 4, 4.9, 2}, {diagonal, 4, 4, 5, 1}, {diagonal, 4, 4, 14, 0}, {diagonal, 4, 4, 13.9, 1},
		{diagonal, 4, 3, 0, 3}, {diagonal, 4, 2, 0, 3}, {diagonal, 4, 1, 0, 2}, {twice, 3, 3, 1e-20, 2}, {make([]float64, 6), 2, 2, 0, 0},
	} {
		if got := eliminate(slices.Clone(tt.d), tt.rows, len(tt.d)/tt.rows, tt.limit, tt.left); got != tt.want {
			t.Errorf("%v, at most %d, down to %g: %d, not %d", tt.d, tt.limit, tt.left, got, tt.want)
		}
	}
}

// The rank of a patch is that of the difference, unless it is too large or rounding hides it.
func TestRankOfPatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 2))
	x := weights(rng, tensor.F32, 30, 40)
	of := func(a, b array) (int, bool) {
		p := newPatch(a.tensor("a"), b.tensor("b"))
		f, err := newFingerprint(t.Context(), a.tensor("a"), p.indices())
		if err != nil {
			t.Fatal(err)
		}
		g, err := newFingerprint(t.Context(), b.tensor("b"), p.indices())
		if err != nil {
			t.Fatal(err)
		}
		return p.rank(f, g, numberFormats[b.dtype])
	}
	infinite := x.clone()
	infinite.values[5] = math.Inf(1)
	for _, tt := range []struct {
		name string
		b    array
		rank int
		ok   bool
	}{
		{"rank 3", x.merged(rng, 3, 1), 3, true}, {"rank 15", x.merged(rng, 15, 1), 15, true}, {"full rank", weights(rng, tensor.F32, 30, 40), 15, false},
		{"rounded", x.rounded(tensor.BF16), 0, true}, {"NaN", withNaN(x), 0, false}, {"infinite", infinite, 0, false},
	} {
		if rank, ok := of(x, tt.b); rank != tt.rank || ok != tt.ok {
			t.Errorf("%s: %d, %t", tt.name, rank, ok)
		}
	}
	opposite := x.clone()
	opposite.values[5] = math.Inf(-1)
	for _, b := range []array{infinite, opposite} {
		if rank, ok := of(infinite, b); rank != 0 || ok {
			t.Errorf("infinite on both sides: %d, %t", rank, ok)
		}
	}
	if rank, ok := of(weights(rng, tensor.F32, 40, 12), weights(rng, tensor.F32, 40, 12)); rank != 6 || ok {
		t.Errorf("full rank of few columns: %d, %t", rank, ok)
	}
	if p := newPatch(x.tensor("a"), x.permuted(1, 0).tensor("b")); p != nil {
		t.Error("a patch of two shapes")
	}
	if p := newPatch(x.tensor("a"), x.reshaped(30, 1, 40).tensor("b")); p == nil || p.width != 40 || len(p.indices()) != 1200 {
		t.Error("no patch of a matrix with an axis of length 1")
	}
	cube := x.reshaped(30, 20, 2)
	if p := newPatch(cube.tensor("a"), cube.tensor("b")); p != nil || p.indices() != nil {
		t.Error("a patch of three axes")
	}
	if rank, ok := (*patch)(nil).rank(nil, nil, nil); rank != 0 || ok {
		t.Error("no patch has a rank")
	}
}

// A spectrum has the squares of the singular values, largest first, and its parts are the nearest matrices of their rank.
func TestSpectrum(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 3))
	const rows, cols, k = 20, 30, 4
	basis := orthonormal(randomOf(rng, rows*k), rows, k)
	right := orthonormal(randomOf(rng, cols*k), cols, k)
	for i := range k {
		for j := range k {
			dot := 0.0
			for r := range rows {
				dot += basis[r*k+i] * basis[r*k+j]
			}
			if want := map[bool]float64{true: 1}[i == j]; math.Abs(dot-want) > 1e-12 {
				t.Errorf("columns %d and %d: %g", i, j, dot)
			}
		}
	}
	singular := []float64{2, 5, 0.5, 1}
	c := make([]float64, k*cols)
	for i, s := range singular {
		for j := range cols {
			c[i*cols+j] = s * right[j*k+i]
		}
	}
	s := newSpectrum(c, k, cols)
	for i, want := range []float64{25, 4, 1, 0.25} {
		if math.Abs(s.values[i]-want) > 1e-9 {
			t.Errorf("value %d is %g, not %g", i, s.values[i], want)
		}
	}
	for r, want := range []float64{30.25, 5.25, 1.25, 0.25, 0} { // what is left
		if r == 0 {
			continue
		}
		e := s.truncate(basis, rows, r)
		left, rowShare, colShare := 0.0, 0.0, 0.0
		for i := range rows {
			for j := range cols {
				x := 0.0
				for n := range k {
					x += basis[i*k+n] * c[n*cols+j]
				}
				for n := range r {
					x -= e.left[i*r+n] * e.right[n*cols+j]
				}
				left += x * x
			}
			rowShare += e.rowShare[i]
		}
		for _, x := range e.colShare {
			colShare += x
		}
		if math.Abs(left-want) > 1e-9 || math.Abs(rowShare-float64(r)) > 1e-9 || math.Abs(colShare-float64(r)) > 1e-9 || !(e.slack > 0 && e.slack < 1e-12) {
			t.Errorf("rank %d: %g is left, not %g; shares %g and %g, slack %g", r, left, want, rowShare, colShare, e.slack)
		}
	}
}

// A difference is read in blocks of whole rows, and its elements that are not those of an estimate are counted with their indices.
func TestBlocksOfDifference(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 4))
	const rows, cols = 1100, 1000
	a := random(rng, tensor.F32, []int64{rows, cols})
	b := a.clone()
	for i := range b.values { // of rank 1
		b.values[i] += float64(1+i/cols%7) * float64(1+i%cols%5) / 4
	}
	b = b.rounded(tensor.F32)
	of := func(b array) *difference {
		return &difference{s: searchOf(t, a, b), order: identity(a.shape), format: numberFormats[tensor.F32], rows: rows, cols: cols}
	}
	if got := explained(t, pairOf("x", a, b)); got != "low_rank (rank 1, 100% of the energy)" {
		t.Error(got)
	}
	next, blocks := 0, 0
	finite, err := of(b).eachBlock(func(row, n int, block, values []float64) {
		if row != next || len(block) != n*cols || len(values) != len(block) {
			t.Errorf("row %d, not %d: %d rows of %d elements", row, next, n, len(block))
		}
		for i, x := range block {
			if at := row*cols + i; x != b.values[at]-a.values[at] || values[i] != b.values[at] {
				t.Fatalf("element %d", at)
			}
		}
		next += n
		blocks++
	})
	if err != nil || !finite || next != rows || blocks != 3 {
		t.Errorf("%d rows in %d blocks, finite %t, %v", next, blocks, finite, err)
	}
	e := estimate{rank: 2, left: make([]float64, 2*rows), right: make([]float64, 2*cols), rowShare: make([]float64, rows), colShare: make([]float64, cols), slack: 1e-6}
	for i := range rows {
		e.left[2*i+1] = float64(1+i%7) / 4
	}
	for i := range cols {
		e.right[cols+i] = float64(1 + i%5)
	}
	changed := []int{0, 999, 600 * cols, 1099*cols + 999}
	for _, i := range changed {
		b.values[i] += 0.5
	}
	d := of(b)
	d.noise = noise{maxRow: make([]float64, rows), maxCol: make([]float64, cols)}
	rest, _, left, err := d.compare(e)
	if err != nil || rest.n != int64(len(changed)) || math.Abs(left-0.25*float64(len(changed))) > 1e-3 {
		t.Fatalf("%d elements, %g left, %v", rest.n, left, err)
	}
	for k, i := range changed {
		c := rest.list[k]
		if !slices.Equal(c.Index, []int64{int64(i / cols), int64(i % cols)}) || math.Abs(float64(c.A)-a.values[i]) > 1e-6 || float64(c.B) != float64(float32(b.values[i])) {
			t.Errorf("%+v is element %d: %g became %g", c, i, a.values[i], b.values[i])
		}
	}
	p, unseen := newPatch(a.tensor("a"), b.tensor("b")), 700
	for slices.Contains(p.rows, int64(unseen)) {
		unseen++
	}
	b.values[unseen*cols+3] = math.NaN()
	if got := explained(t, pairOf("x", a, b)); got != "other" {
		t.Errorf("with NaN: %s", got)
	}
	if finite, err := of(b).eachBlock(func(int, int, []float64, []float64) {}); err != nil || finite {
		t.Errorf("finite %t, %v", finite, err)
	}
}

// The energy that is named is what rounding leaves of the difference.
func TestEnergyOfLowRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 5))
	x := weights(rng, tensor.BF16, 96, 200)
	y := x.merged(rng, 4, 2e-4)
	energy, rounding := 0.0, 0.0
	for i, v := range y.values {
		d := v - x.values[i]
		energy += d * d
		rounding += math.Pow(numberFormats[tensor.BF16].step(v), 2) / 12
	}
	e, err := New([]*Pair{pairOf("x", x, y)}).Explain(t.Context(), pairOf("x", x, y))
	if err != nil || e.Kind != LowRank {
		t.Fatalf("%s, %v", oneLine(e), err)
	}
	if left, want := 1-float64(e.Energy), rounding/energy; !(left >= want/3 && left <= 3*want) || want < 1e-4 || want > 0.1 {
		t.Errorf("%g of the energy is left, and rounding leaves %g", left, want)
	}
	if want := fmt.Sprintf(", %.4g%% of the energy", 100*float64(e.Energy)); !strings.HasSuffix(e.Detail, want) {
		t.Errorf("%s, not %s", e.Detail, want)
	}
}

// A number of a format has just the numbers around it that round to it, and infinities are truncated to themselves.
func TestTightPreimage(t *testing.T) {
	f := numberFormats[tensor.BF16]
	for y, want := range map[float64]interval{1.5: {1.5 - 0x1p-8, 1.5 + 0x1p-8}, 1: {1 - 0x1p-9, 1 + 0x1p-8}, -1.5: {-1.5 - 0x1p-8, -1.5 + 0x1p-8}, -1: {-1 - 0x1p-8, -1 + 0x1p-9}} {
		if got := f.preimage(y); got != want {
			t.Errorf("%g: %v, not %v", y, got, want)
		}
	}
	for _, x := range []float64{math.Inf(1), math.Inf(-1)} {
		if got := f.truncate(x); got != x {
			t.Errorf("%g is truncated to %g", x, got)
		}
	}
	if got := f.truncate(math.NaN()); got == got {
		t.Errorf("NaN is truncated to %g", got)
	}
}
