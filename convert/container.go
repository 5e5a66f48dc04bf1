package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// planContainer plans a change of the container: every tensor that is selected is copied with its elements in
// row-major order.
func (c *conversion) planContainer(src *tensor.Checkpoint, dst string) error {
	o := &c.options
	if o.DType != tensor.Invalid && !model.IsWeightType(o.DType) {
		return &OptionError{Option: "DType", Problem: fmt.Sprintf("weights are not written as %s", o.DType)}
	}
	if o.MaxShardSize != 0 && (o.toFile(dst) || src.Format == peft.Format) {
		return &OptionError{Option: "MaxShardSize", Problem: "the weights are to be a single file"}
	}
	selected, left, err := selectTensors(src, o.Only)
	if err != nil {
		return err
	}
	renamed, oldNames, err := o.Rename.Apply(selected)
	if err != nil {
		return err
	}
	c.outline = &outline{checkpoint: src, from: layoutOf(src), to: layoutOf(renamed), keep: o.DType == tensor.Invalid, left: left}
	record, at, recordErr := manifest.Read(src.Source, src.Root)
	c.manifest = func() (*manifest.Record, string, error) { return record, at, recordErr }
	if record != nil && c.from == c.to && c.to != model.UnknownLayout && record.Layout == c.to.String() {
		c.takeSettings(record, o.toFile(dst))
	}
	c.addCopies(renamed, oldNames)
	if err := checkHoldable(src, c.Dests); err != nil {
		return err
	}
	c.noteShared(renamed.Tensors())
	return c.planCompanions(dst)
}

// takeSettings takes the settings that the conversion.json of the source records. If the source is not as that says, they are those that a conversion
// of its model takes; beside a file there are none then, because without its config.json they would describe another model.
func (o *outline) takeSettings(record *manifest.Record, toFile bool) {
	m, err := model.Recognize(o.checkpoint, model.Options{KeepExtra: true})
	if err != nil || m.Problems() != nil || record.Settings == nil { // nothing else is known of a part of a model
		o.takeRecorded(record)
		return
	}
	configured, err := m.Configure(model.Settings{})
	isOf := model.Describes(record, m)
	switch {
	case isOf && (err != nil || isAsRecorded(configured, record.Settings) && !(toFile && len(model.BeyondOriginal(m, &configured.Original)) > 0)):
		o.takeRecorded(record)
	case err == nil && !toFile:
		o.takeStated(configured)
	}
}

// takeRecorded takes what a record says.
func (o *outline) takeRecorded(record *manifest.Record) {
	if o.settings, o.form = record.Settings, record.HuggingFace; o.settings != nil {
		o.recorded = []string{"attention_window", "logits_soft_cap", "embedding_scale"}
		o.origins = model.Origins{AttentionWindow: model.FromRecord, LogitsSoftCap: model.FromRecord, EmbeddingScale: model.FromRecord}
	}
}

// takeStated takes the settings of a Hugging Face directory, whose config.json is copied, unless one of them is open.
func (o *outline) takeStated(configured *model.Configured) {
	for _, note := range []string{configured.WindowDoubt(), configured.Overruled("", model.WasGiven)} {
		if note != "" {
			o.notes = append(o.notes, note)
		}
	}
	if configured.ScaleAssumed() { // the output head would have to be read to tell it
		return
	}
	original, stated := &configured.Original, &configured.Config
	o.origins = configured.Origins
	o.settings = &manifest.Settings{Preset: configured.Preset, AttentionWindow: original.AttentionWindow, WindowAssumed: configured.WindowAssumed,
		LogitsSoftCap: manifest.Float(original.LogitsSoftCap), EmbeddingScale: original.EmbeddingScale}
	form := manifest.HuggingFace{AttentionWindowSize: stated.AttentionWindow, LogitsSoftCap: manifest.Float(stated.LogitsSoftCap), TieWordEmbeddings: !stated.SeparateHead}
	if recorded := configured.Form; recorded != nil {
		form.Inexact = recorded.Inexact
		if stated.AttentionWindow != original.AttentionWindow {
			form.MatchRuntime = recorded.MatchRuntime
		}
		if !original.EmbeddingScale {
			form.EmbeddingDividedBy = recorded.EmbeddingDividedBy
		}
	}
	if !form.Plain(original.LogitsSoftCap) {
		o.form = &form
	}
}

// isAsRecorded reports whether a model has the settings of its record.
func isAsRecorded(c *model.Configured, known *manifest.Settings) bool {
	original := &c.Original
	return (original.AttentionWindow == known.AttentionWindow || !original.Has(model.Attention)) && original.LogitsSoftCap == float64(known.LogitsSoftCap) && original.EmbeddingScale == known.EmbeddingScale
}

// selectTensors returns the checkpoint with the tensors that one of the patterns matches, and the others. A
// pattern that matches none is an *OptionError.
func selectTensors(src *tensor.Checkpoint, only []string) (selected *tensor.Checkpoint, left []*tensor.Tensor, err error) {
	if len(src.Tensors()) == 0 {
		return nil, nil, tensor.Bad("there are no tensors").In(src.Path)
	}
	if len(only) == 0 {
		return src, nil, nil
	}
	used := make([]bool, len(only))
	var kept []*tensor.Tensor
	for _, t := range src.Tensors() {
		matches := false
		for i, pattern := range only {
			if names.Glob(pattern, t.Name) {
				matches, used[i] = true, true
			}
		}
		if matches {
			kept = append(kept, t)
		} else {
			left = append(left, t)
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, nil, &OptionError{Option: "Only", Problem: fmt.Sprintf("no tensor of %s matches %q", src.Path, only[i]), Given: only[i], Accepted: tensorNames(src)}
	}
	selected, err = src.With(kept)
	return selected, left, err
}

// tensorNames returns the names of all tensors.
func tensorNames(c *tensor.Checkpoint) []string {
	all := make([]string, len(c.Tensors()))
	for i, t := range c.Tensors() {
		all[i] = t.Name
	}
	return all
}

// layoutOf returns the layout of a model of the family, if a checkpoint has just one and shows it.
func layoutOf(c *tensor.Checkpoint) model.Layout {
	if m, err := model.Recognize(c, model.Options{}); err == nil {
		return model.ShownLayout(m)
	}
	return model.UnknownLayout
}

// addCopies adds the tensors to the destination, in the order of the source. Only floating-point weights are
// converted to another dtype: numbers of 8 bits and less mean nothing without their scales.
func (c *conversion) addCopies(renamed *tensor.Checkpoint, oldNames map[string]string) {
	elements := map[tensor.DType]int64{}
	kept := map[tensor.DType]int{} // tensors that are not converted
	c.Dests, c.Moves = make([]moves.Dest, 0, len(renamed.Tensors())), make([]moves.Move, 0, len(renamed.Tensors()))
	views := map[string]tensor.View{} // of the shapes, which many tensors share
	for i, t := range renamed.Tensors() {
		shape := fmt.Sprint(t.Shape) // of all axes
		view, ok := views[shape]
		if !ok {
			view = tensor.RowMajor(t.Shape...)
			views[shape] = view
		}
		d := moves.Dest{Name: t.Name, DType: t.DType, Shape: view.Shape, Rule: "copy"}
		if c.options.DType != tensor.Invalid && model.IsWeightType(t.DType) {
			d.DType = c.options.DType
		} else if !c.keep {
			kept[t.DType]++
		}
		stored := t
		if old, ok := oldNames[t.Name]; ok {
			stored = c.checkpoint.Tensor(old)
			d.Rule = "copy, renamed"
		}
		c.Dests = append(c.Dests, d)
		c.Moves = append(c.Moves, moves.Move{Source: stored, View: view, Dest: i})
		elements[d.DType] += t.Elements()
		if c.dtype == tensor.Invalid || elements[d.DType] > elements[c.dtype] {
			c.dtype = d.DType
		}
	}
	var types []string
	for d, n := range kept {
		types = append(types, fmt.Sprintf("%d of %s", n, d))
	}
	if slices.Sort(types); len(types) > 0 {
		c.notes = append(c.notes, "tensors that are no weights keep their type: "+tensor.JoinNames(types))
	}
}

// checkHoldable refuses names and types that the format cannot hold, all of these types at once.
func checkHoldable(src *tensor.Checkpoint, dests []moves.Dest) error {
	untyped := map[tensor.DType][]string{}
	var types []tensor.DType
	for i := range dests {
		d := &dests[i]
		switch {
		case d.Name == safetensors.MetadataName:
			return tensor.Bad("safetensors reserves this name").In(src.Path).Of(d.Name).Because(ReasonName)
		case !utf8.ValidString(d.Name):
			return tensor.Bad("safetensors cannot hold a name that is not valid UTF-8").In(src.Path).Of(d.Name).Because(ReasonName)
		case !safetensors.Holds(d.DType, d.Shape):
			if untyped[d.DType] == nil {
				types = append(types, d.DType)
			}
			untyped[d.DType] = append(untyped[d.DType], tensor.QuoteName(d.Name))
		}
	}
	if len(types) == 0 {
		return nil
	}
	var problems []string
	for _, d := range types {
		problems = append(problems, fmt.Sprintf("%s: %s", d, tensor.JoinNames(untyped[d])))
	}
	return tensor.Bad("safetensors has no type for %s", strings.Join(problems, "; ")).In(src.Path).Because(ReasonType)
}

// Reasons of a *tensor.FormatError for tensors that a format cannot hold.
const (
	ReasonName tensor.Reason = "name" // Options.Rename would give it another
	ReasonType tensor.Reason = "type" // Options.Only would leave it out
)

// noteShared adds a note about tensors that share storage in the source. Each is written with its own copy of the elements.
func (c *conversion) noteShared(tensors []*tensor.Tensor) {
	first := map[any]int{}       // tensor of each storage
	groups := map[int][]string{} // of the first tensors that are not alone
	var order []int
	for i, t := range tensors {
		key := tensor.StorageOf(t)
		if key == nil {
			continue
		}
		k, ok := first[key]
		if !ok {
			first[key] = i
			continue
		}
		if groups[k] == nil {
			order = append(order, k)
			groups[k] = []string{tensor.QuoteName(tensors[k].Name)}
		}
		groups[k] = append(groups[k], tensor.QuoteName(t.Name))
	}
	slices.Sort(order)
	var shared []string
	for _, k := range order {
		shared = append(shared, tensor.JoinNames(groups[k]))
	}
	if len(shared) > 8 {
		shared = append(shared[:8], "and "+text.Count(len(shared)-8, "more group"))
	}
	if len(shared) > 0 {
		c.notes = append(c.notes, "tensors that share storage are written once for each name: "+strings.Join(shared, "; "))
	}
}

// planCompanions decides on the files beside the weights.
func (c *conversion) planCompanions(dst string) error {
	src := c.checkpoint
	dir := path.Dir(src.Beside(hfconfig.Name))
	var changed []huggingface.Field
	for _, name := range []string{"dtype", "torch_dtype"} {
		if !c.keep {
			changed = append(changed, huggingface.Field{Name: name, Value: c.options.DType.String()})
		}
	}
	d, err := huggingface.Companions(src.Source, dir, changed)
	if errors.Is(err, fs.ErrNotExist) { // a checkpoint that is not one of files
		return nil
	}
	if err != nil {
		return err
	}
	if c.options.toFile(dst) {
		var there []string
		for _, f := range d.Files {
			there = append(there, f.Name)
		}
		if len(there) > 0 {
			c.note("not copied, since the destination is a single file: ", there)
		}
		return nil
	}
	c.files = d.Files
	c.noteOutside(d.Outside)
	if left := slices.DeleteFunc(d.NotCopied, func(name string) bool { return path.Join(dir, name) == src.Root || matchesAny(checkpointNames, name) }); len(left) > 0 {
		c.note("not copied, since it is not known to belong to the model: ", left)
	}
	return nil
}

// containerMetadata returns the metadata of the destination: those of a safetensors source, otherwise those
// that transformers 4 requires.
func containerMetadata(src *tensor.Checkpoint) map[string]string {
	if src.Format == safetensors.Format && src.Metadata != nil {
		return src.Metadata
	}
	return map[string]string{"format": "pt"}
}

// containerName returns the name of the only file of weights, "" if the format's own names apply.
func containerName(src *tensor.Checkpoint, dst string, o *Options) string {
	switch {
	case o.toFile(dst):
		return storage.BaseName(dst)
	case src.Format == peft.Format:
		return peft.WeightsName
	}
	return ""
}
