package orbax

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/griffin-ckpt/griffin/formats/orbax/internal/files"
	"github.com/griffin-ckpt/griffin/formats/orbax/zarr"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Format is a way to store the arrays of a checkpoint.
type Format uint8

// The formats. OCDBT is what Orbax itself writes by default.
const (
	OCDBT                  Format = iota // one database, zarr 2
	OCDBTUncompressed                    // the same without compression
	OCDBTZarr3                           // one database, zarr 3
	OCDBTZarr3Uncompressed               // the same without compression
	Zarr                                 // a directory for each array, zarr 2
	ZarrUncompressed                     // the same without compression
)

// formats is the table of them.
var formats = []struct {
	name  string
	ocdbt bool // in one database, otherwise in one directory per array
	zarr.Storage
}{
	OCDBT:                  {"ocdbt", true, zarr.Storage{Version: 2, Compress: true}},
	OCDBTUncompressed:      {"ocdbt-uncompressed", true, zarr.Storage{Version: 2}},
	OCDBTZarr3:             {"ocdbt-zarr3", true, zarr.Storage{Version: 3, Compress: true}},
	OCDBTZarr3Uncompressed: {"ocdbt-zarr3-uncompressed", true, zarr.Storage{Version: 3}},
	Zarr:                   {"zarr", false, zarr.Storage{Version: 2, Compress: true}},
	ZarrUncompressed:       {"zarr-uncompressed", false, zarr.Storage{Version: 2}},
}

// String returns the name of the format, such as "ocdbt-zarr3".
func (f Format) String() string {
	if int(f) < len(formats) {
		return formats[f].name
	}
	return "unknown"
}

// Formats lists all formats.
func Formats() []Format {
	all := make([]Format, len(formats))
	for i := range all {
		all[i] = Format(i)
	}
	return all
}

// Layout describes the files of a checkpoint directory before any tensor is known.
type Layout struct {
	Size int64 // upper bound of the size of all files in bytes

	ocdbt   bool
	storage zarr.Storage
	arrays  []*newArray // as the specs
	files   []newFile   // data files in which the ranges of all arrays are known
	maxFile int64       // bytes
}

// newArray is a tensor with its range in the files.
type newArray struct {
	name string
	*zarr.Plan

	file   int // index of Layout.files
	offset int64
}

// newFile is a data file in which the ranges of the arrays are known.
type newFile struct {
	arrays []int
	size   int64
}

// maxDataFile is the approximate size in bytes at which Orbax begins another data file. A single array may
// be larger.
const maxDataFile = 2 << 30

// overhead bounds the bytes that an array takes besides its elements: its document, its entry in each
// list, and what compression may add to a chunk.
const overhead = 4096

// NewLayout lays out tensors in a format. The name of a tensor is its keys in the tree joined with
// dots, such as params.blocks.0.mlp_block.ffw_up.w. A number belongs to the key before it, since Flax
// names the modules of a list so: "blocks.0" is one key. Names that are not the leaves of one tree,
// and types that zarr does not have, are a *tensor.FormatError.
func NewLayout(specs []tensor.Spec, format Format) (*Layout, error) {
	return newLayout(specs, format, limits{})
}

// limits are smaller in tests.
type limits struct {
	chunk int64 // bytes, 0 for zarr's own
	file  int64 // bytes of a data file, 0 for maxDataFile
}

func newLayout(specs []tensor.Spec, format Format, limits limits) (*Layout, error) {
	l := &Layout{maxFile: cmp.Or(limits.file, maxDataFile)}
	if int(format) >= len(formats) {
		return nil, fmt.Errorf("unknown Orbax format %d", format)
	}
	l.ocdbt, l.storage = formats[format].ocdbt, formats[format].Storage
	l.storage.MaxChunk = limits.chunk
	plans := map[string]*zarr.Plan{} // by dtype and shape: most arrays are alike
	for _, s := range specs {
		if !utf8.ValidString(s.Name) {
			return nil, tensor.Bad("name is not valid UTF-8").Of(s.Name)
		}
		like := fmt.Sprint(s.DType, s.Shape)
		plan := plans[like]
		if plan == nil {
			var err error
			if plan, err = zarr.NewPlan(l.storage, s.DType, s.Shape); err != nil {
				return nil, tensor.Annotate(err, tensor.Location{Tensor: s.Name})
			}
			plans[like] = plan
		}
		a := &newArray{name: s.Name, Plan: plan}
		l.arrays = append(l.arrays, a)
		if l.Size += a.stored() + (1+a.Chunks())*overhead; l.Size < 0 {
			return nil, tensor.Bad("size of all tensors overflows")
		}
	}
	if err := l.checkNames(); err != nil {
		return nil, err
	}
	if l.ocdbt && !l.storage.Compress {
		l.assignRanges()
	}
	return l, nil
}

// splitName returns the path of a tensor in the tree.
func splitName(name string) []string {
	var keys []string
	for _, part := range strings.Split(name, ".") {
		if isNumber(part) && len(keys) > 0 {
			keys[len(keys)-1] += "." + part
		} else {
			keys = append(keys, part)
		}
	}
	return slices.Clone(keys) // without unused capacity
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// checkNames refuses tensors that are not the leaves of one tree and, if each array has a directory, names
// that cannot be those of separate directories.
func (l *Layout) checkNames() error {
	leaves := make([]*leaf, len(l.arrays))
	known := keys{}
	for i, a := range l.arrays {
		texts := splitName(a.name)
		leaves[i] = &leaf{path: make([]*key, len(texts))}
		for n, text := range texts {
			leaves[i].path[n] = known.add(key{text: text})
		}
		leaves[i].setName()
	}
	if err := checkTree(leaves); err != nil || l.ocdbt {
		return err
	}
	sorted := slices.SortedFunc(slices.Values(l.arrays), func(a, b *newArray) int { return strings.Compare(a.name+"/", b.name+"/") })
	for i, a := range sorted {
		top, _, _ := strings.Cut(a.name, "/")
		switch {
		case !files.ValidName(a.name) || strings.Contains(a.name, `\`) || slices.Contains(itemFiles, top): // TensorStore reads \ as /
			return tensor.Bad("name cannot be that of a directory in the checkpoint").Of(a.name).
				Advise("the OCDBT formats take any name")
		case i > 0 && strings.HasPrefix(a.name+"/", sorted[i-1].name+"/"):
			return tensor.Bad("directory of array %q cannot hold another array", tensor.Clip(sorted[i-1].name)).Of(a.name).
				Advise("the OCDBT formats take any name")
		}
	}
	return nil
}

// assignRanges gives each array a range of a data file. Arrays that are large enough to be written past the
// page cache begin at a multiple of the page size.
func (l *Layout) assignRanges() {
	const small, align = 64 << 10, 64
	for i, a := range l.arrays {
		size := a.stored()
		if n := len(l.files); n == 0 || l.files[n-1].size > 0 && l.files[n-1].size+size > l.maxFile {
			l.files = append(l.files, newFile{})
		}
		f := &l.files[len(l.files)-1]
		unit := int64(align)
		if size >= small {
			unit = storage.Align
		}
		a.file, a.offset = len(l.files)-1, (f.size+unit-1)/unit*unit
		f.size = a.offset + size
		f.arrays = append(f.arrays, i)
	}
}

// stored returns the size of all uncompressed chunks in bytes, including padding.
func (a *newArray) stored() int64 {
	n := a.Bytes
	if chunks := a.Chunks(); chunks > 0 {
		_, padding := a.Run(chunks - 1)
		n += padding
	}
	return n
}
