package convert

import (
	"fmt"
	"slices"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

// DefaultMaxShardSize is that of transformers 5.23. Both published models fit into it, so that they
// are one file, as transformers writes them. transformers 4.57 has 5 GB.
const DefaultMaxShardSize = 50_000_000_000

// Options choose what a conversion writes.
type Options struct {
	To           Target            // layout and format
	Settings     model.Settings    // what shapes do not show
	DType        tensor.DType      // of all tensors; Invalid keeps each one's own
	AllowInexact bool              // write a model that the target cannot express exactly, and note the cost
	Overwrite    bool              // replace an existing destination, on success
	DryRun       bool              // plan only: write nothing
	Digest       digest.Algorithms // of the digests in conversion.json; 0 for digest.Default
	Verify       bool              // prove the written weights before the destination appears

	// Which model of the source.
	Family  *model.Family // nil for Griffin
	Model   string        // name of one of several models, as model.Options has it; "" for the only one
	Extra   ExtraPolicy   // what to do with tensors that are not parameters of the family
	Adapter *peft.Adapter // merged into the model, or nil

	PartialAdapter bool // accept an Adapter that lacks tensors of some of its target modules

	// MaxShardSize is for ToHF, and for ToSafetensors if the destination is a directory.
	MaxShardSize int64 // bytes of tensors in a file; 0 for DefaultMaxShardSize

	// For ToHF only.
	MatchRuntime     Runtime // configure the model so that this runtime agrees with the original
	Tokenizer        string  // path of a SentencePiece model from which the tokenizer's files are made, or ""
	InstructionTuned bool    // add Gemma's chat template, and end generation at <end_of_turn>

	// For ToOrbax only.
	OrbaxFormat orbax.Format

	// For ToSafetensors only.
	Only   []string     // patterns of names of the source (see names.Glob), one of which has to match; all tensors if empty
	Rename *names.Rules // gives tensors other names; nil to rename none

	// Progress, if not nil, is called with the number of bytes written (and proven, with Verify) and of
	// bytes to write and prove, never concurrently.
	Progress func(done, total int64)
}

// ExtraPolicy says what to do with tensors that are not parameters of the family.
type ExtraPolicy uint8

// The policies.
const (
	RefuseExtra ExtraPolicy = iota // a model with such tensors is a *model.MismatchError
	KeepExtra                      // copy them as they are
)

// Runtime is a runtime that computes a model otherwise than the original implementation does, and for
// which a configuration exists with which it agrees.
type Runtime uint8

// The runtimes.
const (
	NoRuntime     Runtime = iota
	Transformers5         // attends to attention_window_size tokens, the original to one more than its window
)

// String returns "" or "transformers5".
func (r Runtime) String() string {
	if r == Transformers5 {
		return "transformers5"
	}
	return ""
}

// ParseRuntime returns the runtime of a name. Names of runtimes that no configuration makes agree with
// the original, and unknown names, are an *OptionError.
func ParseRuntime(name string) (Runtime, error) {
	switch name {
	case "":
		return NoRuntime, nil
	case Transformers5.String():
		return Transformers5, nil
	case "transformers4", "transformers4.57":
		return 0, &OptionError{Option: "MatchRuntime",
			Problem: "no configuration makes transformers 4.57 agree with the original: its attention has no window in one pass, and with the cache, as it runs by default, " +
				"a prompt longer than the window gives wrong logits from position 0, decoding diverges at position window - 1, and prompts of one token crash",
			Hint: "keep texts within the window there, with use_cache=False; a configuration that matches transformers5 makes transformers 5 agree at every position"}
	}
	return 0, &OptionError{Option: "MatchRuntime", Problem: fmt.Sprintf("no runtime %q to match", name), Accepted: []string{Transformers5.String()}}
}

// OptionError is that of package model. Its Option is the name of a field of Options or Settings.
type OptionError = model.OptionError

// check refuses options that do not apply to the target.
func (o *Options) check() error {
	for _, only := range []struct {
		to     []Target
		given  bool
		option string
		what   string
	}{
		{[]Target{ToHF}, o.Tokenizer != "", "Tokenizer", "tokenizer files"},
		{[]Target{ToHF}, o.InstructionTuned, "InstructionTuned", "a chat template"},
		{[]Target{ToHF, ToSafetensors}, o.MaxShardSize != 0, "MaxShardSize", "shards"},
		{[]Target{ToHF}, o.AllowInexact, "AllowInexact", "an inexact form"},
		{[]Target{ToHF}, o.MatchRuntime != NoRuntime, "MatchRuntime", "a configuration that a runtime reads"},
		{[]Target{ToOrbax}, o.OrbaxFormat != 0, "OrbaxFormat", "an Orbax format"},
		{[]Target{ToSafetensors}, len(o.Only) > 0, "Only", "a part of a model"},
		{[]Target{ToSafetensors}, o.Rename != nil, "Rename", "other names"},
		{modelTargets, o.Settings != model.Settings{}, "Settings", "settings of a model: it takes the tensors of the source as they are"},
		{modelTargets, o.Model != "", "Model", "a choice of a model: it takes all tensors of the source, or those that match a pattern"},
		{modelTargets, o.Extra != RefuseExtra, "Extra", "a choice of extra tensors: it takes all tensors of the source, or those that match a pattern"},
		{modelTargets, o.Adapter != nil, "Adapter", "an adapter: it takes the tensors of the source as they are"},
	} {
		if only.given && !slices.Contains(only.to, o.To) {
			return &OptionError{Option: only.option, Problem: fmt.Sprintf("the target %s has no place for %s", o.To, only.what)}
		}
	}
	if !slices.Contains(orbax.Formats(), o.OrbaxFormat) {
		return &OptionError{Option: "OrbaxFormat", Problem: fmt.Sprintf("no Orbax format %d", o.OrbaxFormat)}
	}
	return nil
}

// plan returns the part that decides on the tensors.
func (o *Options) plan() PlanOptions {
	return PlanOptions{Settings: o.Settings, To: o.To, DType: o.DType, MatchRuntime: o.MatchRuntime, AllowInexact: o.AllowInexact}
}
