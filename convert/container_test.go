package convert

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/tensortest"
)

// content returns the dtype, shape and digest of each tensor of a checkpoint, by name.
func content(t *testing.T, path string) map[string]string {
	t.Helper()
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := map[string]string{}
	for _, x := range c.Tensors() {
		sum, err := tensor.Digest(t.Context(), x, digest.Default)
		if err != nil {
			t.Fatal(err)
		}
		all[x.Name] = x.DType.String() + tensor.ShapeString(x.Shape) + sum.Hex()
	}
	return all
}

// changeContainer opens a checkpoint and converts it to safetensors.
func changeContainer(t *testing.T, src, dst string, o Options) (*Result, error) {
	t.Helper()
	c, err := formats.Open(src, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	o.To = ToSafetensors
	return Convert(t.Context(), c, dst, o)
}

// Shapes of more axes than messages show are kept apart.
func TestContainerOfManyAxes(t *testing.T) {
	ones := strings.Repeat("1,", 16)
	header := fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%s2,3],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[%s3,2],"data_offsets":[6,12]}}`, ones, ones)
	header += strings.Repeat(" ", -len(header)&7)
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "b.safetensors")
	if err := os.WriteFile(src, append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), "abcdefghijkl"...), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := changeContainer(t, src, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	c, err := formats.Open(dst, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string][]int64{"a": {2, 3}, "b": {3, 2}} {
		if shape := c.Tensor(name).Shape; len(shape) != 18 || !slices.Equal(shape[16:], want) {
			t.Errorf("%s has the shape %v", name, shape)
		}
	}
}

// Every sample of every format has the same tensors in safetensors, in a file and in a directory.
func TestContainerOfSamples(t *testing.T) {
	refused := map[string]string{"fp8_unsigned.pt": "complex32: complex32"}
	count := 0
	for _, pattern := range []string{
		"safetensors/testdata/*", "torch/testdata/sound/*", "torch/testdata/more/*", "torch/testdata/objects/*", "flax/testdata/sound/*",
		"orbax/testdata/sound/*", "torch/dcp/testdata/*", "torch/ranks/testdata/*", "torch/zero/testdata/*",
	} {
		samples, err := filepath.Glob("../formats/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, sample := range samples {
			c, err := formats.Open(sample, formats.Options{})
			if err != nil {
				continue // something else, or a sample of something that cannot be read
			}
			c.Close()
			want := content(t, sample)
			dir := t.TempDir()
			for _, dst := range []string{filepath.Join(dir, "x.safetensors"), filepath.Join(dir, "x")} {
				_, err := changeContainer(t, sample, dst, Options{Verify: true})
				if why := refused[filepath.Base(sample)]; why != "" {
					if tensor.ReasonOf(err) != ReasonType || !strings.Contains(err.Error(), why) {
						t.Errorf("%s: %v", sample, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", sample, err)
				} else if got := content(t, dst); !maps.Equal(got, want) {
					t.Errorf("%s: other tensors", sample)
				}
				count++
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d samples", count)
	}
}

func TestContainerOfAdapter(t *testing.T) {
	const sample = "../testdata/finetune/adapter"
	dst := filepath.Join(t.TempDir(), "out")
	if _, err := changeContainer(t, sample, dst, Options{Verify: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{peft.WeightsName, peft.ConfigName} {
		if _, err := os.Stat(filepath.Join(dst, name)); err != nil {
			t.Error(err)
		}
	}
	if !maps.Equal(content(t, dst), content(t, sample)) {
		t.Error("other tensors")
	}
}

// memoryCheckpoint has tensors of several types and layouts.
func memoryCheckpoint(t *testing.T) *tensor.Checkpoint {
	t.Helper()
	floats := func(values ...uint32) []byte {
		var b []byte
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	w := tensortest.Stored("h.0.w", tensor.F32, []int64{2, 3}, floats(0x3f800000, 0x3f800001, 3, 4, 5, 0x7f7fffff))
	transposed, err := tensor.Viewed(w, tensor.RowMajor(2, 3).Permute(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	transposed.Name = "h.1.w"
	c, err := tensor.NewCheckpoint("memory", "memory", []*tensor.Tensor{w, transposed,
		tensortest.Stored("step", tensor.I64, nil, []byte{7, 0, 0, 0, 0, 0, 0, 0}), {Name: "none", DType: tensor.F16, Shape: []int64{0, 4}, Data: &tensortest.Stream{}},
		tensortest.Stored("fp8", tensor.F8E4M3, []int64{2}, []byte{1, 2})})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContainerOptions(t *testing.T) {
	rules, err := names.ParseRules("rules", strings.NewReader("h.*.w -> layers.*.weight"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		o    Options
		want string // names and types
		note string
	}{
		{"all", Options{}, "fp8 float8_e4m3fn, h.0.w float32, h.1.w float32, none float16, step int64", "share storage are written once for each name: h.0.w, h.1.w"},
		{"cast", Options{DType: tensor.BF16, AllowInexact: true}, "fp8 float8_e4m3fn, h.0.w bfloat16, h.1.w bfloat16, none bfloat16, step int64", "keep their type: 1 of float8_e4m3fn, 1 of int64"},
		{"part", Options{Only: []string{"h.*", "step"}, Rename: rules}, "layers.0.weight float32, layers.1.weight float32, step int64", ""},
	} {
		tt.o.To, tt.o.Verify = ToSafetensors, true
		dst := filepath.Join(dir, tt.name+".safetensors")
		result, err := Convert(t.Context(), memoryCheckpoint(t), dst, tt.o)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !strings.Contains(strings.Join(result.Notes, "\n"), tt.note) {
			t.Errorf("%s: notes %q", tt.name, result.Notes)
		}
		c, err := formats.Open(dst, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range c.Tensors() {
			got = append(got, x.Name+" "+x.DType.String())
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
		if x := c.Tensor("layers.1.weight"); x != nil {
			values, err := tensor.Float32s(t.Context(), x)
			if err != nil || !slices.Equal(x.Shape, []int64{3, 2}) || values[0] != 1 || values[5] < 3e38 {
				t.Errorf("%v %v, %v", x.Shape, values, err)
			}
			if strings.Join(result.Left, " ") != "none fp8" {
				t.Errorf("left %q", result.Left)
			}
		}
		c.Close()
	}
}

func TestContainerRefused(t *testing.T) {
	swap, err := names.ParseRules("rules", strings.NewReader("step -> __metadata__"))
	if err != nil {
		t.Fatal(err)
	}
	for option, o := range map[string]Options{
		"Only":             {Only: []string{"h.*", "x.*"}},
		"MaxShardSize":     {MaxShardSize: 100},
		"AttentionWindow":  {Settings: model.Settings{AttentionWindow: ptr[int64](1)}},
		"Model":            {Model: "ema"},
		"Extra":            {Extra: KeepExtra},
		"Adapter":          {Adapter: &peft.Adapter{}},
		"InstructionTuned": {InstructionTuned: true},
		"DType":            {DType: tensor.I8},
	} {
		o.To = ToSafetensors
		var wrong *OptionError
		if _, err := Convert(t.Context(), memoryCheckpoint(t), filepath.Join(t.TempDir(), "x.safetensors"), o); !errors.As(err, &wrong) || wrong.Option != option {
			t.Errorf("%s: %v", option, err)
		}
	}
	for name, o := range map[string]Options{"Only": {Only: []string{"*"}}, "Rename": {Rename: swap}} {
		var wrong *OptionError
		if _, err := Convert(t.Context(), memoryCheckpoint(t), filepath.Join(t.TempDir(), "x"), o); !errors.As(err, &wrong) || wrong.Option != name {
			t.Errorf("%s for a model: %v", name, err)
		}
	}
	if _, err := Convert(t.Context(), memoryCheckpoint(t), filepath.Join(t.TempDir(), "x"), Options{To: ToSafetensors, Rename: swap}); tensor.ReasonOf(err) != ReasonName {
		t.Error(err)
	}
	for _, tt := range []struct {
		name   string
		dtype  tensor.DType
		reason tensor.Reason
	}{{"a\xff", tensor.U8, ReasonName}, {"a", tensor.C128, ReasonType}, {"a", tensor.I4, ReasonType}} {
		c := checkpoint(t, tensortest.Stored(tt.name, tt.dtype, []int64{1}, make([]byte, tt.dtype.Size())))
		if _, err := Convert(t.Context(), c, filepath.Join(t.TempDir(), "x"), Options{To: ToSafetensors}); tensor.ReasonOf(err) != tt.reason {
			t.Errorf("%q %s: %v", tt.name, tt.dtype, err)
		}
	}
}

// Configurations and the tokenizer are taken along; in config.json only the type changes.
func TestContainerCompanions(t *testing.T) {
	src := t.TempDir()
	config := `{"model_type": "llama", "torch_dtype":"float32",  "hidden_size": 4}`
	for name, text := range map[string]string{
		"config.json": config, "tokenizer.json": "{}", "generation_config.json": "{}", "vocab.txt": "a", "README.md": "r", "modeling_own.py": "pass",
		"adapter_config.json": "{}", "notes.txt": "n", "optimizer.pt": "o",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	weights, err := os.ReadFile("../formats/torch/testdata/sound/parameters.pt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "pytorch_model.bin"), weights, 0o666); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(src, "pytorch_model.bin")
	dst := filepath.Join(t.TempDir(), "out")
	result, err := changeContainer(t, file, dst, Options{DType: tensor.F16})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := "README.md adapter_config.json config.json conversion.json generation_config.json model.safetensors modeling_own.py tokenizer.json vocab.txt"; strings.Join(got, " ") != want {
		t.Errorf("%q", got)
	}
	text, err := os.ReadFile(filepath.Join(dst, hfconfig.Name))
	if err != nil || string(text) != strings.Replace(config, "float32", "float16", 1) {
		t.Errorf("%s, %v", text, err)
	}
	if notes := strings.Join(result.Notes, "\n"); !strings.Contains(notes, "not known to belong to the model: notes.txt") {
		t.Error(notes)
	}
	result, err = changeContainer(t, file, dst+".safetensors", Options{})
	if err != nil || !strings.Contains(strings.Join(result.Notes, "\n"), "single file: config.json") {
		t.Errorf("%v, %v", result, err)
	}
	if _, err := os.ReadFile(dst + ".safetensors.conversion.json"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(src, hfconfig.Name)); err != nil { // the directory is no model's
		t.Fatal(err)
	}
	other := dst + "-2"
	if _, err = changeContainer(t, file, other, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(other, "README.md")); err == nil {
		t.Error("README.md of a directory without config.json was copied")
	}
	if _, err := os.Stat(filepath.Join(other, "tokenizer.json")); err != nil {
		t.Error(err)
	}
}

// A model of the family keeps the settings that its conversion.json states, and verify and the next conversion find
// its digests there.
func TestContainerKeepsSettings(t *testing.T) {
	dir := t.TempDir()
	c, err := formats.Open("../testdata/tiny-griffin/hf", formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pt := filepath.Join(dir, "tiny.pt")
	if _, err := Convert(t.Context(), c, pt, Options{To: ToTorch}); err != nil {
		t.Fatal(err)
	}
	st := filepath.Join(dir, "tiny.safetensors")
	if _, err := changeContainer(t, pt, st, Options{}); err != nil {
		t.Fatal(err)
	}
	again, err := formats.Open(st, formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	back := filepath.Join(dir, "back")
	if _, err := Convert(t.Context(), again, back, Options{}); err != nil { // no settings are given
		t.Fatal(err)
	}
	a, _ := os.ReadFile("../testdata/tiny-griffin/hf/model.safetensors")
	b, err := os.ReadFile(filepath.Join(back, "model.safetensors"))
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the way back gives other bytes, %v", err)
	}
}
