package reference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// oddGriffin returns the fixture odd-griffin and a packed pass of it.
func oddGriffin(t testing.TB) (*Model, Pass) {
	dir := filepath.Join("..", "testdata", "odd-griffin")
	c, m := openCase(t, dir)
	golden, _ := tryGolden(t, dir, "jax")
	return m, Pass{Tokens: golden["tokens"].int32s(), Positions: golden["packed.positions"].int32s(), Batch: c.Batch}
}

// TestReproducible: the number of threads, the other rows of a batch, and how weights are stored and
// read change no bit.
func TestReproducible(t *testing.T) {
	m, p := oddGriffin(t)
	for _, arithmetic := range []Arithmetic{{}, {Precision: Float64}, {Precision: BFloat16}, {Order: 7}, {Precision: BFloat16, Fused: true}, {Precision: Fast}} {
		m.Arithmetic, m.Threads = arithmetic, 1
		want := results(t, m, p)
		for _, threads := range []int{2, 3, 16} {
			m.Threads = threads
			sameBits(t, want, results(t, m, p))
		}
		other := *m
		other.Weights = transposed{m.Weights}
		sameBits(t, want, results(t, &other, p))

		length := len(p.Tokens) / p.Batch
		for b := range p.Batch {
			alone := results(t, m, Pass{Tokens: p.Tokens[b*length:][:length], Positions: p.Positions[b*length:][:length], Batch: 1})
			for name, a := range alone {
				n := a.Len()
				w := want[name]
				if a.Float64 != nil && !slices.Equal(a.Float64, w.Float64[b*n:][:n]) || a.Float32 != nil && !slices.Equal(a.Float32, w.Float32[b*n:][:n]) {
					t.Errorf("%v: %s of row %d differs if the row runs alone", arithmetic, name, b)
				}
			}
		}
	}
}

// TestOrdersDiffer: an Order changes roundings and nothing else.
func TestOrdersDiffer(t *testing.T) {
	m, p := oddGriffin(t)
	m.Arithmetic.Precision = Float64
	truth := results(t, m, p)["logits"]
	seen := map[float32]bool{}
	for order := range uint64(8) {
		m.Arithmetic = Arithmetic{Order: order}
		got := results(t, m, p)["logits"]
		var want []float32
		for i := range truth.Len() {
			want = append(want, float32(truth.At(i)))
		}
		if d := difference(got, want); d > 2e-6 {
			t.Errorf("order %d is off by %.2g", order, d)
		}
		seen[got.Float32[got.Len()-1]] = true
	}
	if len(seen) < 3 {
		t.Errorf("8 orders gave only %d results", len(seen))
	}
}

// TestPartialPass: a pass over part of the blocks, from an activation of an earlier pass, gives the
// bits of that pass.
func TestPartialPass(t *testing.T) {
	m, p := oddGriffin(t)
	for _, precision := range []Precision{Float32, Float64, BFloat16} {
		m.Arithmetic.Precision = precision
		want := results(t, m, p)
		for first := range len(m.Config.BlockTypes) + 1 {
			input := want[fmt.Sprint("hidden.", first)]
			part := p
			part.First, part.Input = first, &input
			got := results(t, m, part)
			for name := range got {
				sameBits(t, map[string]Activations{name: want[name]}, got)
			}
			if _, ok := got["logits"]; !ok {
				t.Error("the pass did not compute the logits")
			}
			if first == len(m.Config.BlockTypes) {
				continue
			}
			part.End = first + 1
			got = results(t, m, part)
			if len(got) != 3 {
				t.Errorf("one block gave %d results, want its input, temporal mixing and output", len(got))
			}
			sameBits(t, map[string]Activations{fmt.Sprint("hidden.", first+1): want[fmt.Sprint("hidden.", first+1)]}, got)
		}
	}
}

// TestHeads: logits by a separate matrix, and transformers with a soft cap of 0.
func TestHeads(t *testing.T) {
	m, p := oddGriffin(t)
	want := results(t, m, p)["logits"]
	m.Config.SeparateHead = true
	head := m.Weights.(huggingFace)
	head["lm_head.weight"] = head["model.embed_tokens.weight"]
	if got := results(t, m, p)["logits"]; !slices.Equal(got.Float32, want.Float32) {
		t.Error("the same matrix as a separate head gives other logits")
	}
	zero := slices.Clone(head["lm_head.weight"].data)
	clear(zero)
	head["lm_head.weight"] = stored{tensor.F32, head["lm_head.weight"].shape, zero}
	if got := results(t, m, p)["logits"]; slices.ContainsFunc(got.Float32, func(x float32) bool { return x != 0 }) {
		t.Error("a head of zeros gives other logits than 0")
	}
	delete(head, "lm_head.weight")
	m.Config.SeparateHead, m.Config.LogitsSoftCap, m.Semantics = false, 0, Transformers5
	if got := results(t, m, p)["logits"]; slices.ContainsFunc(got.Float32, func(x float32) bool { return x != 0 }) {
		t.Error("transformers' logits with a cap of 0 are all 0")
	}
}

func TestSkipLogitsAndStop(t *testing.T) {
	m, p := oddGriffin(t)
	p.SkipLogits = true
	if got := results(t, m, p); len(got["final_norm"].Float32) == 0 || len(got["logits"].Float32) > 0 {
		t.Error("want the final norm and no logits")
	}
	stop := errors.New("seen enough")
	p.Observe = func(o Observation) error {
		if o.Site == Temporal {
			return stop
		}
		return nil
	}
	if err := m.Run(context.Background(), p); err != stop {
		t.Errorf("got %v", err)
	}
	p.Observe = nil
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Run(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestBadPasses(t *testing.T) {
	m, good := oddGriffin(t)
	other := *m
	other.Arithmetic.Precision = Float64
	for _, c := range []struct {
		name   string
		change func(p *Pass, m *Model)
		want   string
	}{
		{"no tokens", func(p *Pass, m *Model) { p.Tokens = nil }, "0 tokens"},
		{"uneven rows", func(p *Pass, m *Model) { p.Tokens = p.Tokens[1:] }, "cannot be divided into 2 rows"},
		{"no rows", func(p *Pass, m *Model) { p.Batch = 0 }, "cannot be divided into 0 rows"},
		{"token too large", func(p *Pass, m *Model) { p.Tokens = slices.Repeat([]int32{61}, 4) }, "outside the vocabulary of 61"},
		{"negative token", func(p *Pass, m *Model) { p.Tokens = slices.Repeat([]int32{-1}, 4) }, "outside the vocabulary"},
		{"positions missing", func(p *Pass, m *Model) { p.Positions = p.Positions[2:] }, "positions for"},
		{"negative position", func(p *Pass, m *Model) { p.Positions = slices.Repeat([]int32{-3}, len(p.Tokens)) }, "position 0 is -3"},
		{"block out of range", func(p *Pass, m *Model) { p.First = 4 }, "blocks [4, 0)"},
		{"blocks backwards", func(p *Pass, m *Model) { p.First, p.End = 2, 1 }, "blocks [2, 1)"},
		{"no input", func(p *Pass, m *Model) { p.First = 1 }, "needs an input"},
		{"short input", func(p *Pass, m *Model) { p.Input = &Activations{Float32: make([]float32, 3)} }, "the input has 3 elements"},
		{"state of another batch", func(p *Pass, m *Model) { p.State = m.NewState(3) }, "another number of rows"},
		{"state of another precision", func(p *Pass, m *Model) { p.State = other.NewState(2) }, "another depth or precision"},
		{"state and part", func(p *Pass, m *Model) { p.State, p.End = m.NewState(2), 1 }, "cannot have a state"},
		{"no heads", func(p *Pass, m *Model) { m.Config.NumHeads = 0 }, "number of heads is 0"},
		{"heads do not divide", func(p *Pass, m *Model) { m.Config.NumHeads = 5 }, "cannot be divided into 5 heads"},
		{"no window", func(p *Pass, m *Model) { m.Config.AttentionWindow = 0 }, "window is 0"},
		{"unknown block", func(p *Pass, m *Model) { m.Config.BlockTypes = []BlockType{9} }, "unknown block type 9"},
		{"other width", func(p *Pass, m *Model) { m.Config.Width = 48 }, "embedding: shape is [61 36], want [61 48]"},
		{"other lru width", func(p *Pass, m *Model) { m.Config.LRUWidth = 33 }, "block 1: recurrent.linear_y.kernel: shape is [30 36], want [33 36]"},
		{"more blocks", func(p *Pass, m *Model) { m.Config.BlockTypes = append(m.Config.BlockTypes, Recurrent) }, "no tensor model.layers.3."},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, model := good, *m
			model.Config.BlockTypes = slices.Clone(m.Config.BlockTypes)
			c.change(&p, &model)
			err := model.Run(context.Background(), p)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

// broken is Weights in which one parameter is changed.
type broken struct {
	Weights
	name   string
	change func(p *Parameter)
}

func (b broken) Parameter(block int, name string) (*Parameter, error) {
	p, err := b.Weights.Parameter(block, name)
	if err == nil && name == b.name {
		b.change(p)
	}
	return p, err
}

// closing counts the parameters that have not been closed.
type closing struct {
	io.ReaderAt
	open *int
}

func (c closing) Close() error { *c.open--; return nil }

// TestBrokenWeights: a parameter that cannot be used gives an error with its name, and all opened
// parameters are closed.
func TestBrokenWeights(t *testing.T) {
	m, p := oddGriffin(t)
	names := map[string]bool{}
	m2 := *m
	m2.Weights = recorder{m.Weights, names}
	results(t, &m2, p)
	if len(names) < 25 {
		t.Fatalf("only %d parameters were asked for", len(names))
	}
	for name := range names {
		for _, c := range []struct {
			what   string
			change func(p *Parameter)
			want   string
		}{
			{"truncated in memory", func(p *Parameter) { p.Data = p.Data.(Bytes)[:len(p.Data.(Bytes))/2] }, "unexpected EOF"},
			{"truncated file", func(p *Parameter) { p.Data = bytes.NewReader(p.Data.(Bytes)[:len(p.Data.(Bytes))/2]) }, "unexpected EOF"},
			{"integers", func(p *Parameter) { p.DType = tensor.I32 }, "dtype int32"},
			{"another shape", func(p *Parameter) { p.Shape = []int64{7, 3} }, "shape is [7 3]"},
		} {
			broke := *m
			open := 0
			broke.Weights = broken{m.Weights, name, c.change}
			if !strings.HasSuffix(c.what, "memory") { // counting hides that the data is in memory
				broke.Weights = counting{broke.Weights, &open}
			}
			err := broke.Run(context.Background(), p)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: got %v", name, c.what, err)
			}
			if open != 0 {
				t.Errorf("%s %s: %d parameters were not closed", name, c.what, open)
			}
		}
	}
	open := 0
	m2.Weights = counting{m.Weights, &open}
	results(t, &m2, p)
	if open != 0 {
		t.Errorf("%d parameters were not closed", open)
	}
}

// recorder is Weights that records the names asked for.
type recorder struct {
	Weights
	names map[string]bool
}

func (r recorder) Parameter(block int, name string) (*Parameter, error) {
	r.names[name] = true
	return r.Weights.Parameter(block, name)
}

// counting is Weights that counts the open parameters.
type counting struct {
	Weights
	open *int
}

func (c counting) Parameter(block int, name string) (*Parameter, error) {
	p, err := c.Weights.Parameter(block, name)
	if err == nil {
		*c.open++
		p.Data = closing{p.Data, c.open}
	}
	return p, err
}
