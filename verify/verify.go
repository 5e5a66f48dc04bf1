// Package verify answers whether two checkpoints are the same model. It compares names, shapes and dtypes of the tensors,
// the configuration, and every element of the weights; and it compares what a model computes with a recording of another
// implementation (package golden). If something differs, it says which tensor, field, layer or token.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/logits"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// Options say what is verified, and how.
type Options struct {
	Model    string         // which of several models in the source, as model.Options.Name; "" for the only one
	Settings model.Settings // of the source, that its checkpoint does not have
	Adapter  *peft.Adapter  // that was merged into the source; nil for none

	PartialAdapter bool // accept an Adapter that lacks tensors of some of its target modules

	Golden    string               // path of a golden fixture; "" for none
	Semantics *reference.Semantics // with which models are compared with Golden; nil for those of its implementation
	Runtime   *runtime.Runtime     // that runs Hugging Face directories; nil for runtime.Transformers5

	Digest digest.Algorithms // of the digests in the verdict; 0 for digest.Default

	WeightsOnly bool // compare structure and weights alone: no configuration, settings, records, or what a model computes
	Facts       bool // set Verdict.Facts; this reads weights and files that were not read otherwise

	// Progress, if not nil, is called with the current stage and the bytes that are done of its total, never concurrently. The total is -1 if it is
	// not known.
	Progress func(stage string, done, total int64)
}

// Verify compares a checkpoint with the source that it was converted from, in any layouts and formats, and both with a
// golden fixture. converted is nil to compare the source alone with a fixture. Both have to stay open.
//
// A quantised copy is dequantised and judged (package quantized); it is never the same model. A source that is a quantised copy
// can only be compared with a fixture.
//
// That models differ is not an error but the verdict. A checkpoint that is corrupt, an adapter, not a model of the family, several of
// which Options.Model selects none, or changed while it is read is a *tensor.FormatError, options that are missing or wrong a *model.OptionError.
func Verify(ctx context.Context, source, converted *tensor.Checkpoint, o Options) (*Verdict, error) {
	o.Digest = cmp.Or(o.Digest, digest.Default)
	r, err := settledRun(ctx, source, converted, o, nil)
	if err != nil {
		return nil, err
	}
	others, err := rivals(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, rival := range others {
		other, err := settledRun(ctx, source, converted, o, rival)
		if err != nil {
			return nil, err
		}
		if !isRefuted(ofSource(other.verdict)) {
			r = other
			break
		}
	}
	addContradicted(r)
	if !o.WeightsOnly {
		addOpen(r)
	}
	if converted != nil && !o.WeightsOnly {
		r.verdict.Given = onlyGivenWindow(r)
	}
	doubtWindow(r)
	noteSteps(r)
	noteMadeWith(r)
	if o.WeightsOnly {
		r.options.Settings = o.Settings // without those that were assumed
	} else {
		noteDoubted(r)
		noteRecorded(r)
	}
	r.verdict.conclude(conversionStates(r))
	if o.Facts {
		var err error
		if r.verdict.Facts, err = r.facts(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.unchanged(); err != nil {
		return nil, err
	}
	return r.verdict, nil
}

// settledRun makes all checks, and makes them again with what the recording shows of settings for which the files of the conversion were taken, or what
// was given.
func settledRun(ctx context.Context, source, converted *tensor.Checkpoint, o Options, known shown) (r *run, err error) {
	for trusted := trustConversion; r == nil || r.trust != trusted || !maps.Equal(r.shown, known); {
		r = &run{options: o, given: o.Settings, trust: trusted, shown: known, source: source, converted: converted, verdict: &Verdict{Griffin: convert.ToolVersion(), Golden: o.Golden, WeightsOnly: o.WeightsOnly, excuses: map[*logits.Fault]string{}, layers: map[*logits.Result]layerNames{}}}
		if err := checkAll(ctx, r); err != nil {
			return nil, err
		}
		trusted, known = nextTrust(r), nextShown(r)
	}
	return r, nil
}

// checkAll makes all checks.
func checkAll(ctx context.Context, r *run) (err error) {
	if err := r.dequantize(); err != nil {
		return err
	}
	if err := r.openModels(ctx); err != nil {
		return err
	}
	if r.fixture, err = openFixture(r); err != nil {
		return err
	}
	if r.fixture != nil {
		defer r.fixture.Close()
	}
	if r.converted != nil {
		if err := r.checkConversion(ctx); err != nil {
			return err
		}
	} else if err := checkAlone(r); err != nil {
		return err
	}
	if r.options.WeightsOnly {
		return nil
	}
	if err := r.checkComputation(ctx); err != nil || r.converted != nil {
		return err
	}
	return noteChanged(ctx, r)
}

// unchanged returns an error if a file of either checkpoint was changed while it was read: then the verdict is about no
// state of it.
func (r *run) unchanged() error {
	sources := []fs.FS{r.source.Source}
	if r.converted != nil {
		sources = append(sources, r.converted.Source)
	}
	if a := r.options.Adapter; a != nil {
		sources = append(sources, a.Source)
	}
	return storage.Unchanged(sources...)
}

// run is one verification.
type run struct {
	options           Options
	given             model.Settings // of options, before others are taken from a record; without those of contradicted
	trust             trust
	shown             shown
	open              bool               // the window of options is what it is if the models are the same, and nothing else says it
	proved            int64              // window of the source that the recording shows; 0 if it does not
	contradicted      []contradiction    // of settings that were given, and the conversion
	source, converted *tensor.Checkpoint // converted is nil if there is none
	copy              *quantized.Copy    // that converted is, dequantised; nil if it is none
	verdict           *Verdict

	sourceModel    *model.Model // with the adapter
	convertedModel *model.Model // nil if none is found
	record         record       // of the converted checkpoint
	scaled         *bool        // embedding scale that tensors of the converted checkpoint show, where record has the other, and neither the source nor the options have one
	recorded       []string     // settings that were taken from record, because neither the source nor the options have them
	fixture        *golden.Fixture
	plan           *convert.Plan // from source to converted; nil if there is no converted
	renaming       *renaming     // of the tensors of the plan in the converted checkpoint
	tiesOther      bool          // config.json of the converted checkpoint ties an output head that differs from the embedding
	retyped        retyped       // tensors of the converted checkpoint that the plan has the dtypes of

	digests map[string]digest.Sum // of tensors of a source alone, by name

	progressing sync.Mutex
}

// openModels finds the models in the checkpoints, and plans the conversion. Extra tensors are accepted: the converted
// checkpoint shows what the conversion did with them.
func (r *run) openModels(ctx context.Context) (err error) {
	var notFound error
	r.noteFormat("source", r.source)
	if r.converted != nil {
		r.converted.ShareNames(r.source)
		r.noteFormat("conversion", r.converted)
		r.convertedModel, notFound = model.Recognize(r.converted, model.Options{KeepExtra: true}) // the check of the structure says what is wrong
		r.presentConverted()
		r.record = recordBeside(r.converted, r.convertedModel)
	}
	name, err := modelName(r)
	if err != nil {
		return err
	}
	if r.sourceModel, err = model.Open(ctx, r.source, model.Options{Name: name, KeepExtra: true, Adapter: r.options.Adapter, PartialAdapter: r.options.PartialAdapter}); err != nil {
		return err
	}
	if reason := tensor.ReasonOf(notFound); reason == model.ReasonSeveralModels || reason == model.ReasonAdapter {
		return notFound
	}
	dropRefuted(r)
	if r.options.WeightsOnly {
		assumeSettings(r)
	} else if err := r.takeRecorded(ctx); err != nil {
		return err
	}
	if err := replaceGiven(ctx, r); err != nil {
		return err
	}
	if r.options.WeightsOnly {
		r.contradicted = nil
	}
	v := r.verdict
	v.Source = subject(r.source, r.sourceModel.Layout, r.sourceModel.Prefix)
	if len(r.sourceModel.Others) > 0 {
		v.Model = name
	}
	if a := r.options.Adapter; a != nil {
		v.Adapter, v.partly = a.Path, r.sourceModel.AdapterLacks != ""
	}
	if r.converted == nil {
		noteAlone(r)
		return nil
	}
	if notFound != nil {
		v.Notes = append(v.Notes, "no model was found in the converted checkpoint: "+withoutDirectory(notFound))
	}
	return planConversion(ctx, r)
}

// assumeSettings gives a source the settings that are neither stated nor given, where weights alone are compared. replaceGiven then takes those of
// the conversion. Only the embedding scale makes a difference to weights.
func assumeSettings(r *run) {
	_, err := r.sourceModel.Configure(r.options.Settings)
	var missing *model.OptionError
	if !errors.As(err, &missing) {
		return
	}
	window, softCap, scale := int64(2048), 30.0, true
	completeSettings(&r.options.Settings, missing, &model.Settings{AttentionWindow: &window, LogitsSoftCap: &softCap, EmbeddingScale: &scale})
	r.given = r.options.Settings
}

// noteAlone says of a checkpoint alone what is known of its settings and its head.
func noteAlone(r *run) {
	v := r.verdict
	v.Notes = append(v.Notes, r.sourceModel.Notes...)
	if known, err := r.sourceModel.Configure(r.options.Settings); err == nil && len(known.Recorded) > 0 {
		v.Settings = settingsBy(&known.Config, known.Preset, known.Recorded)
	}
	if h := model.OwnHead(r.sourceModel, &r.sourceModel.Config); h != nil && r.sourceModel.Layout != model.HuggingFace {
		v.Notes = append(v.Notes, "the original implementation does not compute the model: "+model.HeadIgnored(h.Tensor.Name))
	}
}

// planConversion plans what the converted checkpoint should be, and says what that shows of it.
func planConversion(ctx context.Context, r *run) (err error) {
	v, found := r.verdict, r.convertedModel
	if r.plan, err = planFor(r.sourceModel, r.options.Settings, r.converted, found); err != nil {
		return withStated(ctx, err, r)
	}
	v.Converted = subject(r.converted, r.plan.Layout, "")
	if found != nil {
		v.Converted.Prefix = found.Prefix
	}
	if r.plan.Layout == model.HuggingFace && found != nil && model.LacksRoot(found) {
		v.Notes = append(v.Notes, "the names of the tensors lack model., as RecurrentGemmaModel saves them: transformers adds it when it loads them")
	}
	if name := convert.OwnHead(r.plan); name != "" {
		if found != nil && len(found.Heads) > 0 { // the proof of the weights compares it
			found.Config.SeparateHead, found.HeadRelation = true, model.SeparateHead
		}
		if !v.WeightsOnly && (r.sourceModel.Layout != model.HuggingFace || r.plan.Layout != model.HuggingFace) {
			v.ignoredHead = name
		}
	}
	if r.plan.SettingsKnown && !v.WeightsOnly {
		v.Settings = settingsBy(&r.plan.Config, r.plan.Preset, append(slices.Clone(r.plan.SettingsRecorded), r.recorded...))
	}
	return nil
}

// noteFormat notes what was found while a checkpoint was opened, such as another one in its directory, and what was not read.
func (r *run) noteFormat(which string, c *tensor.Checkpoint) {
	r.verdict.Unread = append(r.verdict.Unread, c.LeftOut...)
	slices.Sort(r.verdict.Unread)
	r.verdict.Unread = slices.Compact(r.verdict.Unread)
	for _, note := range c.Notes {
		r.verdict.Notes = append(r.verdict.Notes, "the "+which+": "+note)
	}
}

// noteSteps adds notes that name the step of a training run that each checkpoint is, and the step that was converted, which the conversion.json of
// the conversion records.
func noteSteps(r *run) {
	v, source := r.verdict, "source"
	if r.converted == nil {
		source = "checkpoint"
	}
	step, recorded, record := r.source.Step(), "", filepath.Base(r.record.path)
	if r.record.Record != nil {
		v.Made = &r.record.Source
		if root := r.record.Root(); v.Made.Step == "" && step != "" && root.Step != "" { // converted through another layout
			v.Made = root
		}
		recorded = tensor.QuoteName(v.Made.Step)
		if name := v.Made.Name; recorded == "" && name == storage.BaseName(r.source.Path) && strings.HasSuffix(formats.Step{Name: name}.Base(), step) {
			recorded = step // the name of the step is recorded in place of its number
		}
	}
	switch {
	case step != "" && recorded == step:
		v.Notes = append(v.Notes, fmt.Sprintf("the source is step %s, which was converted, as %s records", step, record))
	case step != "" && recorded != "":
		v.Notes = append(v.Notes, fmt.Sprintf("the source is step %s, but %s records that step %s was converted", step, record, recorded))
	case step != "":
		v.Notes = append(v.Notes, fmt.Sprintf("the %s is step %s", source, step))
	case recorded != "" && v.Weights != nil && !v.Weights.OK:
		v.Notes = append(v.Notes, fmt.Sprintf("%s records that step %s of %s was converted", record, recorded, tensor.QuoteName(v.Made.Name)))
	}
	if r.converted != nil && r.converted.Step() != "" {
		v.Notes = append(v.Notes, "the conversion is step "+r.converted.Step())
	}
}

// presentConverted makes the converted checkpoint the one that shows its tensors as the layout has them, if it is one
// whose program stores them otherwise. transformers and the original implementations do not load other shapes.
func (r *run) presentConverted() {
	m := r.convertedModel
	if m == nil || !m.Stacked && r.converted.Metadata["format"] != "mlx" {
		return
	}
	r.converted = m.Checkpoint
	for _, note := range m.Notes {
		r.verdict.Notes = append(r.verdict.Notes, "the conversion: "+note)
	}
}

// modelName returns the name of the model in the source of a run. If it has several and none is selected, it is the one that
// conversion.json of the converted checkpoint names.
func modelName(r *run) (string, error) {
	name := r.options.Model
	_, err := model.Recognize(r.source, model.Options{Name: name})
	if err == nil || name != "" || r.converted == nil {
		return name, err
	}
	if r.record.Record == nil {
		return "", err
	}
	name = cmp.Or(strings.TrimSuffix(r.record.Source.Prefix, "."), ".") // the top level
	if _, bad := model.Recognize(r.source, model.Options{Name: name}); bad != nil {
		return "", err
	}
	return name, nil
}

func subject(c *tensor.Checkpoint, layout model.Layout, prefix string) *Subject {
	return &Subject{Path: c.Path, Step: c.Step(), Format: c.Format, Layout: layout.String(), Prefix: prefix}
}

// checkConversion makes the checks that do not run the models.
func (r *run) checkConversion(ctx context.Context) (err error) {
	if err := r.plan.CheckCopies(ctx); err != nil {
		return err
	}
	v := r.verdict
	v.expected = &expectedTensors{r.plan}
	if r.copy == nil {
		if r.renaming, err = findRenamed(ctx, r.plan, r.converted, r.convertedModel, r.progress); err != nil {
			return err
		}
	}
	v.renaming = r.renaming
	if r.copy == nil {
		r.retyped = takeDTypes(r.plan, r.converted, r.renaming)
	}
	resized, err := describeResized(ctx, r.plan, r.converted, r.renaming)
	if err != nil {
		return err
	}
	if r.convertedModel != nil && r.copy == nil {
		if r.tiesOther, err = model.TiesOther(ctx, r.convertedModel); err != nil {
			return err
		}
	}
	var head headState
	v.Structure, head, v.another = checkStructure(r.plan, r.converted, r.convertedModel, r.renaming, resized, r.tiesOther)
	r.retyped.note(v, r.plan, r.renaming)
	if !v.another {
		if err := checkWeightFiles(v.Structure, r.converted, r.plan.Layout == model.HuggingFace, r.convertedModel); err != nil {
			return err
		}
	}
	if v.WeightsOnly {
		// config.json is not compared
	} else if v.Config, err = checkConfig(r.converted, r.convertedModel, isWhole(r), r.plan, head, r.copy != nil); err != nil {
		return err
	}
	if v.Weights, err = r.checkWeights(ctx, head); err != nil {
		return err
	}
	if r.copy != nil {
		if v.Quantized, err = r.judgeQuantized(ctx, head); err != nil {
			return err
		}
	}
	v.LeftOut = leftOut(r.plan)
	if v.WeightsOnly {
		v.Notes = append(v.Notes, leftOutNotes(r.plan)...)
		return nil
	}
	notePlan(r)
	if err := notePart(r); err != nil {
		return err
	}
	if err := r.checkDirectory(ctx); err != nil {
		return err
	}
	return r.checkManifests()
}

// notePlan says what a conversion as it was planned does, unless another part of the verdict says it.
func notePlan(r *run) {
	v := r.verdict
	for _, note := range r.plan.Notes {
		switch {
		case note.Kind == convert.WindowNote, note.Kind == convert.RecordNote: // Verdict.Window and noteRecorded say it
		case note.Kind == convert.SoftCapNote && v.Config != nil && slices.ContainsFunc(v.Config.Findings.All(), func(f Finding) bool { return f.Field == "logits_soft_cap" }): // it has another
		case note.Kind == convert.HeadNote && r.sourceModel.Layout == model.HuggingFace: // Verdict.Runtime says it
		case note.Kind == convert.TypesNote:
			if fields, err := hfconfig.Fields(r.converted.Source, r.converted.Beside(hfconfig.Name)); err == nil {
				v.Notes = append(v.Notes, r.plan.SeveralTypes(fields))
			}
		default:
			v.Notes = append(v.Notes, note.Text)
		}
	}
	v.Notes = append(v.Notes, leftOutNotes(r.plan)...)
}

// isWhole reports whether the tensors of the converted checkpoint form a whole model of their own sizes, which its config.json then has to have. Where
// only the last layers of the source are not there, they are missing.
func isWhole(r *run) bool {
	found, expected := r.convertedModel, r.plan.Config.BlockTypes
	if found == nil || found.Problems() != nil {
		return false
	}
	layers := len(found.Config.BlockTypes)
	lacksLast := layers < len(expected) && r.renaming.words() == "" && slices.Equal(found.Config.BlockTypes, expected[:layers])
	return r.verdict.another || !lacksLast
}

func (r *run) progress(stage string, done, total int64) {
	if r.options.Progress == nil {
		return
	}
	r.progressing.Lock()
	defer r.progressing.Unlock()
	r.options.Progress(stage, done, total)
}

// proven reports whether one forward pass serves both checkpoints.
func (r *run) proven() bool { return isProvenSame(r.verdict) }
