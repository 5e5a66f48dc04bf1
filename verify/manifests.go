package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
	"github.com/griffin-ckpt/griffin/verify/internal/statement"
	"github.com/griffin-ckpt/griffin/verify/internal/text"
)

// checkManifests compares the conversion.json of both checkpoints, if they have one, with what was found, and adds the
// outcome to the section of the configuration. The weights were compared before.
func (r *run) checkManifests() error {
	s := r.verdict.Config
	right := s.Findings.Len() == 0
	summary := configSummary{section: s}
	source := recordOf(r.sourceModel)
	if err := summary.check(source); err != nil {
		return err
	}
	if source.Record != nil && source.Layout == r.sourceModel.Layout.String() && r.options.Adapter == nil { // which changes tensors
		c := manifestCheck{Record: source.Record, field: filepath.Base(source.path) + " of the source", section: s}
		if err := c.checkDigests(r.verdict.Weights.Source, r.verdict.Weights, true); err != nil {
			return err
		}
		if len(c.wrong) > 0 {
			summary.add(c.field+" disagrees: "+strings.Join(c.wrong, ", "), true)
		}
	}
	record := r.record
	if err := summary.check(record); err != nil {
		return err
	}
	if record.Record == nil {
		summary.finish()
		return nil
	}
	if record.Adapter != nil && r.options.Adapter == nil {
		r.verdict.MissingAdapter = record.Adapter.Name
		r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s says that the adapter %s was merged into the source, but no adapter was given", filepath.Base(record.path), record.Adapter.Name))
	}
	c := manifestCheck{Record: record.Record, removed: removedPrefix(r.convertedModel), field: filepath.Base(record.path), section: s, given: doubtful(r), proven: r.recorded == nil && r.contradicted == nil}
	c.checkLayout(r.plan)
	c.checkSettings(r.plan)
	if len(c.doubted) > 0 {
		r.verdict.Notes = append(r.verdict.Notes, strings.Join(c.doubted, "; ")+": if what was given is wrong, the checkpoint need not be")
	}
	c.checkForm(r.plan, statement.Window(r.converted))
	if err := c.checkDigests(r.verdict.Weights.Converted, r.verdict.Weights, false); err != nil {
		return err
	}
	if err := r.noteFiles(record.Record, len(c.wrong) == 0 && r.verdict.Weights.Findings.Len() == 0, right); err != nil {
		return err
	}
	if err := c.checkComplete(r.plan, r.renaming, r.converted); err != nil {
		return err
	}
	if len(c.wrong) > 0 {
		summary.add(c.field+" disagrees: "+strings.Join(c.wrong, ", "), true)
	} else {
		summary.add(c.field+" agrees with "+c.compared(), false)
	}
	summary.finish()
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
			found, err := tensor.Digest(ctx, t, want.Algorithms())
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

// check adds a finding if the record is corrupt, and says so if it is too large to be read. Another error is returned.
func (c *configSummary) check(r record) error {
	var bad *tensor.FormatError
	if !errors.As(r.err, &bad) {
		return r.err
	}
	if bad.Reason == tensor.TooLarge {
		c.add(manifest.Name+" was not compared: it "+bad.Problem, false)
		return nil
	}
	c.add(manifest.Name+" is corrupt", true)
	c.section.add(Finding{Kind: WrongField, Field: manifest.Name, Want: "the record of a conversion", Got: "a corrupt file", Detail: bad.Problem})
	return nil
}

// manifestCheck compares a conversion.json with a checkpoint.
type manifestCheck struct {
	*manifest.Record
	removed  string // prefix of names that the checkpoint's lack
	field    string // what findings call it
	section  *Section
	wrong    []string       // fields
	given    model.Settings // of the source, that its checkpoint does not have
	doubted  []string       // given settings that conversion.json contradicts
	proven   bool           // the settings are not those that conversion.json records
	settings bool           // were compared
	digests  int            // that were compared, but for those of changed
	changed  int            // tensors with another digest, which are findings of the weights
}

// compared says what was compared.
func (c *manifestCheck) compared() string {
	what := "the digests of " + text.Count(c.digests, "tensor")
	if c.changed > 0 {
		what = fmt.Sprintf("the digests of %d of %s (see weights)", c.digests, text.Count(c.digests+c.changed, "tensor"))
	}
	if c.settings {
		what = "the settings and " + what
	}
	return what
}

func (c *manifestCheck) add(field string, want, got any, detail string) {
	if !slices.Contains(c.wrong, field) {
		c.wrong = append(c.wrong, field)
	}
	c.section.OK = false
	c.section.add(Finding{Kind: WrongField, Field: c.field + ": " + field, Want: fmt.Sprint(want), Got: fmt.Sprint(got), Detail: detail})
}

// isFound reports whether one of the fields is wrong in config.json.
func (c *manifestCheck) isFound(fields []string) bool {
	for i := range c.section.Findings.Len() {
		if slices.Contains(fields, c.section.Findings.At(i).Field) {
			return true
		}
	}
	return false
}

func (c *manifestCheck) checkLayout(p *convert.Plan) {
	if c.Layout != p.Layout.String() && c.Layout != model.UnknownLayout.String() { // a copy of tensors that were renamed, or of a part, may show none
		c.add("layout", p.Layout, c.Layout, "it is of another conversion")
	}
}

// checkSettings compares the settings, if both sides know them.
func (c *manifestCheck) checkSettings(p *convert.Plan) {
	if c.Settings == nil || !p.SettingsKnown {
		return
	}
	c.settings = c.proven
	effect := func(given bool, name string, want, got any) string {
		if given {
			c.doubted = append(c.doubted, fmt.Sprintf("%s %v was given, and conversion.json records %v", name, want, got))
			return "either conversion.json records another model's, or the value that was given is wrong"
		}
		return "a conversion of this checkpoint would take it for the model's"
	}
	if want, got := p.Config.AttentionWindow, c.Settings.AttentionWindow; want != got && p.Config.Has(model.Attention) {
		c.add("settings.attention_window", want, got, effect(c.given.AttentionWindow != nil, "attention window", want, got))
	}
	if want, got := p.Config.LogitsSoftCap, float64(c.Settings.LogitsSoftCap); want != got {
		c.add("settings.logits_soft_cap", want, got, effect(c.given.LogitsSoftCap != nil, "logits soft cap", want, got))
	}
	if want, got := p.Config.EmbeddingScale, c.Settings.EmbeddingScale; want != got {
		c.add("settings.embedding_scale", want, got, effect(c.given.EmbeddingScale != nil, "embedding scale", want, got))
	}
}

// checkForm compares how config.json expresses the model, according to the manifest. written is attention_window_size of
// config.json, 0 if it has none.
func (c *manifestCheck) checkForm(p *convert.Plan, written int64) {
	if p.HF == nil {
		return
	}
	form, field := c.HuggingFace, "huggingface.attention_window_size"
	if form == nil {
		window := p.Config.AttentionWindow
		if c.Settings != nil { // config.json states them as they are
			window, field = c.Settings.AttentionWindow, "settings.attention_window"
		}
		form = &manifest.HuggingFace{AttentionWindowSize: window, LogitsSoftCap: p.HF.LogitsSoftCap, EmbeddingDividedBy: p.HF.EmbeddingDividedBy}
	}
	if p.Config.Has(model.Attention) && !c.isFound(hfconfig.WindowNames) { // else it is a finding by itself
		if form.MatchRuntime != p.HF.MatchRuntime {
			c.add("huggingface.match_runtime", orNone(p.HF.MatchRuntime), orNone(form.MatchRuntime), fmt.Sprintf(
				"attention_window_size is %d and the original's window %d: conversion.json says which of the two config.json has, and a conversion back depends on it", written, p.Config.AttentionWindow))
		} else if form.AttentionWindowSize != written && written != 0 && !slices.Contains(c.wrong, field) {
			c.add(field, written, form.AttentionWindowSize, "config.json or conversion.json was changed after the conversion")
		}
	}
	if form.EmbeddingDividedBy != p.HF.EmbeddingDividedBy {
		c.add("huggingface.embedding_divided_by", p.HF.EmbeddingDividedBy, form.EmbeddingDividedBy, "a conversion back multiplies by it")
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// checkComplete demands a digest of every tensor of the plan that the converted checkpoint has, under its name or the one there, and no other tensors.
// It demands nothing if settings were given that conversion.json contradicts, or if it records another scale: other tensors may follow from them.
func (c *manifestCheck) checkComplete(p *convert.Plan, renamed *renaming, converted *tensor.Checkpoint) error {
	if len(c.doubted) > 0 || slices.Contains(c.wrong, "settings.embedding_scale") {
		return nil
	}
	names := []tensor.NameIndex{tensor.IndexNames(len(p.Dests), func(i int) string { return p.Dests[i].Name })}
	if renamed != nil {
		names = append(names, tensor.IndexNames(len(p.Dests), func(i int) string { return renamed.name(p.Dests[i].Name) }))
	}
	recorded := make([]bool, len(p.Dests))
	more, such := 0, ""
	err := c.Each(func(_ manifest.Span, t *manifest.Tensor) error {
		name, known := strings.TrimPrefix(t.Name, c.removed), false
		for _, index := range names {
			for _, i := range index.Of(name) {
				known, recorded[i] = true, recorded[i] || t.Algorithms() != 0
			}
		}
		if !known {
			if more++; more == 1 || name < such {
				such = name
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	const effect = "the file was changed after it was written, or is of another conversion"
	first, with, demanded := -1, 0, 0
	for i, is := range recorded {
		if converted.Tensor(renamed.name(p.Dests[i].Name)) == nil { // a finding of the structure, as where a part was converted
			continue
		}
		demanded++
		if is {
			with++
		} else if first < 0 {
			first = i
		}
	}
	if first >= 0 {
		c.add("tensors", text.Count(demanded, "tensor")+" with digests", text.Count(with, "tensor"), "there is none of "+p.Dests[first].Name+"; "+effect)
	}
	if more > 0 {
		c.add("tensors", "only those of the model", text.Count(more, "more tensor")+", such as "+such, effect)
	}
	return nil
}

// What a record says of the digest of a tensor that was found. The zero value is that it says nothing.
const (
	sameDigest = iota + 1
	otherDigest
)

// checkDigests compares the digests of each tensor of the source, or of the converted checkpoint. What conversion.json records of a tensor that
// is wrong becomes a part of the findings of the weights, and not another finding.
func (c *manifestCheck) checkDigests(found strictjson.List[TensorDigest], weights *WeightsSection, source bool) error {
	names := make([]string, found.Len())
	for i := range names {
		names[i] = found.At(i).Name
	}
	index := tensor.IndexNames(len(names), func(i int) string { return names[i] })
	says, at := make([]uint8, len(names)), make([]manifest.Span, len(names))
	err := c.Each(func(span manifest.Span, t *manifest.Tensor) error {
		for _, i := range index.Of(strings.TrimPrefix(t.Name, c.removed)) {
			at[i] = span
			switch equal, comparable := found.At(int(i)).Compare(t.Sum); {
			case !comparable: // a tensor more or less is for the structure to say
				says[i] = 0
			case equal:
				says[i] = sameDigest
			default:
				says[i] = otherDigest
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var other []int
	wrong := findingsByTensor(nil)
	if slices.Contains(says, otherDigest) {
		wrong = weights.findingsOf(index, source)
	}
	for i := range names {
		switch of := wrong.of(i); {
		case says[i] == 0:
		case says[i] == sameDigest:
			c.digests++
		case len(of) > 0:
			c.changed++
			for _, k := range of {
				weights.addDetail(int(k.finding), "changed or damaged after it was written: "+c.field+" records another digest")
			}
		default:
			c.digests++
			other = append(other, i)
		}
	}
	if len(other) == 0 {
		return nil
	}
	return c.addOther(len(other), found.At(other[0]), at[other[0]])
}

// addOther adds that n tensors have other digests than are recorded. first is the first of them, and at its place in the record.
func (c *manifestCheck) addOther(n int, first TensorDigest, at manifest.Span) error {
	tensors, err := c.Open()
	if err != nil {
		return err
	}
	defer tensors.Close()
	recorded, err := tensors.At(at)
	if err != nil {
		return err
	}
	both := first.Algorithms() & recorded.Algorithms()
	c.add("tensors", "the checkpoint's", "other digests of "+text.Count(n, "tensor"),
		fmt.Sprintf("the checkpoint was changed or damaged after it was written, or conversion.json is of another conversion; %s of %s is recorded, and %s is found",
			recorded.Only(both).Named(), first.Name, first.Only(both).Named()))
	return nil
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

// findingsOf returns the indexes of the findings about tensors of the source, or of the converted checkpoint, which index finds by their
// names there.
func (w *WeightsSection) findingsOf(index tensor.NameIndex, source bool) (all findingsByTensor) {
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
