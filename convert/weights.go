package convert

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// Weights returns the model's parameters for package reference, of whatever layout, through the
// table of rules. Nothing is read before it is asked for, and nothing is kept.
//
// A parameter that lies uncompressed in a file is read from there; one that does not is decoded
// from front to back, once for each use.
func (m *Model) Weights() reference.Weights { return weights{m} }

// Reference returns the configuration as package reference has it.
func (c *Config) Reference() reference.Config {
	r := reference.Config{
		VocabSize: int(c.VocabSize), Width: int(c.Width), MLPExpandedWidth: int(c.MLPExpandedWidth), NumHeads: int(c.NumHeads),
		LRUWidth: int(c.LRUWidth), AttentionWindow: int(c.AttentionWindow), LogitsSoftCap: c.LogitsSoftCap,
		EmbeddingScale: c.EmbeddingScale, SeparateHead: c.SeparateHead,
	}
	for _, b := range c.BlockTypes {
		kind := reference.Recurrent
		if b == Attention {
			kind = reference.Attention
		}
		r.BlockTypes = append(r.BlockTypes, kind)
	}
	return r
}

// CheckHead reads the output heads that should be copies of the embedding, and reports one that is
// not as *tensor.FormatError.
func (m *Model) CheckHead(ctx context.Context, c *Config) error {
	if c.SeparateHead {
		return nil
	}
	for _, copied := range m.headCopies(c) {
		at, err := copied.differs(ctx)
		if err != nil {
			return err
		}
		if at >= 0 {
			return tensor.Bad("differs from %s from element %d on, and nothing says that the head is not tied to it", copied.Of.Name, at).
				In(m.Checkpoint.Path).Of(copied.Tensor.Name)
		}
	}
	return nil
}

// weights implements reference.Weights.
type weights struct{ model *Model }

// rulesByName finds a rule by what package reference calls its parameter.
var rulesByName = func() map[string]*rule {
	m := map[string]*rule{}
	for i := range rules {
		m[rules[i].name] = &rules[i]
	}
	return m
}()

// Parameter implements reference.Weights.
func (w weights) Parameter(block int, name string) (*reference.Parameter, error) {
	m := w.model
	if name == reference.OutputHead && block == reference.Outer && len(m.Heads) > 0 {
		return stored(m.Heads[0].Tensor, m.Heads[0].op)
	}
	r := rulesByName[name]
	if r == nil || (r.scope == once) != (block == reference.Outer) || block >= len(m.blocks) {
		return nil, fmt.Errorf("no parameter %s in block %d", name, block)
	}
	p := parameter{r, -1}
	if block >= 0 {
		p.block = m.blocks[block]
	}
	found := m.found[p.name(m.Layout)]
	if len(found) == 0 {
		return nil, tensor.Bad("is missing").In(m.Checkpoint.Path).Of(m.Prefix + p.name(m.Layout))
	}
	return stored(found[0], r.at[m.Layout].op)
}

// stored returns the parameter that o makes of a tensor, as it is stored: the kernels take
// matrices either way round, so that no element has to be moved.
func stored(t *tensor.Tensor, o op) (*reference.Parameter, error) {
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
				p.DType, p.Data = t.DType, &stretch{of: t.Name, store: s.Store, base: s.Base + first*size, size: inStore.Elements() * size}
				return widened(p)
			}
		}
	}
	p, first := arranged(view)
	if p == nil {
		return nil, tensor.Bad("shape %s is not that of a parameter", tensor.ShapeString(t.Shape)).Of(t.Name)
	}
	p.DType, p.Data = t.DType, &decoded{of: t, base: first * size}
	return widened(p)
}

// arranged tells how a matrix [out, in], or anything of another rank, lies in consecutive
// elements, and which is the first; nil if they are not consecutive.
func arranged(v tensor.View) (p *reference.Parameter, first int64) {
	if v.IsRowMajor() {
		return &reference.Parameter{Shape: v.Shape}, v.Offset
	}
	axes := make([]int, len(v.Shape))
	for i := range axes {
		axes[i] = len(axes) - 1 - i
	}
	if turned := v.Permute(axes...); turned.IsRowMajor() {
		return &reference.Parameter{Shape: turned.Shape, InOut: true}, v.Offset
	}
	return nil, 0
}

// stretch is a parameter that lies in a file.
type stretch struct {
	of         string
	store      io.ReaderAt
	base, size int64
}

// ReadAt implements io.ReaderAt.
func (s *stretch) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.size || int64(len(p)) > s.size-off {
		return 0, io.EOF
	}
	n, err := s.store.ReadAt(p, s.base+off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = tensor.Bad("storage ends %d bytes short", len(p)-n).At(s.base + off).Of(s.of)
	}
	return n, err
}

// decoded is a parameter that has to be decoded. It is meant to be read from front to back; a read of
// what came before begins anew.
type decoded struct {
	of   *tensor.Tensor
	base int64 // bytes before the parameter in the tensor

	mu     sync.Mutex
	stream io.ReadCloser
	at     int64 // byte of the parameter that the stream gives next
}

// ReadAt implements io.ReaderAt.
func (d *decoded) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stream == nil || off < d.at {
		if err := d.open(off); err != nil {
			return 0, err
		}
	}
	skipped, err := io.CopyN(io.Discard, d.stream, off-d.at)
	d.at += skipped
	if err == nil {
		var n int
		n, err = io.ReadFull(d.stream, p)
		d.at += int64(n)
		if err == nil {
			return n, nil
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = tensor.Bad("data ends at byte %d", d.base+d.at).Of(d.of.Name)
	}
	return 0, err
}

func (d *decoded) open(off int64) error {
	if d.stream != nil {
		d.stream.Close()
		d.stream = nil
	}
	stream, err := d.of.Data.Stream(d.base + off)
	if err != nil {
		return err
	}
	d.stream, d.at = stream, off
	return nil
}

// Close ends the decoding; a later read begins anew.
func (d *decoded) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stream == nil {
		return nil
	}
	stream := d.stream
	d.stream = nil
	return stream.Close()
}

// widened returns a parameter of a type that package reference computes with: float64 is rounded to
// float32, as JAX and transformers do when they load it.
func widened(p *reference.Parameter) (*reference.Parameter, error) {
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

// narrowed is data whose elements become float32.
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

// Named is a tensor of a model with its name from the model's root on, without "params.", "model."
// and other wrappers.
type Named struct {
	Name   string
	Tensor *tensor.Tensor
}

// Named lists the tensors that hold the parameters of a whole model, each once, in the order of
// the rules; an output head only where c says that it is one of its own.
func (m *Model) Named(c *Config) []Named {
	var out []Named
	seen := map[string]bool{}
	for _, p := range m.parameters() {
		name := p.name(m.Layout)
		if found := m.found[name]; !seen[name] && len(found) > 0 {
			seen[name] = true
			out = append(out, Named{name, found[0]})
		}
	}
	if h := m.OwnHead(c); h != nil {
		out = append(out, Named{"lm_head.weight", h.Tensor})
	}
	return out
}
