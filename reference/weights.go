package reference

import (
	"fmt"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference/kernel"
)

// Weights gives access to the parameters of a model. The forward pass asks for each parameter when it
// needs it, block by block, and keeps none, so that an implementation can open, map or decode
// tensors on demand.
type Weights interface {
	// Parameter returns a parameter of a block, or of the model itself if block is Outer. A pass calls
	// it from one goroutine at a time, and has few parameters open at once.
	Parameter(block int, name string) (*Parameter, error)
}

// Outer is the block number of the parameters outside all blocks.
const Outer = -1

// Names of parameters. A matrix [in → out] may be stored as [out, in] or [in, out] (see
// Parameter.InOut); those marked "stored so" have one form only.
const (
	Embedding  = "embedding"        // [vocabulary, width], stored so
	OutputHead = "output_head"      // [vocabulary, width], stored so; only with Config.SeparateHead
	FinalNorm  = "final_norm.scale" // [width]

	TemporalNorm = "temporal_pre_norm.scale" // [width], in every block
	ChannelNorm  = "channel_pre_norm.scale"  // [width], in every block
	MLPGate      = "mlp.gate"                // [width → expanded] and bias
	MLPUp        = "mlp.up"                  // [width → expanded] and bias
	MLPDown      = "mlp.down"                // [expanded → width] and bias

	LinearX   = "recurrent.linear_x"          // [width → lru] and bias
	LinearY   = "recurrent.linear_y"          // [width → lru] and bias
	LinearOut = "recurrent.linear_out"        // [lru → width] and bias
	Conv1D    = "recurrent.conv_1d"           // [4 taps → lru] and bias, or as many taps as a Variant has; the last multiplies the current token
	AParam    = "recurrent.rg_lru.a_param"    // [lru]
	InputGate = "recurrent.rg_lru.input_gate" // [heads, lru/heads in, lru/heads out], stored so, and bias
	AGate     = "recurrent.rg_lru.a_gate"     // [heads, lru/heads in, lru/heads out], stored so, and bias

	ProjQ     = "attention.proj_q"     // [width → width], with a bias if a Variant has it
	ProjK     = "attention.proj_k"     // [width → head], or as many heads as a Variant has, with such a bias
	ProjV     = "attention.proj_v"     // the same
	ProjFinal = "attention.proj_final" // [width → width] and bias

	// Kernel and Bias are suffixes of the names of parameters that come in pairs: MLPGate + Kernel.
	Kernel = ".kernel"
	Bias   = ".bias"
)

// Parameter is a parameter as it is stored.
type Parameter struct {
	DType tensor.DType // F32, F16 or BF16
	Shape []int64      // as stored; axes of size 1 are ignored
	InOut bool         // a matrix is stored as [in, out] (Flax), not as [out, in] (torch)

	// Data holds the elements, row-major and little-endian, from offset 0 on. Data of type Bytes is used
	// in place. Any other is read in pieces of a few megabytes, and closed after use if it is an
	// io.Closer.
	Data io.ReaderAt
}

// Bytes is the data of a parameter in memory or in a mapped file.
type Bytes []byte

// ReadAt implements io.ReaderAt.
func (b Bytes) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// close releases the data of the parameter.
func (p *Parameter) close() {
	if c, ok := p.Data.(io.Closer); ok {
		c.Close()
	}
}

// inMemory reports whether the elements are used in place.
func (p *Parameter) inMemory() bool {
	_, ok := p.Data.(Bytes)
	return ok
}

// read returns n elements from element first on. It may use buf to hold them.
func (p *Parameter) read(first, n int, buf []byte) ([]byte, error) {
	size := int(p.DType.Size())
	from, length := first*size, n*size
	if b, ok := p.Data.(Bytes); ok {
		if len(b) < from+length {
			return nil, io.ErrUnexpectedEOF
		}
		return b[from:][:length], nil
	}
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	got, err := p.Data.ReadAt(buf[:length], int64(from))
	if got < length {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buf[:length], nil
}

// check returns an error if the parameter has another shape or an unsupported dtype.
func (p *Parameter) check(shape []int) error {
	switch p.DType {
	case tensor.F32, tensor.F16, tensor.BF16:
	default:
		return fmt.Errorf("dtype %s is not supported, want float32, float16 or bfloat16", p.DType)
	}
	want := slices.Clone(shape)
	if p.InOut && len(want) == 2 {
		want[0], want[1] = want[1], want[0]
	}
	if !sameShape(p.Shape, want) {
		return fmt.Errorf("shape is %v, want %v", p.Shape, want)
	}
	return nil
}

// vector returns the n elements of a parameter, rounded to the precision of weights. They are valid until the end of the
// block.
func (e *engine[T]) vector(block int, name string, n int) ([]T, error) {
	x, _, err := e.elements(block, name, n)
	return x, err
}

// elements returns the elements of a parameter in the order in which they are stored, rounded to the
// precision of weights.
func (e *engine[T]) elements(block int, name string, shape ...int) ([]T, *Parameter, error) {
	o, err := e.open(request{block, name, shape, true})
	if err != nil {
		return nil, nil, err
	}
	defer o.close()
	raw, err := o.next(e.ctx)
	if err != nil {
		return nil, nil, err
	}
	defer raw.done()
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := e.memory.vector(n)
	kernel.Widen(x, o.DType, raw.data)
	if e.bf16 {
		for i := range x {
			x[i] = T(kernel.RoundBF16(float32(x[i])))
		}
	}
	return x, o.Parameter, nil
}

// sameShape compares shapes, ignoring axes of size 1. Any shape of n elements can stand for the vector
// [n], because the biases of the gates are stored as [heads, width/heads].
func sameShape(got []int64, want []int) bool {
	var g, w []int64
	count := int64(1)
	for _, d := range got {
		count *= d
		if d != 1 {
			g = append(g, d)
		}
	}
	for _, d := range want {
		if d != 1 {
			w = append(w, int64(d))
		}
	}
	if len(want) == 1 {
		return count == int64(want[0])
	}
	return slices.Equal(g, w)
}

// annotate adds the name of a parameter to an error.
func annotate(block int, name string, err error) error {
	if block == Outer {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("block %d: %s: %w", block, name, err)
}
