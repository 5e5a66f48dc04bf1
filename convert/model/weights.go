package model

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/convert/source"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/reference"
)

// Weights returns the model's parameters for package reference. A parameter is read when it is asked
// for, and not kept: one that is stored uncompressed from its file, any other is decoded from front
// to back for each use.
func (m *Model) Weights() reference.Weights { return weights{m} }

// weights implements reference.Weights.
type weights struct{ model *Model }

// Parameter implements reference.Weights.
func (w weights) Parameter(block int, name string) (*reference.Parameter, error) {
	t, op, err := w.holder(block, name)
	if err != nil {
		return nil, err
	}
	return stored(t, op)
}

// holder returns the tensor that has a parameter, and the operation that makes the parameter from it.
func (w weights) holder(block int, name string) (*tensor.Tensor, Op, error) {
	m := w.model
	if name == reference.OutputHead && block == reference.Outer && len(m.Heads) > 0 {
		return m.Heads[0].Tensor, m.Heads[0].Op, nil
	}
	p, ok := m.parameter(block, name)
	if !ok {
		return nil, nil, fmt.Errorf("no parameter %s in block %d", name, block)
	}
	found := m.found.first[m.Family.nameOf(p, m.Layout)]
	if found == nil {
		return nil, nil, tensor.Bad("is missing").In(m.Checkpoint.Path).Of(m.Prefix + m.Family.nameOf(p, m.Layout))
	}
	return found, p.rule.At[m.Layout].Op, nil
}

// DigestedWeights are a model's parameters as Weights gives them. They compute the digest and the checksum of each
// tensor from what passes read of it.
type DigestedWeights struct {
	model      *Model
	algorithms digest.Algorithms

	mu      sync.Mutex
	readers map[*tensor.Tensor]*source.Reader
	digests map[*tensor.Tensor]*source.Digest
}

// NewDigestedWeights returns the parameters of m with the digests of no tensors. One pass may use them at a time.
func NewDigestedWeights(m *Model, a digest.Algorithms) *DigestedWeights {
	return &DigestedWeights{model: m, algorithms: a, readers: map[*tensor.Tensor]*source.Reader{}, digests: map[*tensor.Tensor]*source.Digest{}}
}

// Parameter implements reference.Weights.
func (w *DigestedWeights) Parameter(block int, name string) (*reference.Parameter, error) {
	t, op, err := weights{w.model}.holder(block, name)
	if err != nil {
		return nil, err
	}
	r, err := w.reader(t)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return stored(t, op)
	}
	parameter, err := stored(r.Tensor(), op)
	if err == nil {
		if f, ok := parameter.Data.(*fileRange); ok && w.isLocal(t) {
			f.unit = cachedBytes
		}
	}
	return parameter, err
}

// cachedBytes are read at a time from a local file, so that they are still in the second-level cache when their digest is
// computed.
const cachedBytes = 256 << 10

// isLocal reports whether a tensor lies in a file of the local file system.
func (w *DigestedWeights) isLocal(t *tensor.Tensor) bool {
	s, ok, err := tensor.Layout(t)
	return ok && err == nil && storage.CanMap(tensor.Unchecked(s.Store))
}

// reader returns what reads a tensor with its digest, or nil if passes do not read its elements in order.
func (w *DigestedWeights) reader(t *tensor.Tensor) (*source.Reader, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.readers[t]; r != nil {
		return r, nil
	}
	s, ok, err := tensor.Layout(t)
	if err != nil {
		return nil, err
	}
	if ok {
		if _, _, ok = s.Contiguous(); !ok {
			return nil, nil
		}
	}
	d := source.NewDigest(t, w.algorithms)
	r, err := source.Open(t, d)
	if err != nil {
		return nil, err
	}
	w.readers[t], w.digests[t] = r, d
	return r, nil
}

// Sums returns the digests of the tensors that passes read, by name, and finishes their checksums: a wrong one is a
// *tensor.FormatError. What passes left out of a tensor is read now. No pass may run.
func (w *DigestedWeights) Sums(ctx context.Context) (map[string]digest.Sum, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.readers {
		if err := r.Finish(); err != nil {
			return nil, err
		}
	}
	sums, err := source.Sums(ctx, w.digests)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]digest.Sum, len(sums))
	for t, sum := range sums {
		byName[t.Name] = sum
	}
	return byName, nil
}

// stored returns the parameter that o makes from a tensor, as it is stored. Package reference takes
// matrices in either orientation, so that no element has to be moved.
func stored(t *tensor.Tensor, o Op) (*reference.Parameter, error) {
	size := t.DType.Size()
	if size == 0 {
		return nil, tensor.Bad("type %s is not one that a model computes with", t.DType).Of(t.Name)
	}
	view, _ := o.apply(tensor.RowMajor(t.Shape...))
	s, ok, err := tensor.Layout(t)
	if err != nil {
		return nil, err
	}
	if ok && !(s.BigEndian && s.DType.SwapUnit() > 1) {
		if inStore, ok := s.Compose(view); ok {
			if p, first := arranged(inStore); p != nil {
				p.DType, p.Data = t.DType, &fileRange{tensor: t.Name, store: s.Store, base: s.Base + first*size, size: inStore.Elements() * size}
				return supported(p)
			}
		}
	}
	p, first := arranged(view)
	if p == nil {
		return nil, tensor.Bad("shape %s is not that of a parameter", tensor.ShapeString(t.Shape)).Of(t.Name)
	}
	p.DType, p.Data = t.DType, &decoded{name: t.Name, base: first * size, cursor: tensor.NewCursor(t)}
	return supported(p)
}

// arranged returns the parameter whose elements, in the order of v, are consecutive in either
// orientation, and the first of them; nil if they are not consecutive.
func arranged(v tensor.View) (p *reference.Parameter, first int64) {
	if v.IsRowMajor() {
		return &reference.Parameter{Shape: v.Shape}, v.Offset
	}
	axes := make([]int, len(v.Shape))
	for i := range axes {
		axes[i] = len(axes) - 1 - i
	}
	if transposed := v.Permute(axes...); transposed.IsRowMajor() {
		return &reference.Parameter{Shape: transposed.Shape, InOut: true}, v.Offset
	}
	return nil, 0
}

// fileRange is the data of a parameter in a file.
type fileRange struct {
	tensor     string // its name
	store      io.ReaderAt
	base, size int64
	unit       int // the most bytes to read at a time; 0 for no limit
}

// ReadAt implements io.ReaderAt.
func (s *fileRange) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.size || int64(len(p)) > s.size-off {
		return 0, io.EOF
	}
	n, err := 0, error(nil)
	for n < len(p) && err == nil {
		part := p[n:]
		if s.unit > 0 {
			part = part[:min(s.unit, len(part))]
		}
		var got int
		got, err = s.store.ReadAt(part, s.base+off+int64(n))
		n += got
		if got == 0 {
			break
		}
	}
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = tensor.Bad("storage ends %d bytes short", len(p)-n).At(s.base + off).Of(s.tensor)
	}
	return n, err
}

// decoded is the data of a parameter that has to be decoded. It is meant to be read from front to
// back: a read at a lower offset decodes from the start.
type decoded struct {
	name string // of the tensor
	base int64  // bytes before the parameter in the tensor

	mu     sync.Mutex
	cursor *tensor.Cursor
}

// ReadAt implements io.ReaderAt.
func (d *decoded) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.cursor.ReadAt(p, d.base+off)
	if err == nil {
		err = d.cursor.Finish()
	}
	return n, tensor.Annotate(err, tensor.Location{Tensor: d.name})
}

// Close closes the stream. A later read opens another.
func (d *decoded) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cursor.Close()
}

// supported returns the parameter in a type that package reference computes with: float64 is rounded
// to float32, as JAX and transformers do when they load it.
func supported(p *reference.Parameter) (*reference.Parameter, error) {
	if slices.Contains([]tensor.DType{tensor.F32, tensor.F16, tensor.BF16}, p.DType) {
		return p, nil
	}
	cast, err := tensor.NewCast(p.DType, tensor.F32)
	if err != nil {
		return nil, err
	}
	p.Data = &narrowed{data: p.Data, cast: cast, size: p.DType.Size()}
	p.DType = tensor.F32
	return p, nil
}

// narrowed is data whose elements are rounded to float32.
type narrowed struct {
	data io.ReaderAt
	cast tensor.Cast
	size int64
	mu   sync.Mutex
	buf  []byte
}

// ReadAt implements io.ReaderAt, for whole elements.
func (n *narrowed) ReadAt(p []byte, off int64) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	want := int64(len(p)) / 4 * n.size
	if int64(cap(n.buf)) < want {
		n.buf = make([]byte, want)
	}
	if got, err := n.data.ReadAt(n.buf[:want], off/4*n.size); int64(got) < want {
		return 0, err
	}
	n.cast(p, n.buf[:want])
	return len(p), nil
}

// Close implements io.Closer.
func (n *narrowed) Close() error {
	if c, ok := n.data.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
