package model

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// files are the contents of the files beside a checkpoint that describe its model. They are read once.
type files struct {
	config     *hfconfig.Config // nil if there is none, or the layout is not Hugging Face's
	configPath string
	configErr  error

	manifest     *manifest.Manifest // nil if there is none
	manifestPath string
	manifestErr  error
}

func readFiles(m *Model) *files {
	f := &files{}
	c := m.Checkpoint
	if m.Layout == HuggingFace {
		name := c.Beside(hfconfig.Name)
		f.configPath = storage.Path(c.Source, name)
		f.config, f.configErr = m.Family.HuggingFace.Read(c.Source, name)
		if errors.Is(f.configErr, fs.ErrNotExist) {
			f.config, f.configErr = nil, nil
		}
	}
	f.manifest, f.manifestPath, f.manifestErr = manifest.Read(c.Source, c.Root)
	return f
}

// StatedConfig returns what the config.json of a model in the Hugging Face layout states; nil if there
// is none. A config.json that is corrupt is a *tensor.FormatError.
func (m *Model) StatedConfig() (*hfconfig.Config, error) { return m.files.config, m.files.configErr }

// Manifest returns the conversion.json of the checkpoint and its path; nil if there is none. The error
// is that of manifest.Read. Whether the checkpoint is still as the manifest describes it was not
// checked.
func (m *Model) Manifest() (*manifest.Manifest, string, error) {
	return m.files.manifest, m.files.manifestPath, m.files.manifestErr
}

// recordedSettings completes settings of an original with those in its conversion.json, which it
// has if it was made from a Hugging Face directory. A manifest that is corrupt, or of another
// checkpoint, is ignored. recorded are the names of those that it has completed.
func recordedSettings(m *Model, s Settings) (completed Settings, recorded []string) {
	record := m.files.manifest
	if record == nil || record.Settings == nil || s.Preset != "" || !describes(record, m) {
		return s, nil
	}
	known := *record.Settings
	softCap := float64(known.LogitsSoftCap)
	if s.AttentionWindow == nil {
		s.AttentionWindow, recorded = &known.AttentionWindow, append(recorded, "attention_window")
	}
	if s.LogitsSoftCap == nil {
		s.LogitsSoftCap, recorded = &softCap, append(recorded, "logits_soft_cap")
	}
	if s.EmbeddingScale == nil {
		s.EmbeddingScale, recorded = &known.EmbeddingScale, append(recorded, "embedding_scale")
	}
	return s, recorded
}

// describes reports whether a manifest has the names, types and shapes of all tensors of the
// model.
func describes(record *manifest.Manifest, m *Model) bool {
	tensors := map[string]*manifest.Tensor{}
	for i := range record.Tensors {
		tensors[record.Tensors[i].Name] = &record.Tensors[i]
	}
	return record.Layout == m.Layout.String() && len(m.Tensors) > 0 && !slices.ContainsFunc(m.Tensors, func(t *tensor.Tensor) bool {
		entry := tensors[t.Name]
		return entry == nil || entry.DType != t.DType.String() || !slices.Equal(entry.Shape, t.Shape)
	})
}
