package convert

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/adapter"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// recorder describes a conversion for conversion.json, one tensor after the other.
type recorder struct {
	outline    *outline
	head       *manifest.Manifest // without tensors
	dests      *moves.Digests     // of all Dests
	sources    *moves.Digests     // of some sources
	algorithms digest.Algorithms
	from       *provenance // nil without a manifest of the source
	origins    *origins    // of from, while the file is written
	failed     error       // of origins
}

// newRecorder describes a conversion that was carried out by a version of the tool, in a format. dests has the digests
// of all p.Dests, and sources those of some sources; those by a are recorded. from may be nil.
func newRecorder(p *outline, version, format string, dests, sources *moves.Digests, a digest.Algorithms, from *provenance) *recorder {
	m := &manifest.Manifest{Head: manifest.Head{
		Griffin:     version,
		Source:      describeSource(p),
		Layout:      p.to.String(),
		Format:      format,
		DType:       "keep",
		Settings:    p.settings,
		HuggingFace: p.form,
	}}
	if !p.keep {
		m.DType = p.dtype.String()
	}
	r := &recorder{outline: p, head: m, dests: dests, sources: sources, algorithms: a, from: from}
	if from != nil {
		m.Origin = from.record.Root()
	}
	for _, c := range p.copies {
		m.Copies = append(m.Copies, manifest.Copy{Name: c.Tensor.Name, Of: c.Of.Name})
	}
	for _, t := range p.left {
		m.Left = append(m.Left, t.Name)
	}
	return r
}

// tensor describes a Dest.
func (r *recorder) tensor(i int) *manifest.Tensor {
	d := &r.outline.Dests[i]
	t := &manifest.Tensor{Name: d.Name, DType: d.DType.String(), Shape: d.Shape, Sum: r.dests.Dest(i).Only(r.algorithms), Rule: d.Rule}
	for _, move := range r.outline.MovesOf(i) {
		part := manifest.PartOf(move.Source)
		if sum, ok := r.sources.Source(move.Source); ok && !adapter.IsMerged(move.Source) {
			part.Sum = sum.Only(r.algorithms)
		}
		t.From = append(t.From, part)
		t.DividedBy = manifest.Float(move.Divide)
	}
	if r.origins != nil && r.failed == nil {
		t.Origin, r.failed = r.origins.of(i)
	}
	return t
}

// WriteTo implements io.WriterTo. It writes conversion.json.
func (r *recorder) WriteTo(w io.Writer) (n int64, err error) {
	if from := r.from; from != nil {
		entries, err := from.record.Open()
		if err != nil {
			return 0, err
		}
		defer entries.Close()
		r.origins = &origins{from, r.outline, entries}
	}
	n, err = r.head.Write(w, len(r.outline.Dests), r.tensor)
	return n, cmp.Or(err, r.failed)
}

// DescribeAdapter describes the adapter of a model for conversion.json. It reads the adapter's files for their
// digests.
func DescribeAdapter(ctx context.Context, m *model.Model, algorithms digest.Algorithms) (*manifest.Adapter, error) {
	a, c := m.Adapter, m.Adapter.Config
	d := &manifest.Adapter{Name: storage.BaseName(a.Path), Type: "LoRA", Rank: c.Rank, Alpha: manifest.Float(c.Alpha), RSLoRA: c.RSLoRA, Base: c.Base, Changes: m.AdapterChanges}
	if c.DoRA {
		d.Type = "DoRA"
	}
	for _, name := range a.Files {
		sum, err := digestFile(ctx, a.Source, name, algorithms)
		if err != nil {
			return nil, err
		}
		d.Files = append(d.Files, manifest.File{Name: path.Base(name), Sum: sum})
	}
	return d, nil
}

func digestFile(ctx context.Context, source fs.FS, name string, a digest.Algorithms) (digest.Sum, error) {
	f, size, err := storage.Open(source, name)
	if err != nil {
		return digest.Sum{}, err
	}
	defer f.Close()
	hash := digest.New(a)
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return digest.Sum{}, err
		}
		n, err := f.Read(buffer)
		hash.Write(buffer[:n])
		if err == io.EOF {
			return hash.Sum(size), nil
		}
		if err != nil {
			return digest.Sum{}, err
		}
	}
}

// describeSource describes the source of a conversion.
func describeSource(p *outline) manifest.Source {
	c := p.checkpoint
	s := manifest.Source{Name: storage.BaseName(c.Path), Step: c.Step(), Format: c.Format, Layout: p.from.String(), Prefix: p.prefix}
	base := formats.Step{Name: s.Name}.Base()
	if n, err := strconv.ParseInt(base[len(strings.TrimRight(base, "0123456789")):], 10, 64); err == nil && strconv.FormatInt(n, 10) == s.Step {
		s.Step = "" // --all-steps and the path of the step give the same record
	}
	origin := storage.OriginOf(c.Source, c.Root)
	s.Address, s.Commit = origin.Address, origin.Commit
	for _, f := range origin.Files {
		s.Files = append(s.Files, manifest.FileVersion(f))
	}
	return s
}
