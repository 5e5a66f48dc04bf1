// Package verify answers whether two checkpoints are the same model. It compares names, shapes and types of the tensors,
// the configuration, and every element of the weights; and it holds what a model computes against a recording of another
// implementation (package golden). Where they differ it says which tensor, field, layer or token.
package verify

import (
	"cmp"
	"context"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Options say what is to be verified. Source is always there, and Converted or Golden or both.
type Options struct {
	Source    string         // path of the checkpoint that was converted, or of any that is held against Golden alone
	Converted string         // path of what was made of it, in any layout and format, or ""
	Golden    string         // path of a fixture, or ""
	Settings  model.Settings // what shapes cannot tell of Source
	Step      *int64         // of Source, where it has several; nil for the newest
	Adapter   string         // directory of a PEFT adapter that was merged into Source, or ""
	Model     string         // which of several models in Source, as model.Options has it; "" for the only one

	WeightsOnly bool // leave the logits out

	Semantics *reference.Semantics // to hold models against Golden under; nil for those of its implementation
	Runtime   *runtime.Runtime     // that runs Hugging Face directories; nil for runtime.Transformers5

	// Progress, if not nil, is told what is being done and how far it is. Calls do not overlap.
	Progress func(doing string, done, total int64)
}

// Verify answers whether the checkpoints are the same model, and whether it computes what a fixture
// says. That they are not is no error but the verdict. Errors are those of what cannot be judged:
// a *tensor.FormatError for a checkpoint that is broken or no Griffin, a *model.OptionError for
// what the caller has to decide, and those of the system.
func Verify(ctx context.Context, o Options) (*Verdict, error) {
	r := &run{options: o, verdict: &Verdict{Griffin: convert.ToolVersion(), Golden: o.Golden}}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	if o.Converted != "" {
		if err := r.checkConversion(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.checkLogits(ctx); err != nil {
		return nil, err
	}
	r.verdict.conclude()
	return r.verdict, nil
}

// run is one verification.
type run struct {
	options Options
	verdict *Verdict

	progressing sync.Mutex

	source    *tensor.Checkpoint
	adapter   *peft.Adapter // on source; nil for none
	found     *model.Model  // in source, with the adapter
	converted *tensor.Checkpoint
	made      *model.Model  // in converted; nil where there is none
	plan      *convert.Plan // from source to converted; nil without the latter
}

func (r *run) open(ctx context.Context) (err error) {
	if r.source, err = formats.Open(r.options.Source, formats.Options{Step: r.options.Step}); err != nil {
		return err
	}
	if err := r.openModel(ctx); err != nil {
		return err
	}
	r.verdict.Source = subject(r.source, r.found.Layout, r.found.Prefix)
	if r.options.Converted == "" {
		return nil
	}
	if r.converted, err = formats.Open(r.options.Converted, formats.Options{}); err != nil {
		return err
	}
	if r.made, err = model.Recognize(r.converted, model.Options{KeepExtra: true}); err != nil {
		r.made = nil // the structure says what is wrong
		r.verdict.Notes = append(r.verdict.Notes, "no model was found in the converted checkpoint: "+err.Error())
	}
	if r.plan, err = planFor(r.found, r.options.Settings, r.converted, r.made); err != nil {
		return err
	}
	r.verdict.Converted = subject(r.converted, r.plan.Layout, "")
	r.verdict.Adapter = r.options.Adapter
	if r.made != nil && r.plan.Layout != model.HuggingFace {
		r.verdict.Converted.Prefix = r.made.Prefix
	}
	if r.plan.SettingsKnown {
		c := &r.plan.Config
		r.verdict.Settings = &Settings{Preset: r.plan.Preset, AttentionWindow: c.AttentionWindow, LogitsSoftCap: Number(c.LogitsSoftCap), EmbeddingScale: c.EmbeddingScale}
	}
	return nil
}

// openModel finds the model in the source, and merges the adapter. Extra tensors are accepted: what a conversion did with
// them is seen in the converted checkpoint.
func (r *run) openModel(ctx context.Context) error {
	o := model.Options{KeepExtra: true}
	var err error
	if o.Name, err = r.modelName(); err != nil {
		return err
	}
	if r.options.Adapter != "" {
		source, dir, err := storage.Locate(r.options.Adapter)
		if err != nil {
			return err
		}
		if r.adapter, err = peft.Read(source, dir); err != nil {
			return err
		}
		o.Adapter = r.adapter
	}
	r.found, err = model.Open(ctx, r.source, o)
	return err
}

// modelName returns the name of the model in the source: of several the one that was asked for, or that the conversion was
// made from.
func (r *run) modelName() (string, error) {
	name := r.options.Model
	_, err := model.Recognize(r.source, model.Options{Name: name})
	if err == nil || name != "" || r.options.Converted == "" {
		return name, err
	}
	source, file, bad := storage.Locate(r.options.Converted)
	if bad != nil {
		return "", err
	}
	record, _, bad := manifest.Read(source, file)
	if bad != nil || record == nil {
		return "", err
	}
	name = cmp.Or(strings.TrimSuffix(record.Source.Prefix, "."), ".") // the top level
	if _, bad := model.Recognize(r.source, model.Options{Name: name}); bad != nil {
		return "", err
	}
	return name, nil
}

func subject(c *tensor.Checkpoint, layout model.Layout, prefix string) *Subject {
	return &Subject{Path: c.Path, Format: c.Format, Layout: layout.String(), Prefix: prefix}
}

func (r *run) close() {
	for _, c := range []*tensor.Checkpoint{r.source, r.converted} {
		if c != nil {
			c.Close()
		}
	}
	if r.adapter != nil {
		r.adapter.Close()
	}
}

// checkConversion makes the three checks that need no forward pass.
func (r *run) checkConversion(ctx context.Context) (err error) {
	if err := r.plan.CheckCopies(ctx); err != nil {
		return err
	}
	v := r.verdict
	var head headState
	v.Structure, head = checkStructure(r.plan, r.converted, r.made)
	if v.Config, err = checkConfig(r.converted, r.plan, head); err != nil {
		return err
	}
	if v.Weights, err = r.checkWeights(ctx, head); err != nil {
		return err
	}
	for _, note := range r.plan.Notes {
		if note.Kind != convert.WindowNote { // v.Window says it
			v.Notes = append(v.Notes, note.Text)
		}
	}
	if extra := r.found.Extra; len(extra) > 0 && len(r.plan.Extra) == 0 {
		var names []string
		for _, t := range extra {
			names = append(names, t.Name)
		}
		v.Notes = append(v.Notes, text.Count(len(names), "tensor")+" of the source that are no parameter of the family are not in the conversion: "+firstOfMany(names))
	}
	return r.checkRecords()
}

func (r *run) progress(doing string, done, total int64) {
	if r.options.Progress == nil {
		return
	}
	r.progressing.Lock()
	defer r.progressing.Unlock()
	r.options.Progress(doing, done, total)
}

// proven reports whether both checkpoints are one model, by their weights and configuration, so that
// one forward pass serves both.
func (r *run) proven() bool {
	v := r.verdict
	return v.Structure != nil && v.Structure.OK && v.Config.OK && v.Weights.OK
}
