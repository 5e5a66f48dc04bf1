package logits

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// naive is a second forward pass, in float64 and as plain as can be, that rounds what comes out of every
// layer. It can be broken in one place: that is what it is for.
type naive struct {
	t       testing.TB
	model   *runtime.Model
	config  reference.Config
	weights reference.Weights
	round   func(float64) float64
	broken  breakage
	loaded  map[string][]float64
}

// breakage is one deliberate fault of the pass. It is in one block, or in none of them (-1).
type breakage struct {
	block int
	kind  string
	size  float64 // of faults that have one
}

// is reports whether the pass is broken so in a block.
func (n *naive) is(block int, kind string) bool {
	return n.broken.kind == kind && n.broken.block == block
}

// by returns the fault's size where the pass is broken so, otherwise 0.
func (n *naive) by(block int, kind string) float64 {
	if n.is(block, kind) {
		return n.broken.size
	}
	return 0
}

func newNaive(t testing.TB, m *runtime.Model, precision reference.Precision, b breakage) *naive {
	n := &naive{t: t, model: m, config: m.Config.Reference(), weights: m.Found.Weights(), broken: b, loaded: map[string][]float64{}}
	n.round = func(x float64) float64 { return float64(float32(x)) }
	switch precision {
	case reference.Float64: // only what is stored is rounded
		n.round = func(x float64) float64 { return x }
	case reference.BFloat16:
		n.round = func(x float64) float64 {
			bits := math.Float32bits(float32(x))
			return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
		}
	}
	return n
}

// load returns a parameter, a matrix as [out][in]. The fault "weights:NAME" changes all of it by the
// factor 1 + size, "weight:NAME" one element, "no:NAME" makes it zero, "negative:NAME" negates and "turned:NAME" transposes it.
func (n *naive) load(block int, name string) []float64 {
	key := fmt.Sprint(block, name)
	if x, ok := n.loaded[key]; ok {
		return x
	}
	p, err := n.weights.Parameter(block, name)
	if err != nil {
		n.t.Fatal(err)
	}
	count := int64(1)
	var shape []int
	for _, d := range p.Shape {
		count *= d
		if d != 1 {
			shape = append(shape, int(d))
		}
	}
	raw := make([]byte, count*p.DType.Size())
	if _, err := p.Data.ReadAt(raw, 0); err != nil {
		n.t.Fatal(err)
	}
	cast, err := tensor.NewCast(p.DType, tensor.F32)
	if err != nil {
		n.t.Fatal(err)
	}
	wide := make([]byte, 4*count)
	cast(wide, raw)
	x := make([]float64, count)
	for i := range x {
		x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(wide[4*i:])))
	}
	if p.InOut && len(shape) == 2 {
		turned := make([]float64, count)
		for i := range shape[0] {
			for o := range shape[1] {
				turned[o*shape[0]+i] = x[i*shape[1]+o]
			}
		}
		x = turned
	}
	size := n.broken.size
	switch {
	case n.is(block, "weights:"+name):
		for i := range x {
			x[i] *= 1 + size
		}
	case n.is(block, "weight:"+name):
		x[len(x)/3] += size * (1 + math.Abs(x[len(x)/3]))
	case n.is(block, "no:"+name):
		clear(x)
	case n.is(block, "negative:"+name):
		for i := range x {
			x[i] = -x[i]
		}
	case n.is(block, "turned:"+name): // each of its square matrices
		side := int(p.Shape[len(p.Shape)-1])
		for y := x; len(y) > 0; y = y[side*side:] {
			for i := range side {
				for k := range i {
					y[i*side+k], y[k*side+i] = y[k*side+i], y[i*side+k]
				}
			}
		}
	}
	n.loaded[key] = x
	return x
}

// linear returns round(x·Wᵀ + b).
func (n *naive) linear(block int, name string, x []float64, biased bool) []float64 {
	w := n.load(block, name+reference.Kernel)
	y := make([]float64, len(w)/len(x))
	for o := range y {
		for i := range x {
			y[o] += w[o*len(x)+i] * x[i]
		}
		y[o] = n.round(y[o])
	}
	if biased {
		for o, b := range n.load(block, name+reference.Bias) {
			y[o] = n.round(y[o] + b)
		}
	}
	return y
}

func (n *naive) norm(block int, name string, x []float64) []float64 {
	scale := n.load(block, name)
	var squares float64
	for _, v := range x {
		squares += v * v
	}
	inverse := 1 / math.Sqrt(squares/float64(len(x))+1e-6+n.by(block, "eps:"+name))
	y := make([]float64, len(x))
	for i := range y {
		one := 1.0
		if n.is(block, "plain:"+name) {
			one = 0
		}
		y[i] = n.round(x[i] * n.round(inverse) * (one + scale[i]))
	}
	return y
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (n *naive) gelu(block int, half string, x float64) float64 {
	if n.is(block, "erf:"+half) {
		return x * (1 + math.Erf(x/math.Sqrt2)) / 2
	}
	return x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) / 2
}

// run returns what a fixture holds of one pass.
func (n *naive) run(tokens, positions []int32, batch int) map[string][][]float64 {
	c := &n.config
	out := map[string][][]float64{}
	length := len(tokens) / batch
	embedding := n.load(-1, reference.Embedding)
	root := float64(math.Float32frombits(math.Float32bits(float32(math.Sqrt(float64(c.Width))))))
	root = func(x float64) float64 { // to bfloat16, whatever the type
		bits := math.Float32bits(float32(x))
		return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
	}(root)
	if !c.EmbeddingScale {
		root = 1
	}
	if n.is(-1, "embedding scale") {
		root *= 1 + n.broken.size
	}
	x := make([][]float64, len(tokens))
	for t, token := range tokens {
		x[t] = make([]float64, c.Width)
		for i := range x[t] {
			x[t][i] = n.round(embedding[int(token)*c.Width+i] * root)
		}
	}
	out["hidden.0"] = x
	for i, kind := range c.BlockTypes {
		normed := make([][]float64, len(x))
		for t := range x {
			normed[t] = n.norm(i, reference.TemporalNorm, x[t])
		}
		var half [][]float64
		for r := range batch {
			row := normed[r*length:][:length]
			if kind == reference.Attention {
				half = append(half, n.attention(i, row, positions[r*length:][:length])...)
			} else {
				half = append(half, n.recurrent(i, row, positions[r*length:][:length])...)
			}
		}
		next := make([][]float64, len(x))
		for t := range x {
			next[t] = n.mlp(i, x[t], half[t])
		}
		out[temporal(i)], out[hidden(i+1)], x = half, next, next
	}
	for t := range x {
		y := n.norm(-1, reference.FinalNorm, x[t])
		out["final_norm"] = append(out["final_norm"], y)
		out["logits"] = append(out["logits"], n.logits(y, embedding))
	}
	return out
}

func (n *naive) logits(x, embedding []float64) []float64 {
	y := make([]float64, n.config.VocabSize)
	softCap := n.config.LogitsSoftCap * (1 + n.by(-1, "soft cap"))
	if n.is(-1, "soft cap of") {
		softCap = n.broken.size
	}
	for v := range y {
		for i := range x {
			y[v] += x[i] * embedding[v*len(x)+i]
		}
		if softCap != 0 && !n.is(-1, "no soft cap") {
			y[v] = n.round(math.Tanh(n.round(y[v])/softCap) * softCap)
		}
		y[v] = n.round(y[v])
	}
	return y
}

func (n *naive) mlp(block int, x, half []float64) []float64 {
	r := make([]float64, len(x))
	for i := range r {
		r[i] = n.round(x[i] + half[i])
	}
	in := n.norm(block, reference.ChannelNorm, r)
	gate, up := n.linear(block, reference.MLPGate, in, true), n.linear(block, reference.MLPUp, in, true)
	if n.is(block, "gate and up exchanged") {
		gate, up = up, gate
	}
	for i := range up {
		up[i] = n.round(n.round(n.gelu(block, "mlp", gate[i])) * up[i])
	}
	down := n.linear(block, reference.MLPDown, up, true)
	for i := range down {
		down[i] = n.round(r[i] + down[i])
	}
	return down
}

func (n *naive) recurrent(block int, x [][]float64, positions []int32) [][]float64 {
	c := &n.config
	taps := n.load(block, reference.Conv1D+reference.Kernel)
	bias := n.load(block, reference.Conv1D+reference.Bias)
	aParam := n.load(block, reference.AParam)
	other := func(name, exchanged string) string {
		if n.is(block, "linear_x and linear_y exchanged") {
			return exchanged
		}
		return name
	}
	h := make([]float64, c.LRUWidth)
	var in, out [][]float64
	begin := 0
	for t := range x {
		in = append(in, n.linear(block, other(reference.LinearX, reference.LinearY), x[t], true))
		if positions[t] == 0 && !n.is(block, "conv runs on") {
			begin = t
		}
		mixed := make([]float64, c.LRUWidth)
		for i := range mixed {
			for shift := 0; shift < 4 && t-shift >= begin; shift++ {
				tap := 3 - shift
				if n.is(block, "taps reversed") {
					tap = shift
				}
				w := taps[i*4+tap] // [width][taps], whatever it is stored as
				mixed[i] += w * in[t-shift][i]
			}
			mixed[i] = n.round(n.round(mixed[i]) + bias[i])
		}
		inputGate, aGate := n.gates(block, reference.InputGate, mixed), n.gates(block, reference.AGate, mixed)
		if n.is(block, "gates exchanged") {
			inputGate, aGate = aGate, inputGate
		}
		gate := n.linear(block, other(reference.LinearY, reference.LinearX), x[t], true)
		y := make([]float64, c.LRUWidth)
		for i := range y {
			eight := -8 * (1 + n.by(block, "minus 8"))
			logA := eight * aGate[i] * math.Log1p(math.Exp(aParam[i]))
			a := math.Exp(logA)
			v := mixed[i] * inputGate[i]
			switch {
			case positions[t] == 0 && !n.is(block, "no reset"):
				a = 0
			case n.is(block, "no sqrt term"):
			default:
				v *= math.Sqrt(1 - a*a)
			}
			h[i] = a*h[i] + n.round(v)
			y[i] = n.round(n.round(h[i]) * n.round(n.gelu(block, "temporal", gate[i])))
		}
		out = append(out, n.linear(block, reference.LinearOut, y, true))
	}
	return out
}

func (n *naive) gates(block int, name string, x []float64) []float64 {
	w, b := n.load(block, name+reference.Kernel), n.load(block, name+reference.Bias)
	size := n.config.LRUWidth / n.config.NumHeads
	y := make([]float64, len(x))
	for o := range y {
		head := o / size
		for i := range size {
			y[o] += x[head*size+i] * w[(head*size+i)*size+o%size]
		}
		y[o] = n.round(sigmoid(n.round(n.round(y[o]) + b[o])))
	}
	return y
}

func (n *naive) attention(block int, x [][]float64, positions []int32) [][]float64 {
	c := &n.config
	head := c.Width / c.NumHeads
	window := c.AttentionWindow
	switch {
	case n.is(block, "window one less"):
		window--
	case n.is(block, "window one more"):
		window++
	case n.is(block, "window of"), n.is(block, "no rope") && n.broken.size > 0:
		window = int(n.broken.size)
	case n.is(block, "no window"):
		window = 1 << 30
	}
	var q, k, v, out [][]float64
	begin := 0
	for t := range x {
		if positions[t] == 0 && !n.is(block, "attention runs on") {
			begin = t
		}
		q, k, v = append(q, n.linear(block, reference.ProjQ, x[t], false)), append(k, n.linear(block, reference.ProjK, x[t], false)), append(v, n.linear(block, reference.ProjV, x[t], false))
		if n.is(block, "keys and values exchanged") {
			k[t], v[t] = v[t], k[t]
		}
		for h := range c.NumHeads {
			n.rotate(block, q[t][h*head:][:head], positions[t])
		}
		n.rotate(block, k[t], positions[t])
		mixed := make([]float64, c.Width)
		for h := range c.NumHeads {
			low := max(begin, t-window)
			weights, total := make([]float64, t-low+1), 0.0
			for s := low; s <= t; s++ {
				for i := range head {
					weights[s-low] += q[t][h*head+i] * k[s][i]
				}
				scale := (1 + n.by(block, "softmax scale")) / math.Sqrt(float64(head))
				weights[s-low] = math.Exp(n.round(n.round(weights[s-low]) * scale))
				total += weights[s-low]
			}
			for s := low; s <= t; s++ {
				for i := range head {
					mixed[h*head+i] += n.round(weights[s-low]/total) * v[s][i]
				}
			}
		}
		for i := range mixed {
			mixed[i] = n.round(mixed[i])
		}
		out = append(out, n.linear(block, reference.ProjFinal, mixed, true))
	}
	return out
}

func (n *naive) rotate(block int, x []float64, position int32) {
	if n.is(block, "no rope") {
		return
	}
	rot := len(x) / 2
	for j := range rot / 2 {
		angle := float64(position) / math.Pow(10000*(1+n.by(block, "rope theta")), float64(2*j)/float64(rot))
		sin, cos := math.Sincos(angle)
		sin, cos = n.round(sin), n.round(cos)
		a, b := x[j], x[j+rot/2]
		x[j], x[j+rot/2] = n.round(n.round(a*cos)-n.round(b*sin)), n.round(n.round(b*cos)+n.round(a*sin))
	}
}

// fixture writes what the pass computes as a golden fixture. Without temporal halves where sparse.
func (n *naive) fixture(tokens, positions, packed []int32, batch int, dtype string, sparse bool) *golden.Fixture {
	n.t.Helper()
	length := len(tokens) / batch
	f := map[string]naiveTensor{"tokens": naiveInts(tokens, batch, length), "positions": naiveInts(positions, batch, length)}
	for prefix, at := range map[string][]int32{"": positions, "packed.": packed} {
		if at == nil {
			continue
		}
		f[prefix+"positions"] = naiveInts(at, batch, length)
		for name, rows := range n.run(tokens, at, batch) {
			if !sparse || !strings.HasPrefix(name, "temporal") {
				f[prefix+name] = naiveFloats(rows, batch, length)
			}
		}
	}
	return naiveFixture(n.t, f, map[string]string{"implementation": string(golden.JAX), "recurrentgemma": "1.0.1", "jax": "0", "dtype": dtype})
}

type naiveTensor struct {
	dtype string
	shape []int
	data  []byte
}

func naiveInts(x []int32, shape ...int) naiveTensor {
	w := naiveTensor{"I32", shape, nil}
	for _, v := range x {
		w.data = binary.LittleEndian.AppendUint32(w.data, uint32(v))
	}
	return w
}

func naiveFloats(rows [][]float64, batch, length int) naiveTensor {
	w := naiveTensor{"F32", []int{batch, length, len(rows[0])}, nil}
	for _, row := range rows {
		for _, v := range row {
			w.data = binary.LittleEndian.AppendUint32(w.data, math.Float32bits(float32(v)))
		}
	}
	return w
}

func naiveFixture(t testing.TB, tensors map[string]naiveTensor, meta map[string]string) *golden.Fixture {
	t.Helper()
	header := map[string]any{"__metadata__": meta}
	var data []byte
	for name, w := range tensors {
		header[name] = map[string]any{"dtype": w.dtype, "shape": w.shape, "data_offsets": []int{len(data), len(data) + len(w.data)}}
		data = append(data, w.data...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fixture.safetensors")
	all := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.WriteFile(path, append(all, data...), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := golden.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}
