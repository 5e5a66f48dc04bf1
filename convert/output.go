package convert

import (
	"cmp"
	"io"
	"path/filepath"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/transfer"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch"
)

// output is the files of weights that a conversion writes, laid out before the first byte.
type output interface {
	format() string                                                               // the Format of the written checkpoint
	files() []ResultFile                                                          // as far as they are known in advance
	shards() int                                                                  // number of files, 0 if not known in advance
	file(i int) string                                                            // the file that has Plan.Dests[i], "" if not known in advance
	size() int64                                                                  // bytes of all files, at most
	create(path string, files *publish.OutputFiles) (transfer.Destination, error) // path is a directory that exists, or a file that does not

	uploadNames() (names, hidden []string)                 // the files that upload creates; see publish.SinkOptions
	upload(u publish.Upload) (transfer.Destination, error) // create for an address

	written() output // without what only writing needs, which is much if there are very many tensors: neither create nor upload is called
}

// layOut decides on the files for the weights of a plan. dst is the path of the destination.
func layOut(p *outline, dst string, o *Options) (output, error) {
	specs := make([]tensor.Spec, len(p.Dests))
	for i, d := range p.Dests {
		specs[i] = tensor.Spec{Name: d.Name, DType: d.DType, Shape: d.Shape}
	}
	switch o.To {
	case ToTorch:
		name := storage.BaseName(dst)
		l, err := torch.NewLayout(specs, name)
		return torchOutput{l, name}, err
	case ToOrbax:
		l, err := orbax.NewLayout(specs, o.OrbaxFormat)
		return orbaxOutput{l, o.OrbaxFormat}, err
	}
	limit, metadata, name := cmp.Or(o.MaxShardSize, DefaultMaxShardSize), map[string]string{"format": "pt"}, ""
	if o.To == ToSafetensors {
		metadata, name = containerMetadata(p.checkpoint), containerName(p.checkpoint, dst, o)
	}
	if name != "" {
		limit = 0
	}
	l, err := safetensors.NewLayout(specs, limit, metadata)
	if err != nil {
		return nil, err
	}
	if name != "" {
		l.Files[0].Name = name
	}
	return safetensorsOutput{l, o.toFile(dst)}, nil
}

// safetensorsOutput is files and perhaps an index in a directory, or a single file.
type safetensorsOutput struct {
	*safetensors.Layout
	single bool
}

func (o safetensorsOutput) format() string { return "safetensors" }

func (o safetensorsOutput) files() []ResultFile {
	var all []ResultFile
	for _, f := range o.Files {
		all = append(all, ResultFile{Name: f.Name, Bytes: new(f.Size)})
	}
	if o.Index != nil {
		all = append(all, ResultFile{Name: safetensors.IndexName, Bytes: new(int64(len(o.Index)))})
	}
	return all
}

func (o safetensorsOutput) file(i int) string { return o.Files[o.Ranges[i].File].Name }

func (o safetensorsOutput) shards() int { return len(o.Files) }

func (o safetensorsOutput) size() int64 {
	n := int64(0)
	for _, f := range o.files() {
		n += *f.Bytes
	}
	return n
}

func (o safetensorsOutput) uploadNames() (names, hidden []string) { return namesOf(o.files()), nil }

func namesOf(files []ResultFile) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

func (o safetensorsOutput) upload(u publish.Upload) (transfer.Destination, error) {
	return o.Upload(func(name string, size int64) (io.WriterAt, error) {
		if o.single {
			name = ""
		}
		return u.Create(name, size)
	})
}

func (o safetensorsOutput) create(path string, files *publish.OutputFiles) (transfer.Destination, error) {
	if !o.single {
		return o.Create(path, files)
	}
	l := *o.Layout
	l.Files = slices.Clone(l.Files)
	l.Files[0].Name = filepath.Base(path)
	return l.Create(filepath.Dir(path), files)
}

func (o safetensorsOutput) written() output {
	return safetensorsOutput{&safetensors.Layout{Files: o.Files, Ranges: o.Ranges, Index: o.Index}, o.single}
}

// torchOutput is one file.
type torchOutput struct {
	*torch.Layout
	name string
}

func (o torchOutput) format() string      { return "torch-zip" }
func (o torchOutput) files() []ResultFile { return []ResultFile{{Name: o.name, Bytes: new(o.Size)}} }
func (o torchOutput) shards() int         { return 1 }
func (o torchOutput) file(int) string     { return o.name }
func (o torchOutput) size() int64         { return o.Size }

func (o torchOutput) uploadNames() (names, hidden []string) { return namesOf(o.files()), nil }

func (o torchOutput) upload(u publish.Upload) (transfer.Destination, error) {
	return o.Upload(func(size int64) (io.WriterAt, error) { return u.Create("", size) })
}

func (o torchOutput) create(path string, files *publish.OutputFiles) (transfer.Destination, error) {
	return o.Create(path, files)
}

func (o torchOutput) written() output {
	return torchOutput{&torch.Layout{Size: o.Size}, o.name}
}

// orbaxOutput is a directory of files whose sizes, and with OCDBT the names and number of those of weights, may depend on the weights.
type orbaxOutput struct {
	*orbax.Layout
	as orbax.Format
}

func (o orbaxOutput) format() string  { return "orbax-" + o.as.String() }
func (o orbaxOutput) shards() int     { return 0 }
func (o orbaxOutput) file(int) string { return "" }
func (o orbaxOutput) size() int64     { return o.Size }

func (o orbaxOutput) files() (all []ResultFile) {
	for _, f := range o.Files() {
		r := ResultFile{Name: f.Name}
		if f.Size >= 0 {
			r.Bytes = new(f.Size)
		}
		all = append(all, r)
	}
	return all
}

func (o orbaxOutput) uploadNames() (names, hidden []string) { return o.UploadNames() }

func (o orbaxOutput) upload(u publish.Upload) (transfer.Destination, error) { return o.Upload(u) }

func (o orbaxOutput) create(dir string, files *publish.OutputFiles) (transfer.Destination, error) {
	return o.Create(dir, files)
}

func (o orbaxOutput) written() output { return orbaxOutput{&orbax.Layout{Size: o.Size}, o.as} }
