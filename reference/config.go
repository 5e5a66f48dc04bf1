package reference

import (
	"fmt"
	"slices"
	"strings"
)

// BlockType is the kind of temporal mixing that a block does.
type BlockType uint8

// The kinds of temporal mixing.
const (
	Recurrent BlockType = iota
	Attention
)

func (b BlockType) String() string { return [...]string{"recurrent", "attention"}[b] }

// Config holds the hyperparameters of a model under the names of the paper and of
// google-deepmind/recurrentgemma.
type Config struct {
	VocabSize        int
	Width            int         // width of the residual stream
	MLPExpandedWidth int         // hidden width of the MLP; transformers' intermediate_size is twice that
	NumHeads         int         // query heads of attention, and blocks of the RG-LRU's block-diagonal gates
	LRUWidth         int         // width of the recurrence
	BlockTypes       []BlockType // one for each block, in order
	AttentionWindow  int         // tokens; see Semantics for whether the current one counts
	LogitsSoftCap    float64     // 0 for none
	EmbeddingScale   bool        // embeddings are multiplied by sqrt(Width)
	SeparateHead     bool        // logits use the matrix OutputHead, not the embedding

	Variant *Variant // nil for that of the original
}

// Semantics selects the implementation to follow where the published ones differ: in the attention
// window, at document boundaries, in a soft cap of 0, in the factor of embeddings, and in constants.
type Semantics uint8

const (
	// Original is google-deepmind/recurrentgemma. A query attends to keys with q - k <= window.
	// Position 0 starts a document for the recurrence, the convolution and attention.
	Original Semantics = iota
	// Transformers4 is transformers 4.57 without its cache. Attention is causal without a window.
	// Position 0 starts a document for the recurrence only.
	Transformers4
	// Transformers5 is transformers 5.x with position_ids and without its cache. A query attends to
	// keys with q - k < window. Position 0 starts a document for the recurrence, any step of positions
	// other than 1 starts one for attention, and nothing starts one for the convolution.
	Transformers5
	// MLX is mlx-lm 0.32, with or without its cache. A query attends to keys with q - k < window. There are no positions: a row is
	// one document. Embeddings are multiplied by sqrt(width) in their own type, and the norms of blocks have another epsilon.
	MLX
	// Candle is candle-transformers 0.11. Attention is causal without a window. There are no positions: a row is one document.
	// Embeddings are multiplied by sqrt(width) in their own type.
	Candle
)

// SemanticsNames has the name of each Semantics, indexed by it.
var SemanticsNames = [...]string{"original", "transformers4", "transformers5", "mlx-lm", "candle"}

func (s Semantics) String() string { return SemanticsNames[s] }

// TakesPositions reports whether the implementation takes the position of each token. Otherwise tokens of a row are numbered from 0 on.
func (s Semantics) TakesPositions() bool { return s != MLX && s != Candle }

// Unlimited reports whether attention has no window.
func (s Semantics) Unlimited() bool { return s == Transformers4 || s == Candle }

// DividesByCap reports whether the implementation divides logits by a soft cap of 0, so that all of them are 0.
func (s Semantics) DividesByCap() bool { return s != Original && s != MLX }

// ParseSemantics returns the Semantics of that name.
func ParseSemantics(name string) (Semantics, error) {
	i := slices.Index(SemanticsNames[:], name)
	if i < 0 {
		return 0, fmt.Errorf("%q is not one of %s", name, strings.Join(SemanticsNames[:], ", "))
	}
	return Semantics(i), nil
}

// Validate returns an error if no model can have this configuration.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"vocabulary size", c.VocabSize}, {"width", c.Width}, {"MLP expanded width", c.MLPExpandedWidth}, {"number of heads", c.NumHeads},
	} {
		if f.value < 1 {
			return fmt.Errorf("%s is %d, want 1 or more", f.name, f.value)
		}
	}
	for _, kind := range c.BlockTypes {
		check := c.validateRecurrent
		switch kind {
		case Recurrent:
		case Attention:
			check = c.validateAttention
		default:
			return fmt.Errorf("unknown block type %d", kind)
		}
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
