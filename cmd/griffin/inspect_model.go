package main

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// modelSummary is what inspect says of a recognised model. Settings that shapes cannot tell are
// there only where a preset gives them.
type modelSummary struct {
	Name             string   `json:"name"`
	Preset           string   `json:"preset,omitempty"`
	Layout           string   `json:"layout"`
	Prefix           string   `json:"prefix"`
	Parameters       int64    `json:"parameters"` // of the model alone, the tied head not counted again
	Tensors          int      `json:"tensors"`
	Other            int      `json:"other_tensors"` // optimizer state and the like
	VocabSize        int64    `json:"vocab_size"`
	Width            int64    `json:"width"`
	MLPExpandedWidth int64    `json:"mlp_expanded_width"`
	NumHeads         int64    `json:"num_heads"`
	LRUWidth         int64    `json:"lru_width"`
	BlockTypes       []string `json:"block_types"`
	AttentionWindow  *int64   `json:"attention_window,omitempty"` // the original's
	MatchedWindow    int64    `json:"matched_window,omitempty"`   // attention_window_size where it was written to match a runtime
	LogitsSoftCap    *float64 `json:"logits_soft_cap,omitempty"`
	EmbeddingScale   *bool    `json:"embedding_scale,omitempty"`
}

func summarise(m *model.Model) *modelSummary {
	c, preset := m.Config, m.Preset
	configured, err := m.Configure(model.Settings{})
	complete := err == nil
	matched := int64(0)
	if complete {
		c, preset = configured.Config, configured.Preset
		if original := configured.Original.AttentionWindow; original != c.AttentionWindow {
			matched, c.AttentionWindow = c.AttentionWindow, original
		}
	}
	s := &modelSummary{Name: familyName(preset, &c), Preset: preset, Layout: m.Layout.String(), Prefix: m.Prefix,
		Parameters: m.Parameters(), Tensors: len(m.Tensors), Other: len(m.Rest),
		VocabSize: c.VocabSize, Width: c.Width, MLPExpandedWidth: c.MLPExpandedWidth,
		NumHeads: c.NumHeads, LRUWidth: c.LRUWidth, BlockTypes: []string{}, MatchedWindow: matched}
	for _, b := range c.BlockTypes {
		s.BlockTypes = append(s.BlockTypes, string(b))
	}
	if complete {
		s.AttentionWindow, s.LogitsSoftCap, s.EmbeddingScale = &c.AttentionWindow, &c.LogitsSoftCap, &c.EmbeddingScale
	}
	return s
}

// familyName is the model's name among people.
func familyName(preset string, c *model.Config) string {
	switch {
	case preset != "":
		return preset
	case c.Has(model.Attention):
		return "Griffin"
	}
	return "Hawk"
}

// lines says the same to a person.
func (s *modelSummary) lines() []string {
	lines := []string{
		fmt.Sprintf("%s, %s layout, %s", s.Name, s.Layout, plural(s.Parameters, "parameter")),
		fmt.Sprintf("%d blocks %s, width %d, MLP %d, %d heads, RG-LRU %d, vocabulary %d",
			len(s.BlockTypes), blockLetters(s.BlockTypes), s.Width, s.MLPExpandedWidth, s.NumHeads, s.LRUWidth, s.VocabSize),
	}
	if s.AttentionWindow != nil {
		lines = append(lines, fmt.Sprintf("attention window %d, logits soft cap %g, embedding scale %t",
			*s.AttentionWindow, *s.LogitsSoftCap, *s.EmbeddingScale))
		if s.MatchedWindow != 0 {
			lines = append(lines, fmt.Sprintf("config.json has %d for it, with which transformers 5 attends to what the original does", s.MatchedWindow))
		}
	} else {
		lines = append(lines, "attention window, logits soft cap and embedding scale are not known: shapes do not tell")
	}
	if s.Prefix != "" {
		lines = append(lines, fmt.Sprintf("its tensors are under %q", s.Prefix))
	}
	if s.Other > 0 {
		lines = append(lines, fmt.Sprintf("%s are no part of it", plural(int64(s.Other), "tensor")))
	}
	return lines
}

// blockLetters writes the blocks as RRARRA…: R recurrent, A attention.
func blockLetters(types []string) string {
	letters := make([]byte, len(types))
	for i, t := range types {
		letters[i] = 'R'
		if t == string(model.Attention) {
			letters[i] = 'A'
		}
	}
	return string(letters)
}
