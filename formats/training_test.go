package formats

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// The directories that training programs write are opened at their top.
func TestTrainings(t *testing.T) {
	const (
		dcpSample   = "torch/dcp/testdata/fsdp2"
		ranksSample = "torch/ranks/testdata/fsdp2"
		zeroSample  = "torch/zero/testdata/stage-2"
	)
	eight, nine := int64(8), int64(9)
	for _, tt := range []struct {
		name      string
		samples   map[string]string // directory -> sample
		config    string            // directory of config.json
		options   Options
		format    string // "" for an error
		say       string // among the details and notes, or in the error
		documents string
	}{
		{"accelerate", map[string]string{"pytorch_model_fsdp_0": dcpSample}, ".", Options{}, "torch-dcp", "", "."},
		{"verl", map[string]string{"actor": ranksSample}, "actor/huggingface", Options{}, "torch-ranks", "ranks 3", "actor/huggingface"},
		{"torchtitan", map[string]string{"checkpoint/step-8": dcpSample, "checkpoint/step-9": dcpSample}, "", Options{}, "torch-dcp", "step 9", ""},
		{"a step", map[string]string{"step-8": dcpSample, "step-9": dcpSample}, "", Options{Step: &eight}, "torch-dcp", "step 8", ""},
		{"an incomplete step", map[string]string{"step-8": dcpSample, "step-9/empty": dcpSample}, "", Options{}, "torch-dcp", "steps that are not complete are passed over: step-9", ""},
		{"an incomplete step that is asked for", map[string]string{"step-8": dcpSample, "step-9/empty": dcpSample}, "", Options{Step: &nine}, "", "", ""},
		{"Lightning", map[string]string{"checkpoint": zeroSample + "/global_step2"}, "", Options{}, "deepspeed-zero", "ranks 2", ""},
		{"DeepSpeed", map[string]string{".": zeroSample}, ".", Options{}, "deepspeed-zero", "weights of the optimizer", ""},
		{"the weights of the model", map[string]string{".": zeroSample}, ".", Options{Weights: ComputeWeights}, "deepspeed-zero", "weights of the model", ""},
		{"weights of others", map[string]string{".": dcpSample}, "", Options{Weights: ComputeWeights}, "", "weights", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for below, sample := range tt.samples {
				if err := os.CopyFS(filepath.Join(dir, below), os.DirFS(sample)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.config != "" {
				place := filepath.Join(dir, tt.config)
				if err := os.MkdirAll(place, 0o755); err != nil {
					t.Fatal(err)
				}
				copyFile(t, filepath.Join(place, "config.json"), "safetensors/testdata/hf_sharded/config.json")
			}
			c, err := Open(dir, tt.options)
			if tt.format == "" {
				if !errors.As(err, new(*tensor.FormatError)) || !strings.Contains(err.Error(), tt.say) {
					t.Errorf("got %v; want %q", err, tt.say)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			said := c.Notes
			for _, d := range c.Details {
				said = append(said, d.Key+" "+d.Value)
			}
			if c.Format != tt.format || !strings.Contains(strings.Join(said, "\n"), tt.say) {
				t.Errorf("%s: %q", c.Format, said)
			}
			if c.Documents != tt.documents {
				t.Errorf("documents in %q, not %q", c.Documents, tt.documents)
			}
			if tt.config != "" && !storage.IsFile(c.Source, c.Beside("config.json")) {
				t.Error("config.json is not found")
			}
		})
	}
}
