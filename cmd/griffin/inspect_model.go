package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/quantized"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// modelSummary describes a recognised model. Settings that shapes do not show are nil unless the
// checkpoint or a preset gives them.
type modelSummary struct {
	Name             string   `json:"name"`
	Preset           string   `json:"preset,omitempty"`
	Layout           string   `json:"layout"`
	Prefix           string   `json:"prefix"`
	Parameters       int64    `json:"parameters"` // elements of the model; a tied head counts once
	Tensors          int      `json:"tensors"`
	Other            int      `json:"other_tensors"` // that do not belong to the model, such as optimizer state
	VocabSize        int64    `json:"vocab_size"`
	Width            int64    `json:"width"`
	MLPExpandedWidth int64    `json:"mlp_expanded_width"`
	NumHeads         int64    `json:"num_heads"`
	LRUWidth         int64    `json:"lru_width"`
	BlockTypes       []string `json:"block_types"`
	AttentionWindow  *int64   `json:"attention_window,omitempty"` // the original's
	MatchedWindow    int64    `json:"matched_window,omitempty"`   // attention_window_size, if it was written to match a runtime
	LogitsSoftCap    *float64 `json:"logits_soft_cap,omitempty"`
	EmbeddingScale   *bool    `json:"embedding_scale,omitempty"`
	BeyondOriginal   []string `json:"beyond_original,omitempty"` // what the original implementation does not compute, a phrase for each field
	ConfigError      string   `json:"config_error,omitempty"`    // why config.json cannot be used
	Misfits          string   `json:"misfits,omitempty"`         // how many tensors the model lacks, or cannot have as they are, in words
	Notes            []string `json:"notes,omitempty"`           // how tensors and config.json are read, where that is not obvious

	Problems []tensorProblem `json:"problems,omitempty"` // those tensors

	window      string   // what there is to say of the attention window: that it was written to match a runtime, is assumed, or is not the recorded one; "" for nothing
	folded      []string // Problems, those of several layers as one line
	lacksConfig bool     // the layout has a config.json, and there is none
}

// tensorProblem is what is wrong with a tensor of a model.
type tensorProblem struct {
	Kind   string `json:"kind"` // "missing", "unexpected", "misshapen" or "mistyped"
	Tensor string `json:"tensor"`
	Detail string `json:"detail,omitempty"`
}

// summarise describes a model, or that of a quantised copy.
func summarise(m *model.Model, isCopy bool) *modelSummary {
	c, preset := m.Config, m.Preset
	configured, err := m.Configure(model.Settings{})
	complete := err == nil
	isScaleKnown := complete && !configured.ScaleAssumed()
	matched := int64(0)
	if complete {
		c, preset = configured.Original, configured.Preset
		if written := configured.Config.AttentionWindow; written != c.AttentionWindow {
			matched = written
		}
		if preset == "" && isScaleKnown {
			preset = presetOf(m, &configured.Original)
		}
	}
	s := &modelSummary{Name: familyName(preset, &c), Preset: preset, Layout: model.ShownLayout(m).String(), Prefix: m.Prefix,
		Parameters: m.Parameters(), Tensors: len(m.Tensors), Other: len(m.Rest),
		VocabSize: c.VocabSize, Width: c.Width, MLPExpandedWidth: c.MLPExpandedWidth,
		NumHeads: c.NumHeads, LRUWidth: c.LRUWidth, BlockTypes: []string{}, MatchedWindow: matched}
	for _, b := range c.BlockTypes {
		s.BlockTypes = append(s.BlockTypes, string(b))
	}
	if complete {
		s.AttentionWindow, s.LogitsSoftCap = &c.AttentionWindow, &c.LogitsSoftCap
		if isScaleKnown {
			s.EmbeddingScale = &c.EmbeddingScale
		}
	}
	s.Notes = slices.Clone(m.Notes)
	stated, configErr := m.StatedConfig()
	if configErr == nil && stated != nil {
		s.Notes = append(s.Notes, stated.Notes...)
		if stated.LogitsSoftCap == 0 {
			s.Notes = append(s.Notes, "logits_soft_cap is 0: all logits are zero in transformers, which divides by it; the original does not cap logits then")
		}
	}
	s.lacksConfig = configErr == nil && stated == nil && m.Layout == model.HuggingFace
	s.Notes = append(s.Notes, tokenizerNotes(m)...)
	if _, local := storage.LocalPath(m.Checkpoint.Source, m.Checkpoint.Root); local {
		if problem, err := runtime.NotFound(m); err == nil && problem != "" { // a config.json that cannot be read does not matter here
			s.Notes = append(s.Notes, problem)
		}
	}
	if problems, ok := m.Problems().(*model.MismatchError); ok {
		s.addProblems(problems)
		if stated != nil && configErr == nil {
			s.AttentionWindow, s.LogitsSoftCap = &stated.AttentionWindowSize, &stated.LogitsSoftCap
			if stated.TieWordEmbeddings || len(m.Heads) == 0 {
				s.EmbeddingScale = new(true) // transformers always scales
			}
		}
	}
	if bad := (*tensor.FormatError)(nil); errors.As(err, &bad) && m.Layout == model.HuggingFace && m.Problems() == nil {
		s.ConfigError = strings.TrimPrefix(bad.Record+": "+bad.Problem, ": ")
		if bad.Hint != "" {
			s.ConfigError += "; " + bad.Hint
		}
	} else if configErr != nil {
		s.ConfigError = message(configErr)
	}
	if _, _, err := m.Manifest(); err != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("%s cannot be used: %s", manifest.Name, message(err)))
	}
	if r, err := runtime.New(m, model.Settings{}); err == nil {
		switch w := r.Window(); {
		case w != nil && (w.Matches != "" || w.Source == runtime.Assumed && len(m.Family.BeyondOriginal(&r.Original)) == 0 || w.Source == runtime.Contradicted):
			s.window = w.Summary
		case w == nil && complete:
			if s.window = withWindowFlag(configured.WindowDoubt()); s.window != "" {
				s.window += " to convert, verify, golden, generate or perplexity"
			}
		}
	}
	if note := uncomparedHead(m, stated, isCopy, s.AttentionWindow != nil && s.EmbeddingScale == nil); note != "" && configErr == nil {
		s.Notes = append(s.Notes, note)
	}
	if complete {
		if note := configured.Overruled("", model.WasGiven); note != "" {
			s.Notes = append(s.Notes, note)
		}
	}
	s.BeyondOriginal = m.Family.BeyondOriginal(&c)
	return s
}

// uncomparedHead says that an output head is not compared with the embedding, for which it is taken, or which may be the head divided: then the embedding
// scale is open. It is "" if there is none. stated is nil without a config.json.
func uncomparedHead(m *model.Model, stated *hfconfig.Config, isCopy, isOpen bool) string {
	h := model.UncomparedHead(m)
	if h == nil {
		return ""
	}
	head := tensor.QuoteName(h.Tensor.Name)
	switch {
	case stated == nil && m.Layout != model.HuggingFace:
		return fmt.Sprintf("%s is not compared with the embedding here, nor counted as parameters of its own", head)
	case stated != nil && isOpen:
		return fmt.Sprintf("the embedding scale is unknown, because %s is not compared with the embedding here, as convert and verify compare it; it counts as parameters of its own", head)
	case stated == nil || !stated.TieWordEmbeddings:
		return ""
	}
	note := fmt.Sprintf("config.json ties %s to the embedding, with which it is not compared here", head)
	if !isCopy {
		note += "; if they differ, " + model.ComputedWith("the embedding", head)
	}
	return note
}

// addProblems says which tensors the model lacks, or cannot have as they are.
func (s *modelSummary) addProblems(e *model.MismatchError) {
	s.Misfits, s.folded = misfits(e), foldedProblems(e)
	for _, l := range e.Lists() {
		for _, p := range l.List {
			s.Problems = append(s.Problems, tensorProblem{l.What, p.Tensor, p.Detail})
		}
	}
}

// misfits says how many tensors a model lacks, or cannot have as they are.
func misfits(e *model.MismatchError) string {
	if len(e.Missing) > 0 || e.Conflict != "" {
		return e.Summary()
	}
	var parts []string
	for _, l := range e.Lists() {
		if n := len(l.List); n > 0 {
			parts = append(parts, text.Count(n, l.What+" tensor"))
		}
	}
	return strings.Join(parts, ", ")
}

// tokenizerNotes says in which way the tokenizer beside a model is not its own. One elsewhere would have to be fetched.
func tokenizerNotes(m *model.Model) []string {
	source, name := m.Checkpoint.Source, m.Checkpoint.Beside(hfconfig.Name)
	if _, local := storage.LocalPath(source, name); !local || m.Layout != model.HuggingFace {
		return nil
	}
	fields, err := hfconfig.Fields(source, name)
	if err != nil {
		return nil // which is said of the model
	}
	return hfconfig.TokenizerNotes(source, path.Dir(name), m.Config.VocabSize, fields)
}

// presetOf returns the name of the preset whose shapes and settings are those of the model, or "". The settings may come from a
// config.json or from conversion.json.
func presetOf(m *model.Model, c *model.Config) string {
	p := m.Family.Preset(m.Preset)
	if p == nil || p.Config.AttentionWindow != c.AttentionWindow || p.Config.LogitsSoftCap != c.LogitsSoftCap || p.Config.EmbeddingScale != c.EmbeddingScale {
		return ""
	}
	return p.Name
}

// familyName returns the preset, or what the paper calls such models.
func familyName(preset string, c *model.Config) string {
	switch {
	case preset != "":
		return preset
	case c.Has(model.Attention), c.Has(model.UnknownKind):
		return "Griffin"
	}
	return "Hawk"
}

// lines returns the summary as text.
func (s *modelSummary) lines() []string {
	lines := []string{
		fmt.Sprintf("%s, %s", inLayout(s.Name, s.Layout), text.Count(s.Parameters, "parameter")),
		fmt.Sprintf("%s %s, %s", text.Count(int64(len(s.BlockTypes)), "block"), blockLetters(s.BlockTypes), s.sizes()),
	}
	if s.Misfits != "" {
		const most = 8
		shown := s.folded[:min(len(s.folded), most)]
		lines = append(lines, s.Misfits)
		for _, problem := range shown {
			lines = append(lines, strings.Split(problem, "\n")...)
		}
		if more := len(s.folded) - len(shown); more > 0 {
			lines = append(lines, fmt.Sprintf("… %d more (--json)", more))
		}
	}
	if s.AttentionWindow != nil {
		settings := fmt.Sprintf("logits soft cap %s, embedding scale unknown", hfconfig.Decimal(*s.LogitsSoftCap))
		if is := s.EmbeddingScale; is != nil {
			settings = fmt.Sprintf("logits soft cap %s, embedding scale %t", hfconfig.Decimal(*s.LogitsSoftCap), *is)
		}
		if s.attends() {
			settings = fmt.Sprintf("attention window %d, ", *s.AttentionWindow) + settings
		}
		lines = append(lines, settings)
		if s.window != "" {
			lines = append(lines, s.window)
		}
	} else if s.ConfigError != "" {
		why := s.ConfigError
		if strings.HasPrefix(why, "is ") {
			why = "it " + why
		}
		lines = append(lines, "config.json cannot be used: "+why)
	} else if s.lacksConfig {
		lines = append(lines, "there is no config.json; "+s.unknown())
	} else {
		lines = append(lines, s.unknown()+": they cannot be inferred from shapes")
	}
	if len(s.BeyondOriginal) > 0 {
		lines = append(lines, "the original implementation does not compute it: "+strings.Join(s.BeyondOriginal, "; "))
	}
	if s.Prefix != "" {
		lines = append(lines, "prefix "+s.Prefix)
	}
	if s.Other > 0 {
		lines = append(lines, fmt.Sprintf("%s %s not belong to it", text.Count(int64(s.Other), "tensor"), agree(s.Other, "does", "do")))
	}
	for _, note := range s.Notes {
		lines = append(lines, "note: "+note)
	}
	return lines
}

// attends reports whether the model may have attention blocks, and so a window.
func (s *modelSummary) attends() bool {
	return slices.ContainsFunc(s.BlockTypes, func(kind string) bool { return kind != string(model.Recurrent) })
}

// unknown says that the settings which shapes do not show are unknown. A model without attention has no window.
func (s *modelSummary) unknown() string {
	if s.attends() {
		return "attention window, logits soft cap and embedding scale are unknown"
	}
	return "logits soft cap and embedding scale are unknown"
}

// sizes returns the sizes as text. Those that no tensor shows are unknown.
func (s *modelSummary) sizes() string {
	of := func(n int64) string {
		if n <= 0 {
			return "unknown"
		}
		return fmt.Sprint(n)
	}
	heads := of(s.NumHeads) + " heads"
	if s.NumHeads <= 0 {
		heads = "heads unknown"
	}
	return fmt.Sprintf("width %s, MLP %s, %s, RG-LRU %s, vocabulary %s", of(s.Width), of(s.MLPExpandedWidth), heads, of(s.LRUWidth), of(s.VocabSize))
}

// blockLetters returns one letter for each block: R for recurrent, A for attention, ? if its tensors do not show it.
func blockLetters(types []string) string {
	letters := make([]byte, len(types))
	for i, t := range types {
		letters[i] = map[string]byte{string(model.Recurrent): 'R', string(model.Attention): 'A'}[t]
		if letters[i] == 0 {
			letters[i] = '?'
		}
	}
	return string(letters)
}

// quantizedSummary describes a quantised copy.
type quantizedSummary struct {
	Schemes []schemeSummary `json:"schemes"` // the most frequent first
	Tensors int             `json:"tensors"` // that are quantised
	Kept    int             `json:"kept"`    // tensors that were left alone
	Notes   []string        `json:"notes,omitempty"`
	text    string
}

type schemeSummary struct {
	Method string `json:"method"`
	Bits   int    `json:"bits"`
	Blocks string `json:"blocks"` // which elements share a scale
	Double bool   `json:"double"` // the scales are quantised too
}

// unfounded is the note about a config.json that states a quantisation where there is none. What transformers 5.23 does then was
// measured.
func unfounded(method string) string {
	note := fmt.Sprintf("config.json states a quantisation (%s), but no tensor is quantised", method)
	if method == "bitsandbytes" {
		note += ": transformers 5.23 loads that, and fails when it runs"
	}
	return note
}

// summariseQuantized describes a quantised copy, and counts the elements that it stands for.
func summariseQuantized(q *quantized.Copy) (s *quantizedSummary, elements int64) {
	s = &quantizedSummary{Tensors: len(q.Weights), Kept: len(q.Kept()), Notes: q.Notes, text: q.String()}
	for _, x := range q.Schemes() {
		s.Schemes = append(s.Schemes, schemeSummary(x))
	}
	for _, t := range q.Checkpoint.Tensors() {
		elements += t.Elements()
	}
	return s, elements
}
