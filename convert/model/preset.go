package model

import (
	"cmp"
	"fmt"
)

// Preset is a published configuration.
type Preset struct {
	Name   string
	Config Config // VocabSize is 0: any
}

// PresetNames returns the names that Settings.Preset accepts.
func (f *Family) PresetNames() []string {
	names := make([]string, len(f.Presets))
	for i, p := range f.Presets {
		names[i] = p.Name
	}
	return names
}

// Preset returns the preset of that name, or nil.
func (f *Family) Preset(name string) *Preset {
	for i := range f.Presets {
		if f.Presets[i].Name == name {
			return &f.Presets[i]
		}
	}
	return nil
}

// PresetByShape returns the preset whose parameters have the shapes of c, whatever the vocabulary, or
// nil.
func (f *Family) PresetByShape(c *Config) *Preset {
	for i := range f.Presets {
		if len(f.Presets[i].differences(c)) == 0 {
			return &f.Presets[i]
		}
	}
	return nil
}

// differences lists where the shapes from which c follows contradict the preset.
func (p *Preset) differences(c *Config) []string {
	var out []string
	for _, f := range []struct {
		name       string
		want, have int64
	}{
		{"width", p.Config.Width, c.Width},
		{"expanded MLP width", p.Config.MLPExpandedWidth, c.MLPExpandedWidth},
		{"heads", p.Config.NumHeads, c.NumHeads},
		{"attention width", cmp.Or(p.Config.AttentionWidth, p.Config.Width), cmp.Or(c.AttentionWidth, c.Width)},
		{"heads of keys and values", p.Config.KeyHeads(), c.KeyHeads()},
		{"RG-LRU width", p.Config.LRUWidth, c.LRUWidth},
		{"convolution width", p.Config.ConvWidth, c.ConvWidth},
		{"blocks", int64(len(p.Config.BlockTypes)), int64(len(c.BlockTypes))},
	} {
		if f.want != f.have {
			out = append(out, fmt.Sprintf("%s %d, not %d", f.name, f.have, f.want))
		}
	}
	if c.AttentionBias != p.Config.AttentionBias {
		out = append(out, "biases of queries, keys and values")
	}
	if len(p.Config.BlockTypes) == len(c.BlockTypes) {
		for i := range c.BlockTypes {
			if c.BlockTypes[i] != p.Config.BlockTypes[i] {
				return append(out, fmt.Sprintf("block %d is %s, not %s", i, c.BlockTypes[i], p.Config.BlockTypes[i]))
			}
		}
	}
	return out
}

// Repeat returns n blocks that repeat a pattern.
func Repeat(n int, pattern ...BlockType) []BlockType {
	blocks := make([]BlockType, n)
	for i := range blocks {
		blocks[i] = pattern[i%len(pattern)]
	}
	return blocks
}
