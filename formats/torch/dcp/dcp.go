// Package dcp reads the directories that torch.distributed.checkpoint writes: .metadata with the files
// of the ranks (FileSystemWriter), and safetensors files that say which part of each tensor they hold
// (HuggingFaceStorageWriter). FSDP, torchtitan, accelerate and Lightning write such directories.
//
// Tensors are whole, whatever the number of ranks that wrote them. Each rank's chunks are opened when
// the tensor is read, and not all of the files are open at once.
package dcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/assemble"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/savefile"
)

// MetadataName is the file that describes the checkpoint in a directory.
const MetadataName = ".metadata"

// Format is the name of the format in a tensor.Checkpoint.
const Format = "torch-dcp"

// Options say what to make of a checkpoint.
type Options = savefile.Options

// Detect reports whether a directory of a source may be for this package.
func Detect(source fs.FS, dir string) bool {
	if storage.IsFile(source, path.Join(dir, MetadataName)) {
		return true
	}
	names, err := shardNames(source, dir)
	return err == nil && len(names) > 0
}

// Open opens the checkpoint in a directory of a source. A corrupt or incomplete checkpoint is a
// *tensor.FormatError.
//
// Values that are not tensors, and tensors that are not the model's (of the optimizer, for example), are
// left out; Details name them.
func Open(source fs.FS, dir string, options Options) (*tensor.Checkpoint, error) {
	var c *tensor.Checkpoint
	var err error
	if storage.IsFile(source, path.Join(dir, MetadataName)) {
		c, err = openMetadata(source, dir, options)
	} else {
		c, err = openSafetensors(source, dir)
	}
	if err != nil {
		return nil, err
	}
	c.Path, c.Source, c.Root = storage.Path(source, dir), source, dir
	return c, nil
}

// maxOpen is how many files are open at once.
const maxOpen = 64

func openMetadata(source fs.FS, dir string, options Options) (*tensor.Checkpoint, error) {
	name := path.Join(dir, MetadataName)
	file, size, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m, err := readMetadata(file, size)
	if err != nil {
		return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, name)})
	}
	if err := m.checkFiles(source, dir); err != nil {
		return nil, err
	}
	files := &files{names: make([]string, len(m.files)), places: m.places, pool: storage.NewPool(source, maxOpen)}
	for i, name := range m.files {
		files.names[i] = path.Join(dir, name)
	}
	var tensors []*tensor.Tensor
	var skipped []string
	for _, e := range m.tensors {
		if e.grid == nil {
			continue
		}
		if e.problem != nil && options.SkipUnreadable {
			skipped = append(skipped, tensor.QuoteName(m.modelName(e)))
			continue
		}
		t, err := m.open(e, files)
		if err != nil {
			return nil, tensor.Annotate(err, tensor.Location{File: storage.Path(source, dir), Tensor: tensor.Clip(e.name)})
		}
		tensors = append(tensors, t)
	}
	if len(tensors) == 0 {
		return nil, tensor.Bad("holds no tensor").In(storage.Path(source, dir))
	}
	c, err := tensor.NewCheckpoint("", Format, tensors, files.pool)
	if err != nil {
		return nil, err
	}
	if m.version != "" {
		c.Describe("version", tensor.QuoteName(m.version))
	}
	c.Describe("files", fmt.Sprint(len(m.files)))
	c.Describe(tensor.Checksums, m.checksums(files))
	m.describe(c)
	c.LeaveOut("tensors that cannot be read", skipped)
	return c, nil
}

// checkPath refuses paths that lead out of the directory.
func checkPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return tensor.Bad("a chunk is stored in %q, which is not a path within the directory", tensor.Clip(name))
	}
	return nil
}

// checkFiles reports a file that does not exist or that is too short for the chunks in it.
func (m *metadata) checkFiles(source fs.FS, dir string) error {
	ends := make([]int64, len(m.files))    // of the last chunk of each
	holder := make([]string, len(m.files)) // the tensor of that chunk, "" for a file without chunks
	for _, e := range m.tensors {
		for i := range e.placed() {
			p := m.places.at(e.first + i)
			if end := p.offset + p.length(); !p.unknown() && end > ends[p.file()] {
				ends[p.file()], holder[p.file()] = end, tensor.Clip(e.name)
			}
		}
	}
	for i, name := range m.files {
		full := path.Join(dir, name)
		info, err := fs.Stat(source, full)
		if errors.Is(err, fs.ErrNotExist) {
			return tensor.Bad("file of a rank is missing").In(storage.Path(source, full)).Of(holder[i]).
				Advise("the checkpoint is incomplete: copy the files of all ranks")
		}
		if err != nil {
			return err
		}
		if info.Size() < ends[i] {
			return tensor.Bad("file of a rank has %d bytes, where a chunk ends at %d", info.Size(), ends[i]).
				In(storage.Path(source, full)).Of(holder[i]).Advise("the file is cut short: copy it again")
		}
	}
	return nil
}

// files are the files that hold the chunks.
type files struct {
	names  []string
	places places
	pool   *storage.Pool
	alike  alike
}

// open returns a tensor of the model.
func (m *metadata) open(e *entry, files *files) (t *tensor.Tensor, err error) {
	if e.problem != nil {
		return nil, e.problem
	}
	m.dropMissing(e)
	c := &chunks{e.grid, files, e.first}
	if e.arrangement == nil {
		if e.arrangement, err = assemble.Arrange(e.shape, c); err != nil {
			return nil, err
		}
	}
	t = &tensor.Tensor{Name: m.modelName(e), DType: e.dtype, Shape: e.shape}
	t.Data, err = e.arrangement.Data(e.dtype, c)
	return t, err
}

// chunks are the chunks of a tensor.
type chunks struct {
	*grid
	*files
	first int // of their places
}

// Len implements assemble.Chunks.
func (c *chunks) Len() int { return c.chunks }

// Box implements assemble.Chunks.
func (c *chunks) Box(i int) assemble.Box { return c.box(i) }

// Path implements assemble.Chunks.
func (c *chunks) Path(i int) string { return c.pool.Path(c.file(i)) }

// file returns the name of the file that a chunk is in.
func (c *chunks) file(i int) string { return c.names[c.places.at(c.first+i).file()] }

// Open implements assemble.Chunks: a chunk is a file of torch.save with one tensor within a file.
func (c *chunks) Open(i int) (*tensor.Tensor, error) {
	p := c.places.at(c.first + i)
	var file io.ReaderAt = io.NewSectionReader(c.pool.File(c.file(i)), p.offset, p.length())
	var content []byte // of a small chunk, which is read at once
	if p.length() <= maxAtOnce {
		content = make([]byte, p.length())
		if err := tensor.ReadFullAt(file, content, 0); err != nil {
			return nil, err
		}
		if t := c.alike.tensor(content); t != nil {
			return t, nil
		}
		file = bytes.NewReader(content)
	}
	f, err := savefile.Read("", file, p.length())
	if err != nil {
		return nil, err
	}
	ref, ok := f.Root.(*savefile.Ref)
	if !ok {
		return nil, tensor.Bad("chunk at offset %d is not a tensor", p.offset)
	}
	t, err := f.Tensor(ref)
	if err == nil && content != nil {
		c.alike.add(content, t)
	}
	return t, err
}

// maxAtOnce is the size of chunks, in bytes, that are read at once, rather than first their headers.
const maxAtOnce = 64 << 10

// checksums says which checksums the files keep. All are written alike, so that one chunk tells; if it cannot
// be read, reading it as a part of its tensor says why.
func (m *metadata) checksums(files *files) string {
	for _, e := range m.tensors {
		c := &chunks{e.grid, files, e.first}
		for i := range e.placed() {
			p := c.places.at(c.first + i)
			if f, err := savefile.Read("", io.NewSectionReader(files.pool.File(c.file(i)), p.offset, p.length()), p.length()); err == nil {
				return f.Checksums()
			}
			return "CRC-32"
		}
	}
	return tensor.NoChecksums
}
