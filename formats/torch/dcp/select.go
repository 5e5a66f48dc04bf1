package dcp

import (
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/trainer"
)

// A checkpoint of a training holds more than the model. What is the model's is decided by the first keys
// of the nested dicts that were saved, which planner_data has: the fully qualified name "model.norm" can
// come from {"model": {"norm": …}} or from {"model.norm": …}.

// selection knows which tensors of a checkpoint are the model's.
type selection struct {
	known    map[keys]*keys // one copy of each
	selected bool           // whether the rest is set
	wrapper  keys           // that all tensors of the model share, if there are such
	prefix   string         // of their names because of that
	all      bool           // there is nothing but what trainers keep beside a model
}

// keys are the first two keys that lead to a value.
type keys struct{ first, second string }

// addPath takes the keys that lead to a value, and returns the memory that it keeps for them.
func (m *metadata) addPath(name string, path *pickle.Tuple) (kept int64) {
	if len(path.Items) < 2 {
		return 0
	}
	first, ok := path.Items[0].(string)
	if !ok {
		return 0
	}
	k := keys{first: first}
	if len(path.Items) > 2 {
		k.second, _ = path.Items[1].(string)
	}
	e, kept := m.entry(name)
	if e.keys = m.known[k]; e.keys == nil {
		e.keys = &k
		m.known[k] = e.keys
		kept += perEntry + int64(len(k.first)+len(k.second))
	}
	return kept
}

// wrappers are the keys under which trainers save a model, in the order of preference.
var wrappers = func() []keys {
	all := []keys{{"app", "model"}}
	for _, key := range trainer.ModelKeys {
		all = append(all, keys{first: key})
	}
	return all
}()

// selectModel decides what is the model's, once.
func (m *metadata) selectModel() {
	if m.selected {
		return
	}
	m.selected = true
	for _, w := range wrappers {
		if slices.ContainsFunc(m.tensors, func(e *entry) bool { return e.under(w) }) {
			m.wrapper, m.prefix = w, w.first+"."
			if w.second != "" {
				m.prefix += w.second + "."
			}
			break
		}
	}
	m.all = !slices.ContainsFunc(m.tensors, m.isModel)
	for _, e := range m.tensors {
		if !m.isModel(e) {
			e.grid = nil
		}
	}
}

// under reports whether a value is below keys.
func (e *entry) under(w keys) bool {
	return e.keys != nil && e.keys.first == w.first && (w.second == "" || e.keys.second == w.second) &&
		strings.HasPrefix(e.name, w.first) && strings.HasPrefix(e.name[len(w.first):], ".")
}

// isModel reports whether a tensor is the model's.
func (s *selection) isModel(e *entry) bool {
	switch {
	case s.all:
		return true
	case s.wrapper != keys{}:
		return e.under(s.wrapper)
	case e.keys != nil:
		return !trainer.IsOptimizerKey(e.keys.first) && !trainer.IsStateKey(e.keys.first)
	}
	first, _, _ := strings.Cut(e.name, ".")
	return !trainer.IsOptimizerKey(first) && !trainer.IsStateKey(e.name)
}

// firstKey returns the first key that leads to a value, as far as it is known.
func (s *selection) firstKey(e *entry) string {
	if k := e.keys; k != nil && k.second != "" && strings.HasPrefix(s.prefix, k.first+".") {
		return k.first + "." + k.second
	} else if k != nil {
		return k.first
	}
	if first, _, _ := strings.Cut(e.name, "."); trainer.IsOptimizerKey(first) {
		return first
	}
	return e.name
}

// modelName returns the name of a tensor in the model.
func (s *selection) modelName(e *entry) string { return strings.TrimPrefix(e.name, s.prefix) }

// describe adds what stands beside the model.
func (m *metadata) describe(c *tensor.Checkpoint) {
	if m.prefix != "" {
		c.Describe("model under", strings.TrimSuffix(m.prefix, "."))
	}
	var left trainer.Left
	for _, e := range m.tensors {
		if e.grid == nil {
			left.AddTensor(m.firstKey(e))
		}
	}
	for _, e := range m.others {
		left.AddValue(m.firstKey(e))
	}
	left.Describe(c)
}
