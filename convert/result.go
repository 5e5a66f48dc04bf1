package convert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
)

// Result describes what a conversion did, or with Options.DryRun would do.
type Result struct {
	Source       string                        `json:"source"`
	Step         string                        `json:"step,omitempty"`    // of a training run, if one was selected or found in the directory Source
	Format       string                        `json:"format"`            // of the source
	Layout       string                        `json:"layout"`            // of the source
	Weights      string                        `json:"weights,omitempty"` // which weights of the source were taken, of DeepSpeed: "of the optimizer, float32"
	Destination  string                        `json:"destination"`
	To           string                        `json:"to"`            // the target: "hf", "torch", "orbax", "safetensors"
	OutputFormat string                        `json:"output_format"` // of the destination
	OutputLayout string                        `json:"output_layout"` // of the destination
	DryRun       bool                          `json:"dry_run"`
	DType        string                        `json:"dtype"`                       // of most elements of the destination
	DTypes       []string                      `json:"dtypes,omitempty"`            // of the destination, that of most elements first, if there are several
	Settings     *manifest.Settings            `json:"settings,omitempty"`          // nil if unknown
	Recorded     []string                      `json:"settings_recorded,omitempty"` // names of those of Settings that were not given, and that the source's conversion.json has
	HF           *manifest.HuggingFace         `json:"huggingface,omitempty"`       // nil if config.json states Settings as they are
	Parameters   int64                         `json:"parameters"`                  // elements of all tensors
	Bytes        int64                         `json:"bytes"`                       // of all tensors
	Shards       int                           `json:"shards"`                      // files of weights; 0 if not known yet
	Files        []ResultFile                  `json:"files"`                       // as far as they are known
	Tensors      strictjson.List[ResultTensor] `json:"tensors"`                     // there may be very many, so that each is described when it is asked for
	Left         []string                      `json:"left,omitempty"`              // tensors of the source that do not belong to the model
	Overflowed   int64                         `json:"overflowed"`                  // finite elements that became infinite
	Inexact      int64                         `json:"inexact,omitempty"`           // elements that were divided and that multiplying does not restore
	Seconds      float64                       `json:"seconds"`
	Proof        *proof.Proof                  `json:"proof,omitempty"`
	Notes        []string                      `json:"notes,omitempty"`

	BlockTypes []model.BlockType `json:"-"` // of the model; nil if none was recognised
	Origins    model.Origins     `json:"-"` // of Settings
}

// ResultFile is a file of the destination.
type ResultFile struct {
	Name  string `json:"name"`            // relative to the destination's directory
	Bytes *int64 `json:"bytes,omitempty"` // nil if it is not known yet: that of compressed weights, or of a record of the conversion, which has digests
	digest.Sum
}

// ResultTensor is a tensor of the destination.
type ResultTensor struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []int64  `json:"shape"`
	Bytes int64    `json:"bytes"`
	File  string   `json:"file,omitempty"` // "" if it is in several files, or not known in advance
	Rule  string   `json:"rule"`
	From  []string `json:"from"`
	digest.Sum
	Overflowed int64 `json:"overflowed,omitempty"`
	Inexact    int64 `json:"inexact,omitempty"`
}

// describe returns the result as far as it is known before anything is written.
func (c *conversion) describe(dst string) *Result {
	src := c.checkpoint
	r := &Result{Source: src.Path, Step: src.Step(), Format: src.Format, Layout: c.from.String(), Destination: storage.WithoutQuery(dst),
		To: c.options.To.String(), OutputFormat: c.output.format(), OutputLayout: c.to.String(),
		DryRun: c.options.DryRun, DType: c.dtype.String(), Settings: c.settings, Recorded: c.recorded, Origins: c.origins, HF: c.form, Shards: c.output.shards(), Files: c.output.files()}
	if c.plan != nil {
		r.BlockTypes = c.plan.Config.BlockTypes
	}
	if i := slices.IndexFunc(src.Details, func(d tensor.Detail) bool { return d.Key == "weights" }); i >= 0 && src.Format == zero.Format {
		r.Weights = src.Details[i].Value
	}
	r.Notes = append(r.Notes, src.Notes...)
	r.Notes = append(append(r.Notes, c.notes...), c.remarks...)
	for _, t := range c.left {
		r.Left = append(r.Left, t.Name)
	}
	for _, f := range c.files {
		r.Files = append(r.Files, ResultFile{Name: f.Name, Bytes: new(f.Bytes)})
	}
	elements := map[string]int64{}
	for i := range c.Dests {
		t := tensor.Tensor{DType: c.Dests[i].DType, Shape: c.Dests[i].Shape}
		elements[t.DType.String()] += t.Elements()
		r.Parameters += t.Elements()
		r.Bytes += t.Bytes()
	}
	if len(elements) > 1 {
		r.DTypes = slices.SortedFunc(maps.Keys(elements), func(a, b string) int { return cmp.Or(cmp.Compare(elements[b], elements[a]), cmp.Compare(a, b)) })
	}
	r.Tensors = strictjson.NewList(len(c.Dests), func(i int) ResultTensor { return describeTensor(c, i) })
	return r
}

// describeTensor describes a tensor of the destination.
func describeTensor(c *conversion, i int) ResultTensor {
	d := &c.Dests[i]
	t := ResultTensor{Name: d.Name, DType: d.DType.String(), Shape: d.Shape, Bytes: (&tensor.Tensor{DType: d.DType, Shape: d.Shape}).Bytes(),
		File: c.output.file(i), Rule: d.Rule}
	for _, m := range c.MovesOf(i) {
		t.From = append(t.From, m.Source.Name)
	}
	if c.moved != nil {
		t.Sum = c.moved.Digests.Dest(i).Only(c.options.Digest)
		if w := c.moved.Written; w != nil {
			t.Overflowed, t.Inexact = w[i].Overflowed, w[i].Inexact
		}
	}
	return t
}

// add adds what was written.
func (r *Result) add(written []tensor.Written) {
	for i := range written {
		r.Overflowed += written[i].Overflowed
		r.Inexact += written[i].Inexact
	}
	if n := r.Overflowed; n > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s became infinite, too large for %s", text.Count(n, "finite element"), r.DType))
	}
}
