package convert

import (
	"fmt"
	"slices"
	"strings"

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
	AllowInexact bool              // write a model that the target or the DType cannot express exactly, and note the cost
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
	MatchRuntime     Runtimes // configure the model so that these agree with the original, where a configuration decides
	Tokenizer        string   // path of a SentencePiece model from which the tokenizer's files are made, or ""
	InstructionTuned bool     // add Gemma's chat template, and end generation at <end_of_turn>

	// For ToOrbax only.
	OrbaxFormat orbax.Format

	// For ToSafetensors only.
	Only   []string     // patterns of names (see names.Glob): tensors of the source that match at least one; all if empty
	Rename *names.Rules // gives tensors other names; nil to rename none

	// Review, if not nil, is called with the plan of a conversion ToHF and the content of its config.json before anything is
	// written. Its notes are added to the result, and an error ends the conversion. Package verify/runtime has one.
	Review func(p *Plan, config []byte) (notes []string, err error)

	// Progress, if not nil, is called with the number of bytes written (and proven, with Verify) and of
	// bytes to write and prove, never concurrently.
	Progress func(done, total int64)
}

// ExtraPolicy says what to do with tensors that are not parameters of the family.
type ExtraPolicy uint8

// The policies.
const (
	LeaveHeads  ExtraPolicy = iota // leave out those beside the model, as heads of other tasks; a model with others is a *model.MismatchError
	RefuseExtra                    // those beside the model are refused too
	KeepExtra                      // copy them as they are
)

// Runtimes is a set of runtimes with which a configuration is to agree with the original implementation. What is known of them is in
// package verify/runtime, whose Review refuses those with which a model cannot agree.
type Runtimes uint8

// The runtimes. transformers 5 and mlx-lm attend to attention_window_size tokens, the original to one more than its window;
// transformers 4.57 and candle have no window in their masks.
const (
	Transformers4 Runtimes = 1 << iota
	Transformers5
	MLX
	Candle

	NoRuntime Runtimes = 0
)

// windowed are the runtimes whose attention has the window of the configuration.
const windowed = Transformers5 | MLX

var runtimeNames = []string{"transformers4", "transformers5", "mlx-lm", "candle"}

// Names returns the names of the runtimes in the set.
func (r Runtimes) Names() []string {
	var names []string
	for i, name := range runtimeNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String returns the names with commas between them, "" for no runtime.
func (r Runtimes) String() string { return strings.Join(r.Names(), ",") }

// ParseRuntimes returns the set that String writes. Unknown names are an *OptionError.
func ParseRuntimes(list string) (Runtimes, error) {
	var set Runtimes
	if list == "" {
		return set, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "transformers4.57" {
			name = "transformers4"
		}
		i := slices.Index(runtimeNames, name)
		if i < 0 {
			return 0, &OptionError{Option: "MatchRuntime", Problem: fmt.Sprintf("no runtime %q to match", name), Given: name, Accepted: runtimeNames}
		}
		set |= 1 << i
	}
	return set, nil
}

// OptionError is that of package model. Its Option is the name of a field of Options or Settings.
type OptionError = model.OptionError

// check refuses options that do not apply to the target.
func (o *Options) check() error {
	const noSettings = "settings of a model: it takes the tensors of the source as they are"
	for _, only := range []struct {
		to     []Target
		given  bool
		option string
		what   string
	}{
		{[]Target{ToHF}, o.Tokenizer != "", "Tokenizer", "tokenizer files"},
		{[]Target{ToHF}, o.InstructionTuned, "InstructionTuned", "a chat template"},
		{[]Target{ToHF, ToSafetensors}, o.MaxShardSize != 0, "MaxShardSize", "shards"},
		{[]Target{ToHF}, o.MatchRuntime != NoRuntime, "MatchRuntime", "a configuration that a runtime reads"},
		{[]Target{ToOrbax}, o.OrbaxFormat != 0, "OrbaxFormat", "an Orbax format"},
		{[]Target{ToSafetensors}, len(o.Only) > 0, "Only", "a part of a model"},
		{[]Target{ToSafetensors}, o.Rename != nil, "Rename", "other names"},
		{modelTargets, o.Settings.Preset != "", "Preset", noSettings},
		{modelTargets, o.Settings.AttentionWindow != nil, "AttentionWindow", noSettings},
		{modelTargets, o.Settings.LogitsSoftCap != nil, "LogitsSoftCap", noSettings},
		{modelTargets, o.Settings.EmbeddingScale != nil, "EmbeddingScale", noSettings},
		{modelTargets, o.Model != "", "Model", "a choice of a model: it takes all tensors of the source, or those that match a pattern"},
		{modelTargets, o.Extra != LeaveHeads, "Extra", "a choice of extra tensors: it takes all tensors of the source, or those that match a pattern"},
		{modelTargets, o.Adapter != nil, "Adapter", "an adapter: it takes the tensors of the source as they are"},
	} {
		if only.given && !slices.Contains(only.to, o.To) {
			var others []string
			for _, to := range only.to {
				others = append(others, to.String())
			}
			return &OptionError{Option: only.option, Problem: fmt.Sprintf("the target %s has no place for %s", o.To, only.what), Targets: others}
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
