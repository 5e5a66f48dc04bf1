package torch

import (
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// Range is where the elements of a tensor go.
type Range struct {
	Offset int64 // bytes from the start of the file
	Length int64 // bytes
}

// Layout describes the file that torch.save(dict, path) writes for tensors that are contiguous and each
// in a storage of its own, with the range of every tensor, before any tensor is known.
//
// The file is the one that torch 2.15 writes on Linux, byte for byte including the serialization id, with
// three exceptions:
//   - Python writes a string object that it has written before as a reference. Here the name of a tensor
//     is always written, also if it is "storage", "cpu", or the key of a storage.
//   - If the name of the file is not ASCII, or has only dots before its suffix, the folder in the zip
//     file is called "archive".
//   - torch takes the bytes PK\x07\x08 at the start of a tensor for a checksum, which changes its
//     serialization id.
//
// Layout takes no more tensors than the reader of this package, whose memory is bounded.
type Layout struct {
	Size   int64   // of the whole file, in bytes
	Ranges []Range // of the specs, in their order

	specs   []tensor.Spec
	folder  string    // in the zip file
	first   [4]record // before the tensors; the first of them is the pickle
	headers []int64   // offsets of the local headers of the tensors
	last    [2]record // after the tensors; the second is the serialization id
	tail    int64     // where the directory begins
}

// NewLayout lays out a dict of tensors in the given order. fileName is the name of the file, from which
// torch derives the name of the folder in the zip file. A file that would be too large to be read again is a *tensor.FormatError with the
// reason tensor.TooLarge.
func NewLayout(specs []tensor.Spec, fileName string) (*Layout, error) {
	ranges, err := checkSpecs(specs)
	if err != nil {
		return nil, err
	}
	l := &Layout{specs: specs, Ranges: ranges, folder: folderName(fileName), headers: make([]int64, len(specs))}
	const longest = 4096 // bytes, much less than zip files allow
	if len(l.folder) > longest {
		return nil, tensor.Bad("file name has %d bytes; at most %d are written", len(l.folder), longest)
	}
	if err := l.arrange(); err != nil {
		return nil, err
	}
	if err := savefile.CheckSizes(l.first[0].size, l.Size-l.tail); err != nil {
		return nil, tensor.Bad("file of torch with %d tensors could not be read again: %w", len(specs), err).Because(tensor.TooLarge)
	}
	return l, nil
}

// arrange gives each record its place.
func (l *Layout) arrange() error {
	var pickle measure
	if err := writePickle(&pickle, l.specs, l.Ranges); err != nil {
		return err
	}
	l.first[0] = record{plain: "data.pkl", size: pickle.size, crc: pickle.crc}
	for i, r := range []struct{ name, content string }{{".format_version", "1"}, {".storage_alignment", "64"}, {"byteorder", "little"}} {
		l.first[1+i] = recordOf(r.name, r.content)
	}
	l.last = [2]record{recordOf("version", "3\n"), {plain: idName, size: idLength}}
	at := int64(0)
	for i := range l.first {
		at = l.place(&l.first[i], at)
	}
	for i := range l.Ranges {
		r := record{plain: storageName(i), size: l.Ranges[i].Length}
		at = l.place(&r, at)
		l.headers[i], l.Ranges[i].Offset = r.header, r.data
		if at > math.MaxInt64/2 {
			return tensor.Bad("size of all tensors overflows")
		}
	}
	for i := range l.last {
		at = l.place(&l.last[i], at)
	}
	l.tail = at
	l.Size = l.tail + l.directorySize()
	return nil
}

// measure counts what is written to it.
type measure struct {
	size int64
	crc  uint32
}

func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p)
	return len(p), nil
}

// count returns the number of records.
func (l *Layout) count() int { return len(l.first) + len(l.Ranges) + len(l.last) }

// record returns the k-th record of the file. Those of tensors, which can be very many, are made when they are asked for.
func (l *Layout) record(k int) record {
	i := k - len(l.first)
	switch {
	case i < 0:
		return l.first[k]
	case i < len(l.Ranges):
		return record{plain: storageName(i), isTensor: true, header: l.headers[i], data: l.Ranges[i].Offset, size: l.Ranges[i].Length}
	}
	return l.last[i-len(l.Ranges)]
}

// checkSpecs returns the length of each tensor, or why the tensors cannot be saved.
func checkSpecs(specs []tensor.Spec) ([]Range, error) {
	ranges := make([]Range, len(specs))
	seen := make(map[string]bool, len(specs))
	var count tensor.Count
	for i, s := range specs {
		if err := count.Add(s.Name, len(s.Shape)); err != nil {
			return nil, err
		}
		if seen[s.Name] {
			return nil, tensor.Bad("two tensors of one name").Of(s.Name)
		}
		seen[s.Name] = true
		if !utf8.ValidString(s.Name) {
			return nil, tensor.Bad("name is not valid UTF-8").Of(s.Name)
		}
		if _, ok := written[s.DType]; !ok {
			return nil, tensor.Bad("torch has no type for %s", s.DType).Of(s.Name)
		}
		if len(s.Shape) > savefile.MaxRank {
			return nil, tensor.Bad("tensor of %d axes; torch has at most %d", len(s.Shape), savefile.MaxRank).Of(s.Name)
		}
		_, size, err := tensor.SizeOf(s.DType, s.Shape)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{Tensor: s.Name})
		}
		ranges[i].Length = size
	}
	return ranges, nil
}

// folderName returns the name of the folder in the zip file: the name of the file without its last
// suffix.
func folderName(fileName string) string {
	name := fileName[strings.LastIndexAny(fileName, `/\`)+1:]
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		name = name[:dot]
	}
	for _, c := range []byte(name) {
		if c >= utf8.RuneSelf {
			return "archive"
		}
	}
	if strings.Trim(name, ".") == "" {
		return "archive"
	}
	return name
}
