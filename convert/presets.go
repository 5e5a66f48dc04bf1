package convert

import (
	"fmt"
	"slices"
)

// preset is a published configuration: the presets of google-deepmind/recurrentgemma (common.py).
type preset struct {
	name   string
	config Config // VocabSize 0: any
}

var presets = []preset{
	{"2b", Config{Width: 2560, MLPExpandedWidth: 7680, NumHeads: 10, LRUWidth: 2560, ConvWidth: 4, BlockTypes: cycle(26, Recurrent, Recurrent, Attention),
		AttentionWindow: 2048, LogitsSoftCap: 30, EmbeddingScale: true}},
	{"9b", Config{Width: 4096, MLPExpandedWidth: 12288, NumHeads: 16, LRUWidth: 4096, ConvWidth: 4, BlockTypes: cycle(38, Recurrent, Recurrent, Attention),
		AttentionWindow: 2048, LogitsSoftCap: 30, EmbeddingScale: true}},
	{"griffin-paper-7b", Config{Width: 4096, MLPExpandedWidth: 12288, NumHeads: 32, LRUWidth: 5632, ConvWidth: 4, BlockTypes: cycle(32, Recurrent, Recurrent, Attention),
		AttentionWindow: 1024}},
	{"hawk-paper-7b", Config{Width: 4096, MLPExpandedWidth: 12288, NumHeads: 32, LRUWidth: 5632, ConvWidth: 4, BlockTypes: cycle(32, Recurrent),
		AttentionWindow: 1024}},
}

// PresetNames returns the names that Settings.Preset takes.
func PresetNames() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// PresetConfig returns the configuration of a preset, but for the vocabulary, and whether there is
// one of that name.
func PresetConfig(name string) (Config, bool) {
	p := presetByName(name)
	if p == nil {
		return Config{}, false
	}
	c := p.config
	c.BlockTypes = slices.Clone(c.BlockTypes)
	return c, true
}

func presetByName(name string) *preset {
	for i := range presets {
		if presets[i].name == name {
			return &presets[i]
		}
	}
	return nil
}

// presetByShape returns the preset whose parameters have the shapes of c, whatever the
// vocabulary, or nil.
func presetByShape(c *Config) *preset {
	for i := range presets {
		if len(presets[i].differences(c)) == 0 {
			return &presets[i]
		}
	}
	return nil
}

// differences lists what the shapes behind c contradict in the preset.
func (p *preset) differences(c *Config) []string {
	var out []string
	for _, f := range []struct {
		name       string
		want, have int64
	}{
		{"width", p.config.Width, c.Width},
		{"expanded MLP width", p.config.MLPExpandedWidth, c.MLPExpandedWidth},
		{"heads", p.config.NumHeads, c.NumHeads},
		{"RG-LRU width", p.config.LRUWidth, c.LRUWidth},
		{"convolution width", p.config.ConvWidth, c.ConvWidth},
		{"blocks", int64(len(p.config.BlockTypes)), int64(len(c.BlockTypes))},
	} {
		if f.want != f.have {
			out = append(out, fmt.Sprintf("%s %d, not %d", f.name, f.have, f.want))
		}
	}
	if len(p.config.BlockTypes) == len(c.BlockTypes) {
		for i := range c.BlockTypes {
			if c.BlockTypes[i] != p.config.BlockTypes[i] {
				return append(out, fmt.Sprintf("block %d is %s, not %s", i, c.BlockTypes[i], p.config.BlockTypes[i]))
			}
		}
	}
	return out
}

// cycle returns n blocks that repeat the pattern.
func cycle(n int, pattern ...BlockType) []BlockType {
	blocks := make([]BlockType, n)
	for i := range blocks {
		blocks[i] = pattern[i%len(pattern)]
	}
	return blocks
}
