package formats

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/flax"
	"github.com/griffin-ckpt/griffin/formats/internal/sniff"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

// flaxName is what transformers calls the parameters of a Flax model.
const flaxName = "flax_model.msgpack"

// candidate is a checkpoint that a directory holds.
type candidate struct {
	name  string // for people
	steps bool   // whether it may have steps
	open  func() (*Checkpoint, error)
}

// openDirectory opens the first of the checkpoints in dir, or the one with steps if a step is
// asked for.
func openDirectory(dir string, options Options) (*Checkpoint, error) {
	found, err := candidates(dir, options)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, unknownDirectory(dir)
	}
	taken := found[0]
	if options.Step != nil {
		for _, c := range found {
			if c.steps {
				taken = c
			}
		}
		if !taken.steps {
			return nil, noSteps(dir, *options.Step)
		}
	}
	ckpt, err := taken.open()
	if err != nil {
		return nil, err
	}
	for _, c := range found {
		if c.name != taken.name {
			ckpt.Notes = append(ckpt.Notes, fmt.Sprintf("the directory holds %s too, which is not read; %s is taken first", c.name, taken.name))
		}
	}
	return ckpt, nil
}

// candidates returns the checkpoints in dir, the most wanted first.
func candidates(dir string, options Options) (found []candidate, err error) {
	st, err := safetensors.Find(dir)
	if err != nil {
		return nil, err
	}
	adapter := peft.Detect(dir)
	if st != nil && !(adapter && st.Index == "" && !slices.Contains(st.Files, safetensors.SingleName)) {
		found = append(found, candidate{"a safetensors checkpoint", false, func() (*Checkpoint, error) { return safetensors.Open(dir) }})
	}
	openTorch := func() (*Checkpoint, error) { return torch.Open(dir) }
	if holdsFile(dir, torch.IndexName) || holdsFile(dir, torch.WeightsName) {
		found = append(found, candidate{"a PyTorch checkpoint", false, openTorch})
	}
	if !isTensorFlow(dir) && orbax.Detect(dir) {
		step := orbax.Newest
		if options.Step != nil {
			step = *options.Step
		}
		found = append(found, candidate{"an Orbax checkpoint", true, func() (*Checkpoint, error) { return orbax.Open(dir, step) }})
	}
	if path := filepath.Join(dir, flaxName); holdsFile(dir, flaxName) {
		found = append(found, candidate{"a Flax checkpoint", false, func() (*Checkpoint, error) { return flax.Open(path) }})
	}
	if adapter {
		found = append(found, candidate{"a PEFT adapter", false, func() (*Checkpoint, error) { return peft.Open(dir) }})
	}
	if len(found) > 0 {
		return found, nil
	}
	// Names tell nothing about other files of PyTorch, so all are looked into, but only now.
	files, err := torch.Files(dir)
	if err == nil && len(files) > 0 {
		found = append(found, candidate{"a PyTorch checkpoint", false, openTorch})
	}
	return found, err
}

// holdsFile reports whether dir has a file of that name, following links.
func holdsFile(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular()
}

// isTensorFlow reports whether dir holds a TensorFlow checkpoint, whose state file has the name
// that Flax gives to its checkpoints.
func isTensorFlow(dir string) bool {
	if !holdsFile(dir, "checkpoint") {
		return false
	}
	head, err := readHead(filepath.Join(dir, "checkpoint"))
	return err == nil && strings.HasPrefix(string(head), "model_checkpoint_path")
}

// strangers are the checkpoints of others, told by the names of their files.
var strangers = []struct{ pattern, what, hint string }{
	{"saved_model.pb", "a TensorFlow SavedModel", sniff.ExportHint},
	{"*.data-00000-of-*", "a TensorFlow checkpoint", sniff.ExportHint},
	{"*.gguf", "a directory of GGUF files", sniff.OriginalHint},
	{"*.onnx", "a directory with an ONNX model", sniff.OriginalHint},
	{"*.h5", "a directory with HDF5 weights", sniff.ExportHint},
	{"*.keras", "a directory with a Keras model", sniff.ExportHint},
	{"*.npz", "a directory with numpy archives", sniff.ExportHint},
	{"*.tar", "a directory with an archive", sniff.UnpackHint},
	{"*.tar.gz", "a directory with an archive", sniff.UnpackHint},
	{"*.zip", "a directory with an archive", sniff.UnpackHint},
}

// unknownDirectory says what a directory without a checkpoint looks like.
func unknownDirectory(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return unknown(dir, "an empty directory", "")
	}
	if snapshots, err := os.ReadDir(filepath.Join(dir, "snapshots")); err == nil && len(snapshots) > 0 {
		return unknown(dir, "a repository in the Hugging Face cache",
			fmt.Sprintf("give one of its snapshots, such as %s", filepath.Join(dir, "snapshots", snapshots[len(snapshots)-1].Name())))
	}
	for _, s := range strangers {
		for _, e := range entries {
			if match, _ := filepath.Match(s.pattern, e.Name()); match {
				return unknown(dir, s.what, s.hint)
			}
		}
	}
	if holdsFile(dir, "config.json") {
		return unknown(dir, "a model directory without its weights", "download or copy the weights too")
	}
	return unknown(dir, "", "")
}
