// Package assemble makes whole tensors of chunks that are stored one by one, as the ranks of a
// distributed training write them.
//
// A chunk is a box of the tensor: a range of indices along each axis. The chunks of a tensor have to
// cover it, and each element once. Chunks of the very same box are replicas, which have to be equal:
// they are compared as they are read.
package assemble

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Box is a range of indices along each axis of a tensor.
type Box struct{ Offsets, Sizes []int64 }

// Chunks are the chunks of one tensor.
type Chunks interface {
	// Len returns the number of chunks.
	Len() int

	// Box returns which elements of the tensor chunk i has.
	Box(i int) Box

	// Path returns what users call the file that chunk i is in, for errors.
	Path(i int) string

	// Open returns the elements of chunk i, in row-major order: a tensor with the shape of its box and
	// the element type of the whole tensor.
	Open(i int) (*tensor.Tensor, error)
}

// New returns the data of the tensor that the chunks make. It opens none of them. Chunks that are not
// within the tensor, that overlap without being replicas, or that leave a part of it out, are a
// *tensor.FormatError.
func New(dtype tensor.DType, shape []int64, chunks Chunks) (tensor.Data, error) {
	a, err := Arrange(shape, chunks)
	if err != nil {
		return nil, err
	}
	return a.Data(dtype, chunks)
}

// Arrangement is how the chunks of a tensor lie in it. Tensors of the same shape whose chunks have the same boxes can share it.
type Arrangement struct {
	shape []int64
	order []int32 // the chunks that have elements, by their boxes
}

// Arrange returns the arrangement of the chunks, or the error of New about them.
func Arrange(shape []int64, chunks Chunks) (*Arrangement, error) {
	if _, err := tensor.Product(shape); err != nil {
		return nil, err
	}
	a := &Arrangement{shape: shape}
	for i := range chunks.Len() {
		box := chunks.Box(i)
		if err := box.check(shape); err != nil {
			return nil, tensor.Annotate(err, tensor.Location{File: chunks.Path(i)})
		}
		if !slices.Contains(box.Sizes, 0) {
			a.order = append(a.order, int32(i))
		}
	}
	a.order = slices.Clip(a.order)
	slices.SortStableFunc(a.order, func(x, y int32) int { return chunks.Box(int(x)).compare(chunks.Box(int(y))) })
	return a, (&whole{Arrangement: a, chunks: chunks}).checkCover()
}

// Data returns the data of the tensor that chunks of this arrangement make. It opens none of them.
func (a *Arrangement) Data(dtype tensor.DType, chunks Chunks) (tensor.Data, error) {
	if dtype.Size() == 0 {
		return nil, tensor.Bad("elements of %s have no address of their own", dtype)
	}
	if _, _, err := tensor.SizeOf(dtype, a.shape); err != nil {
		return nil, err
	}
	return &whole{Arrangement: a, dtype: dtype, chunks: chunks}, nil
}

// check reports a box that does not lie within a shape.
func (b Box) check(shape []int64) error {
	if len(b.Offsets) != len(shape) || len(b.Sizes) != len(shape) {
		return tensor.Bad("chunk of %d and %d axes in a tensor of %d", len(b.Offsets), len(b.Sizes), len(shape))
	}
	for k, n := range shape {
		if o, s := b.Offsets[k], b.Sizes[k]; o < 0 || s < 0 || o > n || s > n-o {
			return tensor.Bad("chunk %s is not within the shape %s", b, tensor.ShapeString(shape))
		}
	}
	return nil
}

// String returns the box as an index in Python: "[0:4, 8:16]".
func (b Box) String() string {
	ranges := make([]string, len(b.Offsets))
	for k, from := range b.Offsets {
		ranges[k] = fmt.Sprintf("%d:%d", from, from+b.Sizes[k])
	}
	return "[" + tensor.JoinNames(ranges) + "]"
}

// compare orders boxes by offsets, and those of the same offsets by sizes.
func (b Box) compare(other Box) int {
	return cmp.Or(slices.Compare(b.Offsets, other.Offsets), slices.Compare(b.Sizes, other.Sizes))
}

// whole is the data of a tensor of chunks.
type whole struct {
	*Arrangement
	chunks Chunks
	dtype  tensor.DType

	mu   sync.Mutex
	good map[int32]bool // chunks whose checksums are known to be right, but for small ones
}

// isReplica reports whether the chunk at an index of the order has the box of the one before it.
func (w *whole) isReplica(at int) bool {
	return at > 0 && w.box(at).compare(w.box(at-1)) == 0
}

func (w *whole) box(at int) Box { return w.chunks.Box(int(w.order[at])) }

func (w *whole) isGood(chunk int32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.good[chunk]
}

// maxRecheck is the size of chunks, in bytes, that are checked again whenever they are opened: that takes less than to remember
// each of the millions that a checkpoint can have.
const maxRecheck = 64 << 10

func (w *whole) markGood(chunk int32, bytes int64) {
	if bytes <= maxRecheck {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.good == nil {
		w.good = map[int32]bool{}
	}
	w.good[chunk] = true
}

// ChecksAtEnd implements tensor.CheckedAtEnd.
func (w *whole) ChecksAtEnd() bool { return true }

// Stream implements tensor.Data. It checks the checksum of each chunk that it reads to its end.
func (w *whole) Stream(off int64) (io.ReadCloser, error) {
	source := &panels{whole: w, view: tensor.RowMajor(w.shape...), open: map[int32]*chunk{}}
	return tensor.NewPanelReader(&tensor.Tensor{DType: w.dtype, Shape: w.shape}, off, source), nil
}
