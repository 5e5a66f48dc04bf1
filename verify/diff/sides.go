package diff

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// side is one of the checkpoints, with its tensors by the keys under which they are paired.
type side struct {
	checkpoint *tensor.Checkpoint
	oldNames   map[string]string // of renamed tensors, by their new names
	model      *model.Model      // of the family; nil if there is none, or if there are several
	isPart     bool              // the model is one
	several    string            // what the checkpoint holds, if that is several models
	prefix     string            // removed from the names of its tensors
	ownList    string            // of layers, which the other side calls list; "" if both have one name for it
	list       string            // in keys
	layout     model.Layout      // in which the model's tensors are listed
	keys       []string          // in order
	byKey      map[string]*operand

	head        *operand // the embedding, if it stands for a head that only the other side has
	headCounted bool
	divided     *operand // that embedding as the conversion of a model without embedding scale has it; nil if the other side is no conversion
	divisor     float64
}

func newSide(c *tensor.Checkpoint, oldNames map[string]string) *side {
	return &side{checkpoint: c, oldNames: oldNames, byKey: map[string]*operand{}}
}

// add lists an operand under a key or, if that is taken, under its own name.
func (s *side) add(key string, o *operand) {
	if s.byKey[key] != nil {
		key = o.Name
	}
	if s.byKey[key] == nil {
		s.keys = append(s.keys, key)
		s.byKey[key] = o
	}
}

// forget drops the keys, which pairs do not need.
func (s *side) forget() {
	s.keys, s.byKey = nil, nil
	if s.model != nil {
		s.model = model.Outline(s.model)
	}
}

// nameOf returns the operand's name in the file.
func (s *side) nameOf(o *operand) string {
	if old, ok := s.oldNames[o.Name]; ok {
		return old
	}
	return o.Name
}

// recognize finds the model of the family, if there is just one.
func (s *side) recognize() {
	m, err := model.Recognize(s.checkpoint, model.Options{})
	if err == nil {
		s.model, s.isPart = m, isPart(m)
	} else if bad := new(tensor.FormatError); errors.As(err, &bad) && bad.Reason == model.ReasonSeveralModels {
		s.several = bad.Problem
	}
}

// presented says which tensors of the model are shown otherwise than they are stored, and what transformers does not find, by the names of
// tensors and files if these are those of the checkpoint. Nothing is read over a network for that.
func (s *side) presented(letter string) []string {
	var notes []string
	if s.model == nil {
		return nil
	}
	for _, note := range s.model.Notes {
		notes = append(notes, letter+": "+note)
	}
	if _, local := storage.LocalPath(s.checkpoint.Source, s.checkpoint.Root); !local || len(s.oldNames) > 0 {
		return notes
	}
	if problem, err := runtime.NotFound(s.model); err == nil && problem != "" { // a config.json that cannot be read does not matter here
		notes = append(notes, letter+": "+problem)
	}
	return notes
}

// commonLayout returns a layout in which models of two layouts can be compared: each parameter is a tensor
// of its own in it.
func commonLayout(a, b model.Layout) model.Layout {
	if a == model.HuggingFace {
		return a
	}
	return b
}

// addModel lists the tensors of a model as a layout has them, and then those that are not part of it. Keys are parts of names of tensors of this
// side or of the other, which may be listed already, where they can be: there may be very many.
func (s *side) addModel(layout model.Layout, other *side) error {
	s.prefix, s.layout = s.model.Prefix, layout
	for p := range s.model.TensorsIn(layout) {
		if p.Name == "" {
			s.add(strings.TrimPrefix(p.Stored.Name, s.prefix), whole(p.Stored))
			continue
		}
		o, err := parameter(p)
		if err != nil {
			return err
		}
		key := endOf(p.Stored.Name, p.Name)
		if counterpart := other.byKey[key]; counterpart != nil {
			key = endOf(counterpart.Name, key)
		}
		s.add(key, o)
	}
	return nil
}

// takeKeys gives tensors that are no part of the model, as those that a rule renamed, the keys that the other side's model has for their names,
// in whatever layer.
func (s *side) takeKeys(other *side) {
	inAnyLayer := func(name string) (general string, layer int) {
		list, layer, rest := SplitLayer(name)
		if layer < 0 {
			return name, layer
		}
		return list + anyLayer + rest, layer
	}
	keys := map[string][]string{} // without the numbers of layers, by such names
	for _, key := range other.keys {
		o := other.byKey[key]
		name, _ := inAnyLayer(strings.TrimPrefix(o.Name, other.prefix))
		if key, _ = inAnyLayer(key); o.parameter && !slices.Contains(keys[name], key) {
			keys[name] = append(keys[name], key)
		}
	}
	for i, key := range s.keys {
		o := s.byKey[key]
		if o.parameter {
			continue
		}
		name, layer := inAnyLayer(strings.TrimPrefix(o.Name, other.prefix))
		for _, to := range keys[name] {
			if to = strings.Replace(to, anyLayer, fmt.Sprintf(".%d.", layer), 1); s.byKey[to] == nil {
				delete(s.byKey, key)
				s.keys[i], s.byKey[to] = to, o
				break
			}
		}
	}
}

// takeNames gives tensors the keys of the other side's tensors of the same names, where neither side has the other's key. It reports whether such
// names have the prefix of one side only.
func (s *side) takeNames(other *side) (found bool) {
	theirs := make(map[string]string, len(other.keys)) // keys by names
	for _, key := range slices.Backward(other.keys) {  // an embedding that is also the head has two, the head's last
		theirs[other.byKey[key].Name] = key
	}
	for i, key := range s.keys {
		o := s.byKey[key]
		switch to, ok := theirs[o.Name]; {
		case ok && to == key:
			found = found || unwrap(o.Name, s.prefix) != unwrap(o.Name, other.prefix) && s.nameOf(o) == other.nameOf(o)
		case ok && s.byKey[to] == nil && other.byKey[key] == nil:
			delete(s.byKey, key)
			s.keys[i], s.byKey[to], found = to, o, true
		}
	}
	return found
}

// endOf returns the end of a name, as a part of it, if that is a key, and otherwise the key.
func endOf(name, key string) string {
	if strings.HasSuffix(name, key) {
		return name[len(name)-len(key):]
	}
	return key
}

// embedding returns the model's embedding, or nil.
func (s *side) embedding() *operand { return s.byKey[s.model.Family.EmbeddingName(s.layout)] }

// addAll lists all tensors by their names.
func (s *side) addAll() {
	for _, t := range s.checkpoint.Tensors() {
		s.add(t.Name, whole(t))
	}
}

// addUnwrapped lists all tensors by their names without a prefix and without the segments of wrappers.
func (s *side) addUnwrapped(prefix string) {
	s.prefix = prefix
	for _, t := range s.checkpoint.Tensors() {
		key := unwrap(t.Name, prefix)
		if same := s.checkpoint.Tensor(key); same != nil && unwrap(key, prefix) == key { // whose key it is
			key = t.Name
		}
		if layer, ok := strings.CutPrefix(key, s.ownList+"."); ok && s.ownList != "" {
			key = s.list + "." + layer
		}
		s.add(key, whole(t))
	}
}

// hasOtherList reports whether an operand is in the list of layers that the other side calls otherwise.
func (s *side) hasOtherList(o *operand) bool {
	return s.ownList != "" && strings.HasPrefix(unwrap(o.Name, s.prefix), s.ownList+".")
}

// has reports whether the side's own layout is the one in which the pairs are compared.
func (s *side) has(layout model.Layout) bool { return s.model == nil || s.model.Layout == layout }

// fullName returns the operand's own name, with the number that its key has for its layer, or its key if it is compared in another layout.
func (s *side) fullName(key string, layout model.Layout, o *operand) string {
	if !s.has(layout) && o.parameter {
		return key
	}
	short := strings.TrimPrefix(o.Name, s.prefix) // a prefix may have numbers too
	list, own, rest := SplitLayer(short)
	if _, n, _ := SplitLayer(key); n >= 0 && own >= 0 && n != own {
		return fmt.Sprintf("%s%s.%d.%s", strings.TrimSuffix(o.Name, short), list, n, rest)
	}
	return o.Name
}

// describe returns the part of the result about the side, without the counts.
func (s *side) describe() Side {
	out := Side{Path: s.checkpoint.Path, Format: s.checkpoint.Format, Step: s.checkpoint.Step(), Prefix: s.prefix}
	if s.model == nil {
		return out
	}
	out.Layout = model.ShownLayout(s.model).String()
	if s.model.Config.Has(model.UnknownKind) {
		return out
	}
	for _, kind := range s.model.Config.BlockTypes {
		out.BlockTypes = append(out.BlockTypes, string(kind))
	}
	return out
}
