package reference

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// plain is Weights in float32 by name, the same for every block.
type plain map[string]plainParameter

type plainParameter struct {
	shape  []int64
	values []float32
	inOut  bool
}

func (w plain) Parameter(block int, name string) (*Parameter, error) {
	p, ok := w[name]
	if !ok {
		return nil, fmt.Errorf("no %s", name)
	}
	m := kernel.Dense(p.values, 1, len(p.values), len(p.values), false)
	return &Parameter{DType: tensor.F32, Shape: p.shape, InOut: p.inOut, Data: Bytes(m.Data)}, nil
}

func vec(values ...float32) plainParameter {
	return plainParameter{shape: []int64{int64(len(values))}, values: values}
}

func testEngine[T kernel.Float](c Config, w Weights, precision Precision) *engine[T] {
	return newEngine[T](context.Background(), &Model{Config: c, Weights: w, Arithmetic: Arithmetic{Precision: precision}, Threads: 2})
}

// near compares to 1e-12 in float64.
func near(t *testing.T, what string, got []float64, want ...float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= 1e-12*math.Max(1, math.Abs(want[i]))) {
			t.Errorf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// TestEmbeddingScale: sqrt(width) is rounded to bfloat16 in every precision: 50.5 for the width 2560
// of 2B, not 50.596…
func TestEmbeddingScale(t *testing.T) {
	for width, scale := range map[int]float64{2560: 50.5, 4096: 64, 32: 5.65625} {
		values := make([]float32, 2*width)
		values[width+1] = 3
		w := plain{Embedding: {shape: []int64{2, int64(width)}, values: values}}
		for scaled, want := range map[bool]float64{true: 3 * scale, false: 3} {
			c := Config{VocabSize: 2, Width: width, NumHeads: 1, EmbeddingScale: scaled}
			x64, err := testEngine[float64](c, w, Float64).embed([]int32{0, 1})
			if err != nil {
				t.Fatal(err)
			}
			x32, _ := testEngine[float32](c, w, Float32).embed([]int32{0, 1})
			if x64[width+1] != want || x32[width+1] != float32(want) || x64[width] != 0 {
				t.Errorf("width %d: 3 became %v and %v, want %v", width, x64[width+1], x32[width+1], want)
			}
		}
	}
}

// TestRMSNorm: the factor is 1 + scale, and ε = 1e-6 is added under the root.
func TestRMSNorm(t *testing.T) {
	e := testEngine[float64](Config{Width: 2}, plain{ChannelNorm: vec(0.5, -0.25)}, Float64)
	y, err := e.rmsNorm([]float64{3, -4, 1e-3, 1e-3, 0, 0}, 0, ChannelNorm)
	if err != nil {
		t.Fatal(err)
	}
	r := math.Sqrt(12.5 + 1e-6)
	near(t, "norm", y, 3/r*1.5, -4/r*0.75, 1e-3/math.Sqrt(2e-6)*1.5, 1e-3/math.Sqrt(2e-6)*0.75, 0, 0)
}

// TestGELU: the tanh form gives 0.841192 for gelu(1), the exact form 0.841345.
func TestGELU(t *testing.T) {
	a := newOps[float64](Arithmetic{})
	y := []float64{1, 1, 2}
	a.multiplyByGELU(y, []float64{1, 0, -3})
	near(t, "gelu", y, 0.8411919906082768, 0, 2*-0.0036373920817729943)
	if x := a.softplus(1000); x != 1000 {
		t.Errorf("softplus(1000) is %v", x)
	}
	near(t, "softplus", []float64{a.softplus(-1), a.softplus(2)}, math.Log1p(math.Exp(-1)), math.Log1p(math.Exp(2)))
}

// TestRoPE: channels j and j + rot/2 are rotated by position / 10000^(2j/rot); the second half of the
// head is unchanged.
func TestRoPE(t *testing.T) {
	a := newOps[float64](Arithmetic{})
	r := newRotation(&a, []int32{0, 5}, &Config{Width: 8, NumHeads: 1}) // rot = 4: angles 5 and 5/100
	head := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	r.rotate(&a, head, 0)
	near(t, "position 0", head, 1, 2, 3, 4, 5, 6, 7, 8)
	r.rotate(&a, head, 1)
	near(t, "position 5", head, math.Cos(5)-3*math.Sin(5), 2*math.Cos(.05)-4*math.Sin(.05),
		3*math.Cos(5)+math.Sin(5), 4*math.Cos(.05)+2*math.Sin(.05), 5, 6, 7, 8)
}

// TestMask: what each semantics lets a token see, with a window of 3 and positions that start again
// and that jump.
func TestMask(t *testing.T) {
	positions := []int32{0, 1, 2, 3, 4, 0, 1, 7, 8}
	for _, c := range []struct {
		semantics Semantics
		firstKey  []int
		taps      []int
	}{
		{Original, []int{0, 0, 0, 0, 1, 5, 5, 5, 5}, []int{0, 1, 2, 3, 3, 0, 1, 2, 3}},
		{Transformers4, []int{0, 0, 0, 0, 0, 0, 0, 0, 0}, []int{0, 1, 2, 3, 3, 3, 3, 3, 3}},
		{Transformers5, []int{0, 0, 0, 1, 2, 5, 5, 7, 7}, []int{0, 1, 2, 3, 3, 3, 3, 3, 3}},
	} {
		rows := make([]row, 1)
		m := advance(rows, positions, len(positions), c.semantics, 3, 4)
		if !slices.Equal(m.firstKey, c.firstKey) || !slices.Equal(m.taps, c.taps) {
			t.Errorf("%s: first keys %v and taps %v, want %v and %v", c.semantics, m.firstKey, m.taps, c.firstKey, c.taps)
		}
		for i, reset := range m.reset {
			if reset != (positions[i] == 0) {
				t.Errorf("%s: reset at %d is %v", c.semantics, i, reset)
			}
		}
		if rows[0].tokens != len(positions) {
			t.Errorf("%s: the row has seen %d tokens", c.semantics, rows[0].tokens)
		}
	}
}

// TestConv1D: the last tap multiplies the current token, in both storage orders of the taps, and the
// convolution continues from the tail of the previous pass.
func TestConv1D(t *testing.T) {
	c := Config{LRUWidth: 2}
	for _, kernel := range []plainParameter{
		{shape: []int64{2, 1, 4}, values: []float32{1, 10, 100, 1000, 2, 20, 200, 2000}},
		{shape: []int64{4, 2}, values: []float32{1, 2, 10, 20, 100, 200, 1000, 2000}, inOut: true},
	} {
		e := testEngine[float64](c, plain{Conv1D + Kernel: kernel, Conv1D + Bias: vec(0.5, 0.25)}, Float64)
		tail := []float64{0, 0, 7, 0, 8, 1}
		p := &batch{rows: 1, length: 2, mask: mask{taps: []int{2, 3}}}
		y, err := e.conv1D([]float64{9, 2, 3, 4}, p, 0, tail)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "conv", y, 9000+800+70+.5, 4000+200+.25, 3000+900+80+7+.5, 8000+400+20+.25)
		near(t, "tail", tail, 8, 1, 9, 2, 3, 4)
	}
}

// TestRGLRU checks two channels of the RG-LRU against the formulas: gates by heads,
// a = exp(−8·r·softplus(a_param)), the input scaled by sqrt(1 − a²) except at position 0, where the
// state is reset.
func TestRGLRU(t *testing.T) {
	c := Config{LRUWidth: 2, NumHeads: 2}
	e := testEngine[float64](c, plain{
		AParam:             vec(-3, -4),
		InputGate + Kernel: {shape: []int64{2, 1, 1}, values: []float32{0.5, -1}}, InputGate + Bias: {shape: []int64{2, 1}, values: []float32{0.25, 0}},
		AGate + Kernel: {shape: []int64{2, 1, 1}, values: []float32{-0.5, 2}}, AGate + Bias: {shape: []int64{2, 1}, values: []float32{0, 0.125}},
	}, Float64)
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	step := func(h, x, aParam, wi, bi, wa, ba float64, reset bool) float64 {
		in := x * sigmoid(wi*x+bi)
		if reset {
			return in
		}
		a := math.Exp(-8 * sigmoid(wa*x+ba) * math.Log1p(math.Exp(aParam)))
		return a*h + in*math.Sqrt(1-a*a)
	}
	state := []float64{10, 20}
	p := &batch{rows: 1, length: 3, mask: mask{reset: []bool{false, true, false}}}
	y, err := e.rgLRU([]float64{1, 2, -1, 3, 0.5, -2}, p, 0, state)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, 6)
	h0, h1 := 10.0, 20.0
	for i, x := range [][2]float64{{1, 2}, {-1, 3}, {0.5, -2}} {
		h0 = step(h0, x[0], -3, 0.5, 0.25, -0.5, 0, i == 1)
		h1 = step(h1, x[1], -4, -1, 0, 2, 0.125, i == 1)
		want[2*i], want[2*i+1] = h0, h1
	}
	near(t, "outputs", y, want...)
	near(t, "state", state, h0, h1)
}

// TestAttend: scores are multiplied by head_dim^-1/2, softmax covers the visible tokens, and all query
// heads share one head of keys and values.
func TestAttend(t *testing.T) {
	e := testEngine[float64](Config{Width: 8, NumHeads: 2}, nil, Float64)
	q := []float64{1, 0, 0, 0, 0, 2, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0}
	keys := history[float64]{width: 4, first: 6, vectors: []float64{9, 9, 9, 9, 1, 2, 0, 0, 3, -1, 0, 0}}
	values := history[float64]{width: 4, first: 6, vectors: []float64{5, 5, 5, 5, 1, 2, 3, 4, -4, 3, 2, 1}}
	out := make([]float64, 16)
	e.attend(out, q, keys, values, []int{7, 7}, 7) // token 7 sees itself, token 8 sees 7 and 8
	w := math.Exp(4*1*.5) / (math.Exp(4*1*.5) + math.Exp(4*3*.5))
	mix := func(w float64) []float64 {
		return []float64{w*1 - (1-w)*4, w*2 + (1-w)*3, w*3 + (1-w)*2, w*4 + (1 - w)}
	}
	near(t, "mix", out, slices.Concat([]float64{1, 2, 3, 4, 1, 2, 3, 4}, mix(w), mix(.5))...)
}

// TestSoftCap: logits become cap·tanh(x/cap); in the original, 0 means no cap.
func TestSoftCap(t *testing.T) {
	w := plain{Embedding: {shape: []int64{3, 1}, values: []float32{1, 50, -50}}}
	for limit, want := range map[float64][]float64{30: {2 * 15 * math.Tanh(2./30), 30 * math.Tanh(100./30), -30 * math.Tanh(100./30)}, 0: {2, 100, -100}} {
		y, err := testEngine[float64](Config{VocabSize: 3, Width: 1, LogitsSoftCap: limit}, w, Float64).logits([]float64{2}, 1, Original)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprint("cap ", limit), y, want...)
	}
}

// TestMLP: the GELU applies to the gate, not to the other branch.
func TestMLP(t *testing.T) {
	one := func(x float32) plainParameter { return plainParameter{shape: []int64{1, 1}, values: []float32{x}} }
	e := testEngine[float64](Config{Width: 1, MLPExpandedWidth: 1}, plain{
		MLPGate + Kernel: one(2), MLPGate + Bias: vec(1), MLPUp + Kernel: one(-3), MLPUp + Bias: vec(0.5), MLPDown + Kernel: one(4), MLPDown + Bias: vec(-1),
	}, Float64)
	y, err := e.mlp([]float64{0.5}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	gelu := 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(2+0.044715*8))) / 2
	near(t, "mlp", y, gelu*-1*4-1)
}

// TestMultiplyInPieces: pieces of any size, from memory or read, in both storage orders, give the same
// bits.
func TestMultiplyInPieces(t *testing.T) {
	defer func(size int) { pieceBytes = size }(pieceBytes)
	const n, in, out = 5, 700, 210
	rng := rand.New(rand.NewPCG(1, 1))
	x, values, across := make([]float32, n*in), make([]float32, in*out), make([]float32, in*out)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for o := range out {
		for i := range in {
			values[o*in+i] = float32(rng.NormFloat64())
			across[i*out+o] = values[o*in+i]
		}
	}
	bytesOf := func(v []float32) Bytes { return Bytes(kernel.Dense(v, out, in, in, false).Data) }
	want := map[Precision][]float32{}
	for _, size := range []int{8 << 20, 1, 300 << 10} {
		pieceBytes = size
		straight, turned := []int64{out, in}, []int64{in, out}
		for _, p := range []*Parameter{
			{DType: tensor.F32, Shape: straight, Data: bytesOf(values)}, {DType: tensor.F32, Shape: straight, Data: &watched{t: t, b: bytesOf(values)}},
			{DType: tensor.F32, Shape: turned, Data: bytesOf(across), InOut: true}, {DType: tensor.F32, Shape: turned, Data: &watched{t: t, b: bytesOf(across)}, InOut: true},
		} {
			for _, precision := range []Precision{Float32, Fast} {
				y := make([]float32, n*out)
				if err := testEngine[float32](Config{}, single{p}, precision).multiply(y, x, n, 0, "w", in, out); err != nil {
					t.Fatal(err)
				}
				if want[precision] == nil {
					want[precision] = y
				}
				if !slices.Equal(want[precision], y) {
					t.Errorf("%v, pieces of %d bytes, InOut %v: the bits differ", precision, size, p.InOut)
				}
			}
		}
	}
}

// single gives the same parameter under all names.
type single struct{ p *Parameter }

func (s single) Parameter(int, string) (*Parameter, error) { return s.p, nil }

// watched fails the test if a piece is read into the buffer of the previous one, which is being
// multiplied.
type watched struct {
	t    *testing.T
	b    Bytes
	last *byte
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	if w.last == &p[0] {
		w.t.Error("a piece is read into the buffer of the previous one")
	}
	w.last = &p[0]
	return w.b.ReadAt(p, off)
}
