package verify

import (
	"context"
	"io"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Facts describe what was verified, so that others can tell whether they have the same: digests, sizes and settings.
// Reports and cards show them.
type Facts struct {
	Source    *CheckpointFacts
	Converted *CheckpointFacts // nil if there is none
	Adapter   *AdapterFacts    // that was merged into the source; nil if there is none
	Golden    *GoldenFacts     // nil if there is none
}

// AdapterFacts describe an adapter as conversion.json does, with the digests of its files.
type AdapterFacts = manifest.Adapter

// CheckpointFacts describe a checkpoint and the model in it.
type CheckpointFacts struct {
	Subject
	Digest string `json:"digest,omitempty"` // of the weights, as runtime.DigestOf has it

	Parameters int64   `json:"parameters,omitempty"`
	Config     *Shapes `json:"model,omitempty"` // nil if the model is not complete
	Stated     *Shapes `json:"-"`               // what config.json says if Config is nil; nil if there is none, or if it cannot be read. AttentionWindow and EmbeddingScale are not in it
	Sizes      *Shapes `json:"-"`               // what the tensors show if Config is nil, without settings; nil if they are no whole model

	ConfigBLAKE3 string `json:"config_json_blake3,omitempty"` // of the file config.json
	ConfigSHA256 string `json:"config_json_sha256,omitempty"`
}

// Shapes are the sizes and settings of a model.
type Shapes struct {
	Preset           string   `json:"preset,omitempty"`
	VocabSize        int64    `json:"vocab_size"`
	Width            int64    `json:"width"`
	MLPExpandedWidth int64    `json:"mlp_expanded_width"`
	NumHeads         int64    `json:"num_heads"`
	LRUWidth         int64    `json:"lru_width"`
	BlockTypes       []string `json:"block_types"`
	AttentionWindow  int64    `json:"attention_window"` // in the original's terms, like LogitsSoftCap and EmbeddingScale
	LogitsSoftCap    Number   `json:"logits_soft_cap"`
	EmbeddingScale   bool     `json:"embedding_scale"`

	AttentionWindowSize int64 `json:"attention_window_size,omitempty"` // of config.json, if it is another number
}

// GoldenFacts describe a golden fixture.
type GoldenFacts struct {
	Path string `json:"path"`
	digest.Sum
	Bytes          int64                 `json:"bytes"`
	Implementation golden.Implementation `json:"implementation"`
	Versions       map[string]string     `json:"versions"`
	DType          string                `json:"dtype"`
	Backend        string                `json:"backend,omitempty"`
	Flags          map[string]string     `json:"flags,omitempty"` // of the backend's precision
	Semantics      string                `json:"semantics"`
	ModelDigest    string                `json:"model_digest,omitempty"` // of the model that was recorded
	Step           string                `json:"step,omitempty"`         // of the training run that it is of
	Batch          int                   `json:"batch"`
	Length         int                   `json:"length"`
	Packed         bool                  `json:"packed"`
	DecodeStart    int                   `json:"decode_start,omitempty"`
}

// facts describes the checkpoints and the fixture. Digests of tensors are those that the proof computed; others are read.
func (r *run) facts(ctx context.Context) (*Facts, error) {
	f, v := &Facts{}, r.verdict
	var err error
	if f.Source, err = r.sourceFacts(ctx); err != nil {
		return nil, err
	}
	if r.options.Adapter != nil {
		if f.Adapter, err = convert.DescribeAdapter(ctx, r.sourceModel, r.options.Digest); err != nil {
			return nil, err
		}
	}
	if r.converted != nil {
		var unstated model.Settings
		if !v.WeightsOnly {
			unstated = unstatedSettings(r.plan, r.convertedModel, v.Config)
		}
		if f.Converted, err = describe(ctx, v.Converted, r.converted, "", unstated, v.Window, digestsOf(r, false), r.options.Digest); err != nil {
			return nil, err
		}
	}
	if len(v.Logits) > 0 {
		f.Golden, err = describeFixture(ctx, r.options.Golden, r.options.Digest)
	}
	return f, err
}

// sourceFacts describes the source, without the adapter.
func (r *run) sourceFacts(ctx context.Context) (*CheckpointFacts, error) {
	window := r.verdict.Window
	if r.plan != nil && r.plan.Layout == model.HuggingFace {
		window = nil // it is that of the converted checkpoint
	}
	var known map[string]digest.Sum
	if r.options.Adapter == nil { // with an adapter they are those of the merged tensors
		known = digestsOf(r, true)
	}
	return describe(ctx, r.verdict.Source, r.source, r.options.Model, r.options.Settings, window, known, r.options.Digest)
}

// digestsOf returns the digests of tensors of the source, or of the converted checkpoint, that the checks computed, by name.
func digestsOf(r *run, source bool) map[string]digest.Sum {
	if r.converted == nil {
		return r.digests
	}
	tensors := r.verdict.Weights.Converted
	if source {
		tensors = r.verdict.Weights.Source
	}
	known := map[string]digest.Sum{}
	for i := range tensors.Len() {
		t := tensors.At(i)
		known[t.Name] = t.Sum
	}
	return known
}

// describe describes a checkpoint. window is its attention window if the verdict has it, or nil; known has digests of its
// tensors.
func describe(ctx context.Context, s *Subject, c *tensor.Checkpoint, name string, settings model.Settings, window *runtime.Window, known map[string]digest.Sum, a digest.Algorithms) (*CheckpointFacts, error) {
	f := &CheckpointFacts{Subject: *s}
	if sum, _, err := fileDigest(ctx, c.Source, path.Join(c.Root, hfconfig.Name), a); err == nil {
		f.ConfigBLAKE3, f.ConfigSHA256 = sum.BLAKE3, sum.SHA256
	}
	m, err := runtime.Open(ctx, c, runtime.Options{Name: name, Settings: settings})
	if err != nil {
		for _, t := range c.Tensors() { // the verdict says what is wrong with the model
			f.Parameters += t.Elements()
		}
		f.Stated, f.Sizes = statedShapes(c), sizesOf(c, name)
		f.Digest, err = runtime.DigestOf(ctx, c, name, a, known, nil)
		return f, err
	}
	configured, err := m.Found.Configure(settings)
	if err != nil {
		return nil, err
	}
	original := configured.Original
	if window != nil && m.Found.Layout == model.HuggingFace {
		original.AttentionWindow = window.Original
	}
	f.Parameters = m.Found.Parameters()
	f.Config = sizesIn(&original)
	f.Config.Preset, f.Config.AttentionWindow, f.Config.LogitsSoftCap, f.Config.EmbeddingScale = m.Preset, original.AttentionWindow, Number(original.LogitsSoftCap), original.EmbeddingScale
	if m.Config.AttentionWindow != original.AttentionWindow {
		f.Config.AttentionWindowSize = m.Config.AttentionWindow
	}
	f.Digest, err = m.Digest(ctx, a, known, nil)
	return f, err
}

// sizesOf returns the sizes that the tensors of a checkpoint show, nil if they are no whole model.
func sizesOf(c *tensor.Checkpoint, name string) *Shapes {
	found, err := model.Recognize(c, model.Options{Name: name, KeepExtra: true})
	if err != nil || found.Problems() != nil {
		return nil
	}
	return sizesIn(&found.Config)
}

// sizesIn returns the sizes of a configuration.
func sizesIn(c *model.Config) *Shapes {
	s := &Shapes{VocabSize: c.VocabSize, Width: c.Width, MLPExpandedWidth: c.MLPExpandedWidth, NumHeads: c.NumHeads, LRUWidth: c.LRUWidth}
	for _, b := range c.BlockTypes {
		s.BlockTypes = append(s.BlockTypes, string(b))
	}
	return s
}

// statedShapes returns the sizes and settings in the config.json of a Hugging Face checkpoint, nil if it has none that transformers reads as
// one of the family.
func statedShapes(c *tensor.Checkpoint) *Shapes {
	h, err := model.Griffin.HuggingFace.Read(c.Source, c.Beside(hfconfig.Name))
	if err != nil {
		return nil
	}
	return &Shapes{VocabSize: h.VocabSize, Width: h.HiddenSize, MLPExpandedWidth: h.IntermediateSize / 2, NumHeads: h.NumAttentionHeads, LRUWidth: h.LRUWidth,
		BlockTypes: h.Layers(), AttentionWindowSize: h.AttentionWindowSize, LogitsSoftCap: Number(h.LogitsSoftCap)}
}

func describeFixture(ctx context.Context, path string, a digest.Algorithms) (*GoldenFacts, error) {
	g, err := golden.Open(path)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	source, name, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	sum, size, err := fileDigest(ctx, source, name, a)
	if err != nil {
		return nil, err
	}
	m := g.Meta
	return &GoldenFacts{Path: path, Sum: sum, Bytes: size, Implementation: m.Implementation, Versions: m.Versions, DType: m.DType,
		Backend: m.Backend, Flags: m.Flags, Semantics: m.Semantics.String(), ModelDigest: m.ModelDigest, Step: m.Step,
		Batch: g.Passes[0].Batch, Length: g.Passes[0].Length, Packed: g.Pass("packed") != nil, DecodeStart: m.DecodeStart}, nil
}

// fileDigest returns the digest of a file, and its size.
func fileDigest(ctx context.Context, source fs.FS, name string, a digest.Algorithms) (digest.Sum, int64, error) {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return digest.Sum{}, 0, err
	}
	defer f.Close()
	h := digest.New(a)
	size, err = io.Copy(h, &cancellable{ctx, io.NewSectionReader(f, 0, size)})
	return h.Sum(size), size, err
}

// cancellable is a reader that stops when its context ends.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
