package runtime

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// Misnamed is a tensor of a Hugging Face directory that has another name than in a directory that transformers saves, as one with a prefix that
// torch.compile (_orig_mod.), DDP (module.) or FSDP (_fsdp_wrapped_module.) puts before or into names.
type Misnamed struct{ Stored, Wanted string }

// misnamedIn lists the parameters of a model with other names than those that transformers saves.
func misnamedIn(m *model.Model) (all []Misnamed) {
	if m.Layout != model.HuggingFace || m.Stacked {
		return nil
	}
	root, head := m.Family.Roots[m.Layout], m.Family.HeadName()
	for _, t := range m.ParameterTensors(&m.Config) {
		wanted := root + t.Name
		if t.Name == head || m.EmbeddedByHead && t.Tensor == m.Embedding() {
			wanted = head
		}
		if t.Tensor.Name != wanted {
			all = append(all, Misnamed{t.Tensor.Name, wanted})
		}
	}
	return all
}

// misnamed lists the tensors that a runtime does not find by their names. Those of transformers were given names with each of the prefixes, and others: they
// initialise what they do not find at random, and warn.
func (d *Directory) misnamed(r *Runtime) (all []Misnamed) {
	for _, n := range d.renamed {
		if r.finds == nil || !r.finds(d, n) {
			all = append(all, n)
		}
	}
	return all
}

// namesNotFound says why a runtime does not find tensors by their names; "" if it does.
func namesNotFound(runtime string, all []Misnamed) string {
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%s does not find %s by %s, as %s for %s", runtime, text.Count(len(all), "tensor"), map[bool]string{true: "its name", false: "their names"}[len(all) == 1],
		tensor.QuoteName(all[0].Stored), all[0].Wanted)
}

// MisnamedIn lists the tensors of a Hugging Face directory that transformers does not find by their names, and says so; it initialises them at random. There
// are none if transformers does not load the files, or m was not found in such a directory.
func MisnamedIn(m *model.Model) (all []Misnamed, problem string, err error) {
	d := &Directory{Format: m.Checkpoint.Format, renamed: misnamedIn(m), root: m.Family.Roots[m.Layout], lacksRoot: model.LacksRoot(m)}
	all = d.misnamed(Transformers5)
	if all == nil {
		return nil, "", nil
	}
	if d.Files, err = filesOf(m.Checkpoint); d.Files == nil || err != nil {
		return nil, "", err
	}
	if unloaded, err := WeightsNotFound(m.Checkpoint); unloaded != "" || err != nil {
		return nil, "", err
	}
	return all, namesNotFound("transformers", all) + ": it would load random weights", nil
}
