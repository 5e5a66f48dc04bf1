package convert

// BlockType is the temporal half of a residual block.
type BlockType string

// The two kinds of block, by the names that transformers' block_types uses.
const (
	Recurrent BlockType = "recurrent"
	Attention BlockType = "attention"
)

// Config is a model of the family in the family's own terms (GriffinConfig of the original
// implementation). Everything but the last three fields follows from the shapes of the parameters.
type Config struct {
	VocabSize        int64 // rows of the embedding
	Width            int64 // of the residual stream
	MLPExpandedWidth int64 // hidden units of the MLP; transformers' intermediate_size is twice this
	NumHeads         int64 // attention heads, and diagonal blocks of the RG-LRU gates
	LRUWidth         int64 // channels of the recurrence; Width where no block is recurrent
	ConvWidth        int64 // taps of the temporal convolution; 4 where no block is recurrent
	BlockTypes       []BlockType

	AttentionWindow int64   // tokens; without attention blocks it has no effect
	LogitsSoftCap   float64 // 0 for none
	EmbeddingScale  bool    // whether embeddings are multiplied by sqrt(Width)

	// OriginalWindow is the original's attention window where a Hugging Face directory was written with
	// another, as --match-runtime does: conversion.json says so. 0 where AttentionWindow is it.
	OriginalWindow int64

	SeparateHead bool // logits have a matrix of their own: config.json says so, or SettleHead found it
}

// HeadDim returns the channels of one attention head.
func (c *Config) HeadDim() int64 {
	if c.NumHeads == 0 {
		return 0
	}
	return c.Width / c.NumHeads
}

// Has reports whether any block is of that type.
func (c *Config) Has(t BlockType) bool {
	for _, b := range c.BlockTypes {
		if b == t {
			return true
		}
	}
	return false
}

// Pattern returns the shortest list of blocks from which transformers makes all of them:
// it repeats block_types 100 times and takes as many as there are layers. A pattern that would be
// too short for that is itself repeated.
func (c *Config) Pattern() []BlockType {
	const repeats = 100
	n := len(c.BlockTypes)
	period := 1
	for ; period < n; period++ {
		if cyclic(c.BlockTypes, period) {
			break
		}
	}
	length := period
	for length*repeats < n {
		length += period
	}
	return c.BlockTypes[:min(length, n)]
}

func cyclic(blocks []BlockType, period int) bool {
	for i := period; i < len(blocks); i++ {
		if blocks[i] != blocks[i-period] {
			return false
		}
	}
	return true
}

// Parameters returns the number of elements of all parameters; the tied head counts once.
func (c *Config) Parameters() int64 {
	sizes := c.sizes()
	var n int64
	for _, p := range parameters(c.BlockTypes) {
		n += sizes.elements(p.rule)
	}
	return n
}
