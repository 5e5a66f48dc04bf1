// Package quantized reads quantised copies of models: checkpoints whose matrices are stored as codes of 3 to 8 bits with
// scales beside them, as bitsandbytes (int8, nf4, fp4), fp8 trainers and runtimes, and MLX write them.
//
// Open finds the quantised matrices of a checkpoint and returns a Copy, whose Checkpoint has the tensors of the model under
// their own names. They are dequantised as they are read, by the rule of their scheme. Weight.Judge measures how far one is
// from the original, and how far it had to be.
package quantized

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Reasons of the errors of this package, and of those that refuse a quantised copy.
const (
	// ReasonQuantized is for quantised copies where the model itself is needed.
	ReasonQuantized tensor.Reason = "quantized"
	// ReasonMismatch is for a quantization_config that does not describe the tensors.
	ReasonMismatch tensor.Reason = "quantization-mismatch"
	// ReasonScheme is for schemes that this package does not read, and for matrices of which nothing says how they are quantised.
	ReasonScheme tensor.Reason = "quantization-scheme"
	// ReasonDamaged is for scales and other parts of quantised matrices that are missing or do not fit.
	ReasonDamaged tensor.Reason = "quantization-damaged"
)

// Copy is a checkpoint with quantised matrices.
type Copy struct {
	// Checkpoint has the dequantised matrices, and all tensors that are not part of one as they are. Its files are
	// those of the stored checkpoint, which it closes when it is closed.
	Checkpoint *tensor.Checkpoint
	// Weights are the quantised matrices in the order of the stored checkpoint.
	Weights []*Weight
	// Notes say what a reader should know about the quantisation, one sentence each.
	Notes []string
}

// Weight is one quantised matrix.
type Weight struct {
	// Tensor is the dequantised matrix: float32, or the dtype that the scheme states.
	Tensor *tensor.Tensor
	Scheme Scheme
	// Stored are the tensors that hold it: the codes, and then scales and the like.
	Stored []*tensor.Tensor

	rule *rule
}

// Scheme says how matrices are quantised.
type Scheme struct {
	Method string // "bitsandbytes nf4", "fp8 e4m3", "MLX affine"
	Bits   int    // of a code
	// Blocks says in words which elements share a scale: "per tensor", "per row", "blocks of 64".
	Blocks string
	// Double is true if the scales are quantised too.
	Double bool
}

// String describes a scheme: "bitsandbytes nf4, blocks of 64, double quantised".
func (s Scheme) String() string {
	parts := []string{s.Method, s.Blocks}
	if strings.HasPrefix(s.Method, "MLX") {
		parts = []string{s.Method, fmt.Sprintf("%d bits", s.Bits), s.Blocks}
	}
	if s.Double {
		parts = append(parts, "double quantised")
	}
	return strings.Join(parts, ", ")
}

// WeightOf returns the quantised matrix of which a tensor of a Copy, under whatever name, has the elements; nil if there is none.
func WeightOf(t *tensor.Tensor) *Weight {
	if d, ok := t.Data.(*dequantized); ok {
		return d.w
	}
	return nil
}

// Kept returns the tensors that were left alone.
func (c *Copy) Kept() []*tensor.Tensor {
	var out []*tensor.Tensor
	for _, t := range c.Checkpoint.Tensors() {
		if WeightOf(t) == nil {
			out = append(out, t)
		}
	}
	return out
}

// KeptMatrices names the tensors with several axes that were left alone. Those of one name in several layers are counted
// together: "model.layers.*.conv.weight (4)".
func (c *Copy) KeptMatrices() string {
	count := map[string]int{}
	var names []string
	for _, t := range c.Kept() {
		if len(t.Shape) < 2 {
			continue
		}
		segments := strings.Split(t.Name, ".")
		for i, s := range segments {
			if _, err := strconv.Atoi(s); err == nil {
				segments[i] = "*"
			}
		}
		name := strings.Join(segments, ".")
		if count[name]++; count[name] == 1 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	for i, name := range names {
		if strings.Contains(name, "*") {
			names[i] = fmt.Sprintf("%s (%d)", name, count[name])
		}
	}
	return tensor.JoinNames(names)
}

// Schemes returns the schemes of the matrices, each once, the most frequent first.
func (c *Copy) Schemes() []Scheme {
	count := map[Scheme]int{}
	var out []Scheme
	for _, w := range c.Weights {
		if count[w.Scheme] == 0 {
			out = append(out, w.Scheme)
		}
		count[w.Scheme]++
	}
	for i := 1; i < len(out); i++ {
		for k := i; k > 0 && count[out[k]] > count[out[k-1]]; k-- {
			out[k], out[k-1] = out[k-1], out[k]
		}
	}
	return out
}

// String says what the copy is: "bitsandbytes nf4, blocks of 64: 11 of 36 tensors are quantised".
func (c *Copy) String() string {
	var schemes []string
	for _, s := range c.Schemes() {
		schemes = append(schemes, s.String())
	}
	return fmt.Sprintf("%s: %d of %d tensors are quantised", strings.Join(schemes, "; "), len(c.Weights), len(c.Checkpoint.Tensors()))
}

// Open finds the quantised matrices of a checkpoint. It returns nil if there are none. It reads headers, config.json, and
// descriptions and tables of a few hundred bytes; elements are read when Checkpoint's are. The checkpoint has to stay open.
//
// Matrices with missing or misshapen parts, schemes that are not read, and a quantization_config of config.json that does
// not describe the tensors are a *tensor.FormatError.
func Open(c *tensor.Checkpoint) (*Copy, error) {
	f := &finder{stored: c, parts: map[*tensor.Tensor]bool{}}
	if !f.any() {
		return nil, nil
	}
	claim, err := readClaim(c)
	if err != nil {
		return nil, err
	}
	f.claim = claim
	if err := f.find(); err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: c.Path})
	}
	if len(f.weights) == 0 {
		return nil, nil
	}
	if err := claim.check(f.weights, f.others()); err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: claim.path})
	}
	return f.copy()
}

// Refuse returns a *tensor.FormatError if the checkpoint is a quantised copy, or looks like a broken one.
func Refuse(c *tensor.Checkpoint) error {
	q, err := Open(c)
	if err != nil || q == nil {
		return err
	}
	return tensor.Bad("a quantised copy, and not the model itself (%s)", q).In(c.Path).Because(ReasonQuantized)
}
