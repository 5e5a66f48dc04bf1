package convert

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// array is a tensor in memory.
type array struct {
	dtype   tensor.DType
	shape   []int64
	content []byte
}

// readArrays reads a checkpoint into memory.
func readArrays(t *testing.T, path string) (names []string, all map[string]array) {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all = map[string]array{}
	for _, x := range c.Tensors() {
		p := make([]byte, x.Bytes())
		if _, err := x.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		names = append(names, x.Name)
		all[x.Name] = array{x.DType, x.Shape, p}
	}
	return names, all
}

// stack joins arrays along a new axis, the first or the second.
func stack(parts []array, axis int) array {
	out := array{parts[0].dtype, slices.Insert(slices.Clone(parts[0].shape), axis, int64(len(parts))), nil}
	rows := int64(1)
	if axis > 0 {
		rows = parts[0].shape[0]
	}
	for i := range int(rows) {
		for _, p := range parts {
			n := len(p.content) / int(rows)
			out.content = append(out.content, p.content[i*n:][:n]...)
		}
	}
	return out
}

// Blocks that are stacked by kind, along the first or the second axis, stored or to be decoded, under names of nnx,
// become the very bytes that transformers saves.
func TestConvertStacked(t *testing.T) {
	names, arrays := readArrays(t, "../testdata/tiny-griffin/original/orbax-ocdbt")
	want, err := os.ReadFile("../testdata/tiny-griffin/hf/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		axis     int
		streamed bool
		suffix   string
	}{{0, false, ""}, {0, true, ".value"}, {1, false, ".raw_value"}, {1, true, ""}} {
		parts, order := map[string][]array{}, []string{}
		for _, name := range names {
			stacked := name
			if rest, ok := strings.CutPrefix(name, "params.blocks."); ok {
				block, tail, _ := strings.Cut(rest, ".")
				kind := "recurrent_layers"
				if block == "2" {
					kind = "attention_layers"
				}
				stacked = fmt.Sprintf("params.%s.%s", kind, tail)
			}
			if parts[stacked] == nil {
				order = append(order, stacked)
			}
			parts[stacked] = append(parts[stacked], arrays[name])
		}
		var tensors []*tensor.Tensor
		for _, name := range order {
			a := parts[name][0]
			if strings.Contains(name, "_layers.") {
				a = stack(parts[name], tt.axis)
			}
			x := tensortest.Stored(name+tt.suffix, a.dtype, a.shape, a.content)
			if tt.streamed {
				x.Data = &tensortest.Stream{Content: a.content}
			}
			tensors = append(tensors, x)
		}
		dst := filepath.Join(t.TempDir(), "out")
		result, err := Convert(t.Context(), checkpoint(t, tensors...), dst, Options{Settings: tinySettings, Verify: true})
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if got, err := os.ReadFile(filepath.Join(dst, "model.safetensors")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: other bytes, %v", tt, err)
		}
		if !strings.Contains(strings.Join(result.Notes, "\n"), "order is not stored") {
			t.Errorf("%+v: %q", tt, result.Notes)
		}
		from := tensorOf(t, result, "model.layers.3.temporal_block.linear_x.weight")
		if from.Rule != fmt.Sprintf("take 2 of axis %d, transpose", tt.axis) || from.From[0] != "params.recurrent_layers.recurrent_block.linear_x.kernel"+tt.suffix {
			t.Errorf("%+v: %+v", tt, from)
		}
	}
}

// The weight of the convolution as MLX stores it becomes that of transformers, and the other way back as it was.
func TestConvertMLX(t *testing.T) {
	names, arrays := readArrays(t, "../testdata/tiny-griffin/hf")
	var tensors []*tensor.Tensor
	for _, name := range names {
		a := arrays[name]
		if strings.HasSuffix(name, "conv_1d.weight") {
			a.shape = []int64{a.shape[0], a.shape[2], 1}
		}
		tensors = append(tensors, tensortest.Stored(name, a.dtype, a.shape, a.content))
	}
	for to, want := range map[Target]string{ToHF: "../testdata/tiny-griffin/hf", ToOrbax: "../testdata/tiny-griffin/original/orbax-ocdbt"} {
		dst := filepath.Join(t.TempDir(), "out")
		if _, err := Convert(t.Context(), checkpoint(t, tensors...), dst, Options{To: to, Settings: model.Settings(tinySettings), Verify: true}); err != nil {
			t.Fatal(err)
		}
		_, got := readArrays(t, dst)
		_, all := readArrays(t, want)
		if len(got) != len(all) {
			t.Errorf("%s: %d tensors, want %d", to, len(got), len(all))
		}
		for name, a := range all {
			if b := got[name]; !slices.Equal(a.shape, b.shape) || !bytes.Equal(a.content, b.content) {
				t.Errorf("%s: %s differs", to, name)
			}
		}
	}
}

// An adapter is merged into a base whose tensors are shown otherwise than they are stored as into any other.
func TestAdapterOnMLX(t *testing.T) {
	names, arrays := readArrays(t, "../testdata/finetune/base")
	source, dir, err := storage.Locate("../testdata/finetune/adapter")
	if err != nil {
		t.Fatal(err)
	}
	var written [2][]byte
	for k := range written {
		var tensors []*tensor.Tensor
		for _, name := range names {
			a := arrays[name]
			if k == 1 && strings.HasSuffix(name, "conv_1d.weight") {
				a.shape = []int64{a.shape[0], a.shape[2], 1}
			}
			tensors = append(tensors, tensortest.Stored(name, a.dtype, a.shape, a.content))
		}
		adapter, err := peft.Read(source, dir)
		if err != nil {
			t.Fatal(err)
		}
		dst := filepath.Join(t.TempDir(), "out")
		result, err := Convert(t.Context(), checkpoint(t, tensors...), dst, Options{Settings: tinySettings, Adapter: adapter, Verify: true})
		adapter.Close()
		if err != nil {
			t.Fatal(err)
		}
		if noted := strings.Contains(strings.Join(result.Notes, "\n"), "axes of length 1"); noted != (k == 1) {
			t.Errorf("notes %q", result.Notes)
		}
		if written[k], err = os.ReadFile(filepath.Join(dst, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(written[0], written[1]) {
		t.Error("other weights")
	}
}
