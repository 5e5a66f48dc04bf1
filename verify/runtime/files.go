package runtime

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// transformersWeights are the names of weights that transformers loads from a directory; it takes the first that is there. It was measured
// with 4.57.3 and 5.23.0, which find neither shards without their index nor weights.safetensors, model.pt, pytorch_model.pt,
// consolidated.safetensors, nor model.fp16.safetensors without variant="fp16". With transformers_weights in config.json both load that file.
// An adapter_config.json makes them load another model, as package verify says.
var transformersWeights = []string{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"}

// candleWeights are those of candle: its programs are given files, or load those of the index. The one in testdata/interop takes
// model.safetensors as well.
var candleWeights = []string{"model.safetensors.index.json", "model.safetensors"}

// mlxWeights are those of mlx-lm, which loads every file of the pattern and no index (load_model of mlx_lm/utils.py, 0.32.2).
var mlxWeights = []string{"model*.safetensors"}

// filesOf returns the names of the files of the Hugging Face directory that was opened as a checkpoint; nil if a file was opened, or a directory
// without config.json.
func filesOf(c *tensor.Checkpoint) ([]string, error) {
	info, err := fs.Stat(c.Source, c.Root)
	dir := c.Root
	switch {
	case err != nil: // such as a checkpoint of no files
		return nil, nil
	case info.IsDir() && c.Documents == "":
	case !info.IsDir() && c.Documents == path.Dir(c.Root):
		dir = c.Documents
	default:
		return nil, nil
	}
	entries, err := fs.ReadDir(c.Source, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if !slices.Contains(names, hfconfig.Name) {
		return nil, nil
	}
	return names, nil
}

// WeightsNotFound says why transformers does not load the weights of a Hugging Face directory, by the names of the files in it; "" if
// it does, or if the checkpoint is no such directory.
func WeightsNotFound(c *tensor.Checkpoint) (string, error) {
	d := &Directory{Format: c.Format}
	var err error
	if d.Files, err = filesOf(c); d.Files == nil || err != nil {
		return "", err
	}
	if problem := d.weightsNotFound(Transformers5); problem == "" {
		return "", nil
	}
	d.Fields, err = hfconfig.Fields(c.Source, c.Beside(hfconfig.Name))
	if err != nil && !errors.As(err, new(*tensor.FormatError)) {
		return "", err
	}
	return d.weightsNotFound(Transformers5), nil
}

// NamesNotFound says why transformers does not find the tensors of a Hugging Face directory whose weights it loads: they have the names of an original.
// Each of its own tensors then has random values: 5.23.0 was given names of torch in model.safetensors and in pytorch_model.bin. It is "" for other
// directories, and for an original without a config.json of transformers beside it.
func NamesNotFound(m *model.Model) (string, error) {
	c := m.Checkpoint
	if m.Layout == model.HuggingFace {
		return "", nil
	}
	d := &Directory{Format: c.Format}
	var err error
	if d.Files, err = filesOf(c); d.Files == nil || err != nil {
		return "", err
	}
	d.Fields, err = hfconfig.Fields(c.Source, c.Beside(hfconfig.Name))
	if err != nil && !errors.As(err, new(*tensor.FormatError)) {
		return "", err
	}
	if !d.has("model_type") && !d.has("architectures") || d.weightsNotFound(Transformers5) != "" {
		return "", nil
	}
	return "transformers does not find these names: the tensors have the names of the original beside config.json; it would load random weights", nil
}

// NotFound says why transformers does not find the weights in a Hugging Face directory, or the tensors in them; "" if it does, and of an original.
func NotFound(m *model.Model) (string, error) {
	if m.Layout != model.HuggingFace {
		return NamesNotFound(m)
	}
	problem, err := WeightsNotFound(m.Checkpoint)
	if problem != "" {
		return "transformers cannot load the directory: " + problem, nil
	}
	if err == nil {
		_, problem, err = MisnamedIn(m)
	}
	return problem, err
}

// weightsNotFound says why a runtime does not load the weights that were read; "" if it does.
func (d *Directory) weightsNotFound(r *Runtime) string {
	if d.Files == nil || r.weights == nil || slices.Equal(r.weights, transformersWeights) && d.has("transformers_weights") {
		return ""
	}
	for _, pattern := range r.weights {
		found := func(name string) bool {
			is, _ := path.Match(pattern, name) // the patterns are well formed
			return is
		}
		if !slices.ContainsFunc(d.Files, found) {
			continue
		}
		if strings.Contains(pattern, ".safetensors") != strings.HasPrefix(d.Format, safetensorsFormat) {
			return "it loads " + pattern + ", and griffin has read other files of the directory"
		}
		return ""
	}
	if slices.Contains(r.weights, "model.safetensors") {
		return "there is no model.safetensors, and no model.safetensors.index.json that lists the shards"
	}
	return "there is no file named " + strings.Join(r.weights, " or ")
}
