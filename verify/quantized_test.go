package verify

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// TestQuantized verifies a copy of which one matrix holds another one, and a tensor that was left alone is wrong.
func TestQuantized(t *testing.T) {
	const down, norm = "model.layers.0.mlp_block.down_proj.weight", "model.layers.0.temporal_pre_norm.weight"
	stored := openQuantized(t, "fp8-blocks")
	instead := map[string]string{
		down:                "model.layers.1.mlp_block.down_proj.weight",
		down + "_scale_inv": "model.layers.1.mlp_block.down_proj.weight_scale_inv",
		norm:                "model.layers.0.channel_pre_norm.weight",
	}
	var changed []*tensor.Tensor
	for _, x := range stored.Tensors() {
		if other := instead[x.Name]; other != "" {
			y := *stored.Tensor(other)
			y.Name = x.Name
			x = &y
		}
		changed = append(changed, x)
	}
	damaged, err := tensor.NewCheckpoint(stored.Path, stored.Format, changed)
	if err != nil {
		t.Fatal(err)
	}
	damaged.Source, damaged.Root = stored.Source, stored.Root
	for _, test := range []struct {
		copy      *tensor.Checkpoint
		quantized []string // findings of the section
		weights   []string
	}{
		{stored, nil, nil},
		{damaged, []string{down}, []string{norm}},
	} {
		var judged, toJudge int64
		v, err := Verify(t.Context(), openQuantized(t, "base"), test.copy, Options{Progress: func(stage string, done, total int64) {
			if stage == "judging quantised tensors" {
				judged, toJudge = max(judged, done), total
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if judged <= 0 || judged != toJudge {
			t.Errorf("judging ends at %d of %d bytes", judged, toJudge)
		}
		if v.Same || v.Quantized == nil || v.Quantized.OK || len(v.Quantized.Tensors) != 13 || len(v.Quantized.Kept) != 23 || !v.Structure.OK || !v.Config.OK || v.Runtime != nil {
			t.Errorf("verdict %+v, quantised %+v", v, v.Quantized)
		}
		if v.Weights.OK != (test.weights == nil) || v.Weights.Tensors != len(v.Quantized.Kept) || strings.Contains(v.Weights.Summary, "could not be compared") {
			t.Errorf("weights: %s", v.Weights.Summary)
		}
		for _, s := range []struct {
			findings []Finding
			want     []string
		}{{v.Quantized.Findings.All(), test.quantized}, {v.Weights.Findings.All(), test.weights}} {
			if len(s.findings) != len(s.want) {
				t.Fatalf("findings %v, want %v", s.findings, s.want)
			}
			for i := range s.want {
				if s.findings[i].Tensor != s.want[i] || strings.Contains(s.findings[i].String(), "%!") {
					t.Errorf("finding %s, want %s", &s.findings[i], s.want[i])
				}
			}
		}
		for _, x := range v.Quantized.Tensors {
			if bad := x.Name == down && test.quantized != nil; (x.Ratio > 10) != bad || x.Ratio < 1 {
				t.Errorf("%s: ratio %v", x.Name, x.Ratio)
			}
		}
	}
}

func openQuantized(t *testing.T, sample string) *tensor.Checkpoint {
	c, err := formats.Open("../testdata/quantized/"+sample, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A quantised output head that config.json ties to the embedding is judged by it.
func TestQuantizedHead(t *testing.T) {
	base, stored := openQuantized(t, "base"), openQuantized(t, "mlx-4bit")
	for _, tt := range []struct {
		scales, biases string
		good           bool
	}{{"scales", "biases", true}, {"biases", "scales", false}} {
		tensors := slices.Clone(stored.Tensors())
		for part, of := range map[string]string{"weight": "weight", "scales": tt.scales, "biases": tt.biases} {
			x := *stored.Tensor("model.embed_tokens." + of)
			x.Name = "lm_head." + part
			tensors = append(tensors, &x)
		}
		c, err := tensor.NewCheckpoint(stored.Path, stored.Format, tensors)
		if err != nil {
			t.Fatal(err)
		}
		c.Source, c.Root = stored.Source, stored.Root
		v, err := Verify(t.Context(), base, c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		findings := v.Quantized.Findings.All()
		if len(v.Quantized.Tensors) != 15 || tt.good != (len(findings) == 0) || !tt.good && (len(findings) != 1 || findings[0].Tensor != "lm_head.weight") {
			t.Errorf("%+v: %d tensors, %v", tt, len(v.Quantized.Tensors), findings)
		}
	}
}

// What lies beside a quantised copy is checked as beside any other.
func TestBesideAQuantizedCopy(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../testdata/quantized/fp8-blocks")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "custom_generate"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "custom_generate", "generate.py"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	v, err := verifyFiles(t, "../testdata/quantized/base", dir, Options{})
	if err != nil || v.Quantized == nil || v.Config.OK || v.Config.Findings.Len() != 1 || v.Config.Findings.At(0).Field != "custom_generate/generate.py" {
		t.Errorf("%+v, %v", v, err)
	}
}

// A matrix that is worse than its scheme explains is a finding, which counts the blocks that are, and the summary has the errors of all.
func TestQuantizedSection(t *testing.T) {
	c, err := formats.Open("../testdata/quantized/fp8-blocks", formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q, err := quantized.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		judged  []quantized.Judgement
		details []string
		summary string
	}{
		{nil, nil, ""},
		{[]quantized.Judgement{{Error: 1, Least: 1, Blocks: 3}}, nil, "; relative L2 error 1 to 1, the least that the scheme allows"},
		{[]quantized.Judgement{{Error: 2, Least: 1, Blocks: 3, Far: 1}}, []string{"1 of its 3 blocks is farther from the source than the scheme explains"}, "; relative L2 error 2 to 2, at most 2 times the least that the scheme allows"},
		{[]quantized.Judgement{{Error: 2, Least: 2, Blocks: 9, Far: 4}, {Error: 40, Least: 1, Blocks: 9}, {Error: 1, Least: 1}}, []string{"4 of its 9 blocks are farther from the source than the scheme explains", ""},
			"; relative L2 error 1 to 40, at most 40 times the least that the scheme allows"},
	} {
		s := &QuantizedSection{}
		var details []string
		for i := range tt.judged {
			for _, f := range s.judge("w", "v", q.Weights[0], &tt.judged[i]) {
				details = append(details, f.Detail)
			}
		}
		s.summarise(q, nil)
		if !slices.Equal(details, tt.details) || s.Summary != q.String()+tt.summary || len(s.Tensors) != len(tt.judged) {
			t.Errorf("%+v: %q, %q", tt.judged, details, s.Summary)
		}
	}
}
