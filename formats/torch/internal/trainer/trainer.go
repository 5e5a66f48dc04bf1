// Package trainer knows under which keys training programs save a model, and what stands beside it.
package trainer

import (
	"regexp"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

// ModelKeys are the keys under which the state dict of a model is saved, in the order of preference.
var ModelKeys = []string{"model", "module", "state_dict", "model_state_dict", "network"}

var (
	optimizerKey = regexp.MustCompile(`^(optimizers?|optims?|opt|optimizer_state(_dict)?|optim_state(_dict)?)(_\d+)?$`)
	stateKey     = regexp.MustCompile(`^((lr_)?schedulers?|train_state|trainer_state|data_?loader|loops|callbacks|rng|rng_states?|` +
		`random_states?|extra_states?|(grad_)?scaler|steps?|epoch|global_step|iteration|loss|ema)$`)
)

// IsOptimizerKey reports whether a key is one under which the state of an optimizer is saved.
func IsOptimizerKey(key string) bool { return optimizerKey.MatchString(key) }

// IsStateKey reports whether a key is one under which other state of a training is saved: the schedule,
// the step, random state.
func IsStateKey(key string) bool { return stateKey.MatchString(key) }

// Left counts what is left out of a checkpoint because it is not the model's, by its first key.
type Left struct {
	keys   []string
	counts map[string]*[2]int // tensors and other values
}

// AddTensor counts a tensor below a key.
func (l *Left) AddTensor(key string) { l.count(key)[0]++ }

// AddValue counts a value below a key that is not a tensor.
func (l *Left) AddValue(key string) { l.count(key)[1]++ }

func (l *Left) count(key string) *[2]int {
	if l.counts == nil {
		l.counts = map[string]*[2]int{}
	}
	if l.counts[key] == nil {
		l.counts[key] = &[2]int{}
		l.keys = append(l.keys, key)
	}
	return l.counts[key]
}

// Describe adds to the facts about a checkpoint what was left out.
func (l *Left) Describe(c *tensor.Checkpoint) {
	var parts []string
	for _, key := range l.keys {
		n := l.counts[key]
		part := tensor.QuoteName(key)
		if n[0] > 0 {
			part += " (" + text.Count(n[0], "tensor") + ")"
		}
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		c.Describe("left out", tensor.JoinNames(parts))
	}
}
