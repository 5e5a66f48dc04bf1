// Package convert converts a checkpoint of a model family from one layout and format to another, or the
// checkpoint of any model to safetensors, as it is. It
// recognises the model (package model), plans every tensor of the destination before a byte is
// written, moves the elements (package transfer), compares what was written with the source if that is
// wanted (package proof), and writes the files that belong beside the weights (package huggingface).
package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/convert/transfer"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Convert writes the model of a checkpoint to dst, in the layout and format of o.To. With ToSafetensors it
// writes the tensors of any model, as they are: to a file if dst ends in .safetensors, otherwise to a
// directory, with the configurations and the tokenizer that lie beside the source. dst is a path of the local file system,
// or an address for which publish.RegisterSink was called. The destination appears complete or not at all. Memory does not
// grow with the checkpoint.
//
// Convert returns a *tensor.FormatError if the source is corrupt, does not have a model of the family,
// cannot be expressed in the target layout, or contradicts its conversion.json; an *OptionError if
// options are missing or contradict the source; and a *proof.Error if Options.Verify finds the written
// weights to be wrong.
func Convert(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (*Result, error) {
	start := time.Now()
	dst, err := storage.LocalDestination(dst)
	if err != nil {
		return nil, err
	}
	c, err := prepare(ctx, src, dst, o)
	if failure := storage.Failure(o.sources(src)...); failure != nil {
		return nil, failure // files may be there that were not found
	}
	if err != nil {
		return nil, err
	}
	if o.Verify && isReadOnce(src) {
		return nil, &OptionError{Option: "Verify", Problem: "the source can be read only once, since its server sends whole files only; what is written cannot be compared with it"}
	}
	to, err := placeOf(ctx, dst, &o)
	if err != nil {
		return nil, err
	}
	if err := to.check(c); err != nil {
		return nil, err
	}
	if o.DryRun {
		c.result.Files = append(c.result.Files, ResultFile{Name: o.recordName(dst)})
		return c.result, nil
	}
	if c.plan != nil {
		if err := c.plan.CheckCopies(ctx); err != nil {
			return nil, err
		}
	}
	c.plan, c.manifest = nil, nil // they refer to the model, which takes much memory if there are very many tensors
	if err := c.writeStaged(ctx, to); err != nil {
		return nil, err
	}
	c.result.Seconds = time.Since(start).Seconds()
	return c.result, nil
}

// sources returns where the files of a conversion of a checkpoint are read.
func (o *Options) sources(src *tensor.Checkpoint) []fs.FS {
	sources := []fs.FS{src.Source}
	if o.Adapter != nil {
		sources = append(sources, o.Adapter.Source)
	}
	return sources
}

// isReadOnce reports whether a file of the weights can be read only from its beginning to its end, once.
func isReadOnce(src *tensor.Checkpoint) bool {
	return slices.ContainsFunc(src.Tensors(), func(t *tensor.Tensor) bool {
		return slices.ContainsFunc(tensor.Extents(t), func(e tensor.Extent) bool { return tensor.IsSequential(e.Store) })
	})
}

// conversion is one call of Convert after planning: every file of the destination is known.
type conversion struct {
	*outline
	options Options
	plan    *Plan // of the model; nil for ToSafetensors, which needs none
	output  output
	files   []huggingface.File // beside the weights
	remarks []string           // about those files
	origin  *provenance        // of the source; nil if unknown
	written *publish.OutputFiles
	moved   *transfer.Result  // nil until the weights are written
	adapter *manifest.Adapter // nil if there is none
	result  *Result
}

func prepare(ctx context.Context, src *tensor.Checkpoint, dst string, o Options) (*conversion, error) {
	o.Digest = cmp.Or(o.Digest, digest.Default)
	err := o.check()
	if err != nil {
		return nil, err
	}
	c := &conversion{options: o, written: publish.NewOutputFiles(o.Digest)}
	if o.To == ToSafetensors {
		err = c.planContainer(src, dst)
	} else {
		err = c.planModel(ctx, src)
	}
	if err != nil {
		return nil, err
	}
	if c.output, err = layOut(c.outline, dst, &o); err != nil {
		return nil, err
	}
	c.result = c.describe(dst)
	var note string
	if c.origin, note, err = readProvenance(c.outline); err != nil {
		return nil, err
	}
	if note != "" {
		c.result.Notes = append(c.result.Notes, note)
	}
	return c, nil
}

// planModel recognises the model of the source and plans its conversion to another layout.
func (c *conversion) planModel(ctx context.Context, src *tensor.Checkpoint) error {
	o := &c.options
	m, err := model.Open(ctx, src, model.Options{Family: o.Family, Name: o.Model, KeepExtra: o.Extra == KeepExtra, Adapter: o.Adapter, PartialAdapter: o.PartialAdapter})
	if err != nil {
		return err
	}
	if o.Extra == RefuseExtra {
		if err := refuseBeside(m); err != nil {
			return err
		}
	}
	if o.Adapter != nil {
		if c.adapter, err = DescribeAdapter(ctx, m, o.Digest); err != nil {
			return err
		}
	}
	if c.plan, err = NewPlan(m, o.plan()); err != nil {
		return err
	}
	c.outline = c.plan.outline()
	if o.To != ToHF {
		return nil
	}
	if err := c.planFiles(); err != nil || o.Review == nil {
		return err
	}
	notes, err := o.Review(c.plan, c.files[0].Content)
	c.notes = append(c.notes, notes...)
	return err
}

// refuseBeside returns an error if tensors lie beside the model, which would be left out.
func refuseBeside(m *model.Model) error {
	var beside []string
	for _, t := range m.Rest {
		if model.IsBeside(m, t) {
			beside = append(beside, t.Name)
		}
	}
	if beside == nil {
		return nil
	}
	slices.SortFunc(beside, tensor.CompareNames)
	return tensor.Bad("has %s not of the model: %s", text.Agree(len(beside), "tensor", "that is", "that are"), tensor.JoinNames(beside)).
		In(m.Checkpoint.Path).Because(model.ReasonExtraTensors)
}

// planFiles decides on the files beside the weights of a Hugging Face directory.
func (c *conversion) planFiles() error {
	p := c.plan
	file := &p.Source.Family.HuggingFace
	o := huggingface.Options{Config: file.Fields(&p.Config, p.HF, p.DType), Tokens: file.Tokens, VocabSize: p.Config.VocabSize, UseCache: file.UseCache(&p.Config),
		Tokenizer: c.options.Tokenizer, InstructionTuned: c.options.InstructionTuned}
	if p.stated != nil {
		o.Source, o.SourceConfig = p.Source.Checkpoint.Source, p.Source.Checkpoint.Beside(hfconfig.Name)
		o.Changed = file.Changed(p.stated, &p.Config, p.HF)
		for _, f := range o.Changed {
			if f.Note != "" {
				c.remarks = append(c.remarks, f.Note)
			}
		}
		for _, name := range []string{"dtype", "torch_dtype"} {
			if !p.Keep && (p.stated.Has(name) || !p.stated.Has("dtype") && !p.stated.Has("torch_dtype")) {
				o.Changed = append(o.Changed, huggingface.Field{Name: name, Value: p.DType.String()})
			}
		}
	}
	if o.SourceConfig != "" {
		remarks, err := sourceRemarks(&o, p.Config.VocabSize, p.DType)
		if err != nil {
			return err
		}
		c.remarks = append(c.remarks, remarks...)
	}
	if err := c.changeArchitectures(&o); err != nil {
		return err
	}
	d, err := huggingface.Files(o)
	if err != nil {
		return err
	}
	c.files = d.Files
	if remark := tokenizerRemark(c.files, c.plan.Source.Checkpoint); remark != "" {
		c.remarks = append(c.remarks, remark)
	}
	if d.Unnamed > 0 {
		c.remarks = append(c.remarks, fmt.Sprintf("the vocabulary has %s more than the tokenizer has pieces; the files made from the tokenizer do not have what was added", text.Count(d.Unnamed, "token")))
	}
	c.noteOutside(d.Outside)
	if left := leftBeside(p.Source.Checkpoint, d.NotCopied, path.Dir(o.SourceConfig)); len(left) > 0 {
		c.note("not copied, since it may not hold for the new weights: ", left)
	}
	return nil
}

// noteOutside adds a note about links that were not followed.
func (c *conversion) noteOutside(names []string) {
	if len(names) > 0 {
		c.note("not copied, since a link leads out of the directory: ", names)
	}
}

// note adds a note about files.
func (c *conversion) note(text string, names []string) {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = tensor.QuoteName(name)
	}
	c.remarks = append(c.remarks, text+tensor.JoinNames(quoted))
}

// checkFree returns an error if what is free, as check finds, is less than the destination takes, roughly.
func (c *conversion) checkFree(check func(need int64) error) error {
	record := recordSize(c.result.Tensors.Len())
	n := record + c.output.size()
	for _, f := range c.files {
		n += f.Bytes
	}
	if err := check(n); err != nil {
		return fmt.Errorf("%w; the output includes about %d kB for %s", err, (record+999)/1000, manifest.Name)
	}
	return nil
}

// recordSize is about the size of a conversion.json, whose names and digests are not known in advance.
func recordSize(tensors int) int64 { return 2<<10 + 800*int64(tensors) }

// writeStaged writes the destination without its being visible, and publishes it if there is no error.
func (c *conversion) writeStaged(ctx context.Context, to place) (err error) {
	stage, err := to.begin(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.discard()) }()
	if err := c.write(ctx, stage); err != nil {
		return err
	}
	if err := storage.Unchanged(c.options.sources(c.checkpoint)...); err != nil {
		return err
	}
	return stage.publish()
}

// write writes all files to the stage.
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
	r, err := c.writeWeights(ctx, stage, progress)
	if err != nil {
		return err
	}
	written, sources := r.Written, r.Digests
	if err := c.addDivisionCost(written); err != nil {
		return err
	}
	if !c.options.AllowInexact {
		if err := c.checkOverflow(written); err != nil {
			return err
		}
	}
	c.moved = r
	c.result.add(written)
	if c.result.Overflowed == 0 && c.result.Inexact == 0 {
		r.Written = nil
	}
	if c.options.Verify {
		if _, err := c.written.Sums(ctx); err != nil { // what is held for the digests of files is released
			return err
		}
		if sources, err = c.prove(ctx, stage, func(done int64) { progress(c.result.Bytes + done) }); err != nil {
			return err
		}
	}
	if c.origin != nil {
		if err := c.origin.check(c.outline, sources, r.Digests); err != nil {
			return err
		}
	}
	return c.writeFiles(ctx, stage, r.Digests, sources)
}

// addDivisionCost adds to the result what dividing the embedding lost.
func (c *conversion) addDivisionCost(written []tensor.Written) error {
	cost, err := c.checkDivision(written, c.options.AllowInexact)
	if err != nil || cost == "" {
		return err
	}
	form := *c.result.HF
	form.Inexact = append(slices.Clone(form.Inexact), cost)
	c.result.HF = &form
	c.result.Notes = append(c.result.Notes, "not exact: "+cost)
	return nil
}

// digests returns the hash functions of the digests that are computed: that of the options, and what the source's
// own conversion.json can be checked with.
func (c *conversion) digests() digest.Algorithms {
	a := c.options.Digest
	if c.origin != nil {
		a |= c.origin.record.Algorithms()
	}
	return a
}

// writeWeights moves the elements. The result has the digests of all sources if they are to be checked,
// otherwise those that need no further reading.
func (c *conversion) writeWeights(ctx context.Context, stage *staging, progress func(done int64)) (r *transfer.Result, err error) {
	weights, err := stage.create()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, weights.Close()) }()
	c.output = c.output.written()
	all := c.origin != nil && !c.options.Verify // the proof computes those of all sources
	r, err = transfer.Execute(ctx, c.List, weights, transfer.Options{Progress: progress, Digests: c.digests(), DigestSources: all,
		SourceMemory: storage.Memory(c.checkpoint.Source), DestMemory: stage.memory})
	if err == nil {
		err = stage.wait()
	}
	if err == nil && !all && !c.options.Verify {
		r.Digests.SetCopied(c.List)
	}
	return r, err
}

// listFiles returns the files that were written, with their digests, and completes those of the result.
func (c *conversion) listFiles(ctx context.Context, stage *staging) ([]manifest.OutputFile, error) {
	sums, err := c.written.Sums(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]*ResultFile{}
	for i := range c.result.Files {
		known[c.result.Files[i].Name] = &c.result.Files[i]
	}
	var all []manifest.OutputFile
	for _, s := range sums {
		name := s.Path
		if stage.weights != "" {
			if name, err = filepath.Rel(stage.weights, s.Path); err != nil {
				return nil, err
			}
			name = filepath.ToSlash(name)
		}
		if name == "." || name == "" { // the destination is a file
			name = c.result.Files[0].Name
		}
		all = append(all, manifest.OutputFile{Name: name, Bytes: s.Bytes, Sum: s.Sum})
		if f := known[name]; f != nil {
			f.Bytes, f.Sum = new(s.Bytes), s.Sum
		} else {
			c.result.Files = append(c.result.Files, ResultFile{name, new(s.Bytes), s.Sum})
		}
	}
	return all, nil
}

// record describes the conversion, for conversion.json.
func (c *conversion) record(dests, sources *moves.Digests) *recorder {
	r := newRecorder(c.outline, ToolVersion(), c.output.format(), dests, sources, c.options.Digest, c.origin)
	r.head.Adapter, r.head.HuggingFace, r.head.Overflowed = c.adapter, c.result.HF, c.result.Overflowed
	return r
}

// writeFiles writes all files but the weights.
func (c *conversion) writeFiles(ctx context.Context, stage *staging, dests, sources *moves.Digests) error {
	for _, f := range c.files {
		if err := stage.put(&f); err != nil {
			return err
		}
	}
	record := c.record(dests, sources)
	var err error
	if record.head.Files, err = c.listFiles(ctx, stage); err != nil {
		return err
	}
	bytes, err := stage.record(record)
	if err != nil {
		return err
	}
	name := manifest.Name
	if c.options.toFile(c.result.Destination) {
		name = storage.BaseName(c.result.Destination) + "." + manifest.Name
	}
	c.result.Files = append(c.result.Files, ResultFile{Name: name, Bytes: &bytes})
	return nil
}

// prove compares what was written with the source, and returns the digests of the sources.
func (c *conversion) prove(ctx context.Context, stage *staging, progress func(done int64)) (*moves.Digests, error) {
	output, err := stage.open()
	if err != nil {
		if errors.As(err, new(*tensor.FormatError)) { // not the user's file
			return nil, fmt.Errorf("the written weights cannot be read back: %v", err)
		}
		return nil, fmt.Errorf("the written weights cannot be read back: %w", err)
	}
	for i := range c.Dests { // very many names are kept once
		if t := output.Tensor(c.Dests[i].Name); t != nil {
			t.Name = c.Dests[i].Name
		}
	}
	p, err := proof.Prove(ctx, c.List, output, proof.Options{Progress: progress, Sources: c.digests(), AllowOverflow: c.options.AllowInexact})
	err = errors.Join(err, output.Close())
	if err != nil {
		return nil, err
	}
	c.result.Proof = p
	if n := len(p.NotFinite); n > 0 && p.Failures.Len() == 0 {
		var names []string
		for _, t := range p.NotFinite {
			names = append(names, tensor.Clip(t.Name))
		}
		c.result.Notes = append(c.result.Notes, fmt.Sprintf("NaN or infinities in %s of the source, and so in the conversion: %s", text.Count(n, "tensor"), tensor.JoinNames(names)))
	}
	return p.Digests, p.Err()
}
