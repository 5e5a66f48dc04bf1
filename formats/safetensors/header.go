package safetensors

import (
	"bytes"
	"cmp"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Limits that are not the format's own, but that no real checkpoint exceeds.
const (
	maxDepth = 64 // of the JSON; its own members need 3
	maxRank  = 64 // as in numpy
)

// record is a tensor of a file. There may be as many as a checkpoint has tensors, so that they take little memory.
type record struct {
	tensor tensor.Tensor
	begin  int64 // from the start of the data
	data   *region
}

// region is where the data of a file begin.
type region struct {
	store io.ReaderAt
	start int64
}

// end returns the end of the data of r, from the start of those of the file.
func (r *record) end() int64 { return r.begin + r.tensor.Bytes() }

// parser parses the headers of the files of a checkpoint, and counts what they list.
type parser struct {
	shapes   tensor.Shapes
	count    tensor.Count
	metadata int   // members of free text
	text     int64 // their bytes
}

// header parses the JSON of a header. Errors have offsets in text.
func (p *parser) header(text []byte) (records []record, metadata map[string]string, err error) {
	d := strictjson.NewDecoder(text, maxDepth)
	err = d.Object(func(name string) error {
		if name == "__metadata__" {
			metadata, err = p.freeText(d)
			return err
		}
		r, err := parseRecord(d, name)
		if err == nil {
			err = p.count.Add(name, len(r.tensor.Shape))
		}
		r.tensor.Shape, _ = p.shapes.Shared(r.tensor.Shape)
		records = append(records, r)
		return err
	})
	if err == nil {
		err = d.End()
	}
	if err == nil && len(bytes.TrimRight(text, " \t\r\n")) != len(bytes.TrimRight(text, " ")) {
		err = tensor.Bad("safetensors header is padded with bytes other than spaces").At(d.Offset() - 1)
	}
	return records, metadata, err
}

// freeText parses __metadata__: an object of strings, or null.
func (p *parser) freeText(d *strictjson.Decoder) (map[string]string, error) {
	if d.Peek() == strictjson.KindNull {
		return nil, d.Null()
	}
	metadata := map[string]string{}
	err := d.Object(func(key string) (err error) {
		if p.metadata++; p.metadata > tensor.MaxMetadata {
			return tensor.Bad("__metadata__ has more than %d members, which is the most that griffin reads", tensor.MaxMetadata).
				Because(tensor.TooLarge).At(d.Offset())
		}
		if d.Peek() != strictjson.KindString {
			return tensor.Bad("member %q of __metadata__ is not a string", tensor.Clip(key)).At(d.Offset())
		}
		value, err := d.String()
		if p.text += int64(len(key) + len(value)); p.text > tensor.MaxMetadataText && err == nil {
			return tensor.Bad("__metadata__ has more than %d MiB, which is the most that griffin reads", tensor.MaxMetadataText>>20).
				Because(tensor.TooLarge).At(d.Offset())
		}
		metadata[key] = value
		return err
	})
	return metadata, err
}

// parseRecord parses the description of a tensor and checks all of it that does not depend on others.
func parseRecord(d *strictjson.Decoder, name string) (record, error) {
	r := record{tensor: tensor.Tensor{Name: name}}
	start := d.Offset()
	var offsets []int64
	err := d.Object(func(key string) (err error) {
		switch key {
		case "dtype":
			r.tensor.DType, err = parseDType(d)
		case "shape":
			r.tensor.Shape, err = parseIntegers(d, maxRank)
		case "data_offsets":
			offsets, err = parseIntegers(d, 2)
		default:
			err = d.Skip()
		}
		return err
	})
	if err == nil {
		err = r.setRange(offsets, start)
	}
	return r, tensor.Annotate(err, tensor.Location{Tensor: tensor.Clip(name)})
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

// setRange sets the range of the data. It checks that the record is complete and that the range has the
// size of dtype and shape.
func (r *record) setRange(offsets []int64, at int64) error {
	t := &r.tensor
	switch {
	case t.DType == tensor.Invalid:
		return tensor.Bad("no dtype").At(at)
	case t.Shape == nil:
		return tensor.Bad("no shape").At(at)
	case len(offsets) != 2:
		return tensor.Bad("data_offsets are not two offsets").At(at)
	}
	begin, end := offsets[0], offsets[1]
	_, size, err := tensor.SizeOf(t.DType, t.Shape)
	if bad, ok := err.(*tensor.FormatError); ok {
		return bad.At(at)
	}
	if end < begin || end-begin != size {
		return tensor.Bad("data_offsets [%d, %d] are not the %d bytes of %s%s", begin, end, size,
			t.DType.Safetensors(), tensor.ShapeString(t.Shape)).At(at)
	}
	r.begin = begin
	if last := len(t.Shape) - 1; t.DType == tensor.F4 && t.Shape[last]%2 == 0 {
		t.DType = tensor.F4x2 // as in torch, which has only pairs
		t.Shape[last] /= 2
	}
	return nil
}

// checkTiling checks that the tensors cover all size bytes of data, without gaps and overlaps.
func checkTiling(records []record, size int64) error {
	order := make([]int32, len(records))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(records[a].begin, records[b].begin), cmp.Compare(records[a].end(), records[b].end()))
	})
	at := int64(0)
	for _, i := range order {
		begin, end, name := records[i].begin, records[i].end(), records[i].tensor.Name
		switch {
		case begin < at:
			return tensor.Bad("data begins at %d, within the data of another tensor that ends at %d", begin, at).Of(tensor.Clip(name))
		case begin > at:
			return tensor.Bad("data begins at %d, after %d bytes that belong to no tensor", begin, begin-at).Of(tensor.Clip(name))
		case end > size:
			return tensor.Bad("data ends at %s but the file holds %s of data", text.Grouped(end), text.Count(size, "byte")).Of(tensor.Clip(name)).Advise(truncatedHint)
		}
		at = end
	}
	if at != size {
		return tensor.Bad("file holds %s of data but its tensors end at %s", text.Count(size, "byte"), text.Grouped(at))
	}
	return nil
}

// open sets the Data of the record's tensor, which are in r, and returns the tensor.
func (r *record) open(in *region) *tensor.Tensor {
	t := &r.tensor
	if r.data = in; t.DType.Size() == 0 {
		t.Data = packed{io.NewSectionReader(in.store, in.start+r.begin, t.Bytes())}
	} else {
		t.Data = dense{r}
	}
	return t
}

// dense is data of elements that are whole bytes wide. Its layout is made when it is asked for.
type dense struct{ of *record }

// Strided returns the layout. See tensor.Layout.
func (d dense) Strided() (*tensor.Strided, error) {
	t, in := &d.of.tensor, d.of.data
	return &tensor.Strided{Store: in.store, Base: in.start + d.of.begin, Length: t.Elements(), DType: t.DType, View: tensor.RowMajor(t.Shape...)}, nil
}

// Stream implements tensor.Data.
func (d dense) Stream(off int64) (io.ReadCloser, error) {
	t, in := &d.of.tensor, d.of.data
	size := t.Bytes()
	off = min(off, size)
	return io.NopCloser(io.NewSectionReader(in.store, in.start+d.of.begin+off, size-off)), nil
}

// packed is data of elements that are not whole bytes wide.
type packed struct{ *io.SectionReader }

func (p packed) Stream(off int64) (io.ReadCloser, error) {
	off = min(off, p.Size())
	return io.NopCloser(io.NewSectionReader(p, off, p.Size()-off)), nil
}
