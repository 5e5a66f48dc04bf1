// Package convert turns a Griffin-family checkpoint of one layout into another: it recognises the
// model by its names and shapes, plans every tensor of the destination before a byte is written,
// streams the plan, and writes the files that belong beside the weights.
package convert

import (
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Plan is all that a conversion will write, known before the first byte is: the tensors of the
// destination, and the moves that fill each of them exactly once.
type Plan struct {
	Source *Model       // what is converted
	Layout Layout       // of the destination
	Config Config       // of the model
	Preset string       // the preset that gave settings, or ""
	DType  tensor.DType // of the destination; where tensors differ, that of most elements
	Keep   bool         // each tensor keeps its dtype

	// Settled says that Config has what shapes cannot tell. An original that becomes an original does
	// not need it, and nothing may tell.
	Settled bool

	HF *manifest.HuggingFace // how config.json expresses Config; nil where the destination is an original

	moves.List // the tensors of the destination, and what fills them

	Copies []Copy           // tensors that are left out because others hold the same
	Left   []*tensor.Tensor // tensors of the source that are no part of the model (optimizer state, …)
	Notes  []string         // what the user should know, one sentence each

	allowInexact bool
	config       *sourceConfig  // of the source, where both sides are Hugging Face directories
	whole        *tensor.Tensor // the head, where it is the embedding of a model that does not scale it
}
