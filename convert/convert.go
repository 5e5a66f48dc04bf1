package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/convert/transfer"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Convert writes a checkpoint of the family as o.To says, which appears at dst complete or not at
// all. Memory does not grow with the checkpoint.
//
// A source that is broken, no Griffin, has no such form, or is not what its own conversion.json says is
// a *tensor.FormatError; what the caller has to decide a *SettingsError; written weights that turn out
// wrong a *proof.Error.
func Convert(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (*Result, error) {
	start := time.Now()
	c, err := prepare(ctx, src, dst, o)
	if err != nil {
		return nil, err
	}
	defer c.plan.Source.closeAdapter()
	if err := checkKind(dst, o.To); err != nil {
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
	if err := c.writeStaged(ctx, dst); err != nil {
		return nil, err
	}
	c.result.Seconds = time.Since(start).Seconds()
	return c.result, nil
}

// conversion is a conversion whose every file is known.
type conversion struct {
	options Options
	plan    *Plan
	output  output
	files   []huggingface.File // beside the weights
	origin  *provenance        // of the source, nil where nothing tells
	result  *Result
}

func prepare(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (c *conversion, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	model, err := o.findModel(ctx, src)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			model.closeAdapter()
		}
	}()
	c = &conversion{options: o}
	if c.plan, err = NewPlan(model, o.plan()); err != nil {
		return nil, err
	}
	if o.To == ToHF {
		if c.files, err = HFFiles(c.plan, FilesOptions{Tokenizer: o.Tokenizer, InstructionTuned: o.InstructionTuned}); err != nil {
			return nil, err
		}
	}
	if c.output, err = layOut(c.plan, dst, &o); err != nil {
		return nil, err
	}
	c.result = c.describe(dst)
	var note string
	if c.origin, note, err = readProvenance(c.plan); err != nil {
		return nil, err
	}
	if note != "" {
		c.result.Notes = append(c.result.Notes, note)
	}
	return c, nil
}

// need returns the bytes that the destination takes at most.
func (c *conversion) need() int64 {
	const manifest = 1 << 20 // conversion.json, roughly
	n := manifest + c.output.size()
	for _, f := range c.files {
		n += f.Bytes
	}
	return n
}

// writeStaged makes the destination beside its place and puts it there if there is no error.
func (c *conversion) writeStaged(ctx context.Context, dst string) (err error) {
	stage, err := newStaging(dst, c.options.To, c.options.Overwrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.discard()) }()
	if err := c.write(ctx, stage); err != nil {
		return err
	}
	return stage.publish()
}

// write fills the stage.
func (c *conversion) write(ctx context.Context, stage *staging) error {
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
	written, digests, err := c.writeWeights(ctx, stage.weights, progress)
	if err != nil {
		return err
	}
	told := len(c.plan.Notes)
	if err := c.plan.CheckExact(written); err != nil {
		return err
	}
	c.result.Notes = append(c.result.Notes, c.plan.Notes[told:]...)
	c.result.add(written)
	if c.result.Files == nil {
		if err := c.listFiles(stage.weights); err != nil {
			return err
		}
	}
	if c.options.Verify {
		if digests, err = c.prove(ctx, stage.weights, func(done int64) { progress(c.result.Bytes + done) }); err != nil {
			return err
		}
	}
	if c.origin != nil {
		if err := c.origin.check(c.plan, digests.Sources, written); err != nil {
			return err
		}
	}
	return c.writeFiles(stage, digests)
}

// writeWeights also returns the digests that come with it: of all sources where they are to be checked,
// otherwise of those that are copied.
func (c *conversion) writeWeights(ctx context.Context, path string, progress func(done int64)) (written []tensor.Written, digests *moves.Digests, err error) {
	weights, err := c.output.create(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, weights.Close()) }()
	all := c.origin != nil && !c.options.Verify // the proof computes all digests
	r, err := transfer.Execute(ctx, c.plan.List, weights, transfer.Options{Progress: progress, DigestSources: all})
	if err != nil {
		return nil, nil, err
	}
	digests = &moves.Digests{Sources: r.Sources}
	for _, w := range r.Written {
		digests.Dests = append(digests.Dests, w.Digest)
	}
	return r.Written, digests, nil
}

// listFiles puts the files of a directory into the result.
func (c *conversion) listFiles(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		c.result.Files = append(c.result.Files, ResultFile{filepath.ToSlash(name), info.Size()})
		return err
	})
}

// writeFiles writes all but the weights.
func (c *conversion) writeFiles(stage *staging, digests *moves.Digests) error {
	for _, f := range c.files {
		if err := f.Write(stage.weights); err != nil {
			return err
		}
	}
	manifest, err := NewManifest(c.plan, ToolVersion(), c.output.format(), digests, c.origin).JSON()
	if err != nil {
		return err
	}
	name := ManifestName
	if c.options.To == ToTorch {
		name = filepath.Base(stage.manifest)
	}
	c.result.Files = append(c.result.Files, ResultFile{name, int64(len(manifest))})
	return storage.WriteFile(stage.manifest, manifest)
}

// prove holds what was written against the source.
func (c *conversion) prove(ctx context.Context, path string, progress func(done int64)) (*moves.Digests, error) {
	output, err := formats.Open(path, formats.Options{})
	if err != nil {
		return nil, fmt.Errorf("the written weights cannot be read back: %v", err)
	}
	p, err := proof.Prove(ctx, c.plan.List, output, proof.Options{Progress: progress, Digests: true})
	err = errors.Join(err, output.Close())
	if err != nil {
		return nil, err
	}
	c.result.Proof = p
	return p.Digests, p.Err()
}
