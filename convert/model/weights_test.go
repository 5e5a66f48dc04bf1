package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
	"github.com/griffin-ckpt/griffin/reference"
)

// streamed is data that can only be read from front to back, and counts the streams that were opened.
type streamed struct {
	data  []byte
	begun *int
}

func (s streamed) Stream(off int64) (io.ReadCloser, error) {
	*s.begun++
	return io.NopCloser(bytes.NewReader(s.data[off:])), nil
}

// countingData returns the elements 0, 1, 2, … in float32.
func countingData(n int64) []byte {
	var out []byte
	for i := range n {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(i)))
	}
	return out
}

func floats(t *testing.T, p *reference.Parameter, first, n int64) []float32 {
	t.Helper()
	raw := make([]byte, 4*n)
	if got, err := p.Data.ReadAt(raw, 4*first); got < len(raw) {
		t.Fatal(err)
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// TestEveryParameterIsFound: every parameter is found in every layout by its name in package reference,
// with the shape of the formulas in one of the two orientations, and its elements are consecutive.
func TestEveryParameterIsFound(t *testing.T) {
	config := Config{VocabSize: 11, Width: 24, MLPExpandedWidth: 14, NumHeads: 3, LRUWidth: 15, ConvWidth: 4, BlockTypes: []BlockType{Recurrent, Attention}}
	for _, layout := range []Layout{Flax, Torch, HuggingFace} {
		begun := 0
		tensors := modelTensors(&config, layout, "x.")
		for _, x := range tensors {
			x.Data = streamed{countingData(x.Elements()), &begun}
		}
		m, err := Recognize(checkpoint(t, tensors...), Options{})
		if err != nil {
			t.Fatal(layout, err)
		}
		weights := m.Weights()
		for _, p := range m.parameters() {
			got, err := weights.Parameter(p.block, p.rule.Name)
			if err != nil {
				t.Fatal(layout, err)
			}
			want := m.sizes.shapeIn(p.rule, HuggingFace)
			if got.InOut {
				slices.Reverse(want)
			}
			if !slices.Equal(got.Shape, want) {
				t.Errorf("%s: %s has shape %v, InOut %t, want %v", layout, p.rule.Name, got.Shape, got.InOut, want)
			}
			n := m.sizes.elements(p.rule)
			half := float32(0)
			if strings.HasPrefix(p.rule.Name, reference.MLPUp) && layout != HuggingFace {
				half = float32(n)
			}
			if all := floats(t, got, 0, n); all[0] != half || all[n-1] != half+float32(n-1) {
				t.Errorf("%s: %s goes from %v to %v", layout, p.rule.Name, all[0], all[n-1])
			}
		}
		for _, name := range []string{"", "mlp.gate", reference.OutputHead, reference.Embedding} {
			if _, err := weights.Parameter(0, name); err == nil {
				t.Errorf("%s: a parameter %q was found", layout, name)
			}
		}
		if _, err := weights.Parameter(2, reference.TemporalNorm); err == nil {
			t.Error("a parameter of a block that is not there was found")
		}
	}
}

// TestDecodedOnce: data that has to be decoded is decoded once if it is read from front to back.
func TestDecodedOnce(t *testing.T) {
	begun := 0
	x := named("w", 10, 10)
	x.Data = streamed{countingData(100), &begun}
	p, err := stored(x, same)
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []int64{0, 10, 40, 90} {
		if got := floats(t, p, first, 10); got[0] != float32(first) {
			t.Errorf("element %d is %v", first, got[0])
		}
	}
	if begun != 1 {
		t.Errorf("decoded %d times", begun)
	}
	if got := floats(t, p, 20, 5); got[0] != 20 || begun != 2 {
		t.Errorf("element 20 is %v, decoded %d times", got[0], begun)
	}
	if err := p.Data.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	if got := floats(t, p, 0, 5); got[0] != 0 || begun != 3 {
		t.Errorf("after closing, element 0 is %v, decoded %d times", got[0], begun)
	}
	x.Data = streamed{countingData(50), &begun}
	var bad *tensor.FormatError
	short, _ := stored(x, same)
	if _, err := short.Data.ReadAt(make([]byte, 4*60), 0); !errors.As(err, &bad) || bad.Tensor != "w" {
		t.Error(err)
	}
}

// TestOddlyStored: transposed, strided, float64 and big-endian tensors have the right elements.
func TestOddlyStored(t *testing.T) {
	store := countingData(6)
	for _, tt := range []struct {
		what  string
		view  tensor.View
		shape []int64
		inOut bool
		want  []float32 // as stored
	}{
		{"plain", tensor.RowMajor(2, 3), []int64{2, 3}, false, []float32{0, 1, 2, 3, 4, 5}},
		{"turned", tensor.RowMajor(3, 2).Permute(1, 0), []int64{3, 2}, true, []float32{0, 1, 2, 3, 4, 5}},
		{"every second", tensor.View{Shape: []int64{2, 1}, Strides: []int64{2, 1}}, []int64{2, 1}, false, []float32{0, 2}},
	} {
		x := &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: tt.view.Shape,
			Data: &tensor.Strided{Store: bytes.NewReader(store), Length: 6, DType: tensor.F32, View: tt.view}}
		p, err := stored(x, same)
		if err != nil {
			t.Fatal(tt.what, err)
		}
		if got := floats(t, p, 0, int64(len(tt.want))); !slices.Equal(got, tt.want) || p.InOut != tt.inOut || !slices.Equal(p.Shape, tt.shape) {
			t.Errorf("%s: %v, shape %v, InOut %t", tt.what, got, p.Shape, p.InOut)
		}
	}

	big := bytes.Clone(store)
	tensor.SwapBytes(big, 4)
	x := &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{6},
		Data: &tensor.Strided{Store: bytes.NewReader(big), Length: 6, DType: tensor.F32, View: tensor.RowMajor(6), BigEndian: true}}
	if p, err := stored(x, same); err != nil || !slices.Equal(floats(t, p, 2, 3), []float32{2, 3, 4}) {
		t.Error("big endian:", err)
	}

	var doubles []byte
	for i := range 6 {
		doubles = binary.LittleEndian.AppendUint64(doubles, math.Float64bits(float64(i)+1e-12))
	}
	x = &tensor.Tensor{Name: "w", DType: tensor.F64, Shape: []int64{6}}
	withData(x, doubles)
	if p, err := stored(x, same); err != nil || p.DType != tensor.F32 || !slices.Equal(floats(t, p, 2, 3), []float32{2, 3, 4}) {
		t.Error("float64:", err)
	}
	if _, err := stored(&tensor.Tensor{Name: "w", DType: tensor.I32, Shape: []int64{1}, Data: streamed{}}, same); err == nil {
		t.Error("integers were taken for weights")
	}
	cut := &fileRange{tensor: "w", store: bytes.NewReader(store), base: 8, size: 100}
	var bad *tensor.FormatError
	if _, err := cut.ReadAt(make([]byte, 20), 0); !errors.As(err, &bad) {
		t.Error("a file that is too short:", err)
	}
	if _, err := cut.ReadAt(make([]byte, 8), 96); err != io.EOF {
		t.Error("beyond the parameter:", err)
	}
}

// TestDigestedChecksum: a wrong checksum is found by the digests of the pass that computed with the weights, without another
// reading of the data if it was right.
func TestDigestedChecksum(t *testing.T) {
	config := Config{VocabSize: 11, Width: 24, MLPExpandedWidth: 14, NumHeads: 3, LRUWidth: 15, ConvWidth: 4, BlockTypes: []BlockType{Recurrent, Attention}}
	for _, layout := range []Layout{Flax, Torch, HuggingFace} {
		tensors := modelTensors(&config, layout, "x.")
		for wrong := range len(tensors) + 1 {
			var summed []*tensortest.Summed
			for i, x := range tensors {
				s := tensortest.NewSummed(x.DType, tensor.RowMajor(x.Shape...), countingData(x.Elements()), 0, x.Bytes(), i == wrong)
				x.Data, summed = s, append(summed, s)
			}
			m, err := Recognize(checkpoint(t, tensors...), Options{})
			if err != nil {
				t.Fatal(layout, err)
			}
			weights := NewDigestedWeights(m, digest.Default)
			forwards := &reference.Model{Config: config.Reference(), Weights: weights}
			forwards.Config.AttentionWindow = 4
			if err := forwards.Run(t.Context(), reference.Pass{Tokens: []int32{0, 1, 3}, Batch: 1}); err != nil {
				t.Fatal(layout, err)
			}
			_, err = weights.Sums(t.Context())
			if wrong == len(tensors) {
				if err != nil {
					t.Error(layout, err)
				}
				for i, s := range summed {
					if s.Checked.Load() > 0 || s.Passes.Load() != 1 {
						t.Errorf("%s: %s was read again", layout, tensors[i].Name)
					}
				}
				continue
			}
			if err == nil {
				t.Errorf("%s: the checksum of %s is wrong, and no error", layout, tensors[wrong].Name)
			}
		}
	}
}

// hfCopy copies the files of a Hugging Face fixture and changes config.json.
func hfCopy(t *testing.T, change func(string) string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "odd-griffin", "hf", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "config.json" {
			text = []byte(change(string(text)))
			if len(text) == 0 {
				continue
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func swap(from, to string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, from) {
			panic("no " + from)
		}
		return strings.Replace(s, from, to, 1)
	}
}

func TestConfigureHuggingFace(t *testing.T) {
	keep := func(s string) string { return s }
	for _, tt := range []struct {
		what     string
		change   func(string) string
		settings Settings
		fail     string // of the error, "" for none
	}{
		{"as it is", keep, Settings{}, ""},
		{"settings that agree", keep, Settings{AttentionWindow: ptr(int64(5)), LogitsSoftCap: ptr(20.0), EmbeddingScale: ptr(true)}, ""},
		{"another window", keep, Settings{AttentionWindow: ptr(int64(6))}, "contradict"},
		{"no scale", keep, Settings{EmbeddingScale: ptr(false)}, "contradict"},
		{"a preset", keep, Settings{Preset: "2b"}, "not of preset 2b"},
		{"an impossible window", keep, Settings{AttentionWindow: ptr(int64(0))}, "window"},
		{"wrong heads", swap(`"num_attention_heads": 3`, `"num_attention_heads": 6`), Settings{}, "num_attention_heads is 6, and the tensors' shapes show 3"},
		{"wrong pattern", swap(`"attention",
    "recurrent"`, `"recurrent",
    "recurrent"`), Settings{}, "block_types say that block 0 is recurrent"},
		{"another epsilon", swap("1e-06", "1e-05"), Settings{}, ""},
		{"another activation", swap("gelu_pytorch_tanh", "silu"), Settings{}, ""},
		{"an activation with parameters", swap("gelu_pytorch_tanh", "prelu"), Settings{}, "hidden_activation is prelu, a function with a parameter of its own in each layer"},
		{"no activation", swap("gelu_pytorch_tanh", "gulp"), Settings{}, "hidden_activation is gulp, which transformers does not have"},
		{"more key heads", swap(`"num_key_value_heads": 1`, `"num_key_value_heads": 3`), Settings{}, "num_key_value_heads is 3, and the tensors' shapes show 1"},
		{"no key heads", swap(`"num_key_value_heads": 1`, `"num_key_value_heads": null`), Settings{}, "num_key_value_heads is 3, and the tensors' shapes show 1"},
		{"wider heads", swap(`"head_dim": 12`, `"head_dim": 13`), Settings{}, "head_dim is 13, and the tensors' shapes show 12"},
		{"biases", swap(`"attention_bias": false`, `"attention_bias": true`), Settings{}, "attention_bias is true, and q_proj, k_proj and v_proj have no biases"},
		{"taps", swap(`"conv1d_width": 4`, `"conv1d_width": 3`), Settings{}, "conv1d_width is 3, and the tensors' shapes show 4"},
		{"a base", swap(`"rope_theta": 10000.0`, `"rope_theta": 500`), Settings{}, ""},
		{"no base", swap(`"rope_theta": 10000.0`, `"rope_theta": 0`), Settings{}, "rope_theta is 0, which is not positive"},
		{"a factor", swap(`"partial_rotary_factor": 0.5`, `"partial_rotary_factor": 1.0`), Settings{}, ""},
		{"too large a factor", swap(`"partial_rotary_factor": 0.5`, `"partial_rotary_factor": 1.1`), Settings{}, "partial_rotary_factor is 1.1"},
		{"a type", swap(`"rope_type": "default"`, `"rope_type": "linear"`), Settings{}, "rope_type is linear"},
		{"fields of layers", swap(`"use_cache"`, `"per_layer_config": {"0": {"head_dim": 4}}, "use_cache"`), Settings{}, "per_layer_config"},
		{"untied without a head", swap(`"tie_word_embeddings": true`, `"tie_word_embeddings": false`), Settings{}, "no lm_head.weight"},
		{"broken", swap("{", ""), Settings{}, "config.json"},
		{"no file", func(string) string { return "" }, Settings{}, "unknown: attention window"},
		{"no file, but settings", func(string) string { return "" }, Settings{AttentionWindow: ptr(int64(5)), LogitsSoftCap: ptr(20.0), EmbeddingScale: ptr(true)}, ""},
	} {
		c, err := formats.Open(hfCopy(t, tt.change), formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m, err := Recognize(c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		configured, err := m.Configure(tt.settings)
		switch {
		case tt.fail == "" && (err != nil || configured.Config.AttentionWindow != 5 || configured.Config.LogitsSoftCap != 20 || !configured.Config.EmbeddingScale):
			t.Errorf("%s: %+v, %v", tt.what, configured, err)
		case tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)):
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// TestHeads: a head is compared with the embedding unless the configuration has a separate head.
func TestHeads(t *testing.T) {
	config := Config{VocabSize: 7, Width: 8, MLPExpandedWidth: 3, NumHeads: 2, LRUWidth: 4, ConvWidth: 4, BlockTypes: []BlockType{Attention}}
	tensors := modelTensors(&config, HuggingFace, "model.")
	for _, x := range tensors {
		withData(x, countingData(x.Elements()))
	}
	head := withData(named("lm_head.weight", 7, 8), countingData(56))
	m, err := Recognize(checkpoint(t, append(tensors, head)...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckHeads(t.Context(), &config); err != nil {
		t.Error(err)
	}
	if p, err := m.Weights().Parameter(reference.Outer, reference.OutputHead); err != nil || !slices.Equal(p.Shape, []int64{7, 8}) {
		t.Error(p, err)
	}
	other := countingData(56)
	other[100]++
	withData(head, other)
	var bad *tensor.FormatError
	if err := m.CheckHeads(t.Context(), &config); !errors.As(err, &bad) || bad.Tensor != "lm_head.weight" {
		t.Error(err)
	}
	config.SeparateHead = true
	if err := m.CheckHeads(t.Context(), &config); err != nil {
		t.Error(err)
	}
	named := m.ParameterTensors(&config)
	if n := len(named); named[n-1].Name != "lm_head.weight" || named[0].Name != "embed_tokens.weight" {
		t.Errorf("%v", named)
	}
}

// A parameter that is a part of a tensor in a file is read from its place there, and not beyond.
func TestStoredParts(t *testing.T) {
	file := append(make([]byte, 12), countingData(24)...)
	x := &tensor.Tensor{Name: "w", DType: tensor.F32, Shape: []int64{2, 3, 4}, Data: &tensor.Strided{Store: bytes.NewReader(file), Base: 12, Length: 24, DType: tensor.F32, View: tensor.RowMajor(2, 3, 4)}}
	for part, first := range []float32{0, 12} {
		p, err := stored(x, halfMatrix(int64(part)))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := p.Data.(*fileRange); !ok || !p.InOut || !slices.Equal(p.Shape, []int64{3, 4}) {
			t.Errorf("part %d: %T, shape %v, InOut %t", part, p.Data, p.Shape, p.InOut)
		}
		if all := floats(t, p, 0, 12); all[0] != first || all[11] != first+11 {
			t.Errorf("part %d goes from %v to %v", part, all[0], all[11])
		}
		for _, beyond := range []struct{ off, n int64 }{{0, 49}, {44, 5}, {48, 1}, {49, 0}, {-1, 1}} {
			if _, err := p.Data.ReadAt(make([]byte, beyond.n), beyond.off); err != io.EOF {
				t.Errorf("part %d: %+v: %v", part, beyond, err)
			}
		}
		if n, err := p.Data.ReadAt(make([]byte, 0), 48); n != 0 || err != nil {
			t.Errorf("part %d: nothing at its end: %v", part, err)
		}
	}
	short := &fileRange{tensor: "w", store: bytes.NewReader(file), base: 100, size: 40}
	var bad *tensor.FormatError
	if _, err := short.ReadAt(make([]byte, 12), 4); !errors.As(err, &bad) || bad.Offset != 104 || bad.Tensor != "w" || bad.Problem != "storage ends 8 bytes short" {
		t.Error(err)
	}
	bytewise := &tensor.Tensor{Name: "w", DType: tensor.F8E4M3, Shape: []int64{4}, Data: &tensor.Strided{Store: bytes.NewReader(file), Length: 4, DType: tensor.F8E4M3, View: tensor.RowMajor(4), BigEndian: true}}
	if p, err := stored(bytewise, same); err != nil {
		t.Error(err)
	} else if _, ok := p.Data.(*narrowed).data.(*fileRange); !ok {
		t.Errorf("bytes in the other order are decoded by %T", p.Data.(*narrowed).data)
	}
}

// The output head is a parameter of the model and of no block, and takes the place of no other.
func TestHeadParameter(t *testing.T) {
	tensors := append(modelTensors(&tinyConfig, Torch, ""), named("lm_head.weight", 128, 32))
	for _, x := range tensors {
		withData(x, countingData(x.Elements()))
	}
	for _, heads := range []int{1, 0} {
		m, err := Recognize(checkpoint(t, tensors[:len(tensors)-1+heads]...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := m.Weights()
		if p, err := w.Parameter(reference.Outer, reference.OutputHead); (err == nil) != (heads == 1) || err == nil && !slices.Equal(p.Shape, []int64{128, 32}) {
			t.Errorf("%d heads: %v", heads, err)
		}
		if _, err := w.Parameter(0, reference.OutputHead); err == nil {
			t.Errorf("%d heads: a block has one", heads)
		}
		for block, name := range map[int]string{reference.Outer: reference.FinalNorm, 0: reference.TemporalNorm} {
			if p, err := w.Parameter(block, name); err != nil || !slices.Equal(p.Shape, []int64{32}) {
				t.Errorf("%d heads: %s: %v", heads, name, err)
			}
		}
	}
}

// Between the original layouts a matrix of two parts is one tensor, which is moved once.
func TestTransfersOnce(t *testing.T) {
	for _, from := range []Layout{Flax, Torch, HuggingFace} {
		for _, to := range []Layout{Flax, Torch, HuggingFace} {
			testTransfersOnce(t, from, to)
		}
	}
}

func testTransfersOnce(t *testing.T, from, to Layout) {
	m, err := Recognize(checkpoint(t, modelTensors(&tinyConfig, from, "")...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	elements, embeddings, seen := map[string]int64{}, 0, map[string]int64{}
	whole, transfers := map[string]bool{}, map[string]int{}
	for x := range m.Transfers(to) {
		transfers[x.Name]++
		if whole[x.Name] = x.Whole; x.Embedding && !x.Whole {
			t.Errorf("%s to %s: %s is said to be one of several parts", from, to, x.Name)
		}
		if x.First != seen[x.Name] {
			t.Errorf("%s to %s: %s begins at element %d of %d", from, to, x.Name, x.First, seen[x.Name])
		}
		seen[x.Name] += x.View.Elements()
		elements[x.Name] = (&tensor.Tensor{Shape: x.Shape}).Elements()
		if x.Embedding {
			embeddings++
		}
		if x.Embedding != (x.Name == Griffin.EmbeddingName(to)) {
			t.Errorf("%s to %s: %s is the embedding: %t", from, to, x.Name, x.Embedding)
		}
	}
	for name, n := range elements {
		if seen[name] != n || whole[name] && transfers[name] != 1 {
			t.Errorf("%s to %s: %s: %d of %d elements in %d transfers, whole: %t", from, to, name, seen[name], n, transfers[name], whole[name])
		}
	}
	if want := len(modelTensors(&tinyConfig, to, "")); len(elements) != want || embeddings != 1 {
		t.Errorf("%s to %s: %d tensors of %d, %d embeddings", from, to, len(elements), want, embeddings)
	}
}

// brief is a file that gives a few bytes at a time, and then an error.
type brief struct {
	content []byte
	err     error
}

func (b brief) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p[:min(len(p), 5)], b.content[min(off, int64(len(b.content))):])
	if off+int64(n) == int64(len(b.content)) {
		return n, b.err
	}
	return n, nil
}

// A parameter is read in pieces of any size. A file that ends early is a *tensor.FormatError, and one that fails is not.
func TestFileRange(t *testing.T) {
	content := []byte("..abcdefghijklmnopqrstuvwxyz")
	for _, unit := range []int{0, 1, 4, 100} {
		r := &fileRange{tensor: "w", store: brief{content, io.EOF}, base: 2, size: 26, unit: unit}
		for off := range int64(26) {
			p := make([]byte, 26-off)
			if n, err := r.ReadAt(p, off); n != len(p) || err != nil || string(p) != string(content[2+off:]) {
				t.Errorf("pieces of %d, from %d: %q, %d, %v", unit, off, p, n, err)
			}
		}
		for _, failure := range []error{nil, io.EOF, io.ErrClosedPipe} {
			r := &fileRange{tensor: "w", store: brief{content[:20], failure}, base: 2, size: 26, unit: unit}
			n, err := r.ReadAt(make([]byte, 26), 0)
			var bad *tensor.FormatError
			if n != 18 || err == nil || errors.As(err, &bad) != (failure != io.ErrClosedPipe) || bad != nil && (bad.Problem != "storage ends 8 bytes short" || bad.Tensor != "w") {
				t.Errorf("pieces of %d, then %v: %d, %v", unit, failure, n, err)
			}
		}
	}
}

// In a part of a model, blocks are counted from the first one that is present. If no tensor of a block shows its kind,
// the kind is unknown and the model is not complete.
func TestBlocksOfAPart(t *testing.T) {
	var tensors []*tensor.Tensor
	for _, x := range modelTensors(&tinyConfig, Torch, "") {
		block, tail := splitBlock(x.Name, "blocks.")
		if block >= 0 {
			x.Name = fmt.Sprintf("blocks.%d.%s", block+2, tail)
		}
		if block != 1 || !strings.HasPrefix(tail, "recurrent_block.") {
			tensors = append(tensors, x)
		}
	}
	m, err := Recognize(checkpoint(t, tensors...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const norm = "temporal_pre_norm.scale"
	for _, r := range Griffin.Rules {
		if r.At[Torch].Tail != norm {
			continue
		}
		for block := range len(tinyConfig.BlockTypes) {
			if got, want := m.TensorName(block, r.Name), fmt.Sprintf("blocks.%d.%s", block+2, norm); got != want {
				t.Errorf("block %d has %s, want %s", block, got, want)
			}
		}
	}
	want := slices.Clone(tinyConfig.BlockTypes)
	want[1] = UnknownKind
	if !slices.Equal(m.Config.BlockTypes, want) {
		t.Errorf("blocks %v", m.Config.BlockTypes)
	}
}

// Of lengths that as many tensors have, the largest is taken.
func TestLengthsOfEqualVotes(t *testing.T) {
	for range 30 { // in any order
		tensors := modelTensors(&tinyConfig, Flax, "")
		shorter := 0
		for _, x := range tensors {
			if strings.HasSuffix(x.Name, ".conv_1d.w") && shorter < 2 {
				x.Shape[0] = 3
				shorter++
			}
		}
		m, err := Recognize(checkpoint(t, tensors...), Options{})
		if err != nil || m.Config.ConvWidth != 4 {
			t.Fatalf("%+v, %v", m, err)
		}
	}
}
