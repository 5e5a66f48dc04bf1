package main

import (
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
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
	AttentionWindow  *int64   `json:"attention_window,omitempty"`
	LogitsSoftCap    *float64 `json:"logits_soft_cap,omitempty"`
	EmbeddingScale   *bool    `json:"embedding_scale,omitempty"`
}

func summarise(m *convert.Model) *modelSummary {
	c := m.Config
	s := &modelSummary{Preset: m.Preset, Layout: m.Layout.String(), Prefix: m.Prefix,
		Parameters: m.Parameters(), Tensors: len(m.Tensors), Other: len(m.Rest),
		VocabSize: c.VocabSize, Width: c.Width, MLPExpandedWidth: c.MLPExpandedWidth,
		NumHeads: c.NumHeads, LRUWidth: c.LRUWidth, BlockTypes: []string{}}
	for _, b := range c.BlockTypes {
		s.BlockTypes = append(s.BlockTypes, string(b))
	}
	s.Name = familyName(s)
	return s
}

// familyName is the model's name among people.
func familyName(s *modelSummary) string {
	switch {
	case s.Preset != "":
		return s.Preset
	case !strings.Contains(strings.Join(s.BlockTypes, " "), string(convert.Attention)):
		return "Hawk"
	}
	return "Griffin"
}

// lines says the same to a person.
func (s *modelSummary) lines() []string {
	name := s.Name + " (by its shapes)"
	lines := []string{
		fmt.Sprintf("%s, %s layout, %s", name, s.Layout, plural(s.Parameters, "parameter")),
		fmt.Sprintf("%d blocks %s, width %d, MLP %d, %d heads, RG-LRU %d, vocabulary %d",
			len(s.BlockTypes), blockLetters(s.BlockTypes), s.Width, s.MLPExpandedWidth, s.NumHeads, s.LRUWidth, s.VocabSize),
	}
	if s.AttentionWindow != nil {
		lines = append(lines, fmt.Sprintf("from the preset: attention window %d, logits soft cap %g, embedding scale %t",
			*s.AttentionWindow, *s.LogitsSoftCap, *s.EmbeddingScale))
	} else if s.Layout != convert.HuggingFace.String() {
		lines = append(lines, "shapes do not tell the attention window, the logits soft cap and the embedding scale")
	}
	if s.Prefix != "" || s.Other > 0 {
		lines = append(lines, fmt.Sprintf("%s under %q, %s beside them", plural(int64(s.Tensors), "tensor"), s.Prefix, plural(int64(s.Other), "other tensor")))
	}
	return lines
}

// blockLetters writes the blocks as RRARRA…: R recurrent, A attention.
func blockLetters(types []string) string {
	letters := make([]byte, len(types))
	for i, t := range types {
		letters[i] = 'R'
		if t == string(convert.Attention) {
			letters[i] = 'A'
		}
	}
	return string(letters)
}
