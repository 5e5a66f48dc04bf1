package convert

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"path/filepath"

	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// ManifestName is the file of a destination that says how it was made.
const ManifestName = "conversion.json"

// Manifest is what conversion.json holds. It depends on nothing but the input and the options: no
// times, no machine, and of the source's path only the last element.
type Manifest struct {
	Griffin  string            `json:"griffin"` // version of the tool
	Source   ManifestSource    `json:"source"`
	Origin   *ManifestSource   `json:"origin,omitempty"` // where the source's own conversion.json begins, if it has one
	Layout   string            `json:"layout"`           // of the destination
	Format   string            `json:"format"`           // of the destination
	DType    string            `json:"dtype"`            // "keep", or the type that all tensors were given
	Settings *ManifestSettings `json:"settings,omitempty"`
	HF       *HFForm           `json:"huggingface,omitempty"` // where config.json has other numbers than Settings
	Adapter  *ManifestAdapter  `json:"adapter,omitempty"`
	Tensors  []ManifestTensor  `json:"tensors"`
	Copies   []ManifestCopy    `json:"copies,omitempty"` // left out, because another tensor holds the same
	Left     []string          `json:"left,omitempty"`   // tensors of the source that are no part of the model
}

// ManifestSource is the checkpoint that was converted.
type ManifestSource struct {
	Name   string `json:"name"` // of the file or directory
	Format string `json:"format"`
	Layout string `json:"layout"`
	Prefix string `json:"prefix,omitempty"` // of the model's tensors
}

// ManifestSettings are what shapes could not tell. A conversion between originals may know none.
type ManifestSettings struct {
	Preset          string      `json:"preset,omitempty"`
	AttentionWindow int64       `json:"attention_window"`
	LogitsSoftCap   pythonFloat `json:"logits_soft_cap"`
	EmbeddingScale  bool        `json:"embedding_scale"`
}

// ManifestTensor is one tensor of the destination.
type ManifestTensor struct {
	Name      string         `json:"name"`
	DType     string         `json:"dtype"`
	Shape     []int64        `json:"shape"`
	SHA256    string         `json:"sha256"` // of its elements, row-major and little-endian
	Rule      string         `json:"rule"`
	DividedBy pythonFloat    `json:"divided_by,omitempty"` // every element was, before it was rounded
	From      []ManifestFrom `json:"from"`
	Origin    []ManifestFrom `json:"origin,omitempty"` // what those were made from, in Manifest.Origin
}

// ManifestFrom is a tensor that another was made from.
type ManifestFrom struct {
	Name    string  `json:"name"`
	DType   string  `json:"dtype"`
	Shape   []int64 `json:"shape"`
	SHA256  string  `json:"sha256,omitempty"`  // "" where it was not computed
	Rounded bool    `json:"rounded,omitempty"` // of an origin: not all bits of it may have come this far
}

// ManifestCopy is a tensor of the source that is in the destination under another name.
type ManifestCopy struct {
	Name string `json:"name"`
	Of   string `json:"of"`
}

// NewManifest describes a plan that was carried out by that version of the tool, in that format. of has
// the digests that are known: of all p.Dests and of some sources. from may be nil.
func NewManifest(p *Plan, version, format string, of *Digests, from *provenance) *Manifest {
	source := p.Source.Checkpoint
	m := &Manifest{
		Griffin:  version,
		Source:   ManifestSource{Name: lastElement(source.Path), Format: source.Format, Layout: p.Source.Layout.String(), Prefix: p.Source.Prefix},
		Layout:   p.Layout.String(),
		Format:   format,
		DType:    "keep",
		Settings: p.settings(),
		Adapter:  p.Source.record,
	}
	if p.HF != nil && !p.HF.plain(&p.Config) {
		m.HF = p.HF
	}
	if !p.Keep {
		m.DType = p.DType.String()
	}
	for i, d := range p.Dests {
		m.Tensors = append(m.Tensors, ManifestTensor{Name: d.Name, DType: d.DType.String(), Shape: d.Shape, SHA256: hex.EncodeToString(of.Outputs[i][:]), Rule: d.Rule})
	}
	for _, move := range p.Moves {
		t := &m.Tensors[move.Dest]
		source := fromTensor(move.Source)
		if sum, ok := of.Sources[move.Source]; ok && isStored(move.Source) {
			source.SHA256 = hex.EncodeToString(sum[:])
		}
		t.From = append(t.From, source)
		t.DividedBy = pythonFloat(move.Divide)
	}
	if from != nil {
		m.Origin = from.origin()
		for i, origin := range from.origins(p) {
			m.Tensors[i].Origin = origin
		}
	}
	for _, c := range p.Copies {
		m.Copies = append(m.Copies, ManifestCopy{c.Tensor.Name, c.Of.Name})
	}
	for _, t := range p.Left {
		m.Left = append(m.Left, t.Name)
	}
	return m
}

func (p *Plan) settings() *ManifestSettings {
	if !p.Settled {
		return nil
	}
	return &ManifestSettings{Preset: p.Preset, AttentionWindow: p.Config.AttentionWindow,
		LogitsSoftCap: pythonFloat(p.Config.LogitsSoftCap), EmbeddingScale: p.Config.EmbeddingScale}
}

// lastElement returns the name of what a path leads to, also where the path is ".".
func lastElement(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return filepath.Base(path)
}

func fromTensor(t *tensor.Tensor) ManifestFrom {
	shape := t.Shape
	if shape == nil {
		shape = []int64{}
	}
	return ManifestFrom{Name: t.Name, DType: t.DType.String(), Shape: shape}
}

// JSON returns the file's content.
func (m *Manifest) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(m)
	return b.Bytes(), err
}
