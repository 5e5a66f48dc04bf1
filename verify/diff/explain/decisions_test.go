package explain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// explained returns the explanation of the first pair as one line, "" for none.
func explained(t *testing.T, pairs ...*Pair) string {
	t.Helper()
	e, err := New(pairs).Explain(t.Context(), pairs[0])
	if err != nil {
		t.Fatal(err)
	}
	if e == nil {
		return ""
	}
	return oneLine(e)
}

func pairOf(name string, a, b array) *Pair {
	return &Pair{Name: name, A: a.tensor(name), B: b.tensor(name)}
}

// notSampled returns so many elements of n that no sample has.
func notSampled(n int64, some int) (out []int64) {
	sampled := sampleOf(n)
	for i := int64(0); len(out) < some; i++ {
		if _, ok := slices.BinarySearch(sampled, i); !ok {
			out = append(out, i)
		}
	}
	return out
}

// A tensor is a copy of another if all elements are, and the first of several that it is a copy of is named; tensors of one side are candidates.
func TestCopiesOfAllElements(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	of := func(n int64) array { return random(rng, tensor.F32, []int64{n}) }
	x, y, z := of(1000), of(1000), of(1000)
	changed := func(n int) array {
		b := y.clone()
		for _, i := range notSampled(1000, n) {
			b.values[i] = 7
		}
		return b
	}
	removed := &Pair{Name: "removed", A: y.tensor("removed")}
	added := &Pair{Name: "added", B: z.tensor("added")}
	eight, seven := []array{of(8), of(8)}, []array{of(7), of(7)}
	for name, tt := range map[string]struct {
		want  string
		pairs []*Pair
	}{
		"a copy":                              {"copied_from y", []*Pair{pairOf("x", x, y), pairOf("y", y, z)}},
		"1% was changed":                      {"copied_from y, then sparse", []*Pair{pairOf("x", x, changed(10)), pairOf("y", y, z)}},
		"2% was changed, and nothing sampled": {"other", []*Pair{pairOf("x", x, changed(20)), pairOf("y", y, z)}},
		"of a tensor that B lacks":            {"copied_from removed", []*Pair{pairOf("x", x, y), removed, added}},
		"of a tensor that A has twice":        {"copied_from y", []*Pair{pairOf("x", x, y), pairOf("y", y, z), pairOf("z", y, z)}},
		"of eight elements":                   {"swapped y", []*Pair{pairOf("x", eight[0], eight[1]), pairOf("y", eight[1], eight[0])}},
		"of seven elements":                   {"other", []*Pair{pairOf("x", seven[0], seven[1]), pairOf("y", seven[1], seven[0])}},
		"scaled, as another is too":           {"scaled", []*Pair{pairOf("x", x, scale(2)(rng, x)), pairOf("y", scale(4)(rng, x), z)}},
	} {
		if got := kindsOf(explained(t, tt.pairs...)); got != tt.want {
			t.Errorf("%s: %s, not %s", name, got, tt.want)
		}
	}
}

// broken is Data that cannot be read.
type broken struct{ err error }

func (b broken) Stream(int64) (io.ReadCloser, error) { return nil, b.err }

// Nothing is said of tensors of one side, of other numbers of elements, and of packed elements beside bytes. What cannot be read is an error.
func TestNothingToExplain(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 2))
	x := random(rng, tensor.F32, []int64{4, 6})
	packed := &tensor.Tensor{Name: "p", DType: tensor.F6E2M3, Shape: []int64{10, 20}, Data: stored{make([]byte, 150)}}
	for i := range 150 {
		packed.Data.(stored).content[i] = byte(rng.Uint32())
	}
	reversed := slices.Clone(packed.Data.(stored).content)
	slices.Reverse(reversed)
	empty := &tensor.Tensor{Name: "e", DType: tensor.F32, Shape: []int64{0, 3}, Data: stored{}}
	for name, tt := range map[string]struct {
		p    *Pair
		want string
	}{
		"only A":                 {&Pair{Name: "x", A: x.tensor("x")}, ""},
		"only B":                 {&Pair{Name: "x", B: x.tensor("x")}, ""},
		"fewer elements":         {pairOf("x", x, random(rng, tensor.F32, []int64{5, 4})), ""},
		"no elements":            {&Pair{Name: "e", A: empty, B: empty}, "other"},
		"packed, that are bytes": {&Pair{Name: "p", A: packed, B: &tensor.Tensor{Name: "p", DType: tensor.U8, Shape: []int64{150}, Data: stored{reversed}}}, ""},
		"bytes, that are packed": {&Pair{Name: "p", A: &tensor.Tensor{Name: "p", DType: tensor.U8, Shape: []int64{150}, Data: stored{reversed}}, B: packed}, ""},
	} {
		if got := explained(t, tt.p); got != tt.want {
			t.Errorf("%s: %q, not %q", name, got, tt.want)
		}
	}
	failed := errors.New("failed")
	p := pairOf("x", x, scale(2)(rng, x))
	for _, side := range []*tensor.Tensor{p.A, p.B} {
		data := side.Data
		side.Data = broken{failed}
		if e, err := New([]*Pair{p}).Explain(t.Context(), p); e != nil || !errors.Is(err, failed) {
			t.Errorf("%v, %v", e, err)
		}
		side.Data = data
	}
}

// Signatures are alike if 52 of 64 planes have both samples on one side, or on opposite sides, or if half of the single elements are the same; of
// small samples 60 planes.
func TestAlikeSignatures(t *testing.T) {
	planes := func(n int) uint64 { return 1<<n - 1 }
	for _, tt := range []struct {
		planes, single int // planes that differ, and elements that are the same
		narrow, want   bool
	}{
		{12, 0, false, true}, {13, 0, false, false}, {51, 0, false, false}, {52, 0, false, true}, {64, 0, false, true},
		{4, 0, true, true}, {5, 0, true, false}, {59, 0, true, false}, {60, 0, true, true},
		{32, 4, false, true}, {32, 3, false, false},
	} {
		a, b := signature{narrow: tt.narrow}, signature{narrow: tt.narrow, angle: planes(tt.planes)}
		for i := range a.single {
			if i >= tt.single {
				b.single[i] = 1
			}
		}
		if a.like(&b) != tt.want || b.like(&a) != tt.want {
			t.Errorf("%+v: %t", tt, !tt.want)
		}
	}
}

// The single elements of a signature are spread over the sample. Samples of few elements are narrow, and numbers beyond float32 do not hide the others.
func TestSignatureOfSample(t *testing.T) {
	x := &tensor.Tensor{DType: tensor.F64}
	rng := rand.New(rand.NewPCG(21, 3))
	sampleOf := func(n int) []uint64 {
		codes := make([]uint64, n)
		for i := range codes {
			codes[i] = math.Float64bits(rng.NormFloat64())
		}
		return codes
	}
	codes := sampleOf(80)
	base := signatureOf(x, codes)
	var matter []int
	for i := range codes {
		other := slices.Clone(codes)
		other[i] = math.Float64bits(1000)
		s, differ := signatureOf(x, other), 0
		for k := range s.single {
			if s.single[k] != base.single[k] {
				differ++
			}
		}
		if s.sum == base.sum || differ > 1 {
			t.Errorf("element %d: %d single elements differ", i, differ)
		}
		if differ == 1 {
			matter = append(matter, i)
		}
	}
	if want := []int{5, 15, 25, 35, 45, 55, 65, 75}; !slices.Equal(matter, want) {
		t.Errorf("single elements are %v, not %v", matter, want)
	}
	for n, narrow := range map[int]bool{0: true, 1: true, 63: true, 64: false, 256: false} {
		if s := signatureOf(x, sampleOf(n)); s.narrow != narrow {
			t.Errorf("%d elements: narrow %t", n, s.narrow)
		}
	}
	one, two, scaled := sampleOf(256), sampleOf(256), make([]uint64, 256)
	one[17], two[17] = math.Float64bits(1e300), math.Float64bits(1e300)
	for i, c := range one {
		scaled[i] = math.Float64bits(3 * valueOf(c))
	}
	a, b, c := signatureOf(x, one), signatureOf(x, two), signatureOf(x, scaled)
	if a.like(&b) || !a.like(&c) {
		t.Errorf("beside a very large number: alike %t, and scaled %t", a.like(&b), a.like(&c))
	}
}

// Few of very many tensors are looked at: those with the same sample, and those near the pair that may have been made of it, each once.
func TestNearPairs(t *testing.T) {
	c := &class{}
	same, like, unlike := signature{sum: 1}, signature{sum: 2}, signature{sum: 3, angle: 1<<32 - 1, single: [8]uint16{1, 1, 1, 1, 1, 1, 1, 1}}
	for i := range 200 {
		s := []signature{same, like, unlike}[i%3]
		if i == 7 {
			s.sum = 9
		}
		c.pairs, c.known, c.bySum = append(c.pairs, &Pair{at: int32(i)}), append(c.known, s), append(c.bySum, int32(i))
	}
	slices.SortStableFunc(c.bySum, func(i, j int32) int { return int(c.known[i].sum) - int(c.known[j].sum) })
	p := c.pairs[0]
	if equal := c.equal(1); len(equal) != maxEqual || equal[0] != 0 || equal[1] != 3 {
		t.Errorf("%v", equal)
	}
	for _, changed := range []bool{false, true} {
		sums, seen := map[uint64]int{}, map[*Pair]bool{}
		for _, q := range c.near(p, same, changed) {
			if q == p || seen[q] {
				t.Errorf("pair %d", q.at)
			}
			seen[q] = true
			sums[c.known[q.at].sum]++
		}
		want := fmt.Sprint(map[uint64]int{1: maxEqual - 1})
		if changed {
			want = fmt.Sprint(map[uint64]int{1: maxEqual - 1, 2: maxNear - 1, 9: 1})
		}
		if fmt.Sprint(sums) != want {
			t.Errorf("changed %t: %v, not %s", changed, sums, want)
		}
	}
}

// searchOf returns a search without what fingerprints tell.
func searchOf(t *testing.T, a, b array) *search {
	return &search{ctx: t.Context(), a: &fingerprint{tensor: a.tensor("a")}, b: &fingerprint{tensor: b.tensor("b")}, maxSteps: 2}
}

// All elements are counted that are not as a claim says, until there are more than a sparse difference has.
func TestCheckCountsAll(t *testing.T) {
	const n = 2 * pieceElements
	x := array{tensor.F32, []int64{n}, make([]float64, n)}
	for _, tt := range []struct{ first, second, want int64 }{
		{n / sparseShare, 10, n/sparseShare + 10}, {n/sparseShare - 1, 1, n / sparseShare}, {0, 3, 3}, {n/sparseShare + 1, 10, n/sparseShare + 1},
	} {
		y := x.clone()
		for i := range tt.first {
			y.values[i] = 1
		}
		for i := range tt.second {
			y.values[pieceElements+i] = 1
		}
		rest, err := searchOf(t, x, y).check([]*claim{{order: identity(x.shape)}})
		if err != nil || rest[0].n != tt.want {
			t.Errorf("%d and %d: %d, not %d; %v", tt.first, tt.second, rest[0].n, tt.want, err)
		}
	}
}

// A constant is narrowed by all elements that determine it, but for a few that leave nothing of it: 1.1% and eight.
func TestNarrow(t *testing.T) {
	f := numberFormats[tensor.F32]
	const n = 1000
	for _, tt := range []struct {
		name           string
		changed, zeros int // elements
		impossible     int // zeros that became numbers
		ok             bool
	}{
		{"all agree", 0, 0, 0, true}, {"few were changed", 19, 0, 0, true}, {"many were changed", 20, 0, 0, false},
		{"zeros, which say nothing", 19, 500, 0, true}, {"zeros that became numbers", 0, 0, 19, true}, {"more zeros that became numbers", 0, 0, 20, false},
		{"both", 10, 100, 10, false},
	} {
		a := array{tensor.F32, []int64{n}, make([]float64, n)}
		b := a.clone()
		for i := range n {
			switch {
			case i < tt.zeros:
			case i < tt.zeros+tt.impossible:
				b.values[i] = 5
			default:
				a.values[i] = 1 + float64(i)/8
				if b.values[i] = 3 * a.values[i]; i >= n-tt.changed {
					b.values[i]++
				}
			}
		}
		in, err := searchOf(t, a, b).narrow(identity(a.shape), interval{2.9, 3.1}, f, Scaled)
		if err != nil || in.has(3) != tt.ok || (in.low <= in.high) != tt.ok || tt.ok && in.high-in.low > 1e-6 {
			t.Errorf("%s: %v, %v", tt.name, in, err)
		}
	}
}

// Values are rounded to a format if nearly all are, eight at least; and nearly, if none is farther away than a step.
func TestRounds(t *testing.T) {
	f := numberFormats[tensor.BF16]
	nan, inf := math.NaN(), math.Inf(1)
	repeat := func(n int, x float64) []float64 { return slices.Repeat([]float64{x}, n) }
	for _, tt := range []struct {
		name           string
		a, b           []float64
		rounds, nearly bool
	}{
		{"rounded", repeat(8, 1.001), repeat(8, 1), true, true},
		{"seven", repeat(7, 1.001), repeat(7, 1), false, true},
		{"one of twelve a step farther", repeat(12, 1.001), append(repeat(11, 1), 1+1./128), true, true},
		{"two of twelve a step farther", repeat(12, 1.001), append(repeat(10, 1), 1+1./128, 1+1./128), false, true},
		{"one of twelve two steps farther", repeat(12, 1.001), append(repeat(11, 1), 1+2./128), true, false},
		{"in the other direction", repeat(12, -1.001), append(repeat(11, -1), -1+1./256), true, true},
		{"NaN in both", append(repeat(8, 1.001), nan), append(repeat(8, 1), nan), true, true},
		{"only NaN", repeat(12, nan), repeat(12, nan), true, true},
		{"two of nine became NaN", append(repeat(7, 1.001), 1, 1), append(repeat(7, 1), nan, nan), false, true},
		{"two of nine were NaN", append(repeat(7, 1.001), nan, nan), append(repeat(7, 1), 1, 1), false, true},
		{"infinite", repeat(8, 1e39), repeat(8, inf), true, true},
		{"of opposite sign", repeat(8, 1), repeat(8, -1), false, false},
		{"none", nil, nil, false, true},
	} {
		if rounds, nearly := f.rounds(tt.a, tt.b, f), f.nearlyRounds(tt.a, tt.b); rounds != tt.rounds || nearly != tt.nearly {
			t.Errorf("%s: rounds %t, nearly %t", tt.name, rounds, nearly)
		}
	}
}

// Constants that may be meant are in the interval, whatever their sign, and powers of two and quotients come before others.
func TestMeantConstants(t *testing.T) {
	for _, tt := range []struct {
		in    interval
		d     tensor.DType
		shape []int64
		first string // how the texts begin
		not   string // what they do not have
	}{
		{interval{0x1p-20, 0x1.8p-20}, tensor.F32, nil, "9.5367431640625e-07; 1e-06; ", ""},
		{interval{0, 0.6}, tensor.F32, nil, "0; ", "/"},
		{interval{0.2, 0.21}, tensor.F32, nil, "0.2; ÷ 1/5; ", ""},
		{interval{0.69999995, 0.69999999}, tensor.BF16, nil, "0.7; 0.7 in float32; 0.69999995; ", ""},
		{interval{-0.334, -0.333}, tensor.F32, []int64{9}, "-0.333; -1/3; ÷ -1/3; ", ""},
		{interval{22.6, 22.7}, tensor.F32, []int64{512}, "22.6; 22.627416997969522, sqrt(512); ", ""},
		{interval{-22.7, -22.6}, tensor.F32, []int64{512}, "-22.6; -22.627416997969522, sqrt(512); ", ""},
		{interval{0.0441, 0.0442}, tensor.F32, []int64{512}, "0.0441; 0.044194173824159216, 1/sqrt(512); ", ""},
		{interval{-0.0442, -0.0441}, tensor.F32, []int64{512}, "-0.0441; -0.044194173824159216, 1/sqrt(512); ", ""},
	} {
		var texts []string
		for _, c := range Scaled.constantsIn(tt.in, numberFormats[tt.d], tt.shape) {
			x := []float64{3}
			if c.apply(x); x[0] < 3*tt.in.low-1e-6 || x[0] > 3*tt.in.high+1e-6 {
				t.Errorf("%v: %+v makes %g of 3", tt.in, c, x[0])
			}
			text := c.text
			if c.divide {
				text = "÷ " + text
			}
			if c.inFloat32 {
				text += " in float32"
			}
			texts = append(texts, text)
		}
		if got := strings.Join(texts, "; "); !strings.HasPrefix(got, tt.first) || tt.not != "" && strings.Contains(got, tt.not) {
			t.Errorf("%v: %s, not %s", tt.in, got, tt.first)
		}
	}
	far := func(i int) interval { return interval{100 * float64(i), 100*float64(i) + 1} }
	for _, touching := range []interval{{0, 1}, {2, 3}} {
		all := append([]interval{{1, 2}, far(1), far(2)}, slices.Repeat([]interval{touching}, 5)...)
		if !overlap(append(all, far(3))) {
			t.Errorf("%v does not meet [1, 2]", touching)
		}
	}
	if best, n := deepest([]interval{{0, 1}, {5, 6}}); best != (interval{0, 1}) || n != 1 {
		t.Errorf("%v of %d", best, n)
	}
}

// An order is no order of blocks if the elements of a block are not moved together.
func TestOrdersOfBlocks(t *testing.T) {
	if got := describeOrder([]int32{2, 5, 0, 1, 4, 3}); got != "5 of 6 indices in another order: 2, 5, 0, 1, 4, 3" {
		t.Error(got)
	}
	o, ok := matchAxis([]uint64{5, 1, 5, 2, 3}, []uint64{3, 5, 1, 2, 5})
	if want := []int32{4, 0, 1, 3, 2}; !ok || !slices.Equal(o.table, want) {
		t.Errorf("%v, %t", o.table, ok)
	}
}

// closed is an io.Closer with an error.
type closed struct{ err error }

func (c closed) Close() error { return c.err }

// Expected elements are widened, and divided, also if their dtype stays. The first error of closing is returned.
func TestExpectedTypes(t *testing.T) {
	x := random(rand.New(rand.NewPCG(21, 5)), tensor.F32, []int64{6, 10})
	narrow := x.rounded(tensor.BF16)
	read := func(w *tensor.Tensor, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.Data.Stream(0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	wide := read(Expected("w", tensor.F64, []int64{120}, Part{Source: x.tensor("x"), View: tensor.RowMajor(60)}, Part{Source: narrow.tensor("y"), View: tensor.RowMajor(60)}))
	for i, v := range slices.Concat(x.values, narrow.values) {
		if got := math.Float64frombits(binary.LittleEndian.Uint64(wide[8*i:])); got != v {
			t.Fatalf("element %d is %g, not %g", i, got, v)
		}
	}
	divided := read(Expected("w", tensor.F32, []int64{60}, Part{Source: x.tensor("x"), View: tensor.RowMajor(60), Divide: 4}))
	if want := x.each(func(v float64) float64 { return v / 4 }).encode(); !bytes.Equal(divided, want) {
		t.Error("not divided")
	}
	one, two := errors.New("one"), errors.New("two")
	for _, tt := range []struct {
		all  closers
		want error
	}{{nil, nil}, {closers{closed{nil}, closed{two}}, two}, {closers{closed{one}, closed{two}}, one}, {closers{closed{one}, closed{nil}}, one}} {
		if got := tt.all.Close(); got != tt.want {
			t.Errorf("%v, not %v", got, tt.want)
		}
	}
}
