package diff_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/diff/explain"
)

func openQuantized(t *testing.T, sample string, changes ...*tensor.Tensor) *tensor.Checkpoint {
	t.Helper()
	c, err := formats.Open("../../testdata/quantized/"+sample, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if len(changes) == 0 {
		return c
	}
	var all []*tensor.Tensor
	for _, x := range c.Tensors() {
		for _, y := range changes {
			if y.Name == x.Name {
				x = y
			}
		}
		all = append(all, x)
	}
	for _, y := range changes {
		if c.Tensor(y.Name) == nil {
			all = append(all, y)
		}
	}
	out, err := tensor.NewCheckpoint(c.Path, c.Format, all)
	if err != nil {
		t.Fatal(err)
	}
	out.Source, out.Root = c.Source, c.Root
	return out
}

// floats returns the bytes of float32.
func floats(values ...float32) []byte {
	var out []byte
	for _, x := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

// TestQuantizedBadly finds the matrices whose codes or scales are not those of the original.
func TestQuantizedBadly(t *testing.T) {
	const name = "model.layers.0.mlp_block.down_proj.weight"
	fp8 := openQuantized(t, "fp8-rows")
	scales, err := tensor.Float32s(context.Background(), fp8.Tensor(name+"_scale"))
	if err != nil {
		t.Fatal(err)
	}
	double := make([]float32, len(scales))
	for i, x := range scales {
		double[i] = 2 * x
	}
	one := slices.Clone(scales)
	one[7] *= 1.5
	other := fp8.Tensor("model.layers.1.mlp_block.down_proj.weight")
	swapped := *other
	swapped.Name = name
	absmax, err := tensor.Float32s(context.Background(), openQuantized(t, "bnb-nf4").Tensor(name+".absmax"))
	if err != nil {
		t.Fatal(err)
	}
	absmax[7] *= 1.5 // too little to show in the error of the whole matrix
	for what, test := range map[string]struct {
		sample string
		change *tensor.Tensor
		far    int64
	}{
		"one absmax":     {"bnb-nf4", tensortest.Stored(name+".absmax", tensor.F32, []int64{32}, floats(absmax...)), 1},
		"scales":         {"fp8-rows", tensortest.Stored(name+"_scale", tensor.F32, []int64{32, 1}, floats(double...)), 32},
		"one scale":      {"fp8-rows", tensortest.Stored(name+"_scale", tensor.F32, []int64{32, 1}, floats(one...)), 1},
		"another matrix": {"fp8-rows", &swapped, 32},
	} {
		t.Run(what, func(t *testing.T) {
			sides := [2]*tensor.Checkpoint{openQuantized(t, "base"), openQuantized(t, test.sample, test.change)}
			for first, a := range sides {
				var judged, toJudge int64
				r, err := diff.Diff(context.Background(), a, sides[1-first], diff.Options{Progress: func(stage string, done, total int64) {
					if stage == "judging quantised tensors" {
						judged, toJudge = done, total
					}
				}})
				if err != nil {
					t.Fatal(err)
				}
				if toJudge <= 0 || judged != toJudge {
					t.Errorf("%d first: judging ends at %d of %d bytes", first, judged, toJudge)
				}
				size := int64(0)
				for _, x := range sides[1].Tensors() {
					size += x.Bytes()
				}
				if copy := []diff.Side{r.B, r.A}[first]; copy.Bytes != size {
					t.Errorf("%d first: the copy has %d bytes, want %d", first, copy.Bytes, size)
				}
				if r.Equal {
					t.Error("equal")
				}
				found := false
				for _, x := range r.Tensors {
					if x.Quantized == nil {
						continue
					}
					bad := x.Name == name
					found = found || bad
					blocks := ""
					if far := x.Quantized.Far; bad && far < x.Quantized.Blocks {
						blocks = fmt.Sprintf(": %d of its %d blocks", far, x.Quantized.Blocks)
					}
					if e := x.Explanation; e == nil || e.Kind != explain.Quantized || strings.Contains(e.Detail, "badly") != bad || x.Quantized.Blocks == 0 || x.Quantized.Far > 0 != bad || bad && x.Quantized.Far != test.far ||
						!strings.HasSuffix(e.Detail, blocks) || strings.Contains(e.Detail, " of its ") != (blocks != "") {
						t.Errorf("%s: ratio %v, %v", x.Name, x.Quantized.Ratio, e)
					}
				}
				if !found {
					t.Errorf("%d first: %s was not judged", first, name)
				}
			}
		})
	}
}

// TestQuantizedRecurrence warns of a quantised RG-LRU.
func TestQuantizedRecurrence(t *testing.T) {
	const name = "model.layers.0.temporal_block.rg_lru.input_gate_weight"
	codes := tensortest.Stored(name, tensor.F8E4M3, []int64{2, 16, 16}, make([]byte, 512))
	scale := tensortest.Stored(name+"_scale", tensor.F32, []int64{1}, floats(1))
	r, err := diff.Diff(context.Background(), openQuantized(t, "base"), openQuantized(t, "fp8-rows", codes, scale), diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "warning: tensors of rg_lru are quantised, whose errors add up from token to token: "+name) {
		t.Error(notes)
	}
}
