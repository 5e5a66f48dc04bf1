package convert

import (
	"encoding/hex"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/storage"
)

// ManifestName is the file of a destination that says how it was made.
const ManifestName = manifest.Name

// Manifest is what conversion.json holds.
type Manifest = manifest.Manifest

// HFForm is how a Hugging Face directory expresses a model.
type HFForm = manifest.HuggingFace

type pythonFloat = manifest.Float

// ReadManifest is manifest.Read.
func ReadManifest(checkpoint string) (*Manifest, string, error) {
	source, name, err := storage.Locate(checkpoint)
	if err != nil {
		return nil, "", nil
	}
	return manifest.Read(source, name)
}

// NewManifest describes a plan that was carried out by that version of the tool, in that format. of has
// the digests that are known: of all p.Dests and of some sources. from may be nil.
func NewManifest(p *Plan, version, format string, of *moves.Digests, from *provenance) *manifest.Manifest {
	source := p.Source.Checkpoint
	m := &manifest.Manifest{
		Griffin:  version,
		Source:   manifest.Source{Name: lastElement(source.Path), Format: source.Format, Layout: p.Source.Layout.String(), Prefix: p.Source.Prefix},
		Layout:   p.Layout.String(),
		Format:   format,
		DType:    "keep",
		Settings: p.settings(),
		Adapter:  p.Source.record,
	}
	if p.HF != nil && !p.HF.Plain(p.Config.LogitsSoftCap) {
		m.HuggingFace = p.HF
	}
	if !p.Keep {
		m.DType = p.DType.String()
	}
	for i, d := range p.Dests {
		m.Tensors = append(m.Tensors, manifest.Tensor{Name: d.Name, DType: d.DType.String(), Shape: d.Shape, SHA256: hex.EncodeToString(of.Dests[i][:]), Rule: d.Rule})
	}
	for _, move := range p.Moves {
		t := &m.Tensors[move.Dest]
		source := manifest.PartOf(move.Source)
		if sum, ok := of.Sources[move.Source]; ok && !p.Source.adapted[move.Source] {
			source.SHA256 = hex.EncodeToString(sum[:])
		}
		t.From = append(t.From, source)
		t.DividedBy = manifest.Float(move.Divide)
	}
	if from != nil {
		m.Origin = from.record.Root()
		for i, origin := range from.origins(p) {
			m.Tensors[i].Origin = origin
		}
	}
	for _, c := range p.Copies {
		m.Copies = append(m.Copies, manifest.Copy{Name: c.Tensor.Name, Of: c.Of.Name})
	}
	for _, t := range p.Left {
		m.Left = append(m.Left, t.Name)
	}
	return m
}

func (p *Plan) settings() *manifest.Settings {
	if !p.Settled {
		return nil
	}
	return &manifest.Settings{Preset: p.Preset, AttentionWindow: p.Config.AttentionWindow,
		LogitsSoftCap: manifest.Float(p.Config.LogitsSoftCap), EmbeddingScale: p.Config.EmbeddingScale}
}

// lastElement returns the name of what a path leads to, also where the path is ".".
func lastElement(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return filepath.Base(path)
}
