package golden

import (
	"encoding/binary"
	"io"
	"math"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

const (
	maxTokens   = 1 << 24 // of a file of tokens
	maxRecorded = 1 << 20 // tokens of a fixture: several values of each are in memory while it is compared
)

// piece is how many elements are read at a time.
const piece = 64 << 10

// read checks the file and sets the fields of f.
func (f *Fixture) read() error {
	if err := f.Meta.parse(f.checkpoint.Metadata); err != nil {
		return err
	}
	tokens, err := f.integers("tokens")
	if err != nil {
		return err
	}
	if tokens == nil {
		return tensor.Bad("%w: it has no tokens", ErrNotFixture)
	}
	batch, length := int(tokens.shape[0]), int(tokens.shape[1])
	for _, name := range []string{"", "packed"} {
		p := Pass{Name: name, Batch: batch, Length: length, Tokens: tokens.values}
		if err := f.readPass(&p); err != nil {
			return err
		}
		if len(p.tensors) > 0 {
			f.Passes = append(f.Passes, p)
		} else if name == "" {
			return tensor.Bad("fixture has tokens, but neither logits nor hidden states")
		}
	}
	return f.readDecode(batch, length)
}

// readPass finds the tensors of a pass; p.tensors is empty if the pass was not recorded.
func (f *Fixture) readPass(p *Pass) error {
	p.tensors = map[string]*tensor.Tensor{}
	for _, t := range f.checkpoint.Tensors() {
		name := t.Name
		if p.Name != "" {
			var ok bool
			if name, ok = strings.CutPrefix(name, p.Name+"."); !ok {
				continue
			}
		}
		if _, _, ok := ParseSite(name); !ok {
			continue
		}
		if err := checkActivations(t, p.Batch, p.Length); err != nil {
			return err
		}
		p.tensors[name] = t
	}
	if err := p.sameWidths(); err != nil {
		return err
	}
	if vocabulary := p.Width("logits"); vocabulary > 0 {
		for i, token := range p.Tokens {
			if int(token) >= vocabulary {
				return tensor.Bad("element %d is %d, but there are only %d logits", i, token, vocabulary).Of("tokens")
			}
		}
	}
	positions, err := f.integers(p.FullName("positions"))
	switch {
	case err != nil:
		return err
	case positions != nil:
		if int(positions.shape[0]) != p.Batch || int(positions.shape[1]) != p.Length {
			return tensor.Bad("shape is %s, but that of tokens is [%d, %d]", tensor.ShapeString(positions.shape), p.Batch, p.Length).Of(p.FullName("positions"))
		}
		p.Positions = positions.values
	case p.Name != "" && len(p.tensors) > 0:
		return tensor.Bad("fixture has %s tensors without %s.positions", p.Name, p.Name)
	default:
		p.Positions = rowPositions(p.Batch, p.Length)
	}
	return nil
}

// sameWidths returns an error if hidden states have different widths.
func (p *Pass) sameWidths() error {
	width, of := 0, ""
	for _, name := range p.Names() {
		if name == "logits" {
			continue
		}
		if w := p.Width(name); width == 0 {
			width, of = w, name
		} else if w != width {
			return tensor.Bad("has %d channels, but %s has %d", w, p.FullName(of), width).Of(p.FullName(name))
		}
	}
	return nil
}

// readDecode finds the logits of decoding, if they were recorded.
func (f *Fixture) readDecode(batch, length int) error {
	t := f.checkpoint.Tensor("decode.logits")
	if t == nil {
		return nil
	}
	start := f.Meta.DecodeStart
	if start < 1 || start > length {
		return tensor.Bad("fixture has decode.logits, but its metadata decode_start is %d for rows of %d tokens", start, length)
	}
	if err := checkActivations(t, batch, length-start+1); err != nil {
		return err
	}
	f.Decode = &Decoding{Start: start, Length: length - start + 1, logits: t}
	if v := f.Pass("").Width("logits"); v != 0 && v != f.Decode.Vocabulary() {
		return tensor.Bad("has a vocabulary of %d, but logits has one of %d", f.Decode.Vocabulary(), v).Of(t.Name)
	}
	return nil
}

// integers is a small int32 tensor [batch, length].
type integers struct {
	shape  []int64
	values []int32
}

// integers reads tokens or positions. It returns nil if the fixture has no such tensor.
func (f *Fixture) integers(name string) (*integers, error) {
	return readIntegers(f.checkpoint, name, maxRecorded)
}

func readIntegers(c *tensor.Checkpoint, name string, most int64) (*integers, error) {
	t := c.Tensor(name)
	if t == nil {
		return nil, nil
	}
	if t.DType != tensor.I32 && t.DType != tensor.I64 || len(t.Shape) != 2 {
		return nil, tensor.Bad("is %s %s, not int32 [batch, length]", t.DType, tensor.ShapeString(t.Shape)).Of(name)
	}
	n := t.Elements()
	if n < 1 || n > most {
		return nil, tensor.Bad("%d tokens, and griffin reads 1 to %d", n, most).Of(name)
	}
	out := &integers{shape: t.Shape, values: make([]int32, n)}
	size := int(t.DType.Size()) // 8 as torch and numpy have them by default
	raw := make([]byte, size*min(len(out.values), piece))
	for first := 0; first < len(out.values); first += piece {
		values := out.values[first:min(first+piece, len(out.values))]
		if err := readAll(t, raw[:size*len(values)], int64(size*first)); err != nil {
			return nil, err
		}
		for i := range values {
			v := int64(int32(binary.LittleEndian.Uint32(raw[size*i:])))
			if size == 8 {
				v = int64(binary.LittleEndian.Uint64(raw[size*i:]))
			}
			if v < 0 || v > math.MaxInt32 {
				return nil, tensor.Bad("element %d is %d, but tokens and positions are 0 to 2^31-1", first+i, v).Of(name)
			}
			values[i] = int32(v)
		}
	}
	return out, nil
}

// checkActivations returns an error if a tensor is not float32 [batch, length, channels].
func checkActivations(t *tensor.Tensor, batch, length int) error {
	if t.DType != tensor.F32 || len(t.Shape) != 3 || t.Shape[0] != int64(batch) || t.Shape[1] != int64(length) || t.Shape[2] < 1 {
		return tensor.Bad("is %s %s, not float32 [%d, %d, channels]", t.DType, tensor.ShapeString(t.Shape), batch, length).Of(t.Name)
	}
	return nil
}

// rowPositions returns positions 0, 1, 2, … in each row.
func rowPositions(batch, length int) []int32 {
	positions := make([]int32, batch*length)
	for i := range positions {
		positions[i] = int32(i % length)
	}
	return positions
}

// readFloats fills dst with elements of a float32 tensor, starting at element first.
func readFloats(dst []float32, t *tensor.Tensor, first int) error {
	raw := make([]byte, 4*min(len(dst), piece))
	for len(dst) > 0 {
		n := min(len(dst), piece)
		if err := readAll(t, raw[:4*n], int64(first)*4); err != nil {
			return err
		}
		for i := range n {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		dst, first = dst[n:], first+n
	}
	return nil
}

// readAll fills p with bytes of a tensor, starting at off.
func readAll(t *tensor.Tensor, p []byte, off int64) error {
	n, err := t.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return tensor.Bad("data ends %d bytes short", len(p)-n).Of(t.Name)
	}
	return err
}
