package convert

import (
	"context"
	"io"
	"io/fs"
	"path"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// newManifest describes a conversion that was carried out by a version of the tool, in a format. digests has
// those that are known: of all p.Dests and of some sources; those by a are recorded. from may be nil.
func newManifest(p *outline, version, format string, digests *moves.Digests, a digest.Algorithms, from *provenance) *manifest.Manifest {
	m := &manifest.Manifest{
		Griffin:     version,
		Source:      describeSource(p),
		Layout:      p.to.String(),
		Format:      format,
		DType:       "keep",
		Settings:    p.settings,
		HuggingFace: p.form,
	}
	if !p.keep {
		m.DType = p.dtype.String()
	}
	for i, d := range p.Dests {
		m.Tensors = append(m.Tensors, manifest.Tensor{Name: d.Name, DType: d.DType.String(), Shape: d.Shape, Sum: digests.Dests[i].Only(a), Rule: d.Rule})
	}
	for _, move := range p.Moves {
		t := &m.Tensors[move.Dest]
		part := manifest.PartOf(move.Source)
		if sum, ok := digests.Sources[move.Source]; ok && !p.adapted(move.Source) {
			part.Sum = sum.Only(a)
		}
		t.From = append(t.From, part)
		t.DividedBy = manifest.Float(move.Divide)
	}
	if from != nil {
		m.Origin = from.record.Root()
		for i, origin := range from.origins(p) {
			m.Tensors[i].Origin = origin
		}
	}
	for _, c := range p.copies {
		m.Copies = append(m.Copies, manifest.Copy{Name: c.Tensor.Name, Of: c.Of.Name})
	}
	for _, t := range p.left {
		m.Left = append(m.Left, t.Name)
	}
	return m
}

// describeAdapter describes an adapter for conversion.json. It reads the adapter's files for their
// digests.
func describeAdapter(ctx context.Context, a *peft.Adapter, algorithms digest.Algorithms) (*manifest.Adapter, error) {
	c := a.Config
	m := &manifest.Adapter{Name: storage.BaseName(a.Path), Type: "LoRA", Rank: c.Rank, Alpha: manifest.Float(c.Alpha), RSLoRA: c.RSLoRA, Base: c.Base, Changes: len(a.Changes)}
	if c.DoRA {
		m.Type = "DoRA"
	}
	for _, name := range a.Files {
		sum, err := digestFile(ctx, a.Source, name, algorithms)
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, manifest.File{Name: path.Base(name), Sum: sum})
	}
	return m, nil
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
	s := manifest.Source{Name: storage.BaseName(c.Path), Format: c.Format, Layout: p.from.String(), Prefix: p.prefix}
	origin := storage.OriginOf(c.Source, c.Root)
	s.Address, s.Commit = origin.Address, origin.Commit
	for _, f := range origin.Files {
		s.Files = append(s.Files, manifest.FileVersion(f))
	}
	return s
}
