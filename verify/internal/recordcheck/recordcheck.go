// Package recordcheck compares what the conversion.json of a checkpoint records with the conversion as it should be, and with the digests of its
// tensors as they were found.
package recordcheck

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Check compares a conversion.json, a part of it with each method.
type Check struct {
	*manifest.Record
	Removed string // prefix of names that the checkpoint's lack
	Proven  bool   // the settings of the plan are not those that conversion.json records

	Differences []Difference

	settings  bool // were compared
	digests   int  // that were compared, but for those that are explained
	explained int
}

// Difference is a field that records something else than was found.
type Difference struct{ Field, Want, Got, Detail string }

// Wrong returns the fields that differ.
func (c *Check) Wrong() (fields []string) {
	for _, d := range c.Differences {
		if !slices.Contains(fields, d.Field) {
			fields = append(fields, d.Field)
		}
	}
	return fields
}

// Unlike ends a sentence about a conversion.json that has differences: it records other settings than those of the model, or is not of what it should be.
func (c *Check) Unlike(of string) string {
	var settings []string
	for _, d := range c.Differences {
		name, isSetting := strings.CutPrefix(d.Field, settingsField)
		switch {
		case isSetting:
			settings = append(settings, fmt.Sprintf("%s %s, not %s", strings.ReplaceAll(name, "_", " "), d.Got, d.Want))
		case !strings.HasPrefix(d.Field, formField):
			return "is not of " + of
		}
	}
	if settings == nil {
		return "is not of the config.json beside it"
	}
	return "records " + strings.Join(settings, " and ")
}

// Agreement says with what conversion.json agrees, without its name.
func (c *Check) Agreement() string {
	const none = "has no digests of tensors with these names"
	switch compared := c.digests+c.explained > 0; {
	case !compared && c.settings:
		return "agrees with the settings, and " + none
	case !compared:
		return none
	}
	what := "the digests of " + text.Count(c.digests, "tensor")
	if c.explained > 0 {
		what = fmt.Sprintf("the digests of %d of %s (see weights)", c.digests, text.Count(c.digests+c.explained, "tensor"))
	}
	if c.settings {
		what = "the settings and " + what
	}
	return "agrees with " + what
}

func (c *Check) add(field string, want, got any, detail string) {
	c.Differences = append(c.Differences, Difference{field, fmt.Sprint(want), fmt.Sprint(got), detail})
}

// CompareLayout compares the layout of the tensors.
func (c *Check) CompareLayout(p *convert.Plan) {
	if c.Layout != p.Layout.String() && c.Layout != model.UnknownLayout.String() { // a copy of tensors that were renamed, or of a part, may show none
		c.add(layoutField, p.Layout, c.Layout, "it is of another conversion")
	}
}

// CompareSettings compares the settings, if both sides know them.
func (c *Check) CompareSettings(p *convert.Plan) {
	if c.Settings == nil || !p.SettingsKnown {
		return
	}
	c.settings = c.Proven
	const effect = "a conversion of this checkpoint would take it for the model's"
	if want, got := p.Config.AttentionWindow, c.Settings.AttentionWindow; want != got && p.Config.Has(model.Attention) {
		c.add(recordedWindow, want, got, effect)
	}
	if want, got := p.Config.LogitsSoftCap, float64(c.Settings.LogitsSoftCap); want != got {
		c.add(settingsField+"logits_soft_cap", hfconfig.Decimal(want), hfconfig.Decimal(got), effect)
	}
	if want, got := p.Config.EmbeddingScale, c.Settings.EmbeddingScale; want != got {
		c.add(ScaleField, want, got, effect)
	}
}

// Names of fields, and what names begin with.
const (
	tensorsField   = "tensors"
	layoutField    = "layout"
	settingsField  = "settings."
	formField      = "huggingface."
	recordedWindow = settingsField + "attention_window"
	ScaleField     = settingsField + "embedding_scale"
)

// CompareForm compares how config.json expresses the model. written is its attention_window_size, 0 if it has none. isWrong says
// that this is known to be wrong, so that it shows nothing of the record.
func (c *Check) CompareForm(p *convert.Plan, written int64, isWrong bool) {
	if p.HF == nil {
		return
	}
	form, field := c.HuggingFace, formField+"attention_window_size"
	if form == nil {
		window := p.Config.AttentionWindow
		if c.Settings != nil { // config.json states them as they are
			window, field = c.Settings.AttentionWindow, recordedWindow
		}
		form = &manifest.HuggingFace{AttentionWindowSize: window, LogitsSoftCap: p.HF.LogitsSoftCap, EmbeddingDividedBy: p.HF.EmbeddingDividedBy}
	}
	if p.Config.Has(model.Attention) && !isWrong {
		if form.MatchRuntime != p.HF.MatchRuntime {
			c.add(formField+"match_runtime", orNone(p.HF.MatchRuntime), orNone(form.MatchRuntime), fmt.Sprintf(
				"attention_window_size is %d and the original's window %d: conversion.json says which of the two config.json has, and a conversion back depends on it", written, p.Config.AttentionWindow))
		} else if form.AttentionWindowSize != written && written != 0 && !slices.Contains(c.Wrong(), field) {
			c.add(field, written, form.AttentionWindowSize, "config.json or conversion.json was changed after the conversion")
		}
	}
	if form.EmbeddingDividedBy != p.HF.EmbeddingDividedBy {
		c.add(formField+"embedding_divided_by", p.HF.EmbeddingDividedBy, form.EmbeddingDividedBy, "a conversion back multiplies by it")
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
