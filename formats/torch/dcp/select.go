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
	paths   map[string]keys // of names that have more than one key
	others  []string        // names of values that are not tensors
	wrapper string          // the keys that all tensors of the model share, with a dot at the end
	all     bool            // there is nothing but what trainers keep beside a model
}

// keys are the first two keys that lead to a value.
type keys struct{ first, second string }

func newSelection() selection { return selection{paths: map[string]keys{}} }

func (s *selection) addOther(name string) { s.others = append(s.others, name) }

func (s *selection) addPath(name string, path *pickle.Tuple) {
	if len(path.Items) < 2 {
		return
	}
	first, ok := path.Items[0].(string)
	if !ok {
		return
	}
	k := keys{first: first}
	if len(path.Items) > 2 {
		k.second, _ = path.Items[1].(string)
	}
	s.paths[name] = k
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
		if slices.ContainsFunc(m.tensors, func(e *entry) bool { return m.under(e.name, w) }) {
			m.wrapper = w.first + "."
			if w.second != "" {
				m.wrapper += w.second + "."
			}
			break
		}
	}
	m.all = !slices.ContainsFunc(m.tensors, func(e *entry) bool { return m.isModel(e.name) })
	for _, e := range m.tensors {
		if !m.isModel(e.name) {
			e.boxes = nil
		}
	}
}

// under reports whether a name is below keys.
func (s *selection) under(name string, w keys) bool {
	k, ok := s.paths[name]
	return ok && k.first == w.first && (w.second == "" || k.second == w.second) && strings.HasPrefix(name, w.first+".")
}

// isModel reports whether a tensor is the model's.
func (s *selection) isModel(name string) bool {
	if s.all {
		return true
	}
	if s.wrapper != "" {
		first, second, _ := strings.Cut(strings.TrimSuffix(s.wrapper, "."), ".")
		return s.under(name, keys{first, second})
	}
	if k, nested := s.paths[name]; nested {
		return !trainer.IsOptimizerKey(k.first) && !trainer.IsStateKey(k.first)
	}
	first, _, _ := strings.Cut(name, ".")
	return !trainer.IsOptimizerKey(first) && !trainer.IsStateKey(name)
}

// firstKey returns the first key that leads to a value, as far as it is known.
func (s *selection) firstKey(name string) string {
	if k, nested := s.paths[name]; nested && k.second != "" && strings.HasPrefix(s.wrapper, k.first+".") {
		return k.first + "." + k.second
	} else if nested {
		return k.first
	}
	if first, _, _ := strings.Cut(name, "."); trainer.IsOptimizerKey(first) {
		return first
	}
	return name
}

// modelName returns the name of a tensor in the model.
func (s *selection) modelName(name string) string { return strings.TrimPrefix(name, s.wrapper) }

// describe adds what stands beside the model.
func (m *metadata) describe(c *tensor.Checkpoint) {
	if m.wrapper != "" {
		c.Describe("model under", strings.TrimSuffix(m.wrapper, "."))
	}
	var left trainer.Left
	for _, e := range m.tensors {
		if !m.isModel(e.name) {
			left.AddTensor(m.firstKey(e.name))
		}
	}
	for _, name := range m.others {
		left.AddValue(m.firstKey(name))
	}
	left.Describe(c)
}
