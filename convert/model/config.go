package model

import (
	"cmp"
	"slices"
)

// BlockType is the temporal half of a residual block.
type BlockType string

// The two kinds of block, by the names that transformers' block_types uses. A block that has no tensor of either is of unknown kind: a model
// with such a block is not complete.
const (
	Recurrent   BlockType = "recurrent"
	Attention   BlockType = "attention"
	UnknownKind BlockType = ""
)

// Config is the configuration of a model in its family's own terms (GriffinConfig of the original
// implementation). Everything but the settings and SeparateHead follows from the shapes of the
// parameters.
type Config struct {
	VocabSize        int64 // rows of the embedding
	Width            int64 // of the residual stream
	MLPExpandedWidth int64 // hidden units of the MLP; transformers' intermediate_size is twice this
	NumHeads         int64 // attention heads, and diagonal blocks of the RG-LRU gates
	LRUWidth         int64 // channels of the recurrence; Width if no block is recurrent
	ConvWidth        int64 // taps of the temporal convolution; 4 if no block is recurrent
	BlockTypes       []BlockType

	// What all models of the original implementation have in common follows here, as far as shapes and names of tensors show it.
	AttentionWidth int64 // of the queries of all heads; 0 for Width
	KVHeads        int64 // heads of keys and values; 0 for 1
	AttentionBias  bool  // queries, keys and values have biases
	Numerics       Numerics

	// The settings, which shapes do not show.
	AttentionWindow int64   // tokens; without attention blocks it has no effect
	LogitsSoftCap   float64 // 0 for none
	EmbeddingScale  bool    // whether embeddings are multiplied by sqrt(Width)

	SeparateHead bool // whether logits are computed with a matrix of their own, and not with the embedding
}

// Numerics are numbers and a function that no tensor shows and that are the same in all models of the original
// implementation. A config.json may state others. The zero value is that of the original.
type Numerics struct {
	Activation   string // transformers' hidden_activation
	NormEpsilon  float64
	RopeTheta    float64
	RotaryFactor float64 // part of each head that is rotated
}

// HeadDim returns the channels of one attention head.
func (c *Config) HeadDim() int64 {
	if c.NumHeads == 0 {
		return 0
	}
	return cmp.Or(c.AttentionWidth, c.Width) / c.NumHeads
}

// KeyHeads returns the number of heads of keys and values.
func (c *Config) KeyHeads() int64 { return cmp.Or(c.KVHeads, 1) }

// Has reports whether any block is of that type.
func (c *Config) Has(t BlockType) bool {
	return slices.Contains(c.BlockTypes, t)
}

// Pattern returns the shortest list of blocks from which transformers makes all of them: it repeats
// block_types 100 times and takes as many as there are layers. A pattern that is too short for that
// is repeated.
func (c *Config) Pattern() []BlockType {
	const repeats = 100
	n := len(c.BlockTypes)
	period := periodOf(c.BlockTypes)
	length := period
	for length*repeats < n {
		length += period
	}
	return c.BlockTypes[:min(length, n)]
}

// periodOf returns the least distance, at least 1, at which all blocks are equal, in linear time: the longest beginning of the list that is
// also an end of it is found for each of its beginnings, as in the search of Knuth, Morris and Pratt.
func periodOf(blocks []BlockType) int {
	border := make([]int, len(blocks)) // length of the longest proper beginning of blocks[:i+1] that ends it
	for i, n := 1, 0; i < len(blocks); i++ {
		for n > 0 && blocks[i] != blocks[n] {
			n = border[n-1]
		}
		if blocks[i] == blocks[n] {
			n++
		}
		border[i] = n
	}
	if len(blocks) == 0 {
		return 1
	}
	return len(blocks) - border[len(blocks)-1]
}
