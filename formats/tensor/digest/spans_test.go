package digest

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSpans adds ranges in any order to few and to many, and compares the set with a list of all offsets.
func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct{ size, longest int64 }{{40, 10}, {40_000, 1}, {40_000, 3}, {40_000, 3000}} {
		var s spans
		in := make([]bool, tt.size)
		var before spans
		for range min(tt.size, 30_000) {
			from := r.Int64N(tt.size)
			to := min(from+r.Int64N(tt.longest)+1, tt.size)
			var want []span
			for at := from; at < to; at++ {
				if !in[at] {
					if n := len(want); n > 0 && want[n-1].to == at {
						want[n-1].to++
					} else {
						want = append(want, span{at, at + 1})
					}
				}
				in[at] = true
			}
			if got := s.add(from, to); !slices.Equal(got, want) {
				t.Fatalf("adding [%d, %d) gives %v, want %v", from, to, got, want)
			}
			if r.IntN(1000) == 0 {
				before = s.clone()
			}
			if first := slices.Index(in, false); first >= 0 && s.prefix() != int64(first) {
				t.Fatalf("prefix is %d, want %d", s.prefix(), first)
			}
		}
		at := int64(-1)
		for b, block := range s {
			if len(block) == 0 || len(block) > maxBlock {
				t.Fatalf("block %d has %d ranges", b, len(block))
			}
			for _, x := range block {
				if x.from <= at || x.to <= x.from {
					t.Fatalf("%v follows a range that ends at %d", x, at)
				}
				at = x.to
			}
		}
		if s.add(0, tt.size); len(s) != 1 || len(s[0]) != 1 || s.prefix() != tt.size || tt.longest < 10 && len(before) == 1 {
			t.Fatalf("all of %d is %v; before it was %v", tt.size, s, before)
		}
	}
}
