package verify

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/verify/internal/recordcheck"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
)

// checkManifests compares the conversion.json of both checkpoints, if they have one, with what was found, and adds the
// outcome to the section of the configuration. The weights were compared before.
func (r *run) checkManifests() error {
	s := r.verdict.Config
	right := s.Findings.Len() == 0
	summary := configSummary{section: s}
	source := recordOf(r.sourceModel)
	if err := summary.check(source, true); err != nil {
		return err
	}
	if source.Record != nil && source.Layout == r.sourceModel.Layout.String() && r.options.Adapter == nil { // which changes tensors
		c, name := &recordcheck.Check{Record: source.Record}, filepath.Base(source.path)+" of the source"
		if err := compareDigests(c, name, r.verdict.Weights, true); err != nil {
			return err
		}
		summary.addDifferences(c, name, true)
	}
	if err := summary.check(r.record, false); err != nil {
		return err
	}
	if r.record.Record != nil {
		if err := checkRecord(r, &summary, right); err != nil {
			return err
		}
	}
	summary.finish()
	s.stale = summary.stale
	return nil
}

// checkRecord compares the conversion.json of the converted checkpoint. right says that config.json was found to be right.
func checkRecord(r *run, summary *configSummary, right bool) error {
	record := r.record
	if record.Adapter != nil && r.options.Adapter == nil {
		r.verdict.MissingAdapter = record.Adapter.Name
		r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s says that an adapter (%s) was merged into the source, but no adapter was given", filepath.Base(record.path), record.Adapter.Name))
	}
	isWrong := slices.ContainsFunc(summary.section.Findings.All(), func(f Finding) bool { return slices.Contains(hfconfig.WindowNames, f.Field) })
	name := filepath.Base(record.path)
	c := &recordcheck.Check{Record: record.Record, Removed: removedPrefix(r.convertedModel), Proven: r.recorded == nil && r.contradicted == nil}
	c.CompareLayout(r.plan)
	c.CompareSettings(r.plan)
	c.CompareForm(r.plan, statement.Window(r.converted), isWrong)
	if err := compareDigests(c, name, r.verdict.Weights, false); err != nil {
		return err
	}
	if err := r.noteFiles(record.Record, len(c.Differences) == 0 && r.verdict.Weights.Findings.Len() == 0, right); err != nil {
		return err
	}
	var named func(string) string
	if r.renaming != nil {
		named = r.renaming.name
	}
	if err := c.CompareTensors(r.plan, named, r.converted); err != nil {
		return err
	}
	if summary.addDifferences(c, name, false); len(c.Differences) == 0 {
		summary.add(name+" "+c.Agreement(), false)
	}
	return nil
}

// noteChanged notes of a checkpoint alone that tensors are not those that its conversion.json records. The fixture judges what is computed with them.
func noteChanged(ctx context.Context, r *run) error {
	record := recordOf(r.sourceModel)
	if record.Record == nil || record.Layout != r.sourceModel.Layout.String() || r.options.Adapter != nil || r.verdict.dequantized { // which change tensors
		return nil
	}
	var tensors []*tensor.Tensor
	recorded, total := map[string]digest.Sum{}, int64(0)
	err := record.Each(func(_ manifest.Span, entry *manifest.Tensor) error {
		t := r.source.Tensor(entry.Name)
		if t == nil || entry.Algorithms() == 0 || entry.DType != t.DType.String() || !slices.Equal(entry.Shape, t.Shape) {
			return nil
		}
		if _, twice := recorded[t.Name]; !twice {
			tensors, total = append(tensors, t), total+t.Bytes()
		}
		recorded[t.Name] = entry.Sum
		return nil
	})
	if err != nil {
		return err
	}
	other := make([]bool, len(tensors))
	var done atomic.Int64
	group, ctx := task.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range tensors {
		group.Go(func() error {
			want := recorded[t.Name]
			found, err := r.digests[t.Name].Only(want.Algorithms()), error(nil)
			if found.Algorithms() != want.Algorithms() || r.sourceModel.Checkpoint.Tensor(t.Name) != t { // the model may show another tensor under the name
				found, err = tensor.Digest(ctx, t, want.Algorithms())
			}
			other[i] = found != want
			r.progress("comparing digests", done.Add(t.Bytes()), total)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if first := slices.Index(other, true); first >= 0 {
		what := tensor.QuoteName(tensors[first].Name)
		if n := len(slices.DeleteFunc(other, func(is bool) bool { return !is })); n > 1 {
			what = fmt.Sprintf("%d tensors, such as %s", n, what)
		}
		r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s records another digest of %s: the checkpoint was changed or damaged after it was written", filepath.Base(record.path), what))
	}
	return nil
}

// removedPrefix returns what the names in a manifest begin with that the names of a converted checkpoint all lack. m is the model in it, or nil.
func removedPrefix(m *model.Model) string {
	if m == nil || m.Layout != model.HuggingFace || !model.LacksRoot(m) {
		return ""
	}
	return m.Family.Roots[model.HuggingFace]
}

// configSummary adds to the summary of the configuration's section.
type configSummary struct {
	section *Section
	parts   []string
	wrong   bool
	stale   []StaleRecord
}

func (c *configSummary) add(part string, wrong bool) {
	c.parts, c.wrong = append(c.parts, part), c.wrong || wrong
}

// finish sets the summary. If the check of config.json was skipped, its summary is left out once another check was made, unless the model should have
// one: what a record agrees with does not replace it.
func (c *configSummary) finish() {
	if len(c.parts) == 0 {
		return
	}
	if !c.section.Skipped || c.section.noConfig {
		c.parts = append([]string{c.section.Summary}, c.parts...)
	}
	c.section.Skipped, c.section.OK = c.section.noConfig && !c.wrong, c.section.OK && !c.wrong
	c.section.Summary = strings.Join(c.parts, "; ")
}

// record is the conversion.json of a checkpoint.
type record struct {
	*manifest.Record // nil if there is none, or err
	path             string
	err              error
}

// settings are those that the record has; nil if there is no record, or none in it.
func (r *record) settings() *manifest.Settings {
	if r.Record == nil {
		return nil
	}
	return r.Settings
}

// recordBeside returns the record of a checkpoint in which m was found; m is nil if no model was.
func recordBeside(c *tensor.Checkpoint, m *model.Model) record {
	if m != nil {
		return recordOf(m)
	}
	found, path, err := manifest.Read(c.Source, c.Root)
	return record{found, path, err}
}

func recordOf(m *model.Model) record {
	found, path, err := m.Manifest()
	return record{found, path, err}
}

// check adds a finding if a record is corrupt. One that is too large to read is no finding: the summary says that it was not compared. Other errors of
// reading it are returned.
func (c *configSummary) check(r record, ofSource bool) error {
	var bad *tensor.FormatError
	if !errors.As(r.err, &bad) {
		return r.err
	}
	if bad.Reason == tensor.TooLarge {
		c.add(manifest.Name+" was not compared: it "+bad.Problem, false)
		return nil
	}
	name := manifest.Name
	if bad.File != "" {
		name = path.Base(bad.File)
	}
	if ofSource {
		name += " of the source"
	}
	c.add(name+" is corrupt", true)
	c.stale = append(c.stale, StaleRecord{name + " is corrupt", ofSource})
	c.section.add(Finding{Kind: WrongRecord, Field: name, Want: "the record of a conversion", Got: "a corrupt file", Detail: bad.Problem})
	return nil
}

// addDifferences makes what a record states otherwise findings, which call it by a name, and a part of the summary.
func (c *configSummary) addDifferences(check *recordcheck.Check, name string, ofSource bool) {
	if len(check.Differences) > 0 {
		of := map[bool]string{false: "this conversion", true: "the source"}[ofSource]
		c.stale = append(c.stale, StaleRecord{name + " " + check.Unlike(of), ofSource})
	}
	for _, d := range check.Differences {
		c.section.OK = false
		c.section.add(Finding{Kind: WrongRecord, Field: name + ": " + d.Field, Want: d.Want, Got: d.Got, Detail: d.Detail})
	}
	if wrong := check.Wrong(); len(wrong) > 0 {
		c.add(name+" disagrees: "+strings.Join(wrong, ", "), true)
	}
}

// compareDigests compares the digests of each tensor of the source, or of the converted checkpoint. What a record, called by a name, says of a tensor
// that is wrong becomes a part of the findings of the weights.
func compareDigests(check *recordcheck.Check, name string, weights *WeightsSection, source bool) error {
	found := weights.Converted
	if source {
		found = weights.Source
	}
	names := make([]string, found.Len())
	for i := range names {
		names[i] = found.At(i).Name
	}
	byTensor := sync.OnceValue(func() findingsByTensor { return weights.findingsOf(names, source) })
	return check.CompareDigests(names, func(i int) digest.Sum { return found.At(i).Sum }, func(i int) bool {
		of := byTensor().of(i)
		for _, k := range of {
			weights.addDetail(int(k.finding), "changed or damaged after it was written: "+name+" records another digest")
		}
		return len(of) > 0
	})
}

// findingsByTensor has indexes of findings in the order of the indexes of their tensors.
type findingsByTensor []struct{ tensor, finding int32 }

// of returns those of a tensor.
func (f findingsByTensor) of(i int) findingsByTensor {
	first := sort.Search(len(f), func(k int) bool { return int(f[k].tensor) >= i })
	end := first
	for end < len(f) && int(f[end].tensor) == i {
		end++
	}
	return f[first:end]
}

// findingsOf returns the indexes of the findings about tensors of the source, or of the converted checkpoint, which have these names there.
func (w *WeightsSection) findingsOf(tensors []string, source bool) (all findingsByTensor) {
	index := tensor.IndexNames(len(tensors), func(i int) string { return tensors[i] })
	for k := range w.Findings.Len() {
		f := w.Findings.At(k)
		names := []string{f.ConvertedName}
		if source {
			names = strings.Split(f.SourceName, " + ")
		}
		for _, name := range names {
			for _, i := range index.Of(name) {
				all = append(all, struct{ tensor, finding int32 }{i, int32(k)})
			}
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].tensor < all[b].tensor })
	return all
}
