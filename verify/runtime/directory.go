package runtime

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Directory is a Hugging Face directory as runtimes read it.
type Directory struct {
	Original model.Config // what the original computes with the weights
	Written  model.Config // what transformers 5 takes from config.json

	Stated    *hfconfig.Config // what config.json states
	Fields    map[string]any   // of config.json, as hfconfig.Fields returns them
	Beyond    []string         // what in it the original does not compute, a phrase for each field
	Head      bool             // an output head is stored, be it a copy of the embedding or a matrix of its own
	ByHead    bool             // the output head is stored and stands for the embedding, which is not
	Extra     []string         // names of other tensors that are not parameters of the model
	DType     tensor.DType     // of the embedding
	Quantized string           // how matrices of a quantised copy are stored, as treatments has it; "" for none
	Format    string           // of the weights, as tensor.Checkpoint has it
	Files     []string         // names of the files in it; nil if a file was opened, or nothing is written yet

	renamed   []Misnamed // tensors of the model with other names than those that transformers saves
	root      string     // what the names that transformers saves begin with
	lacksRoot bool       // no name begins with root

	assumed     bool // the attention window of the original is, as a plan has it
	divided     bool // multiplying the embedding, which was divided, does not restore it
	uncomputed  bool // the original does not compute the model, which others may have trained: it has no logits to compare with
	unnamed     bool // the tensors have the names of an original, beside config.json
	lacksConfig bool // it is a directory without config.json, as nothing loads
	bare        bool // it is a file without config.json beside it, which may be meant for any directory
}

// Directory returns the directory of a model in the Hugging Face layout, or for another layout that of a plain conversion. A model
// that has no such form is a *tensor.FormatError.
func (m *Model) Directory() (*Directory, error) {
	if m.directory != nil {
		return m.directory, nil
	}
	if m.Found.Layout != model.HuggingFace {
		return m.converted()
	}
	c := m.Checkpoint
	d := &Directory{Original: m.Original, Written: m.Config, Head: len(m.Found.Heads) > 0, ByHead: m.Found.EmbeddedByHead, DType: m.Found.Embedding().DType, Format: c.Format, divided: m.divided}
	d.renamed, d.root, d.lacksRoot = misnamedIn(m.Found), m.Found.Family.Roots[m.Found.Layout], model.LacksRoot(m.Found)
	d.Beyond = model.BeyondOriginal(m.Found, &d.Original)
	d.uncomputed = len(d.Beyond) > 0
	for _, t := range slices.Concat(m.Found.Extra, m.Found.Rest) {
		d.Extra = append(d.Extra, t.Name)
	}
	stated, err := m.Found.StatedConfig()
	if err != nil {
		return nil, err
	}
	if stated == nil { // the settings are given, and what griffin writes is taken for the rest
		if info, err := fs.Stat(c.Source, c.Root); err == nil {
			d.lacksConfig, d.bare = info.IsDir(), !info.IsDir()
		}
		form := &manifest.HuggingFace{AttentionWindowSize: m.Config.AttentionWindow, LogitsSoftCap: manifest.Float(m.Config.LogitsSoftCap), TieWordEmbeddings: !m.Config.SeparateHead}
		text, err := json.Marshal(m.Found.Family.HuggingFace.Fields(&m.Config, form, d.DType))
		if err != nil {
			return nil, err
		}
		return d, d.read(text)
	}
	d.Stated = stated
	if d.Files, err = filesOf(c); err != nil {
		return nil, err
	}
	d.Fields, err = hfconfig.Fields(c.Source, c.Beside(hfconfig.Name))
	d.stateQuantized(m.Quantized)
	return d, err
}

// converted returns the directory of a plain conversion.
func (m *Model) converted() (*Directory, error) {
	original := m.Original
	settings := model.SettingsOf(&original)
	plan, err := convert.NewPlan(m.Found, convert.PlanOptions{Settings: settings, To: convert.ToHF, AllowInexact: true})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(m.Found.Family.HuggingFace.Fields(&plan.Config, plan.HF, plan.DType))
	if err != nil {
		return nil, err
	}
	return Planned(plan, text)
}

// read sets what the content of a config.json states.
func (d *Directory) read(config []byte) (err error) {
	if d.Fields, err = hfconfig.ParseFields(config); err != nil {
		return err
	}
	d.Stated, err = hfconfig.Parse(config)
	return err
}

// Planned returns the directory that a plan makes. config is the content of its config.json.
func Planned(p *convert.Plan, config []byte) (*Directory, error) {
	d := &Directory{Original: p.Config, Written: p.Config, DType: p.Dests[p.Embedding].DType, Format: safetensorsFormat}
	d.Written.AttentionWindow, d.Written.LogitsSoftCap = p.HF.AttentionWindowSize, float64(p.HF.LogitsSoftCap)
	d.Written.EmbeddingScale = true
	d.divided = p.HF.EmbeddingDividedBy != 0 && !huggingface.IsPowerOfTwo(float64(p.HF.EmbeddingDividedBy))
	d.Written.SeparateHead = !p.HF.TieWordEmbeddings
	if huggingface.IsNoSoftCap(d.Original.LogitsSoftCap, d.DType) {
		d.Original.LogitsSoftCap = 0
	}
	d.Head = d.Written.SeparateHead
	for _, i := range p.Extra {
		d.Extra = append(d.Extra, p.Dests[i].Name)
	}
	d.Beyond, d.assumed = model.BeyondOriginal(p.Source, &d.Original), p.WindowAssumed
	if p.Source.Layout == model.HuggingFace {
		stated, err := p.Source.StatedConfig()
		matched := err == nil && stated != nil && stated.AttentionWindowSize == d.Original.AttentionWindow+1 // a head was trained after a conversion
		d.uncomputed = len(p.Source.Family.BeyondOriginal(&d.Original)) > 0 || len(d.Beyond) > 0 && !matched
	}
	return d, d.read(config)
}

const safetensorsFormat = "safetensors"

// number returns a field of config.json that is a number.
func (d *Directory) number(name string) (float64, bool) {
	n, ok := d.Fields[name].(json.Number)
	if !ok {
		return 0, false
	}
	x, err := n.Float64()
	return x, err == nil
}

// numberOr returns a field of config.json that is a number, or what a runtime takes if it is not there.
func (d *Directory) numberOr(name string, otherwise float64) float64 {
	if x, ok := d.number(name); ok {
		return x
	}
	return otherwise
}

// word returns a field of config.json that is a string, or what a runtime takes if it is not there.
func (d *Directory) word(name, otherwise string) string {
	if s, ok := d.Fields[name].(string); ok {
		return s
	}
	return otherwise
}

// has reports whether config.json has a field at its top level whose value is not null.
func (d *Directory) has(name string) bool {
	v, ok := d.Fields[name]
	return ok && v != nil
}

// missing returns those of the fields that config.json does not have.
func (d *Directory) missing(names ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return d.has(name) })
}

// pattern returns a list of block types of config.json; nil if it is not there.
func (d *Directory) pattern(name string) []model.BlockType {
	list, ok := d.Fields[name].([]any)
	if !ok {
		return nil
	}
	var blocks []model.BlockType
	for _, item := range list {
		blocks = append(blocks, model.BlockType(fmt.Sprint(item)))
	}
	return blocks
}

// repeats reports whether the blocks of the model are a pattern, repeated.
func (d *Directory) repeats(pattern []model.BlockType) bool {
	for i, b := range d.Original.BlockTypes {
		if len(pattern) == 0 || pattern[i%len(pattern)] != b {
			return false
		}
	}
	return true
}

// attends reports whether any block is an attention block.
func (d *Directory) attends() bool { return d.Original.Has(model.Attention) }

// recurs reports whether any block is recurrent.
func (d *Directory) recurs() bool { return d.Original.Has(model.Recurrent) }

// fitting reports whether the query heads together are as wide as the model.
func (d *Directory) fitting() bool {
	return d.Stated.NumAttentionHeads*d.Stated.HeadDim == d.Stated.HiddenSize
}

// negligible is the largest relative error of a constant that counts as rounding.
const negligible = 1e-5
