// Package statement reads the settings that files beside the weights of a conversion state: its config.json, as transformers reads it, and its
// conversion.json, which records what it was made with. Either may be wrong: a checkpoint is to be judged by them only where they agree.
package statement

import (
	"context"
	"math"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
)

// Settings are those that files of a conversion state.
type Settings struct {
	model.Settings
	Files map[string][]string // that have each
}

// Of returns the settings that the files of the conversion in which m was found state, without those in which its files contradict each other: then
// one of them was changed. given are those that were given. Without a conversion.json of its layout, a window that is one more than theirs states nothing unless
// oneMore is set: it may be there to match transformers 5.
func Of(ctx context.Context, m *model.Model, given *model.Config, oneMore bool) (*Settings, error) {
	stated, err := m.StatedConfig()
	if err != nil {
		return &Settings{}, nil
	}
	record, _, err := m.Manifest()
	if err != nil || record == nil || record.Settings == nil || record.Layout != m.Layout.String() {
		return OfConfig(ctx, m, given, oneMore)
	}
	recorded := Recorded(record)
	if recorded == nil {
		return &Settings{}, nil
	}
	files := func(hasConfig bool) []string {
		if hasConfig {
			return []string{manifest.Name, hfconfig.Name}
		}
		return []string{manifest.Name}
	}
	s := &Settings{*recorded, map[string][]string{model.WindowSetting: files(false), model.SoftCapSetting: files(false), model.ScaleSetting: files(false)}}
	if stated == nil {
		return s, nil
	}
	s.Files[model.WindowSetting] = files(stated.AttentionWindowSize == *s.AttentionWindow) // which may be expressed by one more
	s.Files[model.SoftCapSetting] = files(stated.LogitsSoftCap == *s.LogitsSoftCap)        // none is expressed by a huge one
	if stated.AttentionWindowSize != RecordedWindow(record) {
		s.AttentionWindow = nil
	}
	if statedSoftCap(stated, m) != *s.LogitsSoftCap {
		s.LogitsSoftCap = nil
	}
	if stated.TieWordEmbeddings != *s.EmbeddingScale {
		s.EmbeddingScale = nil
	}
	return s, nil
}

// OfConfig is Of without a conversion.json. A field that is not there states nothing. What config.json says of the head says only how embeddings are
// scaled if the tensors agree.
func OfConfig(ctx context.Context, m *model.Model, given *model.Config, oneMore bool) (*Settings, error) {
	stated, err := m.StatedConfig()
	if err != nil {
		return &Settings{}, nil
	}
	files := []string{hfconfig.Name}
	s := &Settings{Files: map[string][]string{model.WindowSetting: files, model.SoftCapSetting: files, model.ScaleSetting: files}}
	if stated == nil {
		return s, nil
	}
	fields, err := hfconfig.Fields(m.Checkpoint.Source, m.Checkpoint.Beside(hfconfig.Name))
	if err != nil {
		return s, nil
	}
	if w := stated.AttentionWindowSize; w > 0 && w == Window(m.Checkpoint) && (w != given.AttentionWindow+1 || oneMore) {
		s.AttentionWindow = &w
	}
	if x := statedSoftCap(stated, m); fields["logits_soft_cap"] != nil && stated.LogitsSoftCap > 0 {
		s.LogitsSoftCap = &x
	}
	isScaled := true
	switch hasHead := len(m.Heads) > 0; {
	case stated.TieWordEmbeddings && !hasHead:
		s.EmbeddingScale = &isScaled
	case !stated.TieWordEmbeddings && hasHead && given.EmbeddingScale:
		opened, err := model.Open(ctx, m.Checkpoint, model.Options{KeepExtra: true}) // compares the head with the embedding
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if isScaled = false; err == nil && opened.HeadRelation == model.UnscaledHead {
			s.EmbeddingScale = &isScaled
		}
	}
	return s, nil
}

// Recorded returns the settings that a conversion.json has; nil if it has none, or some that no model has.
func Recorded(record *manifest.Record) *model.Settings {
	if record == nil || record.Settings == nil {
		return nil
	}
	known := *record.Settings
	softCap := float64(known.LogitsSoftCap)
	if known.AttentionWindow < 1 || known.AttentionWindow > math.MaxInt32 || !(softCap >= 0 && softCap <= math.MaxFloat32) {
		return nil
	}
	s := SettingsOf(&known)
	return &s
}

// SettingsOf returns the settings that a conversion.json has, whatever they are.
func SettingsOf(known *manifest.Settings) model.Settings {
	softCap := float64(known.LogitsSoftCap)
	return model.Settings{AttentionWindow: &known.AttentionWindow, LogitsSoftCap: &softCap, EmbeddingScale: &known.EmbeddingScale}
}

// statedSoftCap returns the soft cap that a config.json states, or 0 if it is the huge number that stands for no cap.
func statedSoftCap(stated *hfconfig.Config, m *model.Model) float64 {
	if e := m.Embedding(); e != nil && huggingface.IsNoSoftCap(stated.LogitsSoftCap, e.DType) {
		return 0
	}
	return stated.LogitsSoftCap
}
