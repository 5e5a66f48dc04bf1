package convert

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// DefaultMaxShardSize is transformers 5.23's: what both published models fit into, so that they
// are one file as it writes them. transformers 4.57 has 5 GB.
const DefaultMaxShardSize = 50_000_000_000

// Options choose what a conversion writes.
type Options struct {
	To               Target       // the layout and the format that are written
	Settings                      // what shapes cannot tell
	DType            tensor.DType // of all tensors; Invalid keeps each one's own
	Model            string       // the prefix of the model that is meant, where the source holds several
	Extra            string       // tensors that are no parameter of the family: "keep" or "refuse", which is the default
	AllowInexact     bool         // write a model that the target cannot express exactly, and say what it costs
	MatchRuntime     string       // ToHF: configure the model so that this runtime agrees with the original; "" for none
	OrbaxFormat      string       // ToOrbax: how the arrays are stored; "" for the default
	MaxShardSize     int64        // ToHF: bytes of tensors in a file; 0 for DefaultMaxShardSize
	Tokenizer        string       // path of a SentencePiece model, or ""
	InstructionTuned bool         // chat template, and <end_of_turn> ends generation
	DryRun           bool         // plan only: nothing is written and no weights are read
	Overwrite        bool         // replace a destination that exists, at the end
	Verify           bool         // prove the written weights before the destination appears

	// Progress, if not nil, is told of bytes written (and proven, with Verify) of all that will be.
	// Calls do not overlap.
	Progress func(done, total int64)
}

// Result is what a conversion did, or with DryRun would do.
type Result struct {
	Source      string           `json:"source"`
	Format      string           `json:"format"` // of the source
	Layout      string           `json:"layout"` // of the source
	Destination string           `json:"destination"`
	DryRun      bool             `json:"dry_run"`
	DType       string           `json:"dtype"` // of the destination, of most elements
	Settings    ManifestSettings `json:"settings"`
	Parameters  int64            `json:"parameters"` // elements of all tensors
	Bytes       int64            `json:"bytes"`      // of all tensors
	Shards      int              `json:"shards"`     // files of weights
	Files       []ResultFile     `json:"files"`
	Tensors     []ResultTensor   `json:"tensors"`
	Left        []string         `json:"left,omitempty"` // tensors of the source that are no part of the model
	Overflowed  int64            `json:"overflowed"`     // finite elements that became infinite
	Seconds     float64          `json:"seconds"`
	Proof       *Proof           `json:"proof,omitempty"`
	Notes       []string         `json:"notes,omitempty"`
}

// ResultFile is a file of the destination.
type ResultFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// ResultTensor is a tensor of the destination.
type ResultTensor struct {
	Name       string   `json:"name"`
	DType      string   `json:"dtype"`
	Shape      []int64  `json:"shape"`
	Bytes      int64    `json:"bytes"`
	File       string   `json:"file"`
	Rule       string   `json:"rule"`
	From       []string `json:"from"`
	SHA256     string   `json:"sha256,omitempty"`
	Overflowed int64    `json:"overflowed,omitempty"`
}

// Convert writes a checkpoint of the family in the Hugging Face layout to the directory dst, which
// appears complete or not at all. Memory does not grow with the checkpoint.
//
// A source that is broken, no Griffin, or has no such form is a *tensor.FormatError; what the caller
// has to decide a *SettingsError; written weights that turn out wrong a *ProofError.
func Convert(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (*Result, error) {
	start := time.Now()
	c, err := prepare(ctx, src, dst, o)
	if err != nil {
		return nil, err
	}
	if err := checkApart(src.Path, dst); err != nil {
		return nil, err
	}
	if err := checkRoom(dst, c.need()); err != nil {
		return nil, err
	}
	if o.DryRun {
		return c.result, nil
	}
	if err := c.plan.CheckCopies(ctx); err != nil {
		return nil, err
	}
	err = staged(dst, o.Overwrite, func(dir string) error { return c.write(ctx, dir) })
	if err != nil {
		return nil, err
	}
	c.result.Seconds = time.Since(start).Seconds()
	return c.result, nil
}

// conversion is a conversion whose every file is known, and every one's size.
type conversion struct {
	options Options
	plan    *Plan
	layout  *safetensors.Layout
	files   []File
	result  *Result
}

func prepare(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (*conversion, error) {
	model, err := o.findModel(ctx, src)
	if err != nil {
		return nil, err
	}
	c := &conversion{options: o}
	if c.plan, err = NewPlan(model, PlanOptions{Settings: o.Settings, To: o.To, DType: o.DType}); err != nil {
		return nil, err
	}
	if c.files, err = HFFiles(c.plan, FilesOptions{Tokenizer: o.Tokenizer, InstructionTuned: o.InstructionTuned}); err != nil {
		return nil, err
	}
	specs := make([]safetensors.Spec, len(c.plan.Dests))
	for i, d := range c.plan.Dests {
		specs[i] = safetensors.Spec{Name: d.Name, DType: d.DType, Shape: d.Shape}
	}
	limit := o.MaxShardSize
	if limit == 0 {
		limit = DefaultMaxShardSize
	}
	if c.layout, err = safetensors.NewLayout(specs, limit, map[string]string{"format": "pt"}); err != nil {
		return nil, err
	}
	c.result = c.describe(dst)
	return c, nil
}

// describe is the result as far as it is known before anything is written.
func (c *conversion) describe(dst string) *Result {
	p := c.plan
	src := p.Source.Checkpoint
	r := &Result{Source: src.Path, Format: src.Format, Layout: p.Source.Layout.String(), Destination: dst, DryRun: c.options.DryRun,
		DType: p.DType.String(), Settings: p.settings(), Shards: len(c.layout.Files)}
	r.Notes = append(append(r.Notes, src.Notes...), p.Notes...)
	for _, t := range p.Left {
		r.Left = append(r.Left, t.Name)
	}
	for _, f := range c.layout.Files {
		r.Files = append(r.Files, ResultFile{f.Name, f.Size})
	}
	if c.layout.Index != nil {
		r.Files = append(r.Files, ResultFile{safetensors.IndexName, int64(len(c.layout.Index))})
	}
	for _, f := range c.files {
		r.Files = append(r.Files, ResultFile{f.Name, int64(len(f.Content))})
	}
	for i, d := range p.Dests {
		place := c.layout.Places[i]
		r.Tensors = append(r.Tensors, ResultTensor{Name: d.Name, DType: d.DType.String(), Shape: d.Shape, Bytes: place.Length,
			File: c.layout.Files[place.File].Name, Rule: d.Rule})
		r.Parameters += (&tensor.Tensor{Shape: d.Shape}).Elements()
		r.Bytes += place.Length
	}
	for _, m := range p.Moves {
		t := &r.Tensors[m.Dest]
		t.From = append(t.From, m.Source.Name)
	}
	return r
}

// need returns the bytes that the destination takes.
func (c *conversion) need() int64 {
	const manifest = 1 << 20 // conversion.json, roughly
	n := int64(manifest)
	for _, f := range c.result.Files {
		n += f.Bytes
	}
	return n
}

// write fills the directory dir.
func (c *conversion) write(ctx context.Context, dir string) error {
	weights, err := c.layout.Create(dir)
	if err != nil {
		return err
	}
	defer weights.Close()
	total := c.result.Bytes
	if c.options.Verify {
		total *= 2
	}
	progress := func(done int64) {
		if c.options.Progress != nil {
			c.options.Progress(done, total)
		}
	}
	progress(0)
	written, err := Execute(ctx, c.plan, weights, progress)
	if err != nil {
		return err
	}
	if err := weights.Close(); err != nil {
		return err
	}
	if err := c.writeFiles(dir, written); err != nil {
		return err
	}
	if !c.options.Verify {
		return nil
	}
	return c.prove(ctx, dir, func(done int64) { progress(c.result.Bytes + done) })
}

// writeFiles writes all but the weights.
func (c *conversion) writeFiles(dir string, written []Written) error {
	digests := make([][]byte, len(written))
	for i, w := range written {
		digests[i] = w.SHA256[:]
		t := &c.result.Tensors[i]
		t.SHA256, t.Overflowed = hex.EncodeToString(w.SHA256[:]), w.Overflowed
		c.result.Overflowed += w.Overflowed
	}
	if n := c.result.Overflowed; n > 0 {
		c.result.Notes = append(c.result.Notes, fmt.Sprintf("%d finite elements are too large for %s and became infinite", n, c.plan.DType))
	}
	manifest, err := NewManifest(c.plan, ToolVersion(), digests).JSON()
	if err != nil {
		return err
	}
	c.result.Files = append(c.result.Files, ResultFile{ManifestName, int64(len(manifest))})
	for _, f := range append(c.files, File{ManifestName, manifest}) {
		if err := storage.WriteFile(filepath.Join(dir, f.Name), f.Content); err != nil {
			return err
		}
	}
	return nil
}

// prove holds what was written against the source.
func (c *conversion) prove(ctx context.Context, dir string, progress func(done int64)) error {
	output, err := safetensors.Open(dir)
	if err != nil {
		return fmt.Errorf("the written weights cannot be read back: %v", err)
	}
	proof, err := Prove(ctx, c.plan, output, progress)
	err = errors.Join(err, output.Close())
	if err != nil {
		return err
	}
	c.result.Proof = proof
	return proof.Err()
}
