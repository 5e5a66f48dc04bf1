package torch

import (
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

	records []record // in the order of the file; the last is the serialization id
	first   int      // the record of the first tensor
	tail    int64    // where the directory begins
}

// NewLayout lays out a dict of tensors in the given order. fileName is the name of the file, from which
// torch derives the name of the folder in the zip file. A file that would be too large to be read again is a *tensor.FormatError with the
// reason tensor.TooLarge.
func NewLayout(specs []tensor.Spec, fileName string) (*Layout, error) {
	l, pickle, err := arrange(specs, fileName)
	if err != nil {
		return nil, err
	}
	if err := savefile.CheckReadable(pickle, l.directorySize()); err != nil {
		return nil, tensor.Bad("file of torch with %d tensors could not be read again: %w", len(specs), err).Because(tensor.TooLarge)
	}
	return l, nil
}

// arrange is NewLayout without the limits of what can be read again. It also returns the pickle.
func arrange(specs []tensor.Spec, fileName string) (l *Layout, pickle []byte, err error) {
	sizes, err := checkSpecs(specs)
	if err != nil {
		return nil, nil, err
	}
	pickle, err = encodePickle(specs, sizes)
	if err != nil {
		return nil, nil, err
	}
	const longest = 4096 // bytes, much less than zip files allow
	folder := folderName(fileName)
	if len(folder) > longest {
		return nil, nil, tensor.Bad("file name has %d bytes; at most %d are written", len(folder), longest)
	}
	l = &Layout{}
	add := func(name, content string) { l.add(folder, name, content, int64(len(content))) }
	add("data.pkl", string(pickle))
	add(".format_version", "1")
	add(".storage_alignment", "64")
	add("byteorder", "little")
	l.first = len(l.records)
	for i, size := range sizes {
		l.add(folder, storageName(i), "", size)
		r := &l.records[len(l.records)-1]
		l.Ranges = append(l.Ranges, Range{r.data, r.size})
		if r.end() > math.MaxInt64/2 {
			return nil, nil, tensor.Bad("size of all tensors overflows")
		}
	}
	add("version", "3\n")
	l.add(folder, idName, "", idLength)
	l.tail = l.records[len(l.records)-1].end()
	l.Size = l.tail + l.directorySize()
	return l, pickle, nil
}

// checkSpecs returns the size in bytes of each tensor, or why the tensors cannot be saved.
func checkSpecs(specs []tensor.Spec) ([]int64, error) {
	sizes := make([]int64, len(specs))
	seen := make(map[string]bool, len(specs))
	for i, s := range specs {
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
		sizes[i] = size
	}
	return sizes, nil
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
