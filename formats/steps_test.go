package formats

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Samples from which the runs of TestSteps are made. An empty name makes an empty directory.
var stepSamples = map[string]string{
	"orbax": "../testdata/tiny-griffin/original/orbax-ocdbt",
	"hf":    "../testdata/tiny-griffin/hf",
	"pt":    "../testdata/tiny-griffin/original/torch.pt",
	"st":    "../testdata/tiny-griffin/hf/model.safetensors",
	"zero":  "torch/zero/testdata/stage-2/global_step2",
	"dcp":   "torch/dcp/testdata/fsdp2",
	"empty": "",

	"dcp in writing": "torch/dcp/testdata/fsdp2", // without its .metadata
}

// makeRun makes a directory with copies of samples, by name.
func makeRun(t *testing.T, samples map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, sample := range samples {
		to := filepath.Join(dir, name)
		from := stepSamples[sample]
		if from == "" {
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		info, err := os.Stat(from)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			if sample == "dcp in writing" {
				if err := os.Remove(filepath.Join(to, ".metadata")); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		copyFile(t, to, from)
	}
	return dir
}

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		name    string
		samples map[string]string
		want    string // names, broken ones with "!", those that are being written with "?"; "" for an error
	}{
		{"CheckpointManager", map[string]string{"2": "orbax", "10": "orbax", "9": "empty", "11.orbax-checkpoint-tmp-7": "orbax", ".x.griffin-0123456789abcdef": "orbax"}, "2 9!? 10"},
		{"prefixes", map[string]string{"ckpt_1": "orbax", "best_1": "orbax", "logs_2024": "empty"}, "best_1 ckpt_1"},
		{"results of griffin", map[string]string{"2": "hf", "10": "hf", "3": "empty", "4/logs": "empty"}, "2 3? 4 10"},
		{"Trainer", map[string]string{"checkpoint-500": "hf", "checkpoint-1000": "hf", "model.safetensors": "st", "runs": "empty"}, "checkpoint-500 checkpoint-1000"},
		{"DeepSpeed", map[string]string{"global_step2": "zero", "global_step10": "zero"}, "global_step2 global_step10"},
		{"torchtitan", map[string]string{"step-8": "dcp", "step-16": "dcp", "step-24": "dcp in writing"}, "step-8 step-16 step-24?"},
		{"files", map[string]string{"step_100.pt": "pt", "step_20.pt": "pt", "logs": "empty"}, "step_20.pt step_100.pt"},
		{"Lightning", map[string]string{"epoch=9-step=100.ckpt": "pt", "epoch=10-step=90.ckpt": "pt"}, "epoch=10-step=90.ckpt epoch=9-step=100.ckpt"},
		{"safetensors", map[string]string{"m-1.safetensors": "st", "m-2.safetensors": "st"}, "m-1.safetensors m-2.safetensors"},
		{"without numbers", map[string]string{"base": "hf", "tuned": "hf", "logs": "empty"}, "base tuned"},
		{"one checkpoint", map[string]string{"model.safetensors": "st", "optimizer_1.pt": "pt"}, ""},
		{"shards", map[string]string{"model-00001-of-00002.safetensors": "st", "model-00002-of-00002.safetensors": "st"}, ""},
		{"an Orbax checkpoint", map[string]string{".": "orbax"}, ""},
		{"nothing", map[string]string{"1": "empty"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source := storage.Local(makeRun(t, tt.samples))
			if tt.name == "CheckpointManager" {
				source = committed(t, tt.samples)
			}
			steps, err := Steps(source, ".")
			if tt.want == "" {
				if !errors.As(err, new(*tensor.FormatError)) {
					t.Fatalf("%v, %v", steps, err)
				}
				return
			}
			var got []string
			for _, s := range steps {
				name := s.Name
				if s.Err != nil {
					name += "!"
				}
				if s.Unfinished != "" {
					name += "?"
				}
				got = append(got, name)
			}
			if s := strings.Join(got, " "); s != tt.want || err != nil {
				t.Errorf("got %q, %v; want %q", s, err, tt.want)
			}
			for _, s := range steps {
				ckpt, err := OpenStep(source, ".", s, Options{})
				if broken := slices.Contains([]string{"", "empty", "dcp in writing"}, tt.samples[s.Name]); broken != (err != nil) || broken && !errors.As(err, new(*tensor.FormatError)) {
					t.Errorf("%s: %v", s.Name, err)
				}
				if err == nil {
					ckpt.Close()
				}
			}
		})
	}
}

// A file has no steps; a path that does not exist is an error of the file system.
func TestStepsOfFile(t *testing.T) {
	source := storage.Local("../testdata/tiny-griffin/hf")
	if steps, err := Steps(source, "model.safetensors"); tensor.ReasonOf(err) != ReasonNoSteps {
		t.Errorf("%v, %v", steps, err)
	}
	if steps, err := Steps(source, "absent"); err == nil || tensor.ReasonOf(err) != "" {
		t.Errorf("%v, %v", steps, err)
	}
}

// committed makes a run whose steps have the file that Orbax writes last, if they hold anything.
func committed(t *testing.T, samples map[string]string) fs.FS {
	t.Helper()
	dir := makeRun(t, samples)
	for name, sample := range samples {
		if sample == "orbax" {
			if err := os.WriteFile(filepath.Join(dir, name, "commit_success.txt"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return storage.Local(dir)
}

// The configuration of a run describes its steps.
func TestStepDocuments(t *testing.T) {
	dir := makeRun(t, map[string]string{"step-8": "dcp", "step-16": "dcp"})
	copyFile(t, filepath.Join(dir, "config.json"), "../testdata/tiny-griffin/hf/config.json")
	source := storage.Local(dir)
	steps, err := Steps(source, ".")
	if err != nil {
		t.Fatal(err)
	}
	ckpt, err := OpenStep(source, ".", steps[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	if !storage.IsFile(source, ckpt.Beside("config.json")) || ckpt.Root != "step-8" {
		t.Errorf("the configuration is expected at %s", ckpt.Beside("config.json"))
	}
}
