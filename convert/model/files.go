package model

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

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

	record func() (recordFile, error) // reads it when it is called first, since it may be long
}

// recordFile is the conversion.json beside a checkpoint.
type recordFile struct {
	*manifest.Record // nil if there is none
	path             string
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
	f.record = sync.OnceValues(func() (recordFile, error) {
		found, path, err := manifest.Read(c.Source, c.Root)
		return recordFile{found, path}, err
	})
	return f
}

// StatedConfig returns what the config.json of a model in the Hugging Face layout states; nil if there
// is none. A config.json that is corrupt is a *tensor.FormatError.
func (m *Model) StatedConfig() (*hfconfig.Config, error) { return m.files.config, m.files.configErr }

// withoutSettings names the checkpoint in an error about settings that are missing, and if it is in the Hugging Face layout the config.json that is
// not there. A conversion.json does not replace that: it records neither the base of the rotary embedding nor other constants. One that would have had
// the settings and cannot be read is named.
func (m *Model) withoutSettings(err error) error {
	var missing *OptionError
	if !errors.As(err, &missing) || len(missing.Missing) == 0 {
		return err
	}
	c, named := m.Checkpoint, *missing
	problem := missing.Problem
	var unreadable *tensor.FormatError
	if _, _, err := m.Manifest(); errors.As(err, &unreadable) && (m.Layout != HuggingFace || path.Base(unreadable.File) != manifest.Name) {
		problem += fmt.Sprintf("; %s cannot be used: %v", manifest.Name, unreadable)
	}
	if m.Layout != HuggingFace {
		named.Problem = c.Path + ": " + problem
		return &named
	}
	where := "beside"
	if c.Documents == "" && path.Dir(c.Beside(hfconfig.Name)) == path.Clean(c.Root) {
		where = "in"
	}
	named.Problem = "there is no " + hfconfig.Name + " " + where + " " + c.Path + ": download or copy it; without it, " + problem
	return &named
}

// Manifest returns the conversion.json of the checkpoint and its path; nil if there is none. The error
// is that of manifest.Read. Whether the checkpoint is still as the manifest describes it was not
// checked.
func (m *Model) Manifest() (*manifest.Record, string, error) {
	f, err := m.files.record()
	return f.Record, f.path, err
}

// recordedSettings completes settings of an original, or of a file of transformers' tensors without a config.json, with those in its
// conversion.json, which it has if griffin wrote it. A manifest that is corrupt, or of another
// checkpoint, is ignored. recorded are the names of those that it has completed.
func recordedSettings(m *Model, s Settings) (completed Settings, recorded []string) {
	record := settingsRecord(m)
	if record == nil || s.Preset != "" {
		return s, nil
	}
	known := *record
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

// settingsRecord returns the settings in the conversion.json of an original, or of a file of transformers' tensors without a config.json; nil if
// there are none. A directory of transformers that lacks its config.json may have had one with other numerics.
func settingsRecord(m *Model) *manifest.Settings {
	record, at, _ := m.Manifest()
	if record == nil || record.Settings == nil || !Describes(record, m) {
		return nil
	}
	if m.Layout == HuggingFace && (m.files.config != nil || m.files.configErr != nil || path.Base(at) == manifest.Name || !isPlain(record)) {
		return nil
	}
	return record.Settings
}

// isPlain reports whether tensors of transformers have the settings of a record as they are: the embedding is not divided, and no number of a
// config.json stands for another.
func isPlain(record *manifest.Record) bool {
	s, form := record.Settings, record.HuggingFace
	return s.EmbeddingScale && (form == nil || form.AttentionWindowSize == s.AttentionWindow && form.LogitsSoftCap == s.LogitsSoftCap)
}

// Overruled says in which settings a configuration is not as the conversion.json of the checkpoint records them, "" if in none: they were given, or
// config.json has them. A window of config.json is left to WindowDoubt. of is " of the source" where there is another conversion.json, and given names
// what gave the settings.
func (r *Configured) Overruled(of, given string) string {
	m, c := r.Model, &r.Original
	record, at, _ := m.Manifest()
	var known *manifest.Settings
	origin := given
	if m.files.config == nil {
		known = settingsRecord(m)
	} else if record != nil && Describes(record, m) {
		known, origin = record.Settings, "config.json has it"
	}
	if known == nil {
		return ""
	}
	var parts, all []string
	if was := known.AttentionWindow; was != c.AttentionWindow && c.Has(Attention) && !r.WindowAssumed {
		window := fmt.Sprintf("attention window %d, not %d", was, c.AttentionWindow)
		if m.files.config != nil && c.AttentionWindow != r.Config.AttentionWindow { // which config.json has
			all = append(all, window+" as "+given)
		} else {
			parts = append(parts, window)
		}
	}
	if was := float64(known.LogitsSoftCap); was != c.LogitsSoftCap {
		parts = append(parts, fmt.Sprintf("logits soft cap %s, not %s", hfconfig.Decimal(was), hfconfig.Decimal(c.LogitsSoftCap)))
	}
	scale := fmt.Sprintf("embedding scale %t, not %t", known.EmbeddingScale, c.EmbeddingScale)
	isOther, shownBy := known.EmbeddingScale != c.EmbeddingScale, scaleShownBy(m)
	if isOther && m.files.config == nil {
		parts = append(parts, scale)
	}
	if parts != nil {
		all = append(all, strings.Join(parts, "; ")+" as "+origin)
	}
	if isOther && shownBy != "" {
		all = append(all, scale+" as "+shownBy)
	}
	if all == nil {
		return ""
	}
	return path.Base(at) + of + " records " + strings.Join(all, "; ")
}

// scaleShownBy says what shows whether a Hugging Face directory scales embeddings, for which config.json has no field of its own; "" if nothing does.
func scaleShownBy(m *Model) string {
	switch config := m.files.config; {
	case config == nil:
		return ""
	case m.HeadRelation != UnknownHead:
		return "the output head shows"
	case config.TieWordEmbeddings && config.Has("tie_word_embeddings"):
		return "follows from tie_word_embeddings true in config.json"
	case config.TieWordEmbeddings:
		return "follows from config.json, which has no tie_word_embeddings"
	}
	return ""
}

// Describes reports whether a manifest has the names, types and shapes of all tensors of the
// model.
func Describes(record *manifest.Record, m *Model) bool {
	if record.Layout != m.Layout.String() || len(m.Tensors) == 0 {
		return false
	}
	names := tensor.IndexNames(len(m.Tensors), func(i int) string { return m.Tensors[i].Name })
	described := make([]bool, len(m.Tensors))
	err := record.Each(func(_ manifest.Span, entry *manifest.Tensor) error {
		for _, i := range names.Of(entry.Name) {
			t := m.Tensors[i]
			described[i] = entry.DType == t.DType.String() && slices.Equal(entry.Shape, t.Shape)
		}
		return nil
	})
	return err == nil && !slices.Contains(described, false)
}
