package runtime

import (
	"context"
	"errors"
	"io"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/reference"
)

// Model is the model in a checkpoint of any layout, with its configuration in the terms of each runtime.
type Model struct {
	Checkpoint *tensor.Checkpoint
	Found      *model.Model

	// Config is the complete configuration. For a Hugging Face directory it is what transformers takes from
	// config.json, and Original is what the original computes with the same model: a directory may be written with a
	// larger attention window, or with a soft cap that stands for none, so that transformers computes the same as the
	// original. Otherwise they are equal.
	Config, Original model.Config

	Preset      string   // that gave settings, or ""
	Overruled   string   // as model.Configured has it
	WindowDoubt string   // as model.Configured has it
	Evidence    Evidence // of Original

	Inexact []string // what conversion.json says that transformers computes differently, a sentence each

	Quantized *quantized.Copy // that is run dequantised; nil if the checkpoint is none

	// OnRead, if not nil, is called with the bytes of weights that a run reads, from several goroutines.
	OnRead func(bytes int64)

	unscaled  bool       // the directory has a divided embedding: what it is multiplied by leaves that of a model that does not scale it
	divided   bool       // as Directory has it
	directory *Directory // of a mended model, in place of what the files state
}

// Options say what a checkpoint does not.
type Options struct {
	Settings model.Settings // that are not in the checkpoint
	Name     string         // of one of several models, as model.Options has it; "" for the only one
}

// Open finds the model in a checkpoint and completes its configuration from the options or, for a Hugging Face
// directory, from its config.json. The only weights that it reads are those of an output head. The checkpoint has to
// stay open. A quantised copy is dequantised.
func Open(ctx context.Context, checkpoint *tensor.Checkpoint, o Options) (*Model, error) {
	copied, err := quantized.Open(checkpoint)
	if err != nil {
		return nil, err
	}
	if copied != nil {
		checkpoint = copied.Checkpoint
	}
	found, err := model.Open(ctx, checkpoint, model.Options{Name: o.Name, KeepExtra: true}) // extra tensors do not change what is computed
	if err != nil {
		return nil, err
	}
	m, err := New(found, o.Settings)
	if err == nil {
		m.Quantized = copied
	}
	return m, err
}

// New completes the configuration of a model.
func New(found *model.Model, s model.Settings) (*Model, error) {
	configured, err := found.Configure(s)
	if err != nil {
		return nil, err
	}
	m := &Model{Checkpoint: found.Checkpoint, Found: found, Config: configured.Config, Preset: configured.Preset, Overruled: configured.Overruled("", model.WasGiven), WindowDoubt: configured.WindowDoubt(), unscaled: configured.Config.EmbeddingScale && !configured.Original.EmbeddingScale, divided: losesInDivision(configured)}
	if configured.Form != nil {
		m.Inexact = configured.Form.Inexact
	}
	evidence := Assumed
	if found.Layout == model.HuggingFace {
		record, _, err := found.Manifest()
		var broken *tensor.FormatError
		if err != nil && !errors.As(err, &broken) {
			return nil, err
		}
		if record != nil && record.Settings != nil && err == nil {
			evidence = FromManifest
			switch known := record.Settings; {
			case known.AttentionWindow != configured.Original.AttentionWindow:
				evidence = Contradicted
			case known.WindowAssumed:
				evidence = Assumed
			}
		}
		if evidence == Assumed && configured.HasPresetWindow() {
			evidence = FromPreset
		}
		if stated, _ := found.StatedConfig(); (evidence == Assumed || evidence == Contradicted) && stated != nil && (s.AttentionWindow != nil || s.Preset != "") {
			evidence = Given
		}
	}
	m = m.WithOriginal(configured.Original.AttentionWindow, configured.Original.LogitsSoftCap, evidence)
	r := m.Config.Reference()
	if err := r.Validate(); err != nil {
		return nil, tensor.Bad("%v", err).In(found.Checkpoint.Path)
	}
	return m, nil
}

// WithOriginal returns the model with another window and soft cap in the original's terms.
func (m *Model) WithOriginal(window int64, softCap float64, evidence Evidence) *Model {
	n := *m
	n.Original = m.Config // the weights are those of m, so that the embedding is scaled as m has it
	n.Original.AttentionWindow, n.Original.LogitsSoftCap = window, softCap
	n.Evidence = evidence
	return &n
}

// Semantics returns the semantics of the runtime that a checkpoint of this layout is usually run by: those of the
// original, or of transformers 5 for a Hugging Face directory.
func (m *Model) Semantics() reference.Semantics {
	if m.Found.Layout == model.HuggingFace {
		return reference.Transformers5
	}
	return reference.Original
}

// ConfigUnder returns the configuration that a runtime with the given semantics computes with.
func (m *Model) ConfigUnder(s reference.Semantics) *model.Config {
	if s == reference.Original {
		return &m.Original
	}
	c := m.Config
	if c.LogitsSoftCap == 0 && m.Found.Layout != model.HuggingFace && s.DividesByCap() {
		c.LogitsSoftCap, _ = huggingface.NoSoftCap(m.Found.Embedding().DType) // as its conversion has it
	}
	for _, r := range All {
		if r.Semantics == s && r.configure != nil {
			stated, _ := m.Found.StatedConfig() // of a model that is configured, it can be read
			r.configure(&c, stated)
		}
	}
	return &c
}

// Reference returns the model for the reference implementation. Its weights are read whenever a run needs them, and
// are not kept.
func (m *Model) Reference(s reference.Semantics, a reference.Arithmetic) *reference.Model {
	return m.reference(m.Found.Weights(), s, a)
}

// Digested returns what Reference does, with weights that compute their digests from what runs read of them. Digest takes
// those of weights.Sums.
func (m *Model) Digested(s reference.Semantics, a reference.Arithmetic, algorithm digest.Algorithms) (r *reference.Model, weights *model.DigestedWeights) {
	weights = model.NewDigestedWeights(m.Found, algorithm)
	return m.reference(weights, s, a), weights
}

// Mapped returns the model for decoding with the reference implementation, which reads all weights for each token: those that
// are stored in local files are used in place, in mapped memory. The closer ends the mapping; no run may follow.
func (m *Model) Mapped(s reference.Semantics, a reference.Arithmetic) (*reference.Model, io.Closer) {
	weights := m.Found.MappedWeights()
	return m.reference(weights, s, a), weights
}

func (m *Model) reference(weights reference.Weights, s reference.Semantics, a reference.Arithmetic) *reference.Model {
	if m.OnRead != nil {
		weights = counted{weights, m.OnRead}
	}
	return &reference.Model{Config: m.ConfigUnder(s).Reference(), Weights: weights, Semantics: s, Arithmetic: a}
}

// CheckHead returns an error if an output head that should be a copy of the embedding is not.
func (m *Model) CheckHead(ctx context.Context) error { return m.Found.CheckHeads(ctx, &m.Config) }

// counted reports how many bytes of the weights are read.
type counted struct {
	reference.Weights
	report func(bytes int64)
}

// Parameter implements reference.Weights.
func (c counted) Parameter(block int, name string) (*reference.Parameter, error) {
	p, err := c.Weights.Parameter(block, name)
	if err != nil {
		return nil, err
	}
	data, inMemory := p.Data.(reference.Bytes)
	switch {
	case !inMemory:
		p.Data = countedData{p.Data, c.report}
	case name == reference.Embedding: // asked for twice: for the embeddings of tokens, and for the logits
		c.report(int64(len(data)) / 2)
	default:
		c.report(int64(len(data)))
	}
	return p, nil
}

type countedData struct {
	io.ReaderAt
	report func(bytes int64)
}

// ReadAt implements io.ReaderAt.
func (c countedData) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.report(int64(n))
	return n, err
}

// Close implements io.Closer.
func (c countedData) Close() error {
	if closer, ok := c.ReaderAt.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
