package convert

import (
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// outline is what conversion.json and the result state of a conversion, whether it converts a model by a
// Plan or changes the container only.
type outline struct {
	moves.List
	checkpoint *tensor.Checkpoint // of the source
	from, to   model.Layout
	prefix     string // of the names of the model's tensors in the source

	dtype tensor.DType // of most elements of the destination
	keep  bool         // each tensor keeps its dtype

	settings *manifest.Settings    // nil if unknown
	recorded []string              // names of settings that are those in the source's conversion.json
	origins  model.Origins         // of settings
	form     *manifest.HuggingFace // nil if config.json states the settings as they are
	copies   []model.Copy          // tensors of the source that are left out because they are copies
	left     []*tensor.Tensor      // other tensors of the source that are left out
	notes    []string

	manifest func() (*manifest.Record, string, error) // of the source, as manifest.Read returns it
}

// outline returns the outline of a plan.
func (p *Plan) outline() *outline {
	m := p.Source
	o := &outline{List: p.List, checkpoint: m.Checkpoint, from: m.Layout, to: p.Layout, prefix: m.Prefix, dtype: p.DType, keep: p.Keep,
		settings: p.settings(), recorded: p.SettingsRecorded, origins: p.SettingsOrigins, form: p.form(), copies: p.Copies, left: p.Left, manifest: m.Manifest}
	for _, note := range p.Notes {
		o.notes = append(o.notes, note.Text)
	}
	return o
}

// sourceNames lists the tensors from which a destination is made.
func (o *outline) sourceNames(dest int) string {
	var names []string
	for _, m := range o.Moves {
		if m.Dest == dest {
			names = append(names, m.Source.Name)
		}
	}
	return tensor.JoinNames(names)
}
