// Package manifest reads and writes conversion.json, the file in which a conversion records what it
// was made from and how. The package holds data only: package convert fills a Manifest, and the
// next conversion, a verification and the recognition of a model read it as a Record.
package manifest

import (
	"bytes"
	"io"
	"slices"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// Name is the name of the file in a directory. Beside a file of weights it is the file's name, a
// dot and Name.
const Name = "conversion.json"

// Schema identifies the format of the file. It changes when a field changes its meaning.
const Schema = "griffin conversion record 1"

// Manifest is the content of conversion.json. It depends on nothing but the input and the options:
// it has no times, no machine, and only the last element of the source's path.
type Manifest struct {
	Head
	Tensors []Tensor     `json:"tensors"`
	Copies  []Copy       `json:"copies,omitempty"` // tensors that were left out, each a copy of another
	Files   []OutputFile `json:"files,omitempty"`  // all files but this one, by name; for the sake of programs that know no tensors
	Left    []string     `json:"left,omitempty"`   // tensors of the source that do not belong to the model
}

// Head is what a Manifest has of the whole conversion.
type Head struct {
	Schema      string       `json:"schema,omitempty"` // Schema; "" in files of earlier versions
	Griffin     string       `json:"griffin"`          // version of the tool
	Source      Source       `json:"source"`
	Origin      *Source      `json:"origin,omitempty"`      // the checkpoint at which the source's own manifest begins; nil if the source has none
	Layout      string       `json:"layout"`                // of the destination
	Format      string       `json:"format"`                // of the destination
	DType       string       `json:"dtype"`                 // "keep", or the dtype to which all tensors were converted
	Settings    *Settings    `json:"settings,omitempty"`    // nil if unknown, as a conversion between original layouts allows
	HuggingFace *HuggingFace `json:"huggingface,omitempty"` // nil if config.json states Settings as they are
	Adapter     *Adapter     `json:"adapter,omitempty"`     // nil if none was merged
	Overflowed  int64        `json:"overflowed,omitempty"`  // finite elements that became infinite, too large for their dtype
}

// Source is a checkpoint that was converted.
type Source struct {
	Name   string `json:"name"`           // of the file or directory
	Step   string `json:"step,omitempty"` // of the training run Name; "" if Name is that of the step, and in files of earlier versions
	Format string `json:"format"`
	Layout string `json:"layout"`
	Prefix string `json:"prefix,omitempty"` // of the names of the model's tensors

	Address string        `json:"address,omitempty"` // where it was read over a network, without credentials
	Commit  string        `json:"commit,omitempty"`  // of the repository at Address
	Files   []FileVersion `json:"files,omitempty"`   // that were read at Address, if there is no commit
}

// FileVersion is the version of a file that was read over a network.
type FileVersion struct {
	Name    string `json:"name"`              // below the address of its directory
	Version string `json:"version,omitempty"` // the server's name for its content: ETag, generation or date
}

// Settings are the parts of a model's configuration that shapes do not show.
type Settings struct {
	Preset          string `json:"preset,omitempty"`
	AttentionWindow int64  `json:"attention_window"`
	WindowAssumed   bool   `json:"attention_window_assumed,omitempty"` // AttentionWindow is that of a config.json, and nothing said whether it was one more, to match a runtime
	LogitsSoftCap   Float  `json:"logits_soft_cap"`                    // 0 for none
	EmbeddingScale  bool   `json:"embedding_scale"`
}

// HuggingFace records how a Hugging Face directory expresses a model: the numbers in its config.json
// that differ from the model's Settings, because transformers always scales embeddings, always caps
// logits, and attends to one token less than the original.
type HuggingFace struct {
	// MatchRuntime names the runtime for which AttentionWindowSize was chosen: with it, the logits of
	// that runtime agree with the original's at every position. It is "" if AttentionWindowSize is the
	// model's own window.
	MatchRuntime        string `json:"match_runtime,omitempty"`
	AttentionWindowSize int64  `json:"attention_window_size"`

	// LogitsSoftCap is the cap in config.json. For a model without a cap it is a power of two so large
	// that tanh(x/cap)*cap is x.
	LogitsSoftCap Float `json:"logits_soft_cap"`

	// EmbeddingDividedBy is the number by which the embedding was divided to undo transformers'
	// scaling, 0 if it was not. The output head is then a separate tensor, which is not divided.
	EmbeddingDividedBy Float `json:"embedding_divided_by,omitempty"`
	TieWordEmbeddings  bool  `json:"tie_word_embeddings"`

	Inexact []string `json:"inexact,omitempty"` // what transformers computes differently, and by how much
}

// Plain reports whether config.json states the settings of the model as they are. softCap is the
// model's own.
func (h *HuggingFace) Plain(softCap float64) bool {
	return h.MatchRuntime == "" && float64(h.LogitsSoftCap) == softCap && h.EmbeddingDividedBy == 0
}

// Adapter is an adapter that was merged into the model.
type Adapter struct {
	Name    string `json:"name"` // of the directory
	Type    string `json:"type"` // "LoRA" or "DoRA"
	Rank    int64  `json:"rank"` // of the parameters for which no pattern sets another
	Alpha   Float  `json:"alpha"`
	RSLoRA  bool   `json:"use_rslora"`
	Base    string `json:"base_model,omitempty"` // as the adapter names it
	Changes int    `json:"changes"`              // number of parameters that it changes
	Files   []File `json:"files"`
}

// OutputFile is a file that was written.
type OutputFile struct {
	Name  string `json:"name"` // below the directory, with slashes
	Bytes int64  `json:"bytes"`
	digest.Sum
}

// File is a file that was read.
type File struct {
	Name string `json:"name"`
	digest.Sum
}

// Tensor is one tensor of the destination.
type Tensor struct {
	Name       string  `json:"name"`
	DType      string  `json:"dtype"`
	Shape      []int64 `json:"shape"`
	digest.Sum         // of its elements, row-major and little-endian
	Rule       string  `json:"rule"`                 // what was done to the source: "copy", "transpose", ...
	DividedBy  Float   `json:"divided_by,omitempty"` // the divisor of every element, applied before rounding; 0 for none
	From       []Part  `json:"from"`
	Origin     []Part  `json:"origin,omitempty"` // the tensors of Manifest.Origin that From was made from
}

// Part is a tensor from which another one was made.
type Part struct {
	Name       string  `json:"name"`
	DType      string  `json:"dtype"`
	Shape      []int64 `json:"shape"`
	digest.Sum         // empty if it was not computed
	Rounded    bool    `json:"rounded,omitempty"` // in Tensor.Origin: elements may have been rounded since
}

// PartOf describes a tensor, without its digest.
func PartOf(t *tensor.Tensor) Part {
	shape := t.Shape
	if shape == nil {
		shape = []int64{}
	}
	return Part{Name: t.Name, DType: t.DType.String(), Shape: shape}
}

// Copy is a tensor of the source that is in the destination under another name.
type Copy struct {
	Name string `json:"name"`
	Of   string `json:"of"`
}

// Root returns the checkpoint at which the record begins: h.Origin, or h.Source if the source had no
// manifest of its own.
func (h *Head) Root() *Source {
	if h.Origin != nil {
		return h.Origin
	}
	return &h.Source
}

// maxParts is more than any tensor of the model families is made from.
const maxParts = 16

// RootParts returns the tensors of Root from which t, a tensor of the manifest, was made. It returns nil if they
// are unknown, or more than any tensor is made from.
func (h *Head) RootParts(t *Tensor) []Part {
	if max(len(t.Origin), len(t.From)) > maxParts {
		return nil
	}
	if h.Origin != nil {
		return t.Origin
	}
	from := slices.Clone(t.From)
	for i := range from {
		from[i].Rounded = t.DividedBy != 0 || from[i].DType != t.DType
	}
	return from
}

// JSON returns the content of the file, with Schema.
func (m *Manifest) JSON() ([]byte, error) {
	var b bytes.Buffer
	_, err := m.WriteTo(&b)
	return b.Bytes(), err
}

// WriteTo implements io.WriterTo. It writes what JSON returns.
func (m *Manifest) WriteTo(w io.Writer) (int64, error) {
	return m.Write(w, len(m.Tensors), func(i int) *Tensor { return &m.Tensors[i] })
}

// Write writes the content of the file with n other tensors in place of m.Tensors, one after another. tensor describes tensor i.
func (m *Manifest) Write(w io.Writer, n int, tensor func(i int) *Tensor) (int64, error) {
	head := *m
	head.Schema, head.Tensors = Schema, nil
	counted := storage.Counter{To: w}
	err := strictjson.WriteList(&counted, &head, "tensors", n, func(i int) any { return tensor(i) })
	return counted.N, err
}
