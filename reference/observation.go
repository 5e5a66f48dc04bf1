package reference

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Site is a point in the model whose result is observed.
type Site uint8

// The sites, in the order of a pass.
const (
	Hidden      Site = iota // output of block Index-1, or the embeddings for Index 0
	Temporal                // output of the temporal mixing of block Index, before the residual is added
	FinalNormed             // output of the final norm
	Logits                  // logits after the soft cap
)

// Observation is an intermediate result. The pass does not change its numbers later, so that they may
// be kept, unless the pass is Transient.
type Observation struct {
	Site  Site
	Index int
	First int // of a Transient pass's logits: the token of the vocabulary that the first column is of
	Activations
}

// Name returns the name of the result in golden fixtures, such as "hidden.3".
func (o *Observation) Name() string {
	switch o.Site {
	case Hidden:
		return fmt.Sprintf("hidden.%d", o.Index)
	case Temporal:
		return fmt.Sprintf("temporal.%d", o.Index)
	case FinalNormed:
		return "final_norm"
	default:
		return "logits"
	}
}

// Activations is an array [batch, length, width]. The elements are in Float64 if the model computes in
// float64, otherwise in Float32.
type Activations struct {
	Batch, Length, Width int
	Float32              []float32
	Float64              []float64
}

// Len returns the number of elements.
func (a *Activations) Len() int { return len(a.Float32) + len(a.Float64) }

// At returns element i of the whole array.
func (a *Activations) At(i int) float64 {
	if a.Float64 != nil {
		return a.Float64[i]
	}
	return float64(a.Float32[i])
}

// observe calls p.Observe, if there is one, with an intermediate result.
func observe[T kernel.Float](p *Pass, site Site, index int, x []T) error {
	return observeFrom(p, site, index, 0, x)
}

// observeFrom is observe for columns from the first one on.
func observeFrom[T kernel.Float](p *Pass, site Site, index, first int, x []T) error {
	if p.Observe == nil {
		return nil
	}
	o := Observation{Site: site, Index: index, First: first}
	o.Batch, o.Length, o.Width = p.Batch, len(p.Tokens)/p.Batch, len(x)/len(p.Tokens)
	switch x := any(x).(type) {
	case []float32:
		o.Float32 = x
	case []float64:
		o.Float64 = x
	}
	return p.Observe(o)
}
