package explain

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The suite runs with other seeds by
//
//	go test ./verify/diff/explain -run TestExplain -explain.rounds 50 -explain.seed 7
var (
	suiteRounds = flag.Int("explain.rounds", 1, "how often each change is tried, each time with other random tensors")
	suiteSeed   = flag.Uint64("explain.seed", 1, "the seed of the random tensors")
)

// change is something that is done to a tensor, and the explanation that is expected.
type change struct {
	name string
	ok   func(x array) bool // whether it makes sense for such a tensor; nil for all
	do   func(rng *rand.Rand, x array) array
	want string // the kinds
	part string // of the line
}

func rank(n int) func(array) bool { return func(x array) bool { return len(x.shape) == n } }

func atLeast(n int) func(array) bool { return func(x array) bool { return len(x.shape) >= n } }

func floating(x array) bool { return isFloat(x.dtype) }

func both(f, g func(array) bool) func(array) bool {
	return func(x array) bool { return f(x) && g(x) }
}

// wide reports whether the dtype determines constants well.
func wide(x array) bool { return isFloat(x.dtype) && x.dtype.Size() >= 2 }

func large(x array) bool { return len(x.values) >= 200 }

// lastAxisOf reports whether the last axis has a multiple of n elements.
func lastAxisOf(n int64) func(array) bool {
	return func(x array) bool { return x.shape[len(x.shape)-1]%n == 0 }
}

func reverse(axis int) func(*rand.Rand, array) array {
	return func(_ *rand.Rand, x array) array { return x.along(axis, func(i, n int64) int64 { return n - 1 - i }) }
}

func roll(axis int) func(*rand.Rand, array) array {
	return func(_ *rand.Rand, x array) array {
		return x.along(axis, func(i, n int64) int64 { return (i + n - 1) % n })
	}
}

func shuffle(axis int) func(*rand.Rand, array) array {
	return func(rng *rand.Rand, x array) array {
		order := rng.Perm(int(x.shape[axis]))
		for order[0] == len(order)-1 || order[0] == 0 { // neither reversed nor as it was
			order = rng.Perm(len(order))
		}
		return x.along(axis, func(i, _ int64) int64 { return int64(order[i]) })
	}
}

func scale(c float64) func(*rand.Rand, array) array {
	return func(_ *rand.Rand, x array) array { return x.each(func(v float64) float64 { return v * c }) }
}

func plus(c float64) func(*rand.Rand, array) array {
	return func(_ *rand.Rand, x array) array { return x.each(func(v float64) float64 { return v + c }) }
}

func touch(n int) func(*rand.Rand, array) array {
	return func(rng *rand.Rand, x array) array { return x.touched(rng, n) }
}

func transpose(_ *rand.Rand, x array) array { return x.permuted(1, 0) }

func through(d tensor.DType) func(*rand.Rand, array) array {
	return func(_ *rand.Rand, x array) array { return x.rounded(d).rounded(x.dtype) }
}

// cut drops the bits that bfloat16 does not have.
func cut(_ *rand.Rand, x array) array {
	return x.each(func(v float64) float64 { return float64(math.Float32frombits(math.Float32bits(float32(v)) &^ 0xffff)) })
}

func cuttable(x array) bool { return x.dtype == tensor.F32 }

func succession(all ...func(*rand.Rand, array) array) func(*rand.Rand, array) array {
	return func(rng *rand.Rand, x array) array {
		for _, f := range all {
			x = f(rng, x)
		}
		return x
	}
}

// suiteChanges are changes of one tensor.
var suiteChanges = []change{
	{"zeroed", nil, func(_ *rand.Rand, x array) array { return x.each(func(float64) float64 { return 0 }) }, "zeroed", ""},
	{"filled", floating, func(_ *rand.Rand, x array) array { return x.each(func(float64) float64 { return 0.25 }) }, "zeroed, then added", "(0.25)"},
	{"transposed", rank(2), transpose, "transposed", ""},
	{"axes 2 0 1", rank(3), func(_ *rand.Rand, x array) array { return x.permuted(2, 0, 1) }, "permuted_axes", "axes 2, 0, 1"},
	{"axes 0 2 1", rank(3), func(_ *rand.Rand, x array) array { return x.permuted(0, 2, 1) }, "permuted_axes", "axes 0, 2, 1"},
	{"axes 3 1 0 2", rank(4), func(_ *rand.Rand, x array) array { return x.permuted(3, 1, 0, 2) }, "permuted_axes", "axes 3, 1, 0, 2"},
	{"reshaped", atLeast(2), func(_ *rand.Rand, x array) array { return x.reshaped(int64(len(x.values))) }, "reshaped", ""},
	{"reshaped, not transposed", both(rank(2), func(x array) bool { return x.shape[0] != x.shape[1] }), func(_ *rand.Rand, x array) array {
		return x.permuted(1, 0).reshaped(x.shape...)
	}, "transposed, then reshaped", ""},
	{"heads joined in another order", rank(3), func(_ *rand.Rand, x array) array {
		return x.permuted(1, 0, 2).reshaped(x.shape[0]*x.shape[1], x.shape[2])
	}, "permuted_axes, then reshaped", "axes 1, 0, 2"},
	{"unit axis added", nil, func(_ *rand.Rand, x array) array { return x.reshaped(slices.Concat(x.shape, []int64{1})...) }, "reshaped", "only axes of length 1 were added"},
	{"unit axis added, scaled", wide, func(_ *rand.Rand, x array) array {
		return x.each(func(v float64) float64 { return v / 2 }).reshaped(slices.Concat([]int64{1}, x.shape)...)
	}, "reshaped, then scaled", "by 0.5"},
	{"pruned 2:4", both(floating, lastAxisOf(4)), func(_ *rand.Rand, x array) array { return x.pruned(func(i int) bool { return i%4 < 2 }) }, "pruned", "2:4 "},
	{"pruned 1:4", both(floating, lastAxisOf(4)), func(_ *rand.Rand, x array) array { return x.pruned(func(i int) bool { return i%4 == 1 }) }, "pruned", "1:4 "},
	{"pruned 4:8", both(floating, lastAxisOf(8)), func(_ *rand.Rand, x array) array { return x.pruned(func(i int) bool { return i%8 < 4 }) }, "pruned", "4:8 "},
	{"pruned", both(floating, large), func(_ *rand.Rand, x array) array { return x.pruned(func(i int) bool { return i%7 > 1 }) }, "pruned", "elements were set to zero"},
	{"rows removed", nil, func(_ *rand.Rand, x array) array { return x.rows(0, x.shape[0]-2) }, "resized", "the first "},
	{"rows added", nil, func(rng *rand.Rand, x array) array { return x.appended(random(rng, x.dtype, x.shape)) }, "resized", "the first "},
	{"rows chosen", both(large, atLeast(2)), func(_ *rand.Rand, x array) array { return x.rows(2, x.shape[0]) }, "resized", "in the same order"},
	{"reversed first", nil, reverse(0), "reversed", "along axis 0"},
	{"reversed second", atLeast(2), reverse(1), "reversed", "along axis 1"},
	{"rolled", nil, roll(0), "block_permuted", "axis 0: indices rolled by 1"},
	{"rolled second", atLeast(2), roll(1), "block_permuted", "axis 1: indices rolled by 1"},
	{"halves", nil, func(_ *rand.Rand, x array) array { return x.along(0, func(i, n int64) int64 { return (i + n/2) % n }) },
		"block_permuted", "halves exchanged"},
	{"shuffled", nil, shuffle(0), "block_permuted", "axis 0"},
	{"shuffled second", atLeast(2), shuffle(1), "block_permuted", "axis 1"},
	{"scaled 2", floating, scale(2), "scaled", "by 2"},
	{"scaled -0.5", floating, scale(-0.5), "scaled", "by -0.5"},
	{"scaled 0.7", floating, scale(0.7), "scaled", ""},
	{"scaled 1/3", wide, func(_ *rand.Rand, x array) array { return x.each(func(v float64) float64 { return v / 3 }) }, "scaled", ""},
	{"scaled 1.7e-3", wide, scale(1.7e-3), "scaled", ""},
	{"added 0.5", wide, plus(0.5), "added", "(0.5)"},
	{"added -1.25", wide, plus(-1.25), "added", "(-1.25)"},
	{"sparse 1", large, touch(1), "sparse", "1 of "},
	{"sparse 2", large, touch(2), "sparse", "2 of "},
	{"transposed, sparse", both(rank(2), large), succession(transpose, touch(1)), "transposed, then sparse", "1 of "},
	{"axes, sparse", both(rank(3), large), succession(func(_ *rand.Rand, x array) array { return x.permuted(2, 1, 0) }, touch(2)),
		"permuted_axes, then sparse", "2 of "},
	{"reversed, sparse", large, succession(reverse(0), touch(1)), "reversed, then sparse", "1 of "},
	{"scaled, sparse", both(floating, large), succession(scale(0.5), touch(1)), "scaled, then sparse", "by 0.5"},
	{"scaled 0.3, sparse", both(wide, large), succession(scale(0.3), touch(2)), "scaled, then sparse", "2 of "},
	{"added, sparse", both(wide, large), succession(plus(3), touch(1)), "added, then sparse", "(3)"},
	{"transposed, scaled", both(rank(2), floating), succession(transpose, scale(0.25)), "transposed, then scaled", "by 0.25"},
	{"transposed, added", both(rank(2), wide), succession(transpose, plus(1)), "transposed, then added", "(1)"},
	{"transposed, reversed", rank(2), succession(transpose, reverse(0)), "transposed, then reversed", "along axis 0"},
	{"transposed, rolled", rank(2), succession(transpose, roll(1)), "transposed, then block_permuted", "axis 1: indices rolled by 1"},
	{"reversed, reversed", rank(2), succession(reverse(0), reverse(1)), "reversed, then reversed", ""},
	{"reversed, scaled", floating, succession(reverse(0), scale(3)), "reversed, then scaled", "by 3"},
	{"shuffled, shuffled", atLeast(2), succession(shuffle(0), shuffle(1)), "block_permuted, then block_permuted", ""},
}

// suiteChangesOfF32 are changes that round.
var suiteChangesOfF32 = []change{
	{"through bfloat16", nil, through(tensor.BF16), "rounded", "to bfloat16"},
	{"through float16", nil, through(tensor.F16), "rounded", "to float16"},
	{"through float8", nil, through(tensor.F8E4M3), "rounded", "to float8_e4m3fn"},
	{"cut to bfloat16", cuttable, cut, "truncated", "to bfloat16"},
	{"transposed, cut to bfloat16", both(rank(2), cuttable), succession(transpose, cut), "transposed, then truncated", ""},
	{"through bfloat16, sparse", large, succession(through(tensor.BF16), touch(1)), "rounded, then sparse", ""},
	{"scaled, through bfloat16", nil, succession(scale(0.7), through(tensor.BF16)), "scaled, then rounded", "to bfloat16"},
	{"transposed, through bfloat16", rank(2), succession(transpose, through(tensor.BF16)), "transposed, then rounded", ""},
	{"to bfloat16", nil, func(_ *rand.Rand, x array) array { return x.rounded(tensor.BF16) }, "rounded", "to bfloat16"},
	{"scaled to bfloat16", nil, func(_ *rand.Rand, x array) array {
		return array{tensor.BF16, x.shape, x.each(func(v float64) float64 { return v * 0.5 }).values}.rounded(tensor.BF16)
	}, "scaled", "by 0.5"},
}

// nearMisses are changes that nearly have an explanation.
var nearMisses = []change{
	{"rows of another tensor", both(wide, large), func(rng *rand.Rand, x array) array { return random(rng, x.dtype, x.shape).rows(1, x.shape[0]) }, "other", ""},
	{"pruned and changed", both(wide, large), func(_ *rand.Rand, x array) array {
		y := x.pruned(func(i int) bool { return i%7 > 1 })
		y.values[7*(len(y.values)/14)+2] = 3
		return y
	}, "other", ""},
	{"fresh values", nil, func(rng *rand.Rand, x array) array { return random(rng, x.dtype, x.shape) }, "other", ""},
	{"2% changed", both(floating, large), func(rng *rand.Rand, x array) array { return x.touched(rng, len(x.values)/50+1) }, "other", ""},
	{"transposed, 3% changed", both(rank(2), large), func(rng *rand.Rand, x array) array {
		return x.permuted(1, 0).touched(rng, len(x.values)*3/100)
	}, "other", ""},
	{"scaled by two constants", both(floating, large), func(_ *rand.Rand, x array) array {
		y := x.clone()
		for i := range y.values {
			y.values[i] *= 0.5 + float64(i%2)
		}
		return y.rounded(x.dtype)
	}, "other", ""},
	{"scaled and noise", both(wide, large), func(rng *rand.Rand, x array) array {
		return x.each(func(v float64) float64 { return v * (0.7 + 0.02*rng.NormFloat64()) })
	}, "other", ""},
	{"rounded towards zero", func(x array) bool { return x.dtype == tensor.F32 }, func(_ *rand.Rand, x array) array {
		return x.each(func(v float64) float64 {
			y := numberFormats[tensor.BF16].round(v)
			if (y > v) == (v > 0) && y != v {
				y = 2*v - y // on the other side, as far away
			}
			return y
		})
	}, "other", ""},
}

var suiteTypes = []tensor.DType{tensor.BF16, tensor.F16, tensor.F32, tensor.F64, tensor.F8E4M3, tensor.I32}

var suiteShapes = [][]int64{{40, 56}, {48, 48}, {300}, {6, 20, 28}, {12, 12, 12}, {4, 6, 8, 10}}

func TestExplain(t *testing.T) {
	if testing.Short() {
		t.Skip("many changes")
	}
	rng := rand.New(rand.NewPCG(*suiteSeed, 5))
	for range *suiteRounds {
		for _, d := range suiteTypes {
			for i, shape := range suiteShapes {
				if i > 3 && d != tensor.BF16 && d != tensor.F32 {
					continue // other dtypes are treated the same in more axes
				}
				t.Run(fmt.Sprint(d, shape), func(t *testing.T) {
					list := append(append([]change{}, suiteChanges...), nearMisses...)
					if d == tensor.F32 {
						list = append(list, suiteChangesOfF32...)
					}
					for _, c := range list {
						testChange(t, rng, c, random(rng, d, shape))
					}
				})
			}
		}
	}
}

// testChange makes one change in a checkpoint with other tensors of the same shape, some of which differ too.
func testChange(t *testing.T, rng *rand.Rand, c change, x array) {
	t.Helper()
	if c.ok != nil && !c.ok(x) {
		return
	}
	var pair checkpointPair
	same := random(rng, x.dtype, x.shape)
	pair.add("same", same, same)
	pair.add("x", x, c.do(rng, x))
	pair.add("other", random(rng, x.dtype, x.shape), random(rng, x.dtype, x.shape))
	got := pair.explanations(t)
	if kindsOf(got["x"]) != c.want || !strings.Contains(got["x"], c.part) {
		t.Errorf("%s: %s, not %s %s", c.name, got["x"], c.want, c.part)
	}
	if got["other"] != "other" {
		t.Errorf("%s: the other tensor: %s", c.name, got["other"])
	}
}
