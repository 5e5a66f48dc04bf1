package reference

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestDecodeGolden compares decoding one token at a time, from the state after half of the row, with
// JAX.
func TestDecodeGolden(t *testing.T) {
	for _, dir := range cases(t) {
		c, m := openCase(t, dir)
		golden, meta := tryGolden(t, dir, "jax")
		if golden == nil || c.DType == "float16" {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			start, err := strconv.Atoi(meta["decode_start"])
			if err != nil {
				t.Fatal(err)
			}
			tolerance := 2e-5
			if c.DType == "bfloat16" {
				m.Arithmetic.Precision = BFloat16
				tolerance = 2e-2
			}
			tokens, want := golden["tokens"].int32s(), golden["decode.logits"].float32s()
			cuts := []int{0, start}
			for at := start + 1; at <= c.Length; at++ {
				cuts = append(cuts, at)
			}
			all := inPieces(t, m, c.Batch, tokens, nil, cuts)["logits"]
			vocab := m.Config.VocabSize
			var got Activations // from position start-1 on, as the golden file has it
			for b := range c.Batch {
				got.Float32 = append(got.Float32, all.Float32[(b*c.Length+start-1)*vocab:(b+1)*c.Length*vocab]...)
			}
			d := difference(got, want)
			t.Logf("differs by %.2g", d)
			if !(d <= tolerance) {
				t.Errorf("differs by %.3g of the largest value, more than %.1g", d, tolerance)
			}
		})
	}
}

// inPieces runs the rows in pieces that begin at cuts, with a state between them, and returns the
// results joined as one pass would give them.
func inPieces(t *testing.T, m *Model, batch int, tokens, positions []int32, cuts []int) map[string]Activations {
	t.Helper()
	length := len(tokens) / batch
	state := m.NewState(batch)
	all := map[string]Activations{}
	for i, from := range cuts {
		to := length
		if i+1 < len(cuts) {
			to = cuts[i+1]
		}
		if from == to {
			continue
		}
		p := Pass{Batch: batch, State: state}
		for b := range batch {
			p.Tokens = append(p.Tokens, tokens[b*length+from:b*length+to]...)
			if positions != nil {
				p.Positions = append(p.Positions, positions[b*length+from:b*length+to]...)
			}
		}
		for name, a := range results(t, m, p) {
			whole, ok := all[name]
			if !ok {
				whole = Activations{Batch: batch, Length: length, Width: a.Width}
				if a.Float64 != nil {
					whole.Float64 = make([]float64, batch*length*a.Width)
				} else {
					whole.Float32 = make([]float32, batch*length*a.Width)
				}
				all[name] = whole
			}
			for b := range batch {
				at, n := (b*length+from)*a.Width, (to-from)*a.Width
				if a.Float64 != nil {
					copy(whole.Float64[at:], a.Float64[b*n:][:n])
				} else {
					copy(whole.Float32[at:], a.Float32[b*n:][:n])
				}
			}
		}
		if state.Tokens() != to {
			t.Fatalf("the state has seen %d tokens, not %d", state.Tokens(), to)
		}
	}
	return all
}

// sameBits fails the test for each result that differs.
func sameBits(t *testing.T, want, got map[string]Activations) {
	t.Helper()
	for name, w := range want {
		g := got[name]
		if !slices.Equal(w.Float32, g.Float32) || !slices.Equal(w.Float64, g.Float64) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestPiecesEqualOnePass: passes over pieces of a row give the bits of one pass over all of it, in
// every semantics and precision, with documents that begin anywhere, including at the cuts.
func TestPiecesEqualOnePass(t *testing.T) {
	for _, name := range fixtures {
		c, m := openCase(t, filepath.Join("..", "testdata", name))
		rng := rand.New(rand.NewPCG(1, 2))
		length := 40
		tokens, positions := make([]int32, c.Batch*length), make([]int32, c.Batch*length)
		for b := range c.Batch {
			next := int32(0)
			for i := range length {
				switch {
				case i > 0 && rng.IntN(12) == 0:
					next = 0
				case rng.IntN(20) == 0:
					next += 5 // a gap: a boundary in transformers 5 only
				}
				tokens[b*length+i], positions[b*length+i] = int32(rng.IntN(m.Config.VocabSize)), next
				next++
			}
		}
		for semantics := range Transformers5 + 1 {
			for precision := range Fast + 1 {
				t.Run(fmt.Sprint(name, "/", semantics, "/", precision), func(t *testing.T) {
					m.Semantics, m.Arithmetic.Precision = semantics, precision
					whole := results(t, m, Pass{Tokens: tokens, Batch: c.Batch, Positions: positions})
					var single []int
					for i := range length {
						single = append(single, i)
					}
					for _, cuts := range [][]int{{0, 1}, {0, 2, 5, 6, 19}, {0, 30}, single} {
						sameBits(t, whole, inPieces(t, m, c.Batch, tokens, positions, cuts))
					}
				})
			}
		}
	}
}

// TestStateIsBounded: the size of the state does not depend on the number of tokens.
func TestStateIsBounded(t *testing.T) {
	_, m := openCase(t, filepath.Join("..", "testdata", "odd-griffin"))
	size := func(n int) (total int) {
		state := m.NewState(1)
		for i := range n {
			if err := m.Run(context.Background(), Pass{Tokens: []int32{int32(i % 7)}, Batch: 1, State: state}); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range state.float32 {
			total += cap(b.h) + cap(b.tail)
			for r := range b.keys {
				total += cap(b.keys[r].slots) + cap(b.values[r].slots)
			}
		}
		return total
	}
	if few, many := size(5), size(60); few != many {
		t.Errorf("%d numbers after 5 tokens, %d after 60", few, many)
	}
	head, window := m.Config.HeadDim(), m.Config.AttentionWindow
	if got, want := size(60), 2*2*window*head+(1+3)*m.Config.LRUWidth; got != want {
		t.Errorf("%d numbers, want %d", got, want)
	}
}

// TestPositionsCountOn: without positions, a pass continues from the last position of each row, not
// from its number of tokens.
func TestPositionsCountOn(t *testing.T) {
	_, m := openCase(t, filepath.Join("..", "testdata", "odd-griffin"))
	first, second := []int32{1, 2, 3, 4, 5, 6}, []int32{7, 8, 9, 10}
	state, again := m.NewState(2), m.NewState(2)
	positions := []int32{0, 1, 2, 0, 1, 0}
	results(t, m, Pass{Tokens: first, Positions: positions, Batch: 2, State: state})
	results(t, m, Pass{Tokens: first, Positions: positions, Batch: 2, State: again})
	sameBits(t, results(t, m, Pass{Tokens: second, Positions: []int32{3, 4, 1, 2}, Batch: 2, State: state}),
		results(t, m, Pass{Tokens: second, Batch: 2, State: again}))
	sameBits(t, results(t, m, Pass{Tokens: second, Positions: []int32{0, 1, 0, 1}, Batch: 2}), results(t, m, Pass{Tokens: second, Batch: 2}))
}
