package reference

import "fmt"

// BlockType is the kind of a block's temporal half.
type BlockType uint8

// The kinds of temporal half.
const (
	Recurrent BlockType = iota
	Attention
)

func (b BlockType) String() string { return [...]string{"recurrent", "attention"}[b] }

// Config is the model in the family's own terms.
type Config struct {
	VocabSize        int
	Width            int         // of the residual stream
	MLPExpandedWidth int         // of the MLP's inside (half of transformers' intermediate_size)
	NumHeads         int         // of attention, and of the gates of the RG-LRU
	LRUWidth         int         // of the recurrence
	BlockTypes       []BlockType // one for each block, in order
	AttentionWindow  int         // in tokens; see Semantics for what it includes
	LogitsSoftCap    float64     // 0 for none
	EmbeddingScale   bool        // whether embeddings are multiplied by sqrt(Width)
	SeparateHead     bool        // logits have a matrix of their own (OutputHead), not the embedding
}

// Semantics says which implementation's reading of the model to follow where they part.
type Semantics uint8

const (
	// Original is google-deepmind/recurrentgemma: a query attends to keys with q - k <= window. A
	// position of 0 starts a new document for recurrence, convolution and attention.
	Original Semantics = iota
	// Transformers4 is transformers 4.57 without cache: causal attention without a window. Only the
	// recurrence starts anew at position 0.
	Transformers4
	// Transformers5 is transformers 5.x with position_ids and without cache: q - k < window. The
	// recurrence starts anew at position 0, the attention wherever positions do not count on by one,
	// the convolution never.
	Transformers5
)

// SemanticsNames has the name of each Semantics on the command line.
var SemanticsNames = [...]string{"original", "transformers4", "transformers5"}

func (s Semantics) String() string { return SemanticsNames[s] }

// HeadDim returns the width of one attention head.
func (c *Config) HeadDim() int { return c.Width / c.NumHeads }

// Validate reports a configuration that describes no model.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"vocabulary", c.VocabSize}, {"width", c.Width}, {"expanded width", c.MLPExpandedWidth}, {"number of heads", c.NumHeads},
	} {
		if f.value < 1 {
			return fmt.Errorf("%s is %d", f.name, f.value)
		}
	}
	for _, kind := range c.BlockTypes {
		switch kind {
		case Recurrent:
			if c.LRUWidth < 1 || c.LRUWidth%c.NumHeads != 0 {
				return fmt.Errorf("recurrence of width %d does not divide into %d heads", c.LRUWidth, c.NumHeads)
			}
		case Attention:
			if c.Width%c.NumHeads != 0 || c.HeadDim()%4 != 0 {
				return fmt.Errorf("width %d does not divide into %d heads of a multiple of 4", c.Width, c.NumHeads)
			}
			if c.AttentionWindow < 1 {
				return fmt.Errorf("attention window is %d", c.AttentionWindow)
			}
		default:
			return fmt.Errorf("block type %d is not known", kind)
		}
	}
	return nil
}
