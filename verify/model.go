package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Model is a checkpoint of any layout with all that is needed to run it.
type Model struct {
	Checkpoint *tensor.Checkpoint
	Found      *convert.Model

	// Config is complete. Of a Hugging Face directory it is what transformers takes from config.json, and
	// Original what the original computes with the same model: a directory may be written with a larger attention
	// window, or a soft cap for none, so that transformers computes what the original does. They are equal
	// otherwise.
	Config, Original convert.Config

	Preset string // that gave settings, or ""

	termsFrom string // what Original is known from

	// OnRead, if not nil, is told the bytes of weights that a run reads, from several goroutines.
	OnRead func(bytes int64)
}

// ModelOptions say what a checkpoint does not.
type ModelOptions struct {
	Settings convert.Settings // what shapes cannot tell
	Step     *int64           // of those that a directory has; nil for the newest
	Name     string           // of one of several models, as convert.RecognizeNamed takes it; "" for the only one
}

// OpenModel opens a checkpoint and completes its configuration from the options or, for a Hugging
// Face directory, from its config.json. No weights are read, but those of an output head.
func OpenModel(ctx context.Context, path string, o ModelOptions) (*Model, error) {
	checkpoint, err := formats.Open(path, formats.Options{Step: o.Step})
	if err != nil {
		return nil, err
	}
	m, err := NewModel(ctx, checkpoint, o)
	if err != nil {
		checkpoint.Close()
		return nil, err
	}
	return m, nil
}

// NewModel is OpenModel for a checkpoint that is open. Close closes it.
func NewModel(ctx context.Context, checkpoint *tensor.Checkpoint, o ModelOptions) (*Model, error) {
	found, err := convert.RecognizeNamed(checkpoint, o.Name)
	if err != nil {
		return nil, err
	}
	found.KeepExtra = true // a tensor more changes nothing that is computed
	if err := found.SettleHead(ctx); err != nil {
		return nil, err
	}
	return completeModel(found, o.Settings)
}

// completeModel makes a model of what was found in a checkpoint.
func completeModel(found *convert.Model, s convert.Settings) (*Model, error) {
	config, preset, err := found.Complete(s)
	if err != nil {
		return nil, err
	}
	m := &Model{Checkpoint: found.Checkpoint, Found: found, Config: config, Original: config, Preset: preset}
	if err := m.readTerms(); err != nil {
		return nil, err
	}
	r := config.Reference()
	if err := r.Validate(); err != nil {
		return nil, tensor.Bad("%v", err).In(found.Checkpoint.Path)
	}
	return m, nil
}

// Close closes the checkpoint.
func (m *Model) Close() error { return m.Checkpoint.Close() }

// Semantics returns those that a checkpoint of this layout is run under if nobody says otherwise:
// those of the original implementation, or of transformers 5.
func (m *Model) Semantics() reference.Semantics {
	if m.Found.Layout == convert.HuggingFace {
		return reference.Transformers5
	}
	return reference.Original
}

// ConfigUnder returns the configuration that an implementation computes with.
func (m *Model) ConfigUnder(s reference.Semantics) *convert.Config {
	if s == reference.Original {
		return &m.Original
	}
	return &m.Config
}

// Reference returns the model to run. Its weights are read as it needs them, and not kept.
func (m *Model) Reference(s reference.Semantics, a reference.Arithmetic) *reference.Model {
	weights := m.Found.Weights()
	if m.OnRead != nil {
		weights = counted{weights, m.OnRead}
	}
	return &reference.Model{Config: m.ConfigUnder(s).Reference(), Weights: weights, Semantics: s, Arithmetic: a}
}

// CheckHead reports an output head that should be a copy of the embedding, and is not.
func (m *Model) CheckHead(ctx context.Context) error { return m.Found.CheckHead(ctx, &m.Config) }

// Digest returns what identifies the weights in their layout: "flax sha256:", "torch sha256:" or
// "huggingface sha256:" and the SHA-256 of one line for each parameter, sorted,
//
//	NAME DTYPE SHAPE SHA256\n
//
// with the name from the model's root on (without "params.", "model." and other wrappers), torch's
// name of the stored type, the sizes joined by "x", and the SHA-256 of the elements, row-major and
// little-endian. Output heads that are copies of the embedding do not count.
//
// It reads all weights, and checks the checksums that their format keeps. progress, if not nil, is told the
// bytes read of each tensor.
func (m *Model) Digest(ctx context.Context, progress func(bytes int64)) (string, error) {
	return m.digest(ctx, nil, progress)
}

// digest is Digest that takes the SHA-256 of tensors, by their full names, where they are known.
func (m *Model) digest(ctx context.Context, known map[string]string, progress func(bytes int64)) (string, error) {
	parameters := m.Found.Named(&m.Config)
	lines := make([]string, len(parameters))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range parameters {
		group.Go(func() error {
			digest := known[p.Tensor.Name]
			if digest == "" {
				sum, err := tensor.Digest(ctx, p.Tensor)
				if err != nil {
					return err
				}
				digest = hex.EncodeToString(sum[:])
			}
			sizes := make([]string, len(p.Tensor.Shape))
			for k, n := range p.Tensor.Shape {
				sizes[k] = fmt.Sprint(n)
			}
			lines[i] = fmt.Sprintf("%s %s %s %s\n", p.Name, p.Tensor.DType, strings.Join(sizes, "x"), digest)
			if progress != nil {
				progress(p.Tensor.Bytes())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return m.Found.Layout.String() + " sha256:" + hex.EncodeToString(sum[:]), nil
}

// counted reports how many bytes of the weights are read.
type counted struct {
	reference.Weights
	report func(bytes int64)
}

// Parameter implements reference.Weights.
func (c counted) Parameter(block int, name string) (*reference.Parameter, error) {
	p, err := c.Weights.Parameter(block, name)
	if err == nil {
		p.Data = countedData{p.Data, c.report}
	}
	return p, err
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
