package verify

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
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
	if source.Manifest != nil && source.Layout == r.sourceModel.Layout.String() && r.options.Adapter == nil { // which changes tensors
		c := manifestCheck{Manifest: source.Manifest, field: filepath.Base(source.path) + " of the source", section: s}
		c.checkDigests(r.verdict.Weights.Source, r.verdict.Weights, true)
		if len(c.wrong) > 0 {
			summary.add(c.field+" disagrees: "+strings.Join(c.wrong, ", "), true)
		}
	}
	record := r.record
	if err := summary.check(record); err != nil {
		return err
	}
	if record.Manifest == nil {
		summary.finish()
		return nil
	}
	if record.Adapter != nil && r.options.Adapter == nil {
		r.verdict.MissingAdapter = record.Adapter.Name
		r.verdict.Notes = append(r.verdict.Notes, fmt.Sprintf("%s says that the adapter %s was merged into the source, but no adapter was given", filepath.Base(record.path), record.Adapter.Name))
	}
	c := manifestCheck{Manifest: withNames(record.Manifest, r.convertedModel), field: filepath.Base(record.path), section: s, given: r.options.Settings, proven: r.recorded == nil}
	c.checkLayout(r.plan)
	c.checkSettings(r.plan)
	if len(c.doubted) > 0 {
		r.verdict.Notes = append(r.verdict.Notes, strings.Join(c.doubted, "; ")+": if what was given is wrong, the checkpoint need not be")
	}
	c.checkForm(r.plan, writtenWindow(r.converted))
	c.checkDigests(r.verdict.Weights.Converted, r.verdict.Weights, false)
	if err := r.noteFiles(record.Manifest, len(c.wrong) == 0 && r.verdict.Weights.Findings.Len() == 0, right); err != nil {
		return err
	}
	c.checkComplete(r.plan, r.renaming)
	if len(c.wrong) > 0 {
		summary.add(c.field+" disagrees: "+strings.Join(c.wrong, ", "), true)
	} else {
		summary.add(c.field+" agrees with "+c.compared(), false)
	}
	summary.finish()
	return nil
}

// withNames returns a manifest with the names of tensors that a converted checkpoint has whose names all lack model. m is the model in it, or
// nil.
func withNames(record *manifest.Manifest, m *model.Model) *manifest.Manifest {
	if m == nil || m.Layout != model.HuggingFace || !model.LacksRoot(m) {
		return record
	}
	renamed := *record
	renamed.Tensors = slices.Clone(record.Tensors)
	for i := range renamed.Tensors {
		t := &renamed.Tensors[i]
		t.Name = strings.TrimPrefix(t.Name, m.Family.Roots[model.HuggingFace])
	}
	return &renamed
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

// finish sets the summary. If the check of config.json was skipped, its summary is left out once another check was made.
func (c *configSummary) finish() {
	if len(c.parts) == 0 {
		return
	}
	if !c.section.Skipped {
		c.parts = append([]string{c.section.Summary}, c.parts...)
	}
	c.section.Skipped, c.section.OK = false, c.section.OK && !c.wrong
	c.section.Summary = strings.Join(c.parts, "; ")
}

// record is the conversion.json of a checkpoint.
type record struct {
	*manifest.Manifest // nil if there is none, or err
	path               string
	err                error
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

// check adds a finding if the record is corrupt, and says so if it is too large to be read: that of very many tensors is. Another
// error is returned.
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
	*manifest.Manifest
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
	if c.Layout != p.Layout.String() {
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
	if p.Config.Has(model.Attention) {
		if form.MatchRuntime != p.HF.MatchRuntime {
			c.add("huggingface.match_runtime", orNone(p.HF.MatchRuntime), orNone(form.MatchRuntime), fmt.Sprintf(
				"attention_window_size is %d and the original's window %d: conversion.json says which of the two config.json has, and a conversion back depends on it", written, p.Config.AttentionWindow))
		} else if form.AttentionWindowSize != written && written != 0 && !c.isFound(hfconfig.WindowNames) && !slices.Contains(c.wrong, field) { // else it is a finding by itself
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

// checkComplete demands a digest of every tensor of the plan, under its name or the one that the checkpoint has for it, and no other tensors.
// It demands nothing if settings were given that conversion.json contradicts: other tensors may follow from them.
func (c *manifestCheck) checkComplete(p *convert.Plan, renamed *renaming) {
	if len(c.doubted) > 0 {
		return
	}
	recorded := map[string]bool{}
	for _, t := range c.Tensors {
		recorded[t.Name] = t.Algorithms() != 0
	}
	missing, first := 0, ""
	for _, d := range p.Dests {
		if !recorded[d.Name] && !recorded[renamed.name(d.Name)] {
			if missing++; first == "" {
				first = d.Name
			}
		}
	}
	for _, d := range p.Dests { // when all are judged, since one may have the name of another
		delete(recorded, d.Name)
		delete(recorded, renamed.name(d.Name))
	}
	const effect = "the file was changed after it was written, or is of another conversion"
	if missing > 0 {
		c.add("tensors", text.Count(len(p.Dests), "tensor")+" with digests", text.Count(len(p.Dests)-missing, "tensor"), "there is none of "+first+"; "+effect)
	}
	if len(recorded) > 0 {
		names := slices.Sorted(maps.Keys(recorded))
		c.add("tensors", "only those of the model", text.Count(len(names), "more tensor")+", such as "+names[0], effect)
	}
}

// checkDigests compares the digests of each tensor of the source, or of the converted checkpoint. What conversion.json records of a tensor that
// is wrong becomes a part of the findings of the weights, and not another finding.
func (c *manifestCheck) checkDigests(found strictjson.List[TensorDigest], weights *WeightsSection, source bool) {
	recorded := map[string]digest.Sum{}
	for _, t := range c.Tensors {
		recorded[t.Name] = t.Sum
	}
	wrong := weights.findingsOf(recorded, source)
	var other []string
	var first TensorDigest
	for i := range found.Len() {
		t := found.At(i)
		equal, comparable := t.Compare(recorded[t.Name])
		switch {
		case !comparable: // a tensor more or less is for the structure to say
		case equal:
			c.digests++
		case len(wrong[t.Name]) > 0:
			c.changed++
			for _, k := range wrong[t.Name] {
				weights.addDetail(k, "changed or damaged after it was written: "+c.field+" records another digest")
			}
		default:
			if c.digests++; other == nil {
				first = t
			}
			other = append(other, t.Name)
		}
	}
	if len(other) > 0 {
		slices.Sort(other)
		both := first.Algorithms() & recorded[first.Name].Algorithms()
		c.add("tensors", "the checkpoint's", "other digests of "+text.Count(len(other), "tensor"),
			fmt.Sprintf("the checkpoint was changed or damaged after it was written, or conversion.json is of another conversion; %s of %s is recorded, and %s is found",
				recorded[first.Name].Only(both).Named(), first.Name, first.Only(both).Named()))
	}
}

// findingsOf returns the indexes of the findings about tensors of the source, or of the converted checkpoint, by those of their names there
// that are recorded.
func (w *WeightsSection) findingsOf(recorded map[string]digest.Sum, source bool) map[string][]int {
	all := map[string][]int{}
	for i := range w.Findings.Len() {
		f := w.Findings.At(i)
		names := []string{f.ConvertedName}
		if source {
			names = strings.Split(f.SourceName, " + ")
		}
		for _, name := range names {
			if _, ok := recorded[name]; ok {
				all[name] = append(all[name], i)
			}
		}
	}
	return all
}
