package logits

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// input is what is compared: a model and a fixture. The passes of the fixture are the rows of one batch, one pass after
// the other.
type input struct {
	model     *runtime.Model
	fixture   *golden.Fixture
	semantics reference.Semantics
	float64   *reference.Model // model in float64; the first of the runs that read the weights together

	batch, length     int // of the rows of all passes
	tokens, positions []int32

	fed     bool   // the fixture has the input of every block, and of the head
	coarser string // why the fixture may be rounded more than its dtype says; "" if it is not
}

// newInput takes the semantics of the fixture's implementation if semantics is nil.
func newInput(m *runtime.Model, f *golden.Fixture, semantics *reference.Semantics) *input {
	in := &input{model: m, fixture: f, semantics: f.Meta.Semantics, length: f.Passes[0].Length, fed: true, coarser: coarserArithmetic(&f.Meta)}
	if semantics != nil {
		in.semantics = *semantics
	}
	in.float64 = m.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})
	for i := range f.Passes {
		p := &f.Passes[i]
		in.batch += p.Batch
		in.tokens, in.positions = append(in.tokens, p.Tokens...), append(in.positions, p.Positions...)
		for block := range in.blocks() + 1 {
			in.fed = in.fed && p.Width(hidden(block)) != 0
		}
	}
	return in
}

func (in *input) blocks() int { return len(in.model.Config.BlockTypes) }

// blockKind returns whether a block is recurrent or attends.
func (in *input) blockKind(block int) FaultKind {
	return FaultKind(in.model.Config.BlockTypes[block])
}

// window returns the attention window that the model is run with.
func (in *input) window() int { return int(in.model.ConfigUnder(in.semantics).AttentionWindow) }

// legalRuns returns the arithmetics whose spread measures the envelope.
func (in *input) legalRuns() []reference.Arithmetic {
	precision := in.fixture.Meta.Precision
	switch {
	case in.coarser != "":
		precision = reference.BFloat16
	case in.isFloat64():
		precision = reference.Float32
	}
	return legalRuns(precision, len(in.tokens), in.model.Found.Family.Parameters(&in.model.Config))
}

// isFloat64 reports whether the fixture was computed in float64. Runs in float64 do not measure its errors: its values are rounded to
// float32, also those that are a block's input here but were not when it was recorded, and transformers computes norms,
// softmax and the recurrence in float32 whatever the dtype. Runs in float32 have errors of both kinds.
func (in *input) isFloat64() bool { return in.fixture.Meta.Precision == reference.Float64 }

// result returns a Result with what is known before anything is run.
func (in *input) result() *Result {
	meta := &in.fixture.Meta
	r := &Result{Checkpoint: in.model.Checkpoint.Path, Golden: in.fixture.Path, Implementation: meta.Implementation, Versions: meta.Versions,
		DType: meta.DType, Backend: meta.Backend, Semantics: in.semantics.String(), Batch: in.fixture.Passes[0].Batch, Length: in.length, Blocks: in.model.Config.BlockTypes, Passes: in.fixture.Passes}
	if in.model.Config.Has(model.Attention) {
		r.Window = in.window()
	}
	if in.coarser != "" {
		r.Notes = []string{in.coarser + ": the envelope is that of bfloat16, which is wider"}
	} else if in.isFloat64() {
		r.Notes = []string{"fixtures are stored in float32: the envelope is that of float32, which is wider than that of float64"}
	}
	return r
}

// coarserArithmetic says why the reference has no arithmetic like the fixture's, so that one that rounds more has to
// take its place; "" if it has one.
func coarserArithmetic(m *golden.Meta) string {
	if m.DType == "float16" {
		return "there is no reference arithmetic in float16"
	}
	if m.DType != "float32" {
		return ""
	}
	device, _, _ := strings.Cut(m.Backend, " ")
	precision := m.Flags["jax_default_matmul_precision"] // JAX's None is the fastest that the device has
	switch {
	case device == "tpu" && !slices.Contains([]string{"highest", "float32", "high", "bfloat16_3x"}, precision):
		return "TPUs multiply float32 in bfloat16 at the precision that was set"
	case (device == "gpu" || device == "cuda") && m.Implementation == golden.JAX && !slices.Contains([]string{"highest", "float32"}, precision):
		return "GPUs may multiply float32 in TF32 at the precision that was set"
	case device == "cuda" && (m.Flags["allow_tf32"] == "True" || slices.Contains([]string{"high", "medium"}, m.Flags["float32_matmul_precision"])):
		return "the fixture's products of float32 may be in TF32"
	case device == "cpu" && m.Flags["float32_matmul_precision"] == "medium":
		return "the fixture's products of float32 may be in bfloat16"
	}
	return ""
}

// Mismatch says by which sizes a fixture cannot be of a model with a configuration, of which only the sizes have to be set; "" if it can.
func Mismatch(c *model.Config, f *golden.Fixture) string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	tokens := f.Passes[0].Tokens // of all passes
	if t := slices.IndexFunc(tokens, func(id int32) bool { return int64(id) >= c.VocabSize }); t >= 0 {
		say("its token %d is %d, but the vocabulary has %d", t, tokens[t], c.VocabSize)
	}
	wide, deep, blocks := map[int]bool{}, false, len(c.BlockTypes)
	for i := range f.Passes {
		p := &f.Passes[i]
		for _, name := range p.Names() {
			want := int(c.Width)
			if name == "logits" {
				want = int(c.VocabSize)
			}
			if got := p.Width(name); got != want && !wide[want] {
				say("%s is %d wide, but the model's is %d", p.FullName(name), got, want)
				wide[want] = true
			}
			if site, index, _ := golden.ParseSite(name); !deep && (site == reference.Hidden && index > blocks || site == reference.Temporal && index >= blocks) {
				say("it has %s, but the model has %d blocks", p.FullName(name), blocks)
				deep = true
			}
		}
	}
	if d := f.Decode; d != nil && d.Vocabulary() != int(c.VocabSize) && !wide[int(c.VocabSize)] {
		say("decode.logits is %d wide, but the vocabulary has %d", d.Vocabulary(), c.VocabSize)
	}
	return strings.Join(all, "; ")
}

func hidden(i int) string   { return fmt.Sprintf("hidden.%d", i) }
func temporal(i int) string { return fmt.Sprintf("temporal.%d", i) }

// hasSite reports whether any pass of the fixture has a result of that name.
func (in *input) hasSite(name string) bool {
	return slices.ContainsFunc(in.fixture.Passes, func(p golden.Pass) bool { return p.Width(name) != 0 })
}

// passOf returns the pass of a token, counted over all rows.
func (in *input) passOf(token int) *golden.Pass {
	return &in.fixture.Passes[token/(in.fixture.Passes[0].Batch*in.length)]
}

// decodes reports whether the fixture has decoding of a token of the plain pass.
func (in *input) decodes(token int) bool {
	d := in.fixture.Decode
	return d != nil && token%in.length >= d.Start-1
}

// inPass counts a token within its pass.
func (in *input) inPass(token int) int { return token % (in.fixture.Passes[0].Batch * in.length) }

// fixtureValues are what all passes of the fixture have for one result. Rows of a pass that lacks it are zero.
type fixtureValues struct {
	reference.Activations
	recorded []bool // by token
}

// read returns the fixture's values of a result; nil if no pass has them.
func (in *input) read(name string) (*fixtureValues, error) {
	if !in.hasSite(name) {
		return nil, nil
	}
	v := &fixtureValues{}
	for i := range in.fixture.Passes {
		v.Width = max(v.Width, in.fixture.Passes[i].Width(name))
	}
	v.Batch, v.Length, v.Float32 = in.batch, in.length, make([]float32, len(in.tokens)*v.Width)
	at := 0
	for i := range in.fixture.Passes {
		p := &in.fixture.Passes[i]
		n := p.Batch * p.Length
		has := p.Width(name) != 0
		v.recorded = append(v.recorded, slices.Repeat([]bool{has}, n)...)
		if has {
			if err := p.ReadAt(v.Float32[at:][:n*v.Width], name, 0); err != nil {
				return nil, err
			}
		}
		at += n * v.Width
	}
	return v, nil
}

// token returns the values of one token; nil if they were not recorded.
func (v *fixtureValues) token(t int) []float32 {
	if v == nil || !v.recorded[t] {
		return nil
	}
	return v.Float32[t*v.Width:][:v.Width]
}
