package quantized_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

const (
	layer  = "model.layers.0.mlp_block.down_proj" // [32, 64]
	weight = layer + ".weight"
	state  = weight + ".quant_state.bitsandbytes__nf4"
)

// changed returns a sample with tensors replaced; nil removes one.
func changed(t testing.TB, sample string, changes map[string]*tensor.Tensor) *tensor.Checkpoint {
	t.Helper()
	c := openStored(t, samples+sample)
	var all []*tensor.Tensor
	for _, x := range c.Tensors() {
		if y, ok := changes[x.Name]; !ok {
			all = append(all, x)
		} else if y != nil {
			all = append(all, y)
		}
	}
	for name, x := range changes {
		if x != nil && c.Tensor(name) == nil {
			all = append(all, x)
		}
	}
	out, err := tensor.NewCheckpoint(c.Path, c.Format, all)
	if err != nil {
		t.Fatal(err)
	}
	out.Source, out.Root = c.Source, c.Root
	return out
}

func stored(name string, d tensor.DType, shape ...int64) *tensor.Tensor {
	x := &tensor.Tensor{Name: name, DType: d, Shape: shape}
	return tensortest.Stored(name, d, shape, make([]byte, x.Bytes()))
}

func text(name, s string) *tensor.Tensor {
	return tensortest.Stored(name, tensor.U8, []int64{int64(len(s))}, []byte(s))
}

// TestDamaged opens copies whose parts are missing, misshapen or lie.
func TestDamaged(t *testing.T) {
	const nf4State = `{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [32, 64]}`
	with := func(old, new string) *tensor.Tensor { return text(state, strings.Replace(nf4State, old, new, 1)) }
	for _, test := range []struct {
		name    string
		sample  string
		changes map[string]*tensor.Tensor
		reason  tensor.Reason
		want    string
	}{
		{"no absmax", "bnb-nf4", map[string]*tensor.Tensor{weight + ".absmax": nil}, quantized.ReasonDamaged, "without " + weight + ".absmax"},
		{"no table", "bnb-nf4", map[string]*tensor.Tensor{weight + ".quant_map": nil}, quantized.ReasonDamaged, "quant_map"},
		{"no state", "bnb-nf4", map[string]*tensor.Tensor{state: nil}, quantized.ReasonDamaged, "quant_state"},
		{"no codes", "bnb-nf4", map[string]*tensor.Tensor{weight: nil}, quantized.ReasonDamaged, "without " + weight},
		{"no nested absmax", "bnb-nf4-double", map[string]*tensor.Tensor{weight + ".nested_absmax": nil}, quantized.ReasonDamaged, "nested_absmax"},
		{"no nested table", "bnb-nf4-double", map[string]*tensor.Tensor{weight + ".nested_quant_map": nil}, quantized.ReasonDamaged, "nested_quant_map"},
		{"long nested absmax", "bnb-nf4-double", map[string]*tensor.Tensor{weight + ".nested_absmax": stored(weight+".nested_absmax", tensor.F32, 2)}, quantized.ReasonDamaged, "float32 [2]"},
		{"float absmax of double", "bnb-nf4-double", map[string]*tensor.Tensor{weight + ".absmax": stored(weight+".absmax", tensor.F32, 32)}, quantized.ReasonDamaged, "one uint8 for each of 32 blocks"},
		{"short absmax", "bnb-nf4", map[string]*tensor.Tensor{weight + ".absmax": stored(weight+".absmax", tensor.F32, 31)}, quantized.ReasonDamaged, "one float32 for each of 32 blocks of 64"},
		{"other table", "bnb-nf4", map[string]*tensor.Tensor{weight + ".quant_map": stored(weight+".quant_map", tensor.F32, 16)}, quantized.ReasonDamaged, "the value of code 0 is 0, and not -1"},
		{"huge shape", "bnb-nf4", map[string]*tensor.Tensor{state: with("[32, 64]", "[4611686018427387904, 2]")}, "", "overflows"},
		{"larger shape", "bnb-nf4", map[string]*tensor.Tensor{state: with("[32, 64]", "[1000000000, 64]")}, quantized.ReasonDamaged, "takes 32000000000"},
		{"negative shape", "bnb-nf4", map[string]*tensor.Tensor{state: with("[32, 64]", "[-32, -64]")}, quantized.ReasonDamaged, "shape"},
		{"no shape", "bnb-nf4", map[string]*tensor.Tensor{state: with("[32, 64]", "[]")}, quantized.ReasonDamaged, "shape"},
		{"block of 0", "bnb-nf4", map[string]*tensor.Tensor{state: with(`"blocksize": 64`, `"blocksize": 0`)}, quantized.ReasonDamaged, "blocksize"},
		{"huge block", "bnb-nf4", map[string]*tensor.Tensor{state: with(`"blocksize": 64`, `"blocksize": 9223372036854775807`)}, quantized.ReasonDamaged, "blocksize"},
		{"other type", "bnb-nf4", map[string]*tensor.Tensor{state: with("nf4", "fp4")}, quantized.ReasonDamaged, "fp4"},
		{"integer dtype", "bnb-nf4", map[string]*tensor.Tensor{state: with("bfloat16", "int8")}, quantized.ReasonDamaged, "dtype"},
		{"no JSON", "bnb-nf4", map[string]*tensor.Tensor{state: text(state, "\x80")}, "", ""},
		{"long JSON", "bnb-nf4", map[string]*tensor.Tensor{state: text(state, strings.Repeat(" ", 5000))}, quantized.ReasonDamaged, "5000 bytes"},
		{"nested without offset", "bnb-nf4", map[string]*tensor.Tensor{state: with(`"blocksize"`, `"nested_blocksize": 256, "blocksize"`)}, quantized.ReasonDamaged, "nested_offset"},
		{"no SCB", "bnb-int8", map[string]*tensor.Tensor{layer + ".SCB": nil}, quantized.ReasonDamaged, "without scales beside it"},
		{"SCB alone", "bnb-int8", map[string]*tensor.Tensor{weight: nil}, quantized.ReasonDamaged, "in int8"},
		{"short SCB", "bnb-int8", map[string]*tensor.Tensor{layer + ".SCB": stored(layer+".SCB", tensor.F32, 31)}, quantized.ReasonDamaged, "one float32 for each of the 32 rows"},
		{"order of a GPU", "bnb-int8", map[string]*tensor.Tensor{layer + ".weight_format": tensortest.Stored(layer+".weight_format", tensor.U8, nil, []byte{2})}, quantized.ReasonScheme, "weight_format 2"},
		{"no scale", "fp8-rows", map[string]*tensor.Tensor{weight + "_scale": nil}, quantized.ReasonDamaged, "while other matrices in fp8 have scales"},
		{"scales alone", "fp8-rows", map[string]*tensor.Tensor{weight: nil}, quantized.ReasonDamaged, "whose scales this is"},
		{"short scales", "fp8-rows", map[string]*tensor.Tensor{weight + "_scale": stored(weight+"_scale", tensor.F32, 31, 1)}, quantized.ReasonDamaged, "one scale for the tensor"},
		{"no scales at all", "fp8-rows", map[string]*tensor.Tensor{weight + "_scale": stored(weight+"_scale", tensor.F32, 0)}, quantized.ReasonDamaged, "one scale for the tensor"},
		{"other blocks", "fp8-blocks", map[string]*tensor.Tensor{weight + "_scale_inv": stored(weight+"_scale_inv", tensor.F32, 4, 4)}, quantized.ReasonDamaged, "[4, 4]"},
		{"scales of bytes", "fp8-blocks", map[string]*tensor.Tensor{weight + "_scale_inv": stored(weight+"_scale_inv", tensor.U8, 2, 4)}, quantized.ReasonScheme, "uint8"},
		{"int8 with scales", "fp8-rows", map[string]*tensor.Tensor{weight: stored(weight, tensor.I8, 32, 64)}, quantized.ReasonScheme, "int8 with scales"},
		{"no biases", "mlx-4bit", map[string]*tensor.Tensor{layer + ".biases": nil}, quantized.ReasonDamaged, "biases"},
		{"no scales of MLX", "mlx-4bit", map[string]*tensor.Tensor{layer + ".scales": nil}, quantized.ReasonDamaged, "scales"},
		{"long words", "mlx-4bit", map[string]*tensor.Tensor{weight: stored(weight, tensor.U32, 32, 9)}, quantized.ReasonMismatch, "rows of 9 words"},
		{"no groups", "mlx-4bit", map[string]*tensor.Tensor{layer + ".scales": stored(layer+".scales", tensor.BF16, 32, 0)}, quantized.ReasonDamaged, "[32, 0]"},
		{"scalar codes", "mlx-4bit", map[string]*tensor.Tensor{weight: stored(weight, tensor.U32)}, quantized.ReasonDamaged, "scalar"},
		{"scalar scales", "mlx-4bit", map[string]*tensor.Tensor{layer + ".scales": stored(layer+".scales", tensor.BF16)}, quantized.ReasonDamaged, "[]"},
		{"biases of another type", "mlx-4bit", map[string]*tensor.Tensor{layer + ".biases": stored(layer+".biases", tensor.F32, 32, 2)}, quantized.ReasonDamaged, "as the scales"},
		{"one left alone", "bnb-int8", map[string]*tensor.Tensor{weight: stored(weight, tensor.BF16, 32, 64), layer + ".SCB": nil, layer + ".weight_format": nil}, quantized.ReasonMismatch, "mlp_block.down_proj, but that has bfloat16"},
		{"packed codes", "fp8-rows", map[string]*tensor.Tensor{weight: nil, weight + "_packed": stored(weight+"_packed", tensor.I32, 32, 8)}, quantized.ReasonScheme, "int32 with scales"},
		{"integer scales", "mlx-4bit", map[string]*tensor.Tensor{layer + ".scales": stored(layer+".scales", tensor.I16, 32, 2), layer + ".biases": stored(layer+".biases", tensor.I16, 32, 2)}, quantized.ReasonDamaged, "bfloat16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q, err := quantized.Open(changed(t, test.sample, test.changes))
			var bad *tensor.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("copy %v, error %v; want a *tensor.FormatError", q, err)
			}
			if test.reason != "" && bad.Reason != test.reason || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q (%s), want %q (%s)", err, bad.Reason, test.want, test.reason)
			}
			if bad.File == "" {
				t.Errorf("%q does not name the file", err)
			}
		})
	}
}

// TestStreams reads matrices from every offset.
func TestStreams(t *testing.T) {
	for _, sample := range []string{"bnb-nf4-double", "bnb-int8", "fp8-blocks", "mlx-3bit"} {
		q, err := quantized.Open(openStored(t, samples+sample))
		if err != nil {
			t.Fatal(err)
		}
		w := q.Weights[0].Tensor
		read := func(off int64) []byte {
			r, err := w.Data.Stream(off)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			out, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		all := read(0)
		if int64(len(all)) != w.Bytes() {
			t.Fatalf("%s: %d bytes, want %d", sample, len(all), w.Bytes())
		}
		for off := range len(all) + 1 {
			if off%7 != 0 && off%64 > 3 {
				continue
			}
			if got := read(int64(off)); string(got) != string(all[off:]) {
				t.Fatalf("%s: other elements from offset %d on", sample, off)
			}
		}
	}
}
