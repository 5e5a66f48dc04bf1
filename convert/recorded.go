package convert

import (
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// recorded completes settings that are not given with those that the conversion.json of an original has,
// such as one that was made of a Hugging Face directory. That of another checkpoint, or one that is
// broken, counts for nothing.
func (m *Model) recorded(s Settings) Settings {
	record, _, err := manifest.Read(m.Checkpoint.Source, m.Checkpoint.Root)
	if err != nil || record == nil || record.Settings == nil || s.Preset != "" || !describes(record, m) {
		return s
	}
	known := *record.Settings
	softCap := float64(known.LogitsSoftCap)
	if s.AttentionWindow == nil {
		s.AttentionWindow = &known.AttentionWindow
	}
	if s.LogitsSoftCap == nil {
		s.LogitsSoftCap = &softCap
	}
	if s.EmbeddingScale == nil {
		s.EmbeddingScale = &known.EmbeddingScale
	}
	return s
}

// describes reports whether the record has the names, types and shapes of all tensors of the model.
func describes(r *manifest.Manifest, m *Model) bool {
	tensors := map[string]*manifest.Tensor{}
	for i := range r.Tensors {
		tensors[r.Tensors[i].Name] = &r.Tensors[i]
	}
	return r.Layout == m.Layout.String() && len(m.Tensors) > 0 && !slices.ContainsFunc(m.Tensors, func(t *tensor.Tensor) bool {
		entry := tensors[t.Name]
		return entry == nil || entry.DType != t.DType.String() || !slices.Equal(entry.Shape, t.Shape)
	})
}
