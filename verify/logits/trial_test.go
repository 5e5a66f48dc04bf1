package logits

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// spoilToken changes two channels of a token, which no single row of a matrix does.
func (r *trialRun) spoilToken(name string, token int) {
	row := slices.Clone(r.results[name][token])
	row[2] += 10
	row[5] -= 10
	r.results[name][token] = row
}

// What a hypothesis explains in the rows of one document is said with that restriction, also if the first row of the others is wrong.
// A fault that only rows of several documents have is not explained by a hypothesis that concerns only them.
func TestRowsOfOneDocument(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	for _, tt := range []struct {
		broken breakage
		token  int // of the other rows
		cause  string
	}{
		{breakage{1, "taps reversed", 0}, 0, "the taps of the convolution in reverse order, as far as rows of one document tell"},
		{breakage{1, "taps reversed", 0}, 20, "the taps of the convolution in reverse order, as far as rows of one document tell"},
		{breakage{block: -2}, 0, ""},
		{breakage{block: -2}, 20, ""},
	} {
		run := brokenTrialRun(t, m, tt.broken)
		run.spoilToken("packed.temporal.1", tt.token)
		r := compareWith(t, m, run.only("*"))
		if len(r.Faults) == 0 || r.Faults[0].Block != 1 || r.Faults[0].Half != TemporalHalf || r.Faults[0].Cause != tt.cause || len(r.Faults[0].Tensors) == 0 {
			t.Errorf("%q, token %d: %s, tensors %q", tt.broken.kind, tt.token, r.Summary, r.Faults[0].Tensors)
		}
	}
}

// A fault in a single channel is one of a row of the last matrix or an element of its bias; which of them its tokens show.
func TestFaultOfOneChannel(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	for _, tt := range []struct {
		block     int
		parameter string
		half      Half
	}{
		{1, reference.LinearOut, TemporalHalf},
		{2, reference.ProjFinal, TemporalHalf},
		{1, reference.MLPDown, MLPHalf},
	} {
		kernel, bias := m.Found.TensorName(tt.block, tt.parameter+reference.Kernel), m.Found.TensorName(tt.block, tt.parameter+reference.Bias)
		for part, want := range map[string][]string{reference.Kernel: {kernel, bias}, reference.Bias: {bias}} {
			cause := map[string]string{reference.Bias: "of the bias, which is too small by 0.1"}[part] // and a tenth of the element
			for _, sparse := range []bool{false, true} {
				if sparse && tt.half == TemporalHalf {
					continue // the MLP spreads it over all channels
				}
				n := newNaive(t, m, reference.Float32, breakage{tt.block, "weight:" + tt.parameter + part, 0.1})
				tokens, positions, packed, batch := trialTokens(m)
				r := compareWith(t, m, n.fixture(tokens, positions, packed, batch, "float32", sparse))
				if len(r.Faults) != 1 || r.Faults[0].Half != tt.half || !slices.Equal(r.Faults[0].Tensors, want) || !strings.Contains(r.Faults[0].Cause, cause) {
					t.Errorf("block %d, %s%s, sparse %t: %s: %q, want %q", tt.block, tt.parameter, part, sparse, r.Summary, r.Faults[0].Tensors, want)
				}
			}
		}
	}
}

// An element of the bias is wrong by about the same at every token.
func TestBiasIsTheSameAtEveryToken(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	run := newTrialRun(t, m)
	kernel, bias := m.Found.TensorName(1, reference.LinearOut+reference.Kernel), m.Found.TensorName(1, reference.LinearOut+reference.Bias)
	right := map[string][][]float64{}
	for _, name := range []string{"temporal.1", "packed.temporal.1"} {
		right[name] = run.results[name]
	}
	for spread, want := range map[float64]string{0: "element 3 of the bias, which is too large by 10", 0.1: "element 3 of the bias, which is too large by 10", 0.5: ""} {
		for name, rows := range right {
			wrong := slices.Clone(rows)
			for i := range wrong {
				wrong[i] = slices.Clone(wrong[i])
				wrong[i][3] -= 10 + spread*(float64(i)/float64(len(rows)-1)-0.5)
			}
			run.results[name] = wrong
		}
		got := compareWith(t, m, run.only("*")).Faults[0]
		tensors := []string{bias}
		if want == "" {
			tensors = []string{kernel, bias}
		}
		if got.Block != 1 || got.Half != TemporalHalf || got.Where != "only channel 3 is outside" || got.Cause != want || !slices.Equal(got.Tensors, tensors) {
			t.Errorf("a spread of %v: %+v", spread, got)
		}
	}
}

// What explains the logits of the first token has to explain those of others too.
func TestHeadIsTriedOnSeveralTokens(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	for _, wrong := range []int{-1, 12, 42} {
		run := brokenTrialRun(t, m, breakage{-1, "no soft cap", 0})
		want := "a soft cap of 30 on the logits; the recording was made without one"
		if wrong >= 0 {
			want = ""
			run.spoilToken("logits", wrong)
			run.spoilToken("packed.logits", wrong)
		}
		r := compareWith(t, m, run.only("*"))
		if len(r.Faults) != 1 || r.Faults[0].Kind != LogitsFault || r.Faults[0].Cause != want {
			t.Errorf("token %d: %s", wrong, r.Summary)
		}
	}
}

// Wrong logits of a model whose head is not tied are a fault of its head.
func TestFaultOfSeparateHead(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	path := filepath.Join(f.Dir, "original", "torch.pt")
	tied := f.Model(t, path)
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const head = "lm_head.weight"
	own := &tensor.Tensor{Name: head, DType: tensor.BF16, Shape: []int64{tied.Config.VocabSize, tied.Config.Width}}
	own.Data = &tensor.Strided{Store: bytes.NewReader(bytes.Repeat([]byte{0x80, 0x3c}, int(own.Elements()))), Length: own.Elements(), DType: own.DType, View: tensor.RowMajor(own.Shape...)}
	untied, err := tensor.NewCheckpoint(c.Path, c.Format, append(slices.Clone(c.Tensors()), own))
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.Open(t.Context(), untied, runtime.Options{Settings: f.Settings})
	if err != nil {
		t.Fatal(err)
	}
	norm := m.Found.TensorName(reference.Outer, reference.FinalNorm)
	for name, want := range map[string][]string{"logits": {head}, "final_norm": {norm}} {
		run := newTrialRun(t, tied) // whose logits are those of the embedding
		for i := range run.results["final_norm"] {
			if name == "final_norm" {
				run.spoilToken("final_norm", i)
			}
		}
		names := []string{"final_norm", name}
		for i := range 6 {
			names = append(names, fmt.Sprint("hidden.", i), fmt.Sprint("packed.hidden.", i))
		}
		r := compareWith(t, m, run.only(names...))
		if len(r.Faults) != 1 || !slices.Equal(r.Faults[0].Tensors, want) {
			t.Errorf("%s: %s: %+v", name, r.Summary, r.Faults)
		}
	}
}

// What concerns both halves of a block is tried too where the fixture shows which of them is wrong.
func TestBothHalvesAreTried(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	run := newTrialRun(t, f.Model(t, f.Checkpoints(t)[0]))
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(f.Dir, "hf"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(config, []byte("1e-06"), []byte("1e-03"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	r := compareWith(t, f.Model(t, dir), run.only("*"))
	halves := map[Half]int{}
	for _, fault := range r.Faults {
		if fault.inBlock() {
			halves[fault.Half]++
		}
		if fault.Setting == nil || fault.Setting.Name != EpsilonSetting {
			t.Errorf("%s", fault.Detail)
		}
	}
	if halves[TemporalHalf] == 0 || halves[MLPHalf] == 0 || halves[""] > 0 {
		t.Errorf("faults of halves %v: %s", halves, r.Summary)
	}
}

// The MLP alone is judged by the errors of the model's own runs, unless its block has a NaN before it: then by those of all legal runs of the MLP.
func TestErrorsOfMLPTrial(t *testing.T) {
	f := cases.Open(t, "tiny-griffin")
	m := f.Model(t, f.Checkpoints(t)[0])
	in := newInput(m, newTrialRun(t, m).only("*"), nil)
	measured, err := measure(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &localiser{ctx: t.Context(), in: in, measured: measured, reference: m.Reference(in.semantics, reference.Arithmetic{Precision: reference.Float64})}
	own := measured.site(hidden(2), true)
	if sound, err := l.mlpTrial(1); err != nil || sound.errors != own {
		t.Fatalf("%v: other errors than those of the model's own runs", err)
	}
	measured.site(temporal(1), true).fixture[0].Largest = math.NaN()
	behind, err := l.mlpTrial(1)
	if err != nil || behind.errors == own || len(behind.errors.runs) != len(own.runs) {
		t.Fatalf("%v: the errors of the model's own runs", err)
	}
	rms, largest := behind.errors.scales(-1)
	if !slices.Equal(behind.errors.rmsScale, rms) || !slices.Equal(behind.errors.maxScale, largest) {
		t.Error("the scales are not those of all runs")
	}
}
