// Package verify answers whether two checkpoints are the same model: it proves it on the weights,
// shows it on the logits, and says where and what when they are not.
package verify

import (
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Golden is a golden fixture: what an implementation computed of some tokens, in a safetensors
// file. All of its tensors are float32 or int32:
//
//	tokens        int32   [batch, length]
//	positions     int32   [batch, length]          optional: 0, 1, 2, … in each row
//	logits        float32 [batch, length, vocabulary]
//	hidden.0      float32 [batch, length, width]   optional: the embeddings, scaled
//	hidden.i      float32 [batch, length, width]   optional: the output of block i-1
//	temporal.i    float32 [batch, length, width]   optional: the output of block i's temporal half,
//	                                               before it is added
//	final_norm    float32 [batch, length, width]   optional
//	decode.logits float32 [batch, length - decode_start + 1, vocabulary], optional: the logits from
//	              position decode_start - 1 on, tokens from decode_start on fed one at a time
//	packed.*      the same tokens once more under packed.positions: rows of several documents, each of which
//	              begins at position 0
//
// The metadata are those of GoldenMeta. Tensors of other names are left alone.
type Golden struct {
	Path   string
	Meta   GoldenMeta
	Passes []GoldenPass  // the plain one, and then "packed" if there is one
	Decode *GoldenDecode // nil if decoding was not recorded

	checkpoint *tensor.Checkpoint
}

// GoldenMeta says what computed a fixture, and how.
type GoldenMeta struct {
	Implementation string            // one of the Implementation constants
	Versions       map[string]string // of the libraries: recurrentgemma, jax, torch, transformers, griffin
	DType          string            // that activations had: float32, bfloat16, float16 or float64
	Precision      reference.Precision
	Semantics      reference.Semantics
	DecodeStart    int               // 0 if decoding was not recorded
	Backend        string            // such as "cpu", "gpu NVIDIA H100", "tpu v4"; "" if not recorded
	Flags          map[string]string // of the precision of that backend, such as jax_default_matmul_precision
	ModelDigest    string            // of the weights, as Model.Digest has it; "" if not recorded
}

// The implementations that fixtures come from.
const (
	ImplementationJAX          = "google-deepmind/recurrentgemma jax"
	ImplementationTorch        = "google-deepmind/recurrentgemma torch"
	ImplementationTransformers = "transformers"
	ImplementationGriffin      = "griffin"
)

// GoldenPass is one run of the tokens through the model.
type GoldenPass struct {
	Name          string // "" or "packed"
	Batch, Length int
	Tokens        []int32 // [Batch, Length]
	Positions     []int32 // [Batch, Length]

	tensors map[string]*tensor.Tensor // by the names that reference.Observation gives
}

// GoldenDecode is the decoding of the plain pass's tokens from a state, a token at a time.
type GoldenDecode struct {
	Start  int // tokens of each row that were given at once
	Length int // positions of each row that have logits: from Start-1 on

	logits *tensor.Tensor
}

// OpenGolden opens a fixture and checks its tensors' names, types and shapes, its tokens and its
// metadata. Activations are read later.
func OpenGolden(path string) (*Golden, error) {
	checkpoint, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	g := &Golden{Path: path, checkpoint: checkpoint}
	if err := g.read(); err != nil {
		checkpoint.Close()
		return nil, describe(err, path)
	}
	return g, nil
}

// Close closes the file.
func (g *Golden) Close() error { return g.checkpoint.Close() }

// Pass returns the pass of that name, or nil.
func (g *Golden) Pass(name string) *GoldenPass {
	for i := range g.Passes {
		if g.Passes[i].Name == name {
			return &g.Passes[i]
		}
	}
	return nil
}

// Names returns what was recorded of the pass, in the order in which the model comes by it:
// hidden.0, temporal.0, hidden.1, …, final_norm, logits.
func (p *GoldenPass) Names() []string {
	var names []string
	for name := range p.tensors {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return siteOrder(a) - siteOrder(b) })
	return names
}

// Width returns the numbers that each token has under a name, 0 if it was not recorded.
func (p *GoldenPass) Width(name string) int {
	if t := p.tensors[name]; t != nil {
		return int(t.Shape[2])
	}
	return 0
}

// ReadAt fills dst with consecutive numbers of [Batch, Length, Width(name)], from element first
// on. A row of logits is Width("logits") numbers from token·Width on.
func (p *GoldenPass) ReadAt(dst []float32, name string, first int) error {
	t := p.tensors[name]
	if t == nil {
		return tensor.Bad("fixture has no %s", p.full(name))
	}
	return readFloats(dst, t, first)
}

// Read returns all of what was recorded under a name.
func (p *GoldenPass) Read(name string) (*reference.Activations, error) {
	width := p.Width(name)
	a := &reference.Activations{Batch: p.Batch, Length: p.Length, Width: width, Float32: make([]float32, p.Batch*p.Length*width)}
	return a, p.ReadAt(a.Float32, name, 0)
}

// full returns the name of a tensor of the pass in the file.
func (p *GoldenPass) full(name string) string {
	if p.Name == "" {
		return name
	}
	return p.Name + "." + name
}

// ReadAt fills dst with consecutive numbers of [batch, Length, vocabulary].
func (d *GoldenDecode) ReadAt(dst []float32, first int) error {
	return readFloats(dst, d.logits, first)
}

// Vocabulary returns the number of logits of a position.
func (d *GoldenDecode) Vocabulary() int { return int(d.logits.Shape[2]) }

// siteOrder orders the names of results as a pass comes by them.
func siteOrder(name string) int {
	switch name {
	case "final_norm":
		return 1 << 30
	case "logits":
		return 1<<30 + 1
	}
	kind, index, _ := strings.Cut(name, ".")
	i := 2 * siteIndex(index)
	if kind == "temporal" {
		i++
	}
	return i
}
