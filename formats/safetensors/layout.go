package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Range is where the elements of a tensor go.
type Range struct {
	File   int   // index into Layout.Files
	Offset int64 // bytes from the start of that file
	Length int64 // bytes
}

// LayoutFile is a file of a Layout.
type LayoutFile struct {
	Name  string
	Size  int64   // of the whole file
	start int64   // of the data
	order []int32 // of the tensors: indices into the specs
}

// Layout describes the files that transformers 5.23 with safetensors 0.8 would save, with the range of
// every tensor, before any tensor is known.
type Layout struct {
	Files  []LayoutFile
	Ranges []Range // of each Spec, in the order they were given in
	Index  []byte  // content of model.safetensors.index.json, nil for a single file

	specs    []tensor.Spec
	metadata map[string]string
}

// NewLayout lays out tensors, which are in the order of the model's state dict, in files with at most
// maxShardSize bytes of tensors each, or in one file if it is 0. A larger tensor gets a file of its
// own. The metadata go into the header of each file; transformers 4 requires {"format": "pt"}.
func NewLayout(specs []tensor.Spec, maxShardSize int64, metadata map[string]string) (*Layout, error) {
	if err := checkNames(specs); err != nil {
		return nil, err
	}
	l := &Layout{Ranges: make([]Range, len(specs)), specs: specs, metadata: metadata}
	var elements, total int64
	for i, s := range specs {
		n, size, err := sizeOf(s)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: s.Name})
		}
		if l.Ranges[i].Length, elements, total = size, elements+n, total+size; total < 0 {
			return nil, tensor.Bad("size of all tensors overflows")
		}
	}
	shards := l.assignShards(maxShardSize)
	l.Files = make([]LayoutFile, len(shards))
	for i, shard := range shards {
		f := &l.Files[i]
		f.Name, f.order = SingleName, shard
		if len(shards) > 1 {
			f.Name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		if err := l.layoutFile(i); err != nil {
			return nil, err
		}
	}
	if len(shards) > 1 {
		l.Index = l.encodeIndex(specs, elements, total)
	}
	return l, nil
}

// assignShards returns the indices of the tensors of each file. Like huggingface_hub
// (split_state_dict_into_shards_factory), it fills one file after the other in the given order, and
// makes a file of a tensor that is larger than the limit even while another file is being filled.
func (l *Layout) assignShards(limit int64) [][]int32 {
	var shards [][]int32
	var current []int32
	filled := int64(0)
	for i := range l.Ranges {
		size := l.Ranges[i].Length
		switch {
		case limit > 0 && size > limit:
			shards = append(shards, []int32{int32(i)})
			continue
		case limit > 0 && filled+size > limit:
			shards = append(shards, current)
			current, filled = nil, 0
		}
		current = append(current, int32(i))
		filled += size
	}
	if len(current) > 0 || len(shards) == 0 {
		shards = append(shards, current)
	}
	return shards
}

// layoutFile sorts the tensors of a file, sets their ranges, and finds the size of the header.
func (l *Layout) layoutFile(file int) error {
	f := &l.Files[file]
	slices.SortFunc(f.order, func(a, b int32) int {
		s, t := &l.specs[a], &l.specs[b]
		return cmp.Or(cmp.Compare(writeRank[s.DType], writeRank[t.DType]), cmp.Compare(s.Name, t.Name))
	})
	at := int64(0)
	for _, i := range f.order {
		l.Ranges[i].File, l.Ranges[i].Offset = file, at
		at += l.Ranges[i].Length
	}
	text, err := l.encodeHeader(io.Discard, file)
	if err != nil {
		return err
	}
	if text > maxHeader {
		return tensor.Bad("header of %s needs %d bytes; the format allows %d", f.Name, text, maxHeader)
	}
	f.start = 8 + text
	f.Size = f.start + at
	for _, i := range f.order {
		l.Ranges[i].Offset += f.start
	}
	return nil
}

// encodeHeader writes the JSON of the header of a file and returns its length.
func (l *Layout) encodeHeader(w io.Writer, file int) (int64, error) {
	f := &l.Files[file]
	h := newHeader(w, l.metadata)
	for _, i := range f.order {
		at := l.Ranges[i].Offset - f.start
		h.entry(&l.specs[i], at, at+l.Ranges[i].Length)
	}
	return h.finish()
}

// Header returns what WriteHeader writes.
func (l *Layout) Header(file int) []byte {
	var b bytes.Buffer
	_ = l.WriteHeader(&b, file) // a Buffer takes all
	return b.Bytes()
}

// WriteHeader writes all bytes of a file before the data.
func (l *Layout) WriteHeader(w io.Writer, file int) error {
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(l.Files[file].start-8))); err != nil {
		return err
	}
	_, err := l.encodeHeader(w, file)
	return err
}

// writeOrder is the order of the tensors in a file that safetensors writes, by dtype. Tensors of one
// dtype are in the order of their names.
var writeOrder = []tensor.DType{
	tensor.U64, tensor.I64, tensor.F64, tensor.C64, tensor.F32, tensor.U32, tensor.I32,
	tensor.BF16, tensor.F16, tensor.U16, tensor.I16,
	tensor.F8E5M2FNUZ, tensor.F8E4M3FNUZ, tensor.F8E8M0, tensor.F8E4M3, tensor.F8E5M2, tensor.I8, tensor.U8,
	tensor.F6E3M2, tensor.F6E2M3, tensor.F4, tensor.Bool,
}

var writeRank = func() map[tensor.DType]int {
	rank := map[tensor.DType]int{}
	for i, d := range writeOrder {
		rank[d] = i
	}
	rank[tensor.F4x2] = rank[tensor.F4] // they differ only in what is an element
	return rank
}()

// MetadataName is the name in a header that no tensor can have.
const MetadataName = "__metadata__"

// Holds reports whether the format has tensors of a type and shape.
func Holds(d tensor.DType, shape []int64) bool {
	_, ok := writeRank[d]
	return ok && (d != tensor.F4x2 || len(shape) > 0)
}

// sizeOf returns the elements and bytes of a tensor, or why it cannot be written.
func sizeOf(s tensor.Spec) (elements, size int64, err error) {
	if _, ok := writeRank[s.DType]; !ok {
		return 0, 0, tensor.Bad("safetensors has no type for %s", s.DType)
	}
	if s.DType == tensor.F4x2 && len(s.Shape) == 0 {
		return 0, 0, tensor.Bad("safetensors cannot hold a scalar of %s", s.DType)
	}
	return tensor.SizeOf(s.DType, s.Shape)
}

func checkNames(specs []tensor.Spec) error {
	seen := make(map[string]bool, len(specs))
	for _, s := range specs {
		if seen[s.Name] {
			return tensor.Bad("two tensors of one name").Of(s.Name)
		}
		seen[s.Name] = true
		if s.Name == MetadataName {
			return tensor.Bad("safetensors reserves this name").Of(s.Name)
		}
		if !utf8.ValidString(s.Name) {
			return tensor.Bad("name is not valid UTF-8").Of(s.Name)
		}
	}
	return nil
}
