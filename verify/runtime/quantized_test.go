package runtime_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/verify/internal/cases"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// What runtimes do with quantised copies is what they were seen to do with them: "no" for those that do not load a copy, and a number for the position
// from which on one computes something else.
func TestQuantised(t *testing.T) {
	const (
		none    = "no: it does not read matrices that are quantised like this"
		bnb     = "it needs the library bitsandbytes"
		scales  = "0: takes the codes"
		mlx     = "no: config.json has no quant_method"
		silent  = "no: config.json has no quantization_config"
		library = "it needs the library compressed-tensors"
	)
	for _, tt := range []struct {
		copied string
		remove string    // from config.json
		method string    // in place of its quant_method
		want   [4]string // transformers 4 and 5, mlx-lm, candle
	}{
		{"base", "", "", [4]string{"", "", "", ""}},
		{"bnb-int8", "", "", [4]string{bnb, bnb, none, none}},
		{"bnb-nf4", "", "", [4]string{bnb, bnb, none, none}},
		{"bnb-fp4", "", "", [4]string{bnb, bnb, none, none}},
		{"bnb-nf4-double", "", "", [4]string{bnb, bnb, none, none}},
		{"fp8-blocks", "", "", [4]string{"it needs a GPU", "", none, scales}},
		{"fp8-tensor", "", "", [4]string{"no: it wants weight_block_size", "", none, scales}},
		{"fp8-rows", "", "", [4]string{library, library, none, scales}},
		{"fp8-rows", "", "fbgemm_fp8", [4]string{"what it does with the quant_method fbgemm_fp8 was not tried", "what it", "what it", "what it"}},
		{"mlx-3bit", "", "", [4]string{mlx, mlx, "", none}},
		{"mlx-4bit", "", "", [4]string{mlx, mlx, "", none}},
		{"mlx-4bit", "quantization_config", "", [4]string{mlx, mlx, "", none}},
		{"bnb-int8", "quantization_config", "", [4]string{silent, scales, none, none}},
		{"bnb-nf4", "quantization_config", "", [4]string{silent, silent, none, none}},
		{"fp8-tensor", "quantization_config", "", [4]string{"0: every pass fails", scales, none, scales}},
	} {
		from, dir := filepath.Join(cases.Testdata(t), "quantized", tt.copied), t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(from, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var config map[string]any
		if err := json.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		delete(config, tt.remove)
		config["rope_theta"], config["partial_rotary_factor"], config["logits_soft_cap"] = 10000, 0.5, json.RawMessage("30.0")
		if tt.method != "" {
			config["quantization_config"].(map[string]any)["quant_method"] = tt.method
		}
		if text, err = json.Marshal(config); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := formats.Open(dir, formats.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m, err := runtime.Open(t.Context(), c, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		explained, err := m.Explain()
		if err != nil {
			t.Fatal(err)
		}
		if e := explained[0]; e.Loads != (tt.copied == "base") {
			t.Errorf("%s: the original: loads %t: %q", tt.copied, e.Loads, e.Reasons)
		}
		for i, e := range explained[1:] {
			first := strings.Join(e.Reasons, "; ")
			switch {
			case !e.Loads:
				first = "no: " + first
			case e.DivergesAt != nil && *e.DivergesAt == 0:
				first = "0: " + first
			}
			if wrong := strings.HasPrefix(first, "no:") || strings.HasPrefix(first, "0:"); wrong && tt.want[i] == "" || !strings.HasPrefix(first, tt.want[i]) {
				t.Errorf("%s without %q, %s: %q, want %q", tt.copied, tt.remove, e.Runtime, first, tt.want[i])
			}
		}
	}
}
