package logits

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// parameterOf returns a parameter with the values 1, 2, 3, …
func parameterOf(dtype tensor.DType, inOut bool, shape ...int64) *reference.Parameter {
	n, _ := tensor.Product(shape)
	var data []byte
	for i := range n {
		bits := math.Float32bits(float32(i + 1))
		if dtype == tensor.BF16 {
			data = binary.LittleEndian.AppendUint16(data, uint16(bits>>16))
		} else {
			data = binary.LittleEndian.AppendUint32(data, bits)
		}
	}
	return &reference.Parameter{DType: dtype, Shape: shape, InOut: inOut, Data: reference.Bytes(data)}
}

// Edits change the values of one parameter, of any type and orientation.
func TestEdits(t *testing.T) {
	for name, tt := range map[string]struct {
		edit edit
		p    *reference.Parameter
		want []float32 // nil for not applicable
	}{
		"zeroed":               {zeroed("w"), parameterOf(tensor.F32, false, 3), []float32{0, 0, 0}},
		"scaled":               {scaledBy("w", 3), parameterOf(tensor.F32, false, 3), []float32{3, 6, 9}},
		"scaled, bfloat16":     {scaledBy("w", 0.5), parameterOf(tensor.BF16, true, 2, 2), []float32{0.5, 1, 1.5, 2}},
		"heads":                {headsTransposed("w"), parameterOf(tensor.F32, true, 2, 3, 3), []float32{1, 4, 7, 2, 5, 8, 3, 6, 9, 10, 13, 16, 11, 14, 17, 12, 15, 18}},
		"taps of channels":     {tapsReversed("w"), parameterOf(tensor.F32, false, 2, 1, 4), []float32{4, 3, 2, 1, 8, 7, 6, 5}},
		"taps first":           {tapsReversed("w"), parameterOf(tensor.F32, false, 4, 2), []float32{7, 8, 5, 6, 3, 4, 1, 2}},
		"taps first, in × out": {tapsReversed("w"), parameterOf(tensor.F32, true, 4, 1, 2), []float32{7, 8, 5, 6, 3, 4, 1, 2}},
		"transposed":           {transposed("w"), parameterOf(tensor.F32, false, 2, 2), []float32{1, 2, 3, 4}},
		"not square":           {transposed("w"), parameterOf(tensor.F32, false, 2, 3), nil},
		"no matrix":            {transposed("w"), parameterOf(tensor.F32, false, 2, 2, 2), nil},
	} {
		got, err := tt.edit(func(name string) (*reference.Parameter, error) { return tt.p, nil })
		if tt.want == nil {
			if !errors.Is(err, errNotApplicable) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		raw := make([]byte, 4*len(tt.want))
		if n, _ := got.Data.ReadAt(raw, 0); n != len(raw) || got.DType != tensor.F32 || !slices.Equal(got.Shape, tt.p.Shape) || got.InOut != (tt.p.InOut != (name == "transposed")) {
			t.Errorf("%s: %+v", name, got)
		}
		for i, want := range tt.want {
			if x := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])); x != want {
				t.Errorf("%s: element %d is %v, not %v", name, i, x, want)
			}
		}
		failing := errors.New("it cannot be read")
		if _, err := tt.edit(func(string) (*reference.Parameter, error) { return nil, failing }); err != failing {
			t.Errorf("%s: %v", name, err)
		}
	}
	short := parameterOf(tensor.F32, false, 3)
	short.Shape = []int64{4}
	if _, err := zeroed("w")(func(string) (*reference.Parameter, error) { return short, nil }); err == nil {
		t.Error("a parameter that lacks an element was edited")
	}
}

// byBlock are weights that tell the blocks apart by the length of the parameter.
type byBlock struct{ reference.Weights }

func (byBlock) Parameter(block int, name string) (*reference.Parameter, error) {
	if name == "none" {
		return nil, errors.New("there is no such parameter")
	}
	return parameterOf(tensor.F32, false, int64(block)+1), nil
}

// Only the named parameters of one block are edited.
func TestEditedWeights(t *testing.T) {
	w := zeroedWeights(byBlock{}, 1, "a", "b")
	for block := range 3 {
		for _, name := range []string{"a", "b", "c"} {
			p, err := w.Parameter(block, name)
			if err != nil || p.Shape[0] != int64(block)+1 {
				t.Fatalf("%s of block %d: %+v, %v", name, block, p, err)
			}
			raw := make([]byte, 4)
			if _, err := p.Data.ReadAt(raw, 0); err != nil || (binary.LittleEndian.Uint32(raw) == 0) != (block == 1 && name != "c") {
				t.Errorf("%s of block %d: %x, %v", name, block, raw, err)
			}
		}
	}
	if p, err := fromWeights(byBlock{}, 2, "a")(nil); err != nil || p.Shape[0] != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := fromWeights(byBlock{}, 2, "none")(nil); !errors.Is(err, errNotApplicable) {
		t.Errorf("%v", err)
	}
}
