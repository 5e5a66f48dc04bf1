package reference

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// stored is one tensor of a safetensors file.
type stored struct {
	dtype tensor.DType
	shape []int64
	data  []byte
}

// safetensors reads a trusted safetensors file. Package reference does not import formats/safetensors,
// the reader for untrusted files.
func safetensors(t testing.TB, path string) (map[string]stored, map[string]string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + binary.LittleEndian.Uint64(raw)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:n], &header); err != nil {
		t.Fatal(err)
	}
	meta := map[string]string{}
	tensors := map[string]stored{}
	for name, value := range header {
		if name == "__metadata__" {
			json.Unmarshal(value, &meta)
			continue
		}
		var entry struct {
			DType   string
			Shape   []int64
			Offsets [2]uint64 `json:"data_offsets"`
		}
		if err := json.Unmarshal(value, &entry); err != nil {
			t.Fatal(err)
		}
		tensors[name] = stored{tensor.DTypeBySafetensors(entry.DType), entry.Shape, raw[n+entry.Offsets[0] : n+entry.Offsets[1]]}
	}
	return tensors, meta
}

func (s stored) float32s() []float32 {
	out := make([]float32, len(s.data)/int(s.dtype.Size()))
	kernel.Widen(out, s.dtype, s.data)
	return out
}

func (s stored) int32s() []int32 {
	out := make([]int32, len(s.data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(s.data[4*i:]))
	}
	return out
}

// huggingFace is the Weights of a Hugging Face checkpoint, whose matrices are [out, in].
type huggingFace map[string]stored

var huggingFaceNames = strings.NewReplacer(
	MLPGate+Kernel, "mlp_block.gate_proj.weight", MLPGate+Bias, "mlp_block.gate_proj.bias",
	MLPUp+Kernel, "mlp_block.up_proj.weight", MLPUp+Bias, "mlp_block.up_proj.bias",
	MLPDown+Kernel, "mlp_block.down_proj.weight", MLPDown+Bias, "mlp_block.down_proj.bias",
	TemporalNorm, "temporal_pre_norm.weight", ChannelNorm, "channel_pre_norm.weight",
	AParam, "temporal_block.rg_lru.recurrent_param",
	InputGate+Kernel, "temporal_block.rg_lru.input_gate_weight", InputGate+Bias, "temporal_block.rg_lru.input_gate_bias",
	AGate+Kernel, "temporal_block.rg_lru.recurrent_gate_weight", AGate+Bias, "temporal_block.rg_lru.recurrent_gate_bias",
	"recurrent.", "temporal_block.", "attention.proj_final", "temporal_block.o_proj", "attention.proj_q", "temporal_block.q_proj",
	"attention.proj_k", "temporal_block.k_proj", "attention.proj_v", "temporal_block.v_proj", Kernel, ".weight")

func (h huggingFace) Parameter(block int, name string) (*Parameter, error) {
	full := map[string]string{Embedding: "model.embed_tokens.weight", FinalNorm: "model.final_norm.weight", OutputHead: "lm_head.weight"}[name]
	if block != Outer {
		full = "model.layers." + strconv.Itoa(block) + "." + huggingFaceNames.Replace(name)
	}
	s, ok := h[full]
	if !ok {
		return nil, fmt.Errorf("no tensor %s for %s", full, name)
	}
	return &Parameter{DType: s.dtype, Shape: s.shape, Data: Bytes(s.data)}, nil
}

// transposed is Weights with matrices [in, out], and with data that is read instead of used in memory.
type transposed struct{ Weights }

func (w transposed) Parameter(block int, name string) (*Parameter, error) {
	p, err := w.Weights.Parameter(block, name)
	if err != nil || !strings.HasSuffix(name, Kernel) || strings.Contains(name, "gate.kernel") && strings.Contains(name, "rg_lru") {
		return p, err
	}
	out, in := int(p.Shape[0]), int(p.Shape[len(p.Shape)-1])
	size := int(p.DType.Size())
	from, to := p.Data.(Bytes), make([]byte, out*in*size)
	for o := range out {
		for i := range in {
			copy(to[(i*out+o)*size:][:size], from[(o*in+i)*size:])
		}
	}
	return &Parameter{DType: p.DType, Shape: []int64{int64(in), int64(out)}, InOut: true, Data: readOnly{Bytes(to)}}, nil
}

// readOnly hides that the data is in memory.
type readOnly struct{ b Bytes }

func (r readOnly) ReadAt(p []byte, off int64) (int, error) { return r.b.ReadAt(p, off) }

// testCase is the case.json of a fixture.
type testCase struct {
	DType  string
	Batch  int
	Length int
	Config struct {
		Vocab    int      `json:"vocab_size"`
		Width    int      `json:"width"`
		Expanded int      `json:"mlp_expanded_width"`
		Heads    int      `json:"num_heads"`
		LRU      int      `json:"lru_width"`
		Blocks   []string `json:"block_types"`
		Window   int      `json:"attention_window_size"`
		Scale    bool     `json:"embeddings_scale_by_sqrt_dim"`
		Cap      float64  `json:"logits_soft_cap"`
	}
}

// openCase returns a fixture and its model. The weights are those of the Hugging Face directory, or for
// models that transformers cannot run, the file of the same form in testdata.
func openCase(t testing.TB, dir string) (*testCase, *Model) {
	t.Helper()
	c := &testCase{}
	raw, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, c); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "hf", "model.safetensors")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join("testdata", filepath.Base(dir)+".safetensors")
	}
	weights, _ := safetensors(t, path)
	m := &Model{Weights: huggingFace(weights), Config: Config{VocabSize: c.Config.Vocab, Width: c.Config.Width,
		MLPExpandedWidth: c.Config.Expanded, NumHeads: c.Config.Heads, LRUWidth: c.Config.LRU,
		AttentionWindow: c.Config.Window, LogitsSoftCap: c.Config.Cap, EmbeddingScale: c.Config.Scale}}
	for _, kind := range c.Config.Blocks {
		m.Config.BlockTypes = append(m.Config.BlockTypes, map[string]BlockType{"recurrent": Recurrent, "attention": Attention}[kind])
	}
	return c, m
}

// results runs a pass and returns its observations by their names in the golden files.
func results(t testing.TB, m *Model, p Pass) map[string]Activations {
	t.Helper()
	out := map[string]Activations{}
	p.Observe = func(o Observation) error {
		out[o.Name()] = o.Activations
		return nil
	}
	if err := m.Run(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	return out
}

// difference returns the largest difference, relative to the largest value.
func difference(got Activations, want []float32) float64 {
	var worst, largest float64
	if got.Len() != len(want) {
		return math.Inf(1)
	}
	for i, w := range want {
		d := math.Abs(got.At(i) - float64(w))
		if !(d <= worst) {
			worst = d
		}
		largest = max(largest, math.Abs(float64(w)))
	}
	return worst / largest
}

// fixtures are the committed cases, in three dtypes: rows of three windows, packed rows, odd numbers of
// heads, attention first and last, and a Hawk without embedding scale and soft cap.
var fixtures = []string{"tiny-griffin", "odd-griffin", "micro-griffin", "micro-hawk"}

// cases returns the directories of the fixtures and of the cases that the glob pattern in the
// environment variable GRIFFIN_CASES matches.
func cases(t testing.TB) []string {
	var dirs []string
	for _, name := range fixtures {
		dirs = append(dirs, filepath.Join("..", "testdata", name))
	}
	more, err := filepath.Glob(os.Getenv("GRIFFIN_CASES"))
	if err != nil {
		t.Fatal(err)
	}
	return append(dirs, more...)
}

// implementations gives the semantics of each golden file.
var implementations = map[string]Semantics{"jax": Original, "torch": Original, "hf4": Transformers4, "hf5": Transformers5}

// TestGolden compares logits and hidden states, plain and packed, with those of every implementation,
// with weights in both storage orders. In float32 they agree within 2e-5 of the tensor's largest value.
// The recordings of half-precision cases are rounded by the implementation, so that their tolerance
// follows their dtype.
func TestGolden(t *testing.T) {
	for _, dir := range cases(t) {
		c, m := openCase(t, dir)
		for name, semantics := range implementations {
			golden, _ := tryGolden(t, dir, name)
			if golden == nil {
				continue
			}
			t.Run(filepath.Base(dir)+"/"+name, func(t *testing.T) {
				tolerance := map[string]float64{"float32": 2e-5, "float16": 4e-3, "bfloat16": 8e-2}[c.DType]
				for _, weights := range []Weights{m.Weights, transposed{m.Weights}} {
					model := *m
					model.Semantics, model.Weights = semantics, weights
					for _, prefix := range []string{"", "packed."} {
						if _, ok := golden[prefix+"positions"]; !ok {
							continue
						}
						got := results(t, &model, Pass{Tokens: golden["tokens"].int32s(), Batch: c.Batch, Positions: golden[prefix+"positions"].int32s()})
						compare(t, prefix, golden, got, tolerance)
					}
				}
			})
		}
	}
}

func tryGolden(t testing.TB, dir, name string) (map[string]stored, map[string]string) {
	path := filepath.Join(dir, "golden", name+".safetensors")
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	return safetensors(t, path)
}

func compare(t *testing.T, prefix string, golden map[string]stored, got map[string]Activations, tolerance float64) {
	t.Helper()
	compared := 0
	for name, g := range got {
		want, ok := golden[prefix+name]
		if !ok {
			continue
		}
		compared++
		d := difference(g, want.float32s())
		t.Logf("%s%s: %.2g", prefix, name, d)
		if !(d <= tolerance) {
			t.Errorf("%s%s differs by %.3g of its largest value, more than %.1g", prefix, name, d, tolerance)
		}
	}
	if compared < 4 {
		t.Errorf("only %d tensors were compared", compared)
	}
}
