// Package proof compares a written checkpoint with the list of moves that it should be the outcome
// of, element by element: bit for bit, or by the definition of rounding where the dtype changes or
// elements are divided. It shares no code with package transfer, which executes lists: a source is
// read as one stream, in its own order, and where each element belongs is computed from the view.
//
// A Matcher answers the simpler question whether two tensors hold the same elements in different
// orders.
package proof

import (
	"context"
	"fmt"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Options are what a caller may want of Prove.
type Options struct {
	// Progress, if not nil, is called with the number of bytes of the checkpoint that have been compared,
	// never concurrently.
	Progress func(done int64)

	// Sources and Dests are the digests that are computed of the tensors on either side, 0 for none. Bytes
	// that are proven to be the same on both sides are hashed once.
	Sources, Dests digest.Algorithms

	// AllowOverflow takes infinity for the right value of a finite element that is too large for its dtype. Otherwise it is a failure.
	AllowOverflow bool
}

// Proof says that a checkpoint holds every element where the list puts it, or where it does not.
type Proof struct {
	Tensors  int                      `json:"tensors"`  // of the list
	Elements int64                    `json:"elements"` // that were compared
	Bytes    int64                    `json:"bytes"`    // of them
	Failures strictjson.List[Failure] `json:"failures"` // one for each tensor that is not as it should be, in the order of the list, and then those that are not in it

	Rounded    int64 `json:"rounded,omitempty"`    // elements that were compared by the definition of rounding
	Overflowed int64 `json:"overflowed,omitempty"` // of them finite ones that became infinite

	Changed bool `json:"-"` // one of them has another value than in the source

	NotFinite []*tensor.Tensor `json:"-"` // sources that have NaN or infinities among what was compared

	Digests *moves.Digests `json:"-"` // nil unless Options asks for some
}

// Failure is a tensor of the checkpoint that is not what the list gives.
type Failure struct {
	Dest      int     `json:"-"` // index into List.Dests, -1 for a tensor that is not in the list
	Tensor    string  `json:"tensor"`
	Source    string  `json:"source,omitempty"` // name of the tensor from which the first differing element comes
	Problem   string  `json:"problem"`          // why the tensor could not be compared; "" if elements differ
	Index     []int64 `json:"index,omitempty"`  // of the first differing element
	Want      string  `json:"want,omitempty"`   // its value in the source
	Got       string  `json:"got,omitempty"`    // its value in the checkpoint
	Differing int64   `json:"wrong,omitempty"`  // elements; 0 if the tensor could not be compared

	Overflowed int64 `json:"-"` // those of Differing that are infinite and would be right if Options allowed it
}

// Describe says what is wrong with the tensor.
func (f *Failure) Describe() string {
	if f.Differing == 0 {
		return f.Problem
	}
	return fmt.Sprintf("differs in %s; the first, %s, is %s instead of %s (from %s)", text.Count(f.Differing, "element"), tensor.ShapeString(f.Index), f.Got, f.Want, f.Source)
}

// Error is a proof that failed.
type Error struct{ Failures strictjson.List[Failure] }

// Error lists the tensors.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("not as in the source: " + text.Count(e.Failures.Len(), "tensor"))
	for i := range e.Failures.Len() {
		f := e.Failures.At(i)
		fmt.Fprintf(&b, "\n  %s: %s", f.Tensor, f.Describe())
	}
	return b.String()
}

// Err returns an *Error if anything failed.
func (p *Proof) Err() error {
	if p.Failures.Len() == 0 {
		return nil
	}
	return &Error{p.Failures}
}

// Prove compares a checkpoint with what the moves of a list give. The checksums that the formats of
// the sources keep are checked. Its memory does not grow with the tensors.
//
// A checkpoint that differs is no error but has Failures. Prove returns a *tensor.FormatError if a
// tensor on either side is corrupt, or has a dtype whose rounding cannot be proven.
func Prove(ctx context.Context, l moves.List, written *tensor.Checkpoint, o Options) (*Proof, error) {
	return newProver(l, written, o).run(ctx)
}
