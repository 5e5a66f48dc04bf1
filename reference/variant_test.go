package reference

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// activationInputs and activationOutputs are recorded from the table ACT2FN of transformers 5.23, in float64.
var activationInputs = []float64{-11, -4, -2.5, -1, -0.3, 0, 0.4, 1, 2.5, 5, 7, 12}

var activationOutputs = map[Activation][]float64{
	GELU:         {0, -0.00012668496733247991, -0.015524163314440398, -0.15865525393145702, -0.1146265733433142, 0.0, 0.2621686966441297, 0.841344746068543, 2.4844758366855597, 4.999998566742141, 6.999999999991041, 12.0},
	GELUClipped:  {0, -0.00012668496733247991, -0.015524163314440398, -0.15865525393145702, -0.1146265733433142, 0.0, 0.2621686966441297, 0.841344746068543, 2.4844758366855597, 4.999998566742141, 6.999999999991041, 10.0},
	GELUTanh:     {0, -7.024594819227126e-05, -0.015084266089998577, -0.15880800939172324, -0.11462907645724074, 0.0, 0.2621611694273562, 0.8411919906082768, 2.484915733910001, 4.999999770820381, 6.999999999999997, 12.0},
	HardSwish:    {0, 0, -0.20833333333333334, -0.3333333333333333, -0.135, 0.0, 0.22666666666666668, 0.6666666666666666, 2.2916666666666665, 5.0, 7.0, 12.0},
	Laplace:      {0.0, 0.0, 0.0, 7.173726057629892e-10, 0.00017842335597845205, 0.006094459617935588, 0.1381507841416118, 0.8504296492845703, 0.9999999998962167, 1.0, 1.0, 1.0},
	LeakyReLU:    {-0.11, -0.04, -0.025, -0.01, -0.003, 0.0, 0.4, 1.0, 2.5, 5.0, 7.0, 12.0},
	Linear:       {-11.0, -4.0, -2.5, -1.0, -0.3, 0.0, 0.4, 1.0, 2.5, 5.0, 7.0, 12.0},
	Mish:         {-0.00018371717448525135, -0.07259174079202535, -0.19681620390653337, -0.30340146137410895, -0.15113317713833455, 0.0, 0.2890305340723631, 0.8650983882673103, 2.471392304557881, 4.999552077529406, 6.999988379809741, 11.99999999909398},
	QuickGELU:    {-8.138256837484064e-08, -0.004414724139581062, -0.03498616504857008, -0.1542042340671787, -0.11251586461840829, 0.0, 0.2655668902881656, 0.8457957659328212, 2.46501383495143, 4.998992983732648, 6.999953128303318, 11.999999983813582},
	ReLU:         {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 1.0, 2.5, 5.0, 7.0, 12.0},
	ReLUSquared:  {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.16000000000000003, 1.0, 6.25, 25.0, 49.0, 144.0},
	ReLU6:        {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 1.0, 2.5, 5.0, 6.0, 6.0},
	Sigmoid:      {1.670142184809518e-05, 0.01798620996209156, 0.07585818002124355, 0.2689414213699951, 0.425557483188341, 0.5, 0.598687660112452, 0.7310585786300049, 0.9241418199787566, 0.9933071490757153, 0.9990889488055994, 0.9999938558253978},
	SiLU:         {-0.000183715640329047, -0.07194483984836623, -0.18964545005310887, -0.2689414213699951, -0.1276672449565023, 0.0, 0.2394750640449808, 0.7310585786300049, 2.3103545499468914, 4.966535745378576, 6.993622641639196, 11.999926269904773},
	SqrtSoftplus: {0.004086754374609998, 0.13472166833070967, 0.2808731640661842, 0.5596978537731075, 0.7445503639570175, 0.8325546111576978, 0.9555183160986254, 1.145976303209723, 1.6058921926121161, 2.237569071221963, 2.6459235564267107, 3.4641025019755807},
	Tanh:         {-0.9999999994421064, -0.999329299739067, -0.9866142981514303, -0.7615941559557649, -0.2913126124515909, 0.0, 0.3799489622552249, 0.7615941559557649, 0.9866142981514303, 0.9999092042625951, 0.9999983369439447, 0.9999999999244973},
}

// TestActivations: every activation has the values that transformers computes, in each precision.
func TestActivations(t *testing.T) {
	for a := GELUTanh; a <= Linear; a++ {
		want := activationOutputs[a]
		if len(want) != len(activationInputs) {
			t.Fatalf("activation %d has no recorded values", a)
		}
		for _, precision := range []Precision{Float64, Float32, BFloat16} {
			o, o32 := newOps[float64](Arithmetic{Precision: precision}), newOps[float32](Arithmetic{Precision: precision})
			bound := map[Precision]float64{Float64: 1e-14, Float32: 2e-6, BFloat16: 0.02}[precision]
			for i, x := range activationInputs {
				y := []float64{-2}
				if precision == Float64 {
					o.multiplyByActivation(a, y, []float64{x})
				} else {
					y32 := []float32{-2}
					o32.multiplyByActivation(a, y32, []float32{float32(x)})
					y[0] = float64(y32[0])
				}
				if !(math.Abs(y[0]+2*want[i]) <= 2*bound*max(1, math.Abs(want[i]))) {
					t.Errorf("activation %d of %v in %s: -2 times it is %v, want %v", a, x, precision, y[0], -2*want[i])
				}
			}
		}
	}
}

// random is Weights of any shape: values that depend on the name and the place only.
type random struct{ c *Config }

func (w random) Parameter(block int, name string) (*Parameter, error) {
	for _, r := range append(w.c.requests(0, len(w.c.BlockTypes), true, true), request{Outer, Embedding, []int{w.c.VocabSize, w.c.Width}, false}) {
		if r.block == block && r.name == name {
			return w.parameter(block, name, r.shape), nil
		}
	}
	return nil, fmt.Errorf("no %s in block %d", name, block)
}

func (w random) parameter(block int, name string, shape []int) *Parameter {
	p := plainParameter{}
	n := 1
	for _, d := range shape {
		p.shape = append(p.shape, int64(d))
		n *= d
	}
	seed := float64(len(name) + 10*block)
	for i := range n {
		p.values = append(p.values, float32(math.Sin(seed+1.7*float64(i))*math.Pow(float64(p.shape[len(p.shape)-1]), -0.5)))
	}
	stored, _ := plain{name: p}.Parameter(block, name)
	return stored
}

// variantModel is a model that uses everything a Variant has.
func variantModel() *Model {
	c := Config{VocabSize: 20, Width: 24, MLPExpandedWidth: 14, NumHeads: 4, LRUWidth: 12, BlockTypes: []BlockType{Recurrent, Attention, Recurrent},
		AttentionWindow: 4, LogitsSoftCap: 5, EmbeddingScale: true,
		Variant: &Variant{HeadDim: 7, KVHeads: 2, AttentionBias: true, ConvTaps: 3, Activation: SiLU, NormEpsilon: 0.01, RopeTheta: 500, RotaryFactor: 0.75}}
	return &Model{Config: c, Weights: random{&c}}
}

func variantPass() Pass {
	p := Pass{Batch: 2}
	for i := range 36 {
		p.Tokens = append(p.Tokens, int32(i*7%20))
		p.Positions = append(p.Positions, int32(i%18%11)) // a document of 11 tokens and one of 7
	}
	return p
}

// TestVariantInPieces: passes over consecutive pieces of the tokens, saved and restored in between, give the bits of
// one pass. A Variant that is the original's gives the bits of no Variant.
func TestVariantInPieces(t *testing.T) {
	for _, semantics := range []Semantics{Original, Transformers4, Transformers5} {
		m, p := variantModel(), variantPass()
		m.Semantics = semantics
		p.Tokens, p.Positions, p.Batch = p.Tokens[:18], p.Positions[:18], 1
		want := results(t, m, p)["logits"].Float32
		var got []float32
		state := m.NewState(1)
		for _, piece := range [][2]int{{0, 1}, {1, 2}, {2, 9}, {9, 18}} {
			r := results(t, m, Pass{Tokens: p.Tokens[piece[0]:piece[1]], Positions: p.Positions[piece[0]:piece[1]], Batch: 1, State: state})
			got = append(got, r["logits"].Float32...)
			saved, err := state.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if state, err = m.Restore(saved); err != nil {
				t.Fatal(err)
			}
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s: logit %d is %v in pieces, %v in one pass", semantics, i, got[i], want[i])
			}
		}
	}
	m, p := oddGriffin(t)
	want := results(t, m, p)
	v := OriginalVariant()
	m.Config.Variant = &v
	sameBits(t, want, results(t, m, p))
}

// TestKVHeads: several heads of keys and values compute what one computes for its query heads.
func TestKVHeads(t *testing.T) {
	c := Config{Width: 16, NumHeads: 4, Variant: &Variant{KVHeads: 2}}
	e := testEngine[float64](c, nil, Float64)
	one := testEngine[float64](Config{Width: 8, NumHeads: 2, Variant: &Variant{KVHeads: 1}}, nil, Float64)
	const tokens = 20 // more than a tile
	q, kv := make([]float64, tokens*16), [2][]float64{make([]float64, tokens*8), make([]float64, tokens*8)}
	for i := range q {
		q[i] = math.Sin(float64(3 * i))
	}
	for i := range kv[0] {
		kv[0][i], kv[1][i] = math.Sin(float64(5*i)), math.Cos(float64(7*i))
	}
	firstKey := make([]int, tokens)
	for t := range firstKey {
		firstKey[t] = max(0, t-5)
	}
	out := make([]float64, tokens*16)
	e.attend(out, q, history[float64]{width: 8, vectors: kv[0]}, history[float64]{width: 8, vectors: kv[1]}, firstKey, 0)
	for g := range 2 {
		part := func(x []float64, from, n, width int) (y []float64) {
			for i := from; i < len(x); i += width {
				y = append(y, x[i:][:n]...)
			}
			return y
		}
		want := make([]float64, tokens*8)
		one.attend(want, part(q, g*8, 8, 16), history[float64]{width: 4, vectors: part(kv[0], g*4, 4, 8)}, history[float64]{width: 4, vectors: part(kv[1], g*4, 4, 8)}, firstKey, 0)
		near(t, fmt.Sprint("group ", g), part(out, g*8, 8, 16), want...)
	}
}

// TestPartialRotation: the frequencies span as many channels as the factor gives, and an odd span rotates one channel more.
func TestPartialRotation(t *testing.T) {
	a := newOps[float64](Arithmetic{})
	r := newRotation(&a, []int32{3}, &Config{Variant: &Variant{HeadDim: 6, RopeTheta: 64, RotaryFactor: 0.5}})
	head := []float64{1, 2, 3, 4, 5, 6}
	r.rotate(&a, head, 0)
	angle := 3 / math.Pow(64, 2./3)
	near(t, "span 3", head, math.Cos(3)-3*math.Sin(3), 2*math.Cos(angle)-4*math.Sin(angle), 3*math.Cos(3)+math.Sin(3), 4*math.Cos(angle)+2*math.Sin(angle), 5, 6)
	r = newRotation(&a, []int32{3}, &Config{Variant: &Variant{HeadDim: 6, RopeTheta: 64, RotaryFactor: 0.1}})
	head = []float64{1, 2, 3, 4, 5, 6}
	r.rotate(&a, head, 0)
	near(t, "span 0", head, 1, 2, 3, 4, 5, 6)
}

// TestTaps: a convolution has as many taps as the variant says, one included.
func TestTaps(t *testing.T) {
	for _, c := range []struct {
		w, tail, want, next []float64
		taps                []int
	}{
		{[]float64{3}, nil, []float64{6.5, 15.5}, nil, []int{0, 0}},
		{[]float64{1, 10, 100, 1000, 10000, 100000}, []float64{5, 6, 7, 8, 9}, []float64{200000 + 90000 + 8000 + 700 + 60 + 5 + .5, 500000 + 20000 + 9000 + 800 + 70 + 6 + .5},
			[]float64{7, 8, 9, 2, 5}, []int{5, 5}},
	} {
		w := plainParameter{shape: []int64{1, 1, int64(len(c.w))}}
		for _, x := range c.w {
			w.values = append(w.values, float32(x))
		}
		e := testEngine[float64](Config{LRUWidth: 1, Variant: &Variant{ConvTaps: len(c.w)}}, plain{Conv1D + Kernel: w, Conv1D + Bias: vec(0.5)}, Float64)
		y, err := e.conv1D([]float64{2, 5}, &batch{rows: 1, length: 2, mask: mask{taps: c.taps}}, 0, c.tail)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "conv", y, c.want...)
		near(t, "tail", c.tail, c.next...)
	}
}

// TestVariantParts: each field of a Variant changes the logits, the biases included.
func TestVariantParts(t *testing.T) {
	want := results(t, variantModel(), variantPass())["logits"]
	for name, change := range map[string]func(v *Variant){
		"bias": func(v *Variant) { v.AttentionBias = false }, "epsilon": func(v *Variant) { v.NormEpsilon = 0 }, "theta": func(v *Variant) { v.RopeTheta = 499 },
		"factor": func(v *Variant) { v.RotaryFactor = 0.5 }, "activation": func(v *Variant) { v.Activation = GELU },
	} {
		m := variantModel()
		v := *m.Config.Variant
		change(&v)
		m.Config.Variant = &v
		if difference(results(t, m, variantPass())["logits"], want.Float32) < 1e-6 {
			t.Errorf("%s changes nothing", name)
		}
	}
}

// TestVariantInvalid: what no model can compute is refused with its reason.
func TestVariantInvalid(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"3 heads of keys and values": func(c *Config) { c.Variant.KVHeads = 3 },
		"0 heads of keys and values": func(c *Config) { c.Variant.KVHeads = 0 },
		"rotary factor 1.5":          func(c *Config) { c.Variant.RotaryFactor = 1.5 },
		"base 0":                     func(c *Config) { c.Variant.RopeTheta = 0 },
		"cannot be rotated in pairs": func(c *Config) { c.Variant.RotaryFactor = 1 },
		"has 0 taps":                 func(c *Config) { c.Variant.ConvTaps = 0 },
		"width 24 cannot be divided": func(c *Config) { c.Variant.HeadDim, c.NumHeads, c.LRUWidth, c.Variant.KVHeads = 0, 5, 15, 1 },
	} {
		m := variantModel()
		change(&m.Config)
		if err := m.Config.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	m := variantModel()
	if err := m.Config.Validate(); err != nil {
		t.Error(err)
	}
}
