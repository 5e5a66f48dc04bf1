package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/moves"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

// renaming says under which names a converted checkpoint has the tensors of a plan. The nil renaming has those of the plan.
type renaming struct {
	names  map[string]string // by the plan's; tensors that are missing are not in it
	layers *diff.MovedLayers // nil if layers of one number belong together
}

// maxCompared bounds the tensors, of both checkpoints together, among which renamed ones are looked for.
const maxCompared = 1 << 15

// findRenamed finds tensors that a converted checkpoint has under other names, by what they hold. It returns nil if there are none, and no layers that
// are copies of others.
// It reads weights only if names are missing, or if there are layers more: those behind an inserted one have the names of others. found is the model in the converted checkpoint, or nil; an output head that stands for its
// embedding is not renamed.
func findRenamed(ctx context.Context, p *convert.Plan, converted *tensor.Checkpoint, found *model.Model, progress func(stage string, done, total int64)) (*renaming, error) {
	embedding := ""
	if found != nil && found.EmbeddedByHead {
		embedding = p.Dests[p.Embedding].Name
	}
	isMissing := func(d moves.Dest) bool { return d.Name != embedding && converted.Tensor(d.Name) == nil }
	known := p.Finder()
	isExtra := func(t *tensor.Tensor) bool { return known(t.Name) < 0 }
	if len(p.Dests)+len(converted.Tensors()) > maxCompared || !slices.ContainsFunc(p.Dests, isMissing) && !slices.ContainsFunc(converted.Tensors(), isExtra) {
		return nil, nil
	}
	w := &weightsCheck{list: p.List}
	var expected []*tensor.Tensor
	for i := range p.Dests {
		t, err := w.expected(i)
		if err != nil {
			return nil, err
		}
		expected = append(expected, t)
	}
	planned, err := tensor.NewCheckpoint("", "", expected)
	if err != nil {
		return nil, err
	}
	others, name, head := converted, p.Source.Family.HeadName(), ""
	if p.Layout == model.HuggingFace && known(name) < 0 { // a head that may hold what the embedding does, and is not that
		head = headIn(converted, found, name)
		isHead := func(t *tensor.Tensor) bool { return t.Name == head }
		if others, err = tensor.NewCheckpoint("", "", slices.DeleteFunc(slices.Clone(converted.Tensors()), isHead)); err != nil {
			return nil, err
		}
	}
	pairs, err := diff.FindCounterparts(ctx, planned, others, progress)
	if err != nil {
		return nil, err
	}
	if embedding != "" {
		pairs.Names[embedding] = embedding
	}
	r := &renaming{pairs.Names, pairs.Layers}
	if r.renamed() == 0 && r.layers == nil {
		return nil, nil
	}
	if head != "" {
		r.names[name] = head
	}
	return r, nil
}

// headIn returns the name of the output head in a converted checkpoint, which may be under a wrapper; "" if there is none. name is that of the family.
func headIn(converted *tensor.Checkpoint, found *model.Model, name string) string {
	switch {
	case converted.Tensor(name) != nil:
		return name
	case found == nil || found.Layout != model.HuggingFace:
	case found.EmbeddedByHead:
		return found.Embedding().Name
	case len(found.Heads) > 0:
		return found.Heads[0].Tensor.Name
	}
	return ""
}

// name returns the name that a converted checkpoint has for a tensor of the plan, "" for none. Without renamed tensors it is the plan's.
func (r *renaming) name(planned string) string {
	if r == nil {
		return planned
	}
	return r.names[planned]
}

// known returns a function that reports whether a converted checkpoint has a tensor of the plan under a name.
func (r *renaming) known(l moves.List) func(name string) bool {
	if r == nil {
		find := l.Finder()
		return func(name string) bool { return find(name) >= 0 }
	}
	known := map[string]bool{}
	for i := range l.Dests {
		known[r.names[l.Dests[i].Name]] = true
	}
	return func(name string) bool { return known[name] }
}

// apply returns a list with the names that the converted checkpoint has, without the tensors that it lacks, and how many these are.
// heads are tensors that are compared with the embedding.
func (r *renaming) apply(l moves.List, heads []string) (list moves.List, missing int) {
	if r == nil {
		return l, 0
	}
	list = withoutDests(l, func(d *moves.Dest) bool { return r.names[d.Name] == "" && !slices.Contains(heads, d.Name) })
	for i := range list.Dests {
		list.Dests[i].Name = cmp.Or(r.names[list.Dests[i].Name], list.Dests[i].Name)
	}
	return list, len(l.Dests) - len(list.Dests)
}

// renamed counts the tensors that have other names.
func (r *renaming) renamed() (n int) {
	if r != nil {
		for name, now := range r.names {
			if name != now {
				n++
			}
		}
	}
	return n
}

// words says which layers are which, "" if layers of one number belong together.
func (r *renaming) words() string {
	if r == nil || r.layers == nil {
		return ""
	}
	return r.layers.Words("the source", "the conversion")
}

// taken says of a tensor that is missing with its layer that the converted checkpoint has another layer under the number, "" if it has none.
func (r *renaming) taken(planned string) string {
	if r == nil || r.layers == nil {
		return ""
	}
	list, layer, _ := diff.SplitLayer(planned)
	k := slices.Index(r.layers.B, layer)
	if list != r.layers.List || k < 0 || !slices.Contains(r.layers.OnlyA, layer) {
		return ""
	}
	verb := "is"
	if r.layers.Alike {
		verb = "looks like"
	}
	return fmt.Sprintf("the conversion lacks layer %d of the source; its own layer %d %s layer %d of the source", layer, layer, verb, r.layers.A[k])
}

// copied says of a tensor that the source has not with its layer that the layer was made from another, "" if it was not.
func (r *renaming) copied(name string) string {
	if r == nil || r.layers == nil {
		return ""
	}
	list, layer, _ := diff.SplitLayer(name)
	k := slices.IndexFunc(r.layers.DuplicatesB, func(d diff.Duplicate) bool { return d.Layer == layer })
	if list != r.layers.List || k < 0 {
		return ""
	}
	is := "is a copy of"
	if r.layers.DuplicatesB[k].Alike {
		is = "looks like"
	}
	return fmt.Sprintf("layer %d %s layer %d of the source", layer, is, r.layers.DuplicatesB[k].Of)
}

// change says which other name the tensor of a finding has. That its layer was moved is said by words.
func (r *renaming) change(f *Finding) string {
	to := f.Got
	if r != nil {
		if name := r.layers.NameInA(to); name != f.Tensor {
			to = name
		}
	}
	return diff.RenamedWords(f.Tensor, to)
}

// says reports whether words says what a finding does.
func (r *renaming) says(f *Finding) bool {
	if r == nil || r.layers == nil || f.Field != "" {
		return false
	}
	list, layer, rest := diff.SplitLayer(f.Tensor)
	if layer < 0 || list != r.layers.List {
		return false
	}
	switch f.Kind {
	case MissingTensor:
		return slices.Contains(r.layers.OnlyA, layer)
	case ExtraTensor:
		return slices.Contains(r.layers.OnlyB, layer)
	case RenamedTensor:
		k := slices.Index(r.layers.A, layer)
		return k >= 0 && f.ConvertedName == fmt.Sprintf("%s.%d.%s", list, r.layers.B[k], rest)
	}
	return false
}

// summary describes the weights that were compared under other names, "" for none.
func (r *renaming) summary() string {
	if n := r.renamed(); n > 0 {
		return fmt.Sprintf("; %s under another name", text.Count(n, "tensor"))
	}
	return ""
}
