package convert

import (
	"fmt"

	"github.com/griffin-ckpt/griffin/convert/model"
)

// Target is what a conversion writes: a layout in a format.
type Target uint8

// The targets.
const (
	ToHF    Target = iota // a directory that transformers loads: safetensors and configuration files
	ToTorch               // a file that torch.save would write, in the original's torch layout
	ToOrbax               // a directory that orbax restores, in the original's Flax layout

	// ToSafetensors is the only target for models of any family: a safetensors file, or a directory of them, with
	// the tensors of the source as they are.
	ToSafetensors

	targetCount
)

// modelTargets are the targets for models of a family, in a layout of their own.
var modelTargets = []Target{ToHF, ToTorch, ToOrbax}

// targets is the table of them.
var targets = [targetCount]struct {
	name   string
	layout model.Layout
}{
	ToHF:          {"hf", model.HuggingFace},
	ToTorch:       {"torch", model.Torch},
	ToOrbax:       {"orbax", model.Flax},
	ToSafetensors: {"safetensors", model.UnknownLayout}, // that of the source
}

// String returns "hf", "torch", "orbax" or "safetensors".
func (t Target) String() string {
	if t < targetCount {
		return targets[t].name
	}
	return "unknown"
}

// Layout returns the layout that the target has, UnknownLayout for that of the source.
func (t Target) Layout() model.Layout {
	if t < targetCount {
		return targets[t].layout
	}
	return model.UnknownLayout
}

// TargetNames returns the names that ParseTarget accepts.
func TargetNames() []string {
	var names []string
	for _, t := range targets {
		names = append(names, t.name)
	}
	return names
}

// ParseTarget returns the target of a name. Any other name is an *OptionError.
func ParseTarget(name string) (Target, error) {
	for t := range targetCount {
		if targets[t].name == name {
			return t, nil
		}
	}
	return 0, &OptionError{Option: "To", Problem: fmt.Sprintf("no target %q", name), Given: name, Accepted: TargetNames()}
}
