package logits

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// broken lists deliberate faults of the forward pass, each with the half that it is in and, where it
// is among those that are recognised, how it is explained. Faults with a size are as small as shows that it
// is the layer that is found, and not only that something is wrong.
var brokenRecurrent = []struct {
	kind  string
	size  float64
	half  Half
	cause string // part of it
}{
	{"weights:" + reference.TemporalNorm, 0.01, TemporalHalf, ""},
	{"plain:" + reference.TemporalNorm, 0, TemporalHalf, "larger by 1 than that of the recording"},
	{"eps:" + reference.TemporalNorm, 1e-3, TemporalHalf, ""},
	{"weights:" + reference.LinearX + reference.Kernel, 0.01, TemporalHalf, ""},
	{"no:" + reference.LinearX + reference.Bias, 0, TemporalHalf, "recurrent.linear_x.bias, which the recording was made without"},
	{"weight:" + reference.LinearY + reference.Kernel, 0.05, TemporalHalf, ""},
	{"no:" + reference.LinearY + reference.Bias, 0, TemporalHalf, "recurrent.linear_y.bias, which the recording was made without"},
	{"taps reversed", 0, TemporalHalf, "reverse order"},
	{"no:" + reference.Conv1D + reference.Bias, 0, TemporalHalf, "conv_1d.bias, which the recording was made without"},
	{"conv runs on", 0, TemporalHalf, "the semantics of original; the recording was made with those of transformers"},
	{"weights:" + reference.InputGate + reference.Kernel, 0.01, TemporalHalf, ""},
	{"no:" + reference.AGate + reference.Bias, 0, TemporalHalf, "a_gate.bias, which the recording was made without"},
	{"gates exchanged", 0, TemporalHalf, "gates of the recurrence exchanged"},
	{"weights:" + reference.AParam, 0.01, TemporalHalf, ""},
	{"minus 8", 0.01, TemporalHalf, ""},
	{"no sqrt term", 0, TemporalHalf, ""},
	{"linear_x and linear_y exchanged", 0, TemporalHalf, "linear_x and linear_y exchanged"},
	{"negative:" + reference.AParam, 0, TemporalHalf, "a_param with the other sign"},
	{"turned:" + reference.InputGate + reference.Kernel, 0, TemporalHalf, "the input gate's matrices transposed"},
	{"turned:" + reference.AGate + reference.Kernel, 0, TemporalHalf, "the recurrence gate's matrices transposed"},
	{"no:" + reference.TemporalNorm, 0, TemporalHalf, "a norm with a scale, which the recording was made without"},
	{"no reset", 0, TemporalHalf, "not scaled by sqrt(1 - a²) at position 0"},
	{"erf:temporal", 0, TemporalHalf, ""},
	{"weights:" + reference.LinearOut + reference.Kernel, 0.01, TemporalHalf, ""},
	{"weight:" + reference.LinearOut + reference.Bias, 0.1, TemporalHalf, "of the bias, which is too small by 0.1"},
}

var brokenAttention = []struct {
	kind  string
	size  float64
	half  Half
	cause string
}{
	{"weights:" + reference.TemporalNorm, 0.01, TemporalHalf, ""},
	{"weights:" + reference.ProjQ + reference.Kernel, 0.01, TemporalHalf, ""},
	{"weights:" + reference.ProjK + reference.Kernel, 0.01, TemporalHalf, ""},
	{"weights:" + reference.ProjV + reference.Kernel, 0.01, TemporalHalf, ""},
	{"keys and values exchanged", 0, TemporalHalf, "keys and values exchanged"},
	{"no rope", 0, TemporalHalf, "rotary position embedding, which the recording was made without"},
	{"rope theta", 0.5, TemporalHalf, ""},
	{"softmax scale", 0.02, TemporalHalf, ""},
	{"window one less", 0, TemporalHalf, "window of 8; the recording was made with 7, or with the semantics of transformers5"},
	{"window one more", 0, TemporalHalf, "window of 8; the recording was made with 9"},
	{"no window", 0, TemporalHalf, "window of 8; the recording was made with at least 24"},
	{"window of", 16, TemporalHalf, "window of 8; the recording was made with 16"},
	{"window of", 4, TemporalHalf, "window of 8; the recording was made with 4"},
	{"window of", 21, TemporalHalf, "window of 8; the recording was made with 21"},
	{"window of", 1, TemporalHalf, "window of 8; the recording was made with 1"},
	{"softmax scale", math.Sqrt(8) - 1, TemporalHalf, "scores that are too small by the root of the head's width"},
	{"softmax scale", 1/math.Sqrt(8) - 1, TemporalHalf, "scores that are too large by the root of the head's width"},
	{"turned:" + reference.ProjQ + reference.Kernel, 0, TemporalHalf, "the queries' matrix transposed"},
	{"turned:" + reference.ProjFinal + reference.Kernel, 0, TemporalHalf, "the output's matrix transposed"},
	{"attention runs on", 0, TemporalHalf, ""},
	{"weights:" + reference.ProjFinal + reference.Kernel, 0.01, TemporalHalf, ""},
	{"no:" + reference.ProjFinal + reference.Bias, 0, TemporalHalf, "proj_final.bias, which the recording was made without"},
}

var brokenMLP = []struct {
	kind  string
	size  float64
	half  Half
	cause string
}{
	{"weights:" + reference.ChannelNorm, 0.01, MLPHalf, ""},
	{"plain:" + reference.ChannelNorm, 0, MLPHalf, "larger by 1 than that of the recording"},
	{"weights:" + reference.MLPGate + reference.Kernel, 0.01, MLPHalf, ""},
	{"no:" + reference.MLPGate + reference.Bias, 0, MLPHalf, "mlp.gate.bias, which the recording was made without"},
	{"weight:" + reference.MLPUp + reference.Kernel, 0.05, MLPHalf, ""},
	{"gate and up exchanged", 0, MLPHalf, "gate and up exchanged"},
	{"erf:mlp", 0, MLPHalf, ""},
	{"weights:" + reference.MLPDown + reference.Kernel, 0.01, MLPHalf, ""},
	{"weight:" + reference.MLPDown + reference.Kernel, 0.02, MLPHalf, "only channel"},
	{"weight:" + reference.MLPDown + reference.Bias, -0.01, MLPHalf, "of the bias, which is too large by 0.01"},
}

// trialTokens are tokens of rows three windows long, and positions that cut the second half off.
func trialTokens(m *runtime.Model) (tokens, positions, packed []int32, batch int) {
	length := 3 * int(m.Config.AttentionWindow)
	for i := range 2 * length {
		tokens = append(tokens, int32((i*i*7+3*i+11)%int(m.Config.VocabSize)))
		positions = append(positions, int32(i%length))
		at := int32(i % length)
		if cut := int32(length/2 + i/length); at >= cut {
			at -= cut
		}
		packed = append(packed, at)
	}
	return tokens, positions, packed, 2
}

func compareWith(t *testing.T, m *runtime.Model, g *golden.Fixture) *Result {
	t.Helper()
	r, err := Compare(context.Background(), m, g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The plain pass that the injections break computes what the reference does.
func TestNaiveIsInside(t *testing.T) {
	for _, precision := range []reference.Precision{reference.Float32, reference.BFloat16, reference.Float64} {
		f := cases.Open(t, "tiny-griffin")
		m := f.Model(t, f.Checkpoints(t)[0])
		tokens, positions, packed, batch := trialTokens(m)
		n := newNaive(t, m, precision, breakage{block: -2})
		if r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, precision.String(), false)); !r.OK {
			t.Errorf("%s: %s", precision, r.Summary)
		}
	}
}

// Every layer that is broken on purpose is found: the block and the half, proved by giving it the fixture's
// own input, with the tensors that are involved and, where it can be told, the fault.
func TestLocalise(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	tokens, positions, packed, batch := trialTokens(m)
	check := func(block int, kind string, size float64, half Half, cause string) {
		t.Run(fmt.Sprintf("%d %s", block, kind), func(t *testing.T) {
			n := newNaive(t, m, reference.Float32, breakage{block, kind, size})
			r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", false))
			if r.OK || len(r.Faults) != 1 {
				t.Fatalf("%d faults: %s", len(r.Faults), r.Summary)
			}
			got := r.Faults[0]
			if got.Block != block || got.Half != half || !got.Proved || (len(got.Tensors) == 0) != (got.Setting != nil) {
				t.Errorf("found %+v", got)
			}
			if !strings.Contains(got.Cause+got.Where, cause) {
				t.Errorf("explained by %q and %q, want %q", got.Cause, got.Where, cause)
			}
			if _, name, ok := strings.Cut(kind, ":"); ok && block >= 0 && (half == TemporalHalf || half == MLPHalf) && name != "temporal" && name != "mlp" {
				if want := m.Found.TensorName(block, name); !strings.Contains(strings.Join(got.Tensors, " "), want) {
					t.Errorf("tensors are %v, want %s among them", got.Tensors, want)
				}
			}
			t.Log(got.Detail, got.Tensors)
		})
	}
	for _, b := range brokenRecurrent {
		check(1, b.kind, b.size, b.half, b.cause)
	}
	for _, b := range brokenAttention {
		check(2, b.kind, b.size, b.half, b.cause)
	}
	for _, b := range brokenMLP {
		check(3, b.kind, b.size, b.half, b.cause)
	}
	last := len(m.Config.BlockTypes)
	for _, b := range []struct {
		kind  string
		found FaultKind
		cause string
		size  float64
	}{
		{"weights:" + reference.FinalNorm, "final norm", "", 0.01}, {"plain:" + reference.FinalNorm, "final norm", "larger by 1 than that of the recording", 0},
		{"no:" + reference.FinalNorm, "final norm", "a norm with a scale, which the recording was made without", 0},
		{"soft cap", "logits", "", 0.01}, {"no soft cap", "logits", "a soft cap of 30 on the logits; the recording was made without one", 0}, {"soft cap of", "logits", "a soft cap of 30 on the logits; the recording was made with 50", 50}, {"soft cap of", "logits", "a soft cap of 30 on the logits; the recording was made with 17", 17}, {"soft cap of", "logits", "", 17.3}, {"embedding scale", "embedding", "embeddings that are 0.9091 times those of the recording", 0.1},
	} {
		t.Run(b.kind, func(t *testing.T) {
			n := newNaive(t, m, reference.Float32, breakage{-1, b.kind, b.size})
			r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", false))
			if r.OK || len(r.Faults) == 0 {
				t.Fatalf("%d faults: %s", len(r.Faults), r.Summary)
			}
			got := r.Faults[0]
			want := last
			if b.found == "embedding" {
				want = -1
			}
			if got.Kind != b.found || got.Block != want || (len(got.Tensors) == 0) != (got.Setting != nil) || !strings.Contains(got.Cause, b.cause) {
				t.Errorf("found %+v", got)
			}
			t.Log(got.Detail)
		})
	}
}

// Soft caps that the logits do not tell apart are all named.
func TestSeveralSoftCaps(t *testing.T) {
	for want, caps := range map[string][]string{"a larger one, or none": {"0", "30", "50"}, "30 or 50": {"30", "50"}} {
		var found []hypothesis
		for _, recorded := range caps {
			found = append(found, withSetting(&Setting{Name: SoftCapSetting, Value: "5", Recorded: recorded}, "", nil))
		}
		if got := severalSoftCaps(found); got != want {
			t.Errorf("%v: %q", caps, got)
		}
	}
}

// Two faults are both found: that of the first block hides nothing. And where a fixture lacks the outputs of
// temporal halves, the block is found all the same.
func TestLocaliseMore(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	tokens, positions, packed, batch := trialTokens(m)
	n := newNaive(t, m, reference.Float32, breakage{1, "minus 8", 0.1})
	n.load(3, reference.MLPUp+reference.Kernel)[5] += 0.3
	r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", false))
	if len(r.Faults) != 2 || r.Faults[0].Block != 1 || r.Faults[0].Half != TemporalHalf || r.Faults[1].Block != 3 || r.Faults[1].Half != MLPHalf {
		t.Errorf("found %s", r.Summary)
	}
	n = newNaive(t, m, reference.Float32, breakage{1, "minus 8", 0.1}) // both halves of one block
	n.load(1, reference.MLPUp+reference.Kernel)[5] += 0.3
	r = compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", false))
	if len(r.Faults) != 2 || r.Faults[0].Block != 1 || r.Faults[0].Half != TemporalHalf || r.Faults[1].Block != 1 || r.Faults[1].Half != MLPHalf {
		t.Errorf("found %s", r.Summary)
	}
	for kind, where := range map[string]string{"window one less": "begin at the attention window, at position 8", "no window": "begin at the attention window, at position 9", "attention runs on": "only behind a document boundary"} {
		n := newNaive(t, m, reference.Float32, breakage{2, kind, 0})
		r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", false))
		if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Where, where) {
			t.Errorf("%s: found %s", kind, r.Summary)
		}
	}
	for kind, want := range map[string]Half{"window one less": TemporalHalf, "no:" + reference.MLPUp + reference.Bias: MLPHalf, "softmax scale": ""} {
		n := newNaive(t, m, reference.Float32, breakage{2, kind, 0.05})
		r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", true))
		if len(r.Faults) != 1 || r.Faults[0].Block != 2 || r.Faults[0].Half != want {
			t.Fatalf("%s: found %s", kind, r.Summary)
		}
		named := func(parameter string) bool {
			return slices.Contains(r.Faults[0].Tensors, m.Found.TensorName(2, parameter))
		}
		if kind == "window one less" { // a setting, not a tensor
			if r.Faults[0].Tensors != nil || r.Faults[0].Setting == nil || *r.Faults[0].Setting != (Setting{WindowSetting, "8", "7", false}) {
				t.Errorf("%s: %+v", kind, r.Faults[0])
			}
			continue
		}
		if named(reference.ProjQ+reference.Kernel) != (want != MLPHalf) || named(reference.MLPUp+reference.Bias) != (want != TemporalHalf) {
			t.Errorf("%s: the tensors are %q", kind, r.Faults[0].Tensors)
		}
		if once := slices.Compact(slices.Sorted(slices.Values(r.Faults[0].Tensors))); len(once) != len(r.Faults[0].Tensors) { // gate and up are one tensor
			t.Errorf("%s: tensors are named twice: %q", kind, r.Faults[0].Tensors)
		}
	}
}

// A model that is run as transformers 5 attends to one token less. Other windows are named in its terms.
func TestLocaliseAsTransformers5(t *testing.T) {
	f := cases.Open(t, "tiny-griffin") // with a window of 8
	m := f.Model(t, f.Checkpoints(t)[0])
	tokens, positions, _, batch := trialTokens(m)
	as := reference.Transformers5
	for _, tt := range []struct {
		kind   string
		window float64
		cause  string
	}{
		{"window of", 7, ""}, // what transformers 5 sees
		{"window of", 6, "an attention window of 8; the recording was made with 7"},
		{"window of", 8, "the semantics of transformers5, as given; the recording was made with those of original"},
		{"no rope", 7, "rotary position embedding, which the recording was made without"},
	} {
		n := newNaive(t, m, reference.Float32, breakage{2, tt.kind, tt.window})
		r, err := Compare(t.Context(), m, n.fixture(tokens, positions, nil, batch, "float32", false), Options{Semantics: &as})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK != (tt.cause == "") || !r.OK && (len(r.Faults) != 1 || r.Faults[0].Block != 2 || r.Faults[0].Cause != tt.cause) {
			t.Errorf("%s %v: %s", tt.kind, tt.window, r.Summary)
		}
	}
}

// What is wrong in the logits may be the final norm, where the fixture does not have its result.
func TestLocaliseHead(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	norm, embedding := m.Found.TensorName(reference.Outer, reference.FinalNorm), m.Found.TensorName(reference.Outer, reference.Embedding)
	var hidden []string
	for i := range 6 {
		hidden = append(hidden, fmt.Sprint("hidden.", i), fmt.Sprint("packed.hidden.", i))
	}
	for _, tt := range []struct {
		wrong  string
		beside []string
		kind   FaultKind
		want   []string
	}{
		{"logits", nil, LogitsFault, []string{norm, embedding}},
		{"logits", []string{"final_norm"}, LogitsFault, []string{embedding}},
		{"final_norm", []string{"logits"}, FinalNormFault, []string{norm}},
	} {
		run := newTrialRun(t, m)
		for i := range run.results[tt.wrong] {
			run.results[tt.wrong][i] = slices.Clone(run.results[tt.wrong][i])
			run.results[tt.wrong][i][i%7] += 10
		}
		r := compareWith(t, m, run.only(slices.Concat(hidden, tt.beside, []string{tt.wrong})...))
		if len(r.Faults) != 1 || r.Faults[0].Kind != tt.kind || !r.Faults[0].Proved || r.Faults[0].Block != 5 || r.Faults[0].Cause != "" || !slices.Equal(r.Faults[0].Tensors, tt.want) {
			t.Errorf("%s: %s", tt.wrong, r.Summary)
		}
	}
}

// Where the checkpoint that the fixture was recorded from is there too, it says which tensor differs.
func TestLocaliseByOtherCheckpoint(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	source := f.Model(t, f.Checkpoints(t)[0])
	for _, tt := range []struct {
		tensor string
		block  int
		half   Half
	}{
		{"model.layers.1.temporal_block.rg_lru.recurrent_gate_weight", 1, TemporalHalf},
		{"model.layers.2.temporal_block.q_proj.weight", 2, TemporalHalf},
		{"model.layers.3.mlp_block.up_proj.weight", 3, MLPHalf},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(f.Dir, "hf"))); err != nil {
			t.Fatal(err)
		}
		editFile(t, filepath.Join(dir, "model.safetensors"), tt.tensor, func(x []byte) {
			for i := 0; i < len(x); i += 14 {
				x[i+1] ^= 1 // an exponent's bit
			}
		})
		converted := f.Model(t, dir)
		g, err := golden.Open(filepath.Join(f.Dir, "golden", "jax.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		r, err := Compare(t.Context(), converted, g, Options{Other: source})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Faults) != 1 {
			t.Fatalf("%s: %d faults: %s", tt.tensor, len(r.Faults), r.Summary)
		}
		got := r.Faults[0]
		if got.Block != tt.block || got.Half != tt.half || !slices.Equal(got.Tensors, []string{tt.tensor}) || !strings.Contains(got.Cause, ", which "+filepath.Base(source.Checkpoint.Path)+" has as it was recorded") {
			t.Errorf("%s: %+v", tt.tensor, got)
		}
	}
}

// Only a model of the same sizes has weights that may explain a fault.
func TestSameSizes(t *testing.T) {
	of := func(edit func(c *model.Config)) *model.Config {
		c := &model.Config{Width: 1, MLPExpandedWidth: 2, NumHeads: 3, LRUWidth: 4, VocabSize: 5, BlockTypes: []model.BlockType{model.Recurrent, model.Attention}}
		edit(c)
		return c
	}
	same := of(func(*model.Config) {})
	for name, other := range map[string]*model.Config{
		"width": of(func(c *model.Config) { c.Width = 9 }), "MLP": of(func(c *model.Config) { c.MLPExpandedWidth = 9 }), "heads": of(func(c *model.Config) { c.NumHeads = 9 }),
		"LRU": of(func(c *model.Config) { c.LRUWidth = 9 }), "blocks": of(func(c *model.Config) { c.BlockTypes = c.BlockTypes[:1] }),
	} {
		if sameSizes(same, other) || sameSizes(other, same) {
			t.Errorf("another %s", name)
		}
	}
	if !sameSizes(same, of(func(c *model.Config) { c.VocabSize = 9 })) { // blocks do not depend on it
		t.Error("another vocabulary")
	}
}

// A NaN is a fault of the half that it is in. That it flows on into the other half, or into other blocks, is none.
func TestLocaliseNaN(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	run := newTrialRun(t, f.Model(t, f.Checkpoints(t)[0]))
	type place struct {
		block int
		half  Half
	}
	for _, tt := range []struct {
		tensors string
		want    []place
	}{
		{"1.temporal_block.linear_x.weight", []place{{1, TemporalHalf}}},
		{"1.temporal_block.rg_lru.recurrent_param", []place{{1, TemporalHalf}}},
		{"2.temporal_block.q_proj.weight", []place{{2, TemporalHalf}}},
		{"2.temporal_pre_norm.weight", []place{{2, TemporalHalf}}},
		{"3.channel_pre_norm.weight", []place{{3, MLPHalf}}},
		{"2.temporal_block.v_proj.weight 2.mlp_block.down_proj.bias 4.mlp_block.up_proj.weight", []place{{2, TemporalHalf}, {2, MLPHalf}, {4, MLPHalf}}},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(f.Dir, "hf"))); err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(tt.tensors) {
			editFile(t, filepath.Join(dir, "model.safetensors"), "model.layers."+name, func(x []byte) { copy(x, []byte{0xc0, 0x7f}) })
		}
		var got []place
		for _, fault := range compareWith(t, f.Model(t, dir), run.only("*")).Faults {
			got = append(got, place{fault.Block, fault.Half})
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: faults of %v, want %v", tt.tensors, got, tt.want)
		}
	}
}

// editFile changes the bytes of a tensor of a file.
func editFile(t *testing.T, path, name string, change func(x []byte)) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.Open(storage.Local(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x := c.Tensor(name)
	if x == nil {
		t.Fatalf("no tensor %s", name)
	}
	layout, ok, err := tensor.Layout(x)
	if err != nil || !ok {
		t.Fatal(err)
	}
	change(raw[layout.Base:][:x.Bytes()])
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}
