package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Limits that are not the format's own, but that no real checkpoint exceeds.
const (
	maxDepth = 64 // of the JSON; its own members need 3
	maxRank  = 64 // as in numpy
)

// entry is the description of a tensor in a header. The shape counts 4-bit floats one by one.
type entry struct {
	name       string
	dtype      tensor.DType
	shape      []int64
	strides    []int64 // of the shape in row-major order
	begin, end int64   // from the start of the data
}

// parseHeader parses the JSON of a header. Errors have offsets in text.
func parseHeader(text []byte) (entries []entry, metadata map[string]string, err error) {
	d := strictjson.NewDecoder(text, maxDepth)
	shapes := shapeSet{}
	var count tensor.Count
	err = d.Object(func(name string) error {
		if name == "__metadata__" {
			metadata, err = parseMetadata(d)
			return err
		}
		e, err := parseEntry(d, name)
		if err == nil {
			err = count.Add(name, len(e.shape))
		}
		e.shape, e.strides = shapes.shared(e.shape)
		entries = append(entries, e)
		return err
	})
	if err == nil {
		err = d.End()
	}
	if err == nil && len(bytes.TrimRight(text, " \t\r\n")) != len(bytes.TrimRight(text, " ")) {
		err = tensor.Bad("safetensors header is padded with bytes other than spaces").At(d.Offset() - 1)
	}
	return entries, metadata, err
}

// parseMetadata parses an object of strings, or null.
func parseMetadata(d *strictjson.Decoder) (map[string]string, error) {
	if d.Peek() == strictjson.KindNull {
		return nil, d.Null()
	}
	metadata := map[string]string{}
	err := d.Object(func(key string) (err error) {
		if len(metadata) == tensor.MaxMetadata {
			return tensor.Bad("__metadata__ has more than %d members, which is the most that griffin reads", tensor.MaxMetadata).
				Because(tensor.TooLarge).At(d.Offset())
		}
		if d.Peek() != strictjson.KindString {
			return tensor.Bad("member %q of __metadata__ is not a string", tensor.Clip(key)).At(d.Offset())
		}
		metadata[key], err = d.String()
		return err
	})
	return metadata, err
}

// shapeSet has one copy of each shape and of its strides, since most tensors of a model share few shapes.
type shapeSet map[string]tensor.View

func (s shapeSet) shared(of []int64) (shape, strides []int64) {
	key := make([]byte, 0, 8*maxRank)
	for _, n := range of {
		key = binary.LittleEndian.AppendUint64(key, uint64(n))
	}
	view, known := s[string(key)]
	if !known {
		view = tensor.RowMajor(of...)
		s[string(key)] = view
	}
	return view.Shape, view.Strides
}

// parseEntry parses the description of a tensor and checks all of it that does not depend on others.
func parseEntry(d *strictjson.Decoder, name string) (entry, error) {
	e := entry{name: name, begin: -1}
	start := d.Offset()
	var offsets []int64
	err := d.Object(func(key string) (err error) {
		switch key {
		case "dtype":
			e.dtype, err = parseDType(d)
		case "shape":
			e.shape, err = parseIntegers(d, maxRank)
		case "data_offsets":
			offsets, err = parseIntegers(d, 2)
		default:
			err = d.Skip()
		}
		return err
	})
	if err == nil {
		err = e.setRange(offsets, start)
	}
	return e, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
}

func parseDType(d *strictjson.Decoder) (tensor.DType, error) {
	d.Peek()
	at := d.Offset()
	name, err := d.String()
	if err != nil {
		return 0, err
	}
	t := tensor.DTypeBySafetensors(name)
	if t == tensor.Invalid {
		return 0, tensor.Bad("unknown dtype %q", tensor.Clip(name)).At(at)
	}
	return t, nil
}

// parseIntegers parses a list of at most limit non-negative integers. The result is not nil.
func parseIntegers(d *strictjson.Decoder, limit int) ([]int64, error) {
	list := []int64{}
	err := d.Array(func() error {
		if len(list) == limit {
			return tensor.Bad("list of more than %d integers", limit).At(d.Offset())
		}
		n, err := d.Uint()
		list = append(list, n)
		return err
	})
	return list, err
}

// setRange sets the range of the data. It checks that the entry is complete and that the range has the
// size of dtype and shape.
func (e *entry) setRange(offsets []int64, at int64) error {
	switch {
	case e.dtype == tensor.Invalid:
		return tensor.Bad("no dtype").At(at)
	case e.shape == nil:
		return tensor.Bad("no shape").At(at)
	case len(offsets) != 2:
		return tensor.Bad("data_offsets are not two offsets").At(at)
	}
	e.begin, e.end = offsets[0], offsets[1]
	_, size, err := tensor.SizeOf(e.dtype, e.shape)
	if bad, ok := err.(*tensor.FormatError); ok {
		return bad.At(at)
	}
	if e.end < e.begin || e.end-e.begin != size {
		return tensor.Bad("data_offsets [%d, %d] are not the %d bytes of %s%s", e.begin, e.end, size,
			e.dtype.Safetensors(), tensor.ShapeString(e.shape)).At(at)
	}
	return nil
}

// checkTiling checks that the tensors cover all size bytes of data, without gaps and overlaps.
func checkTiling(entries []entry, size int64) error {
	order := make([]*entry, len(entries))
	for i := range entries {
		order[i] = &entries[i]
	}
	slices.SortFunc(order, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := int64(0)
	for _, e := range order {
		switch {
		case e.begin < at:
			return tensor.Bad("data begins at %d, within the data of another tensor that ends at %d", e.begin, at).Of(tensor.Clip(e.name))
		case e.begin > at:
			return tensor.Bad("data begins at %d, after %d bytes that belong to no tensor", e.begin, e.begin-at).Of(tensor.Clip(e.name))
		case e.end > size:
			return tensor.Bad("data ends at %d but the file holds %d bytes of data", e.end, size).Of(tensor.Clip(e.name)).Advise(truncatedHint)
		}
		at = e.end
	}
	if at != size {
		return tensor.Bad("file holds %d bytes of data but its tensors end at %d", size, at)
	}
	return nil
}

// tensor returns the tensor that e describes. The data of the file begin at start.
func (e *entry) tensor(r io.ReaderAt, start int64) *tensor.Tensor {
	t := &tensor.Tensor{Name: e.name, DType: e.dtype, Shape: e.shape}
	if last := len(e.shape) - 1; e.dtype == tensor.F4 && e.shape[last]%2 == 0 {
		t.DType, t.Shape = tensor.F4x2, slices.Clone(e.shape) // as in torch, which has only pairs
		t.Shape[last] /= 2
	}
	base := start + e.begin
	if t.DType.Size() == 0 {
		t.Data = packed{io.NewSectionReader(r, base, e.end-e.begin)}
		return t
	}
	t.Data = &tensor.Strided{Store: r, Base: base, Length: t.Elements(), DType: t.DType, View: tensor.View{Shape: t.Shape, Strides: e.strides}}
	return t
}

// packed is data of elements that are not whole bytes wide.
type packed struct{ *io.SectionReader }

func (p packed) Stream(off int64) (io.ReadCloser, error) {
	off = min(off, p.Size())
	return io.NopCloser(io.NewSectionReader(p, off, p.Size()-off)), nil
}
