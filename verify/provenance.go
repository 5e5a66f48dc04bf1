package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Provenance is what a verdict is about, so that others can tell whether they hold the same: the
// command, digests, and the facts of the models. A report and a card are made of it.
type Provenance struct {
	Command   []string // as it was given, the program's name first
	Source    *Facts
	Converted *Facts       // nil if there is none
	Golden    *GoldenFacts // nil if there is none
}

// Facts describe a checkpoint and the model in it.
type Facts struct {
	Subject
	// Digest identifies the weights, as Model.Digest has it; "" where the checkpoint is no whole model.
	Digest string `json:"digest,omitempty"`

	Parameters int64   `json:"parameters,omitempty"`
	Config     *Shapes `json:"model,omitempty"` // nil where the checkpoint is no whole model

	ConfigSHA256 string `json:"config_json_sha256,omitempty"` // of the file config.json
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
	AttentionWindow  int64    `json:"attention_window"` // this and what follows in the original's terms
	LogitsSoftCap    Number   `json:"logits_soft_cap"`
	EmbeddingScale   bool     `json:"embedding_scale"`

	AttentionWindowSize int64 `json:"attention_window_size,omitempty"` // of config.json, where it is another number
}

// GoldenFacts describe a fixture.
type GoldenFacts struct {
	Path           string                `json:"path"`
	SHA256         string                `json:"sha256"`
	Bytes          int64                 `json:"bytes"`
	Implementation golden.Implementation `json:"implementation"`
	Versions       map[string]string     `json:"versions"`
	DType          string                `json:"dtype"`
	Backend        string                `json:"backend,omitempty"`
	Flags          map[string]string     `json:"flags,omitempty"` // of precision, of the backend
	Semantics      string                `json:"semantics"`
	ModelDigest    string                `json:"model_digest,omitempty"` // of the model that was recorded
	Batch          int                   `json:"batch"`
	Length         int                   `json:"length"`
	Packed         bool                  `json:"packed"`
	DecodeStart    int                   `json:"decode_start,omitempty"`
}

// Provenance gathers what a verdict that Verify gave is about. Digests of weights that the proof has
// computed are taken from it; others are read.
func (v *Verdict) Provenance(ctx context.Context, o Options, command []string) (*Provenance, error) {
	p := &Provenance{Command: command}
	known := map[string]string{}
	if v.Weights != nil && o.Adapter == "" { // else they are those of the merged tensors
		for _, t := range v.Weights.Source {
			known[t.Name] = t.SHA256
		}
	}
	var err error
	if p.Source, err = facts(ctx, v.Source, o.Step, runtime.Options{Settings: o.Settings, Name: o.Model}, v.windowOf(v.Source), known); err != nil {
		return nil, err
	}
	if v.Converted != nil {
		known = map[string]string{}
		if v.Weights != nil {
			for _, t := range v.Weights.Converted {
				known[t.Name] = t.SHA256
			}
		}
		if p.Converted, err = facts(ctx, v.Converted, nil, runtime.Options{Settings: v.settings()}, v.windowOf(v.Converted), known); err != nil {
			return nil, err
		}
	}
	if len(v.Logits) > 0 {
		if err := p.addGolden(ctx, o.Golden); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// settings are those by which the source was judged, for a converted original that does not say them.
func (v *Verdict) settings() (s model.Settings) {
	if v.Settings != nil && v.Converted.Layout != model.HuggingFace.String() {
		softCap := float64(v.Settings.LogitsSoftCap)
		s = model.Settings{AttentionWindow: &v.Settings.AttentionWindow, LogitsSoftCap: &softCap, EmbeddingScale: &v.Settings.EmbeddingScale}
	}
	return s
}

// windowOf returns the window of the verdict where it is that of a checkpoint.
func (v *Verdict) windowOf(s *Subject) *runtime.Window {
	if v.Window == nil || v.Converted != nil && s == v.Source && v.Converted.Layout == model.HuggingFace.String() {
		return nil
	}
	return v.Window
}

func facts(ctx context.Context, s *Subject, step *int64, o runtime.Options, window *runtime.Window, known map[string]string) (*Facts, error) {
	f := &Facts{Subject: *s}
	sum, _, err := fileDigest(ctx, filepath.Join(s.Path, "config.json"))
	if err == nil {
		f.ConfigSHA256 = sum
	}
	m, closer, err := openFacts(ctx, s.Path, step, o)
	if err != nil {
		return f, ctx.Err() // the verdict has said what is wrong with it
	}
	defer closer.Close()
	configured, err := m.Found.Configure(o.Settings)
	if err != nil {
		return nil, err
	}
	c := &configured.Original
	if window != nil && m.Found.Layout == model.HuggingFace {
		c.AttentionWindow = window.Original
	}
	f.Parameters = m.Found.Parameters()
	f.Config = &Shapes{Preset: m.Preset, VocabSize: c.VocabSize, Width: c.Width, MLPExpandedWidth: c.MLPExpandedWidth, NumHeads: c.NumHeads,
		LRUWidth: c.LRUWidth, AttentionWindow: c.AttentionWindow, LogitsSoftCap: Number(c.LogitsSoftCap), EmbeddingScale: c.EmbeddingScale}
	if m.Config.AttentionWindow != c.AttentionWindow {
		f.Config.AttentionWindowSize = m.Config.AttentionWindow
	}
	for _, b := range c.BlockTypes {
		f.Config.BlockTypes = append(f.Config.BlockTypes, string(b))
	}
	f.Digest, err = m.Digest(ctx, known, nil)
	return f, err
}

func openFacts(ctx context.Context, path string, step *int64, o runtime.Options) (*runtime.Model, io.Closer, error) {
	checkpoint, err := formats.Open(path, formats.Options{Step: step})
	if err != nil {
		return nil, nil, err
	}
	m, err := runtime.Open(ctx, checkpoint, o)
	if err != nil {
		checkpoint.Close()
		return nil, nil, err
	}
	return m, checkpoint, nil
}

func (p *Provenance) addGolden(ctx context.Context, path string) error {
	g, err := golden.Open(path)
	if err != nil {
		return err
	}
	defer g.Close()
	sum, size, err := fileDigest(ctx, path)
	if err != nil {
		return err
	}
	m := g.Meta
	p.Golden = &GoldenFacts{Path: path, SHA256: sum, Bytes: size, Implementation: m.Implementation, Versions: m.Versions, DType: m.DType,
		Backend: m.Backend, Flags: m.Flags, Semantics: m.Semantics.String(), ModelDigest: m.ModelDigest,
		Batch: g.Passes[0].Batch, Length: g.Passes[0].Length, Packed: g.Pass("packed") != nil, DecodeStart: m.DecodeStart}
	return nil
}

// fileDigest returns the SHA-256 of a file in hexadecimal, and its size.
func fileDigest(ctx context.Context, path string) (string, int64, error) {
	source, name, err := storage.Locate(path)
	if err != nil {
		return "", 0, err
	}
	f, _, err := storage.Open(source, name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, reading{ctx, f})
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// reading stops when its context does.
type reading struct {
	ctx context.Context
	r   io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
