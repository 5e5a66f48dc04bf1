package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/reference"
)

// maxTokens bounds the tokens of a fixture: far more than anybody records the logits of.
const maxTokens = 1 << 24

// read checks the file and fills in g.
func (g *Golden) read() error {
	if err := g.Meta.parse(g.checkpoint.Metadata); err != nil {
		return err
	}
	tokens, err := g.integers("tokens")
	if err != nil {
		return err
	}
	if tokens == nil {
		return tensor.Bad("not a golden fixture: it has no tokens").Advise("griffin golden writes fixtures, and griffin golden --capture-script prints scripts that do")
	}
	batch, length := int(tokens.shape[0]), int(tokens.shape[1])
	for _, name := range []string{"", "packed"} {
		p := GoldenPass{Name: name, Batch: batch, Length: length, Tokens: tokens.values}
		if err := g.readPass(&p); err != nil {
			return err
		}
		if len(p.tensors) > 0 {
			g.Passes = append(g.Passes, p)
		} else if name == "" {
			return tensor.Bad("fixture has tokens, but neither logits nor hidden states")
		}
	}
	return g.readDecode(batch, length)
}

// readPass finds the tensors of a pass. One without any has none.
func (g *Golden) readPass(p *GoldenPass) error {
	p.tensors = map[string]*tensor.Tensor{}
	for _, t := range g.checkpoint.Tensors() {
		name := t.Name
		if p.Name != "" {
			var ok bool
			if name, ok = strings.CutPrefix(name, p.Name+"."); !ok {
				continue
			}
		}
		if !isSite(name) {
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
				return tensor.Bad("element %d is %d, and there are %d logits", i, token, vocabulary).Of("tokens")
			}
		}
	}
	positions, err := g.integers(p.full("positions"))
	switch {
	case err != nil:
		return err
	case positions != nil:
		if int(positions.shape[0]) != p.Batch || int(positions.shape[1]) != p.Length {
			return tensor.Bad("shape is %s, that of tokens [%d, %d]", tensor.ShapeString(positions.shape), p.Batch, p.Length).Of(p.full("positions"))
		}
		p.Positions = positions.values
	case p.Name != "" && len(p.tensors) > 0:
		return tensor.Bad("fixture has %s tensors without %s.positions", p.Name, p.Name)
	default:
		p.Positions = counting(p.Batch, p.Length)
	}
	return nil
}

// sameWidths refuses hidden states of different widths.
func (p *GoldenPass) sameWidths() error {
	width, of := 0, ""
	for _, name := range p.Names() {
		if name == "logits" {
			continue
		}
		if w := p.Width(name); width == 0 {
			width, of = w, name
		} else if w != width {
			return tensor.Bad("%d channels wide, but %s is %d", w, p.full(of), width).Of(p.full(name))
		}
	}
	return nil
}

// readDecode finds the logits of decoding, if there are any.
func (g *Golden) readDecode(batch, length int) error {
	t := g.checkpoint.Tensor("decode.logits")
	if t == nil {
		return nil
	}
	start := g.Meta.DecodeStart
	if start < 1 || start > length {
		return tensor.Bad("fixture has decode.logits, but its metadata decode_start is %d for rows of %d tokens", start, length)
	}
	if err := checkActivations(t, batch, length-start+1); err != nil {
		return err
	}
	g.Decode = &GoldenDecode{Start: start, Length: length - start + 1, logits: t}
	if v := g.Pass("").Width("logits"); v != 0 && v != g.Decode.Vocabulary() {
		return tensor.Bad("has a vocabulary of %d, logits one of %d", g.Decode.Vocabulary(), v).Of(t.Name)
	}
	return nil
}

// integers is a small int32 tensor [batch, length].
type integers struct {
	shape  []int64
	values []int32
}

// integers reads tokens or positions; nil where there are none.
func (g *Golden) integers(name string) (*integers, error) { return readIntegers(g.checkpoint, name) }

func readIntegers(c *tensor.Checkpoint, name string) (*integers, error) {
	t := c.Tensor(name)
	if t == nil {
		return nil, nil
	}
	if t.DType != tensor.I32 || len(t.Shape) != 2 {
		return nil, tensor.Bad("is %s %s, not int32 [batch, length]", t.DType, tensor.ShapeString(t.Shape)).Of(name)
	}
	n := t.Elements()
	if n < 1 || n > maxTokens {
		return nil, tensor.Bad("%d tokens: there are at least 1 and at most %d", n, maxTokens).Of(name)
	}
	raw := make([]byte, t.Bytes())
	if err := readAll(t, raw, 0); err != nil {
		return nil, err
	}
	out := &integers{shape: t.Shape, values: make([]int32, n)}
	for i := range out.values {
		v := int32(binary.LittleEndian.Uint32(raw[4*i:]))
		if v < 0 {
			return nil, tensor.Bad("element %d is %d: tokens and positions are not negative", i, v).Of(name)
		}
		out.values[i] = v
	}
	return out, nil
}

// checkActivations refuses a tensor that is not float32 [batch, length, anything].
func checkActivations(t *tensor.Tensor, batch, length int) error {
	if t.DType != tensor.F32 || len(t.Shape) != 3 || t.Shape[0] != int64(batch) || t.Shape[1] != int64(length) || t.Shape[2] < 1 {
		return tensor.Bad("is %s %s, not float32 [%d, %d, channels]", t.DType, tensor.ShapeString(t.Shape), batch, length).Of(t.Name)
	}
	return nil
}

// counting returns the positions of rows of one document each.
func counting(batch, length int) []int32 {
	positions := make([]int32, batch*length)
	for i := range positions {
		positions[i] = int32(i % length)
	}
	return positions
}

// isSite reports whether a name is that of a result of a pass.
func isSite(name string) bool {
	kind, index, numbered := strings.Cut(name, ".")
	switch kind {
	case "hidden", "temporal":
		return numbered && siteIndex(index) >= 0
	case "final_norm", "logits":
		return !numbered
	}
	return false
}

// siteIndex returns the number of a block as names have it, or -1.
func siteIndex(s string) int {
	i, err := strconv.Atoi(s)
	if err != nil || i < 0 || i > maxTokens || strconv.Itoa(i) != s {
		return -1
	}
	return i
}

// readFloats fills dst with elements of a float32 tensor, from element first on.
func readFloats(dst []float32, t *tensor.Tensor, first int) error {
	const piece = 64 << 10 // elements
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

// readAll fills p with a tensor's bytes from off on.
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

// implementations says which library's version tells the semantics, by implementation.
var implementations = map[string]struct {
	library   string
	semantics func(version string) (reference.Semantics, bool)
}{
	ImplementationJAX:          {"recurrentgemma", func(string) (reference.Semantics, bool) { return reference.Original, true }},
	ImplementationTorch:        {"recurrentgemma", func(string) (reference.Semantics, bool) { return reference.Original, true }},
	ImplementationTransformers: {"transformers", transformersSemantics},
	ImplementationGriffin:      {"griffin", nil}, // its metadata say it
}

func transformersSemantics(version string) (reference.Semantics, bool) {
	major, _, _ := strings.Cut(version, ".")
	switch major {
	case "4":
		return reference.Transformers4, true
	case "5":
		return reference.Transformers5, true
	}
	return 0, false
}

// libraries are the keys of metadata that are versions.
var libraries = []string{"recurrentgemma", "jax", "jaxlib", "flax", "torch", "transformers", "griffin", "numpy"}

// parse reads the metadata of a fixture.
func (m *GoldenMeta) parse(all map[string]string) error {
	from, ok := implementations[all["implementation"]]
	if !ok {
		return tensor.Bad("not a golden fixture: its metadata name no implementation that griffin knows (%q)", all["implementation"])
	}
	*m = GoldenMeta{Implementation: all["implementation"], DType: all["dtype"], Backend: all["backend"], ModelDigest: all["model_digest"],
		Versions: map[string]string{}, Flags: map[string]string{}}
	for key, value := range all {
		m.Flags[key] = value
	}
	for _, key := range []string{"implementation", "dtype", "backend", "model_digest", "decode_start", "semantics"} {
		delete(m.Flags, key)
	}
	for _, key := range libraries {
		if v, ok := all[key]; ok {
			m.Versions[key] = v
			delete(m.Flags, key)
		}
	}
	if m.Precision, ok = precisions[m.DType]; !ok {
		return tensor.Bad("metadata dtype %q is none of float32, bfloat16, float16, float64", m.DType)
	}
	if err := m.parseSemantics(all["semantics"], from.library, from.semantics); err != nil {
		return err
	}
	if text, ok := all["decode_start"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil {
			return tensor.Bad("metadata decode_start %q is no number", text)
		}
		m.DecodeStart = n
	}
	return nil
}

// precisions maps the type that activations had. There is no arithmetic in float16: float32 is the nearest.
var precisions = map[string]reference.Precision{
	"float32": reference.Float32, "float64": reference.Float64, "bfloat16": reference.BFloat16, "float16": reference.Float32,
}

func (m *GoldenMeta) parseSemantics(named, library string, tell func(string) (reference.Semantics, bool)) error {
	version := m.Versions[library]
	if tell != nil {
		s, ok := tell(version)
		if !ok {
			return tensor.Bad("fixture is of %s %q, whose semantics griffin does not know", library, version)
		}
		m.Semantics = s
		return nil
	}
	s, err := ParseSemantics(named)
	if err != nil {
		return tensor.Bad("metadata semantics: %v", err)
	}
	m.Semantics = s
	return nil
}

// ParseSemantics returns the semantics of that name.
func ParseSemantics(name string) (reference.Semantics, error) {
	for i, known := range reference.SemanticsNames {
		if name == known {
			return reference.Semantics(i), nil
		}
	}
	return 0, fmt.Errorf("%q is none of %s", name, strings.Join(reference.SemanticsNames[:], ", "))
}

// ParsePrecision returns the arithmetic of that name.
func ParsePrecision(name string) (reference.Precision, error) {
	for i, known := range reference.PrecisionNames {
		if name == known {
			return reference.Precision(i), nil
		}
	}
	return 0, fmt.Errorf("%q is none of %s", name, strings.Join(reference.PrecisionNames[:], ", "))
}

// describe names the file in a FormatError.
func describe(err error, path string) error {
	var bad *tensor.FormatError
	if errors.As(err, &bad) {
		bad.In(path)
	}
	return err
}
