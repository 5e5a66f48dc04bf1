package runtime_test

import (
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Names with prefixes of wrappers are not found by runtimes. What is expected of transformers was measured with 4.57.3 and 5.23.0.
func TestMisnamed(t *testing.T) {
	c := cases.Open(t, "tiny-griffin")
	for _, tt := range []struct {
		name   string
		rename func(string) string
		loads  string // runtimes that find the names, apart from what else keeps them from loading the model
		wrong  int    // tensors that transformers 5 does not find
	}{
		{"as saved", func(name string) string { return name }, "transformers4 transformers5 mlx-lm candle", 0},
		{"torch.compile", func(name string) string { return "_orig_mod." + name }, "", 99},
		{"DDP", func(name string) string { return "module." + name }, "", 99},
		{"FSDP", func(name string) string { return "_fsdp_wrapped_module." + name }, "", 99},
		{"compiled layers", func(name string) string { return inLayers(name, "_orig_mod.") }, "", 97},
		{"sharded layers", func(name string) string { return inLayers(name, "_fsdp_wrapped_module.") }, "", 97},
		{"the base model, compiled", func(name string) string { return strings.Replace(name, "model.", "_orig_mod.", 1) }, "", 99},
		{"the base model", func(name string) string { return strings.TrimPrefix(name, "model.") }, "transformers4 transformers5", 0},
		{"the root twice", func(name string) string { return "model." + name }, "transformers5", 0},
	} {
		checkpoint, err := formats.Open(c.Dir+"/hf", formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer checkpoint.Close()
		var tensors []*tensor.Tensor
		for _, x := range checkpoint.Tensors() {
			renamed := *x
			renamed.Name = tt.rename(x.Name)
			tensors = append(tensors, &renamed)
		}
		changed, err := checkpoint.With(tensors)
		if err != nil {
			t.Fatal(err)
		}
		found, err := model.Recognize(changed, model.Options{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		m, err := runtime.New(found, model.Settings{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		all, err := m.Explain()
		if err != nil {
			t.Fatal(err)
		}
		var loads []string
		for _, e := range all[1:] {
			isNamed := len(e.Reasons) > 0 && strings.HasPrefix(e.Reasons[0], "it does not find ")
			if isNamed && e.Loads {
				t.Errorf("%s: %s loads %t: %q", tt.name, e.Runtime, e.Loads, e.Reasons)
			}
			if !isNamed {
				loads = append(loads, e.Runtime)
			}
		}
		misnamed, problem, err := runtime.MisnamedIn(found)
		if err != nil || strings.Join(loads, " ") != tt.loads || len(misnamed) != tt.wrong || (problem != "") != (tt.wrong > 0) {
			t.Errorf("%s: found by %q; %d misnamed, %q, %v", tt.name, loads, len(misnamed), problem, err)
		}
	}
}

// inLayers puts a segment behind the number of the layer of a name.
func inLayers(name, segment string) string {
	if rest, ok := strings.CutPrefix(name, "model.layers."); ok {
		layer, tail, _ := strings.Cut(rest, ".")
		return "model.layers." + layer + "." + segment + tail
	}
	return name
}
