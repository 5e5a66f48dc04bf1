package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// DefaultMaxShardSize is transformers 5.23's: what both published models fit into, so that they
// are one file as it writes them. transformers 4.57 has 5 GB.
const DefaultMaxShardSize = 50_000_000_000

// Options choose what a conversion writes.
type Options struct {
	To               Target       // the layout and the format that are written
	Settings                      // what shapes cannot tell
	DType            tensor.DType // of all tensors; Invalid keeps each one's own
	Model            string       // the prefix of the model that is meant, where the source holds several
	Extra            string       // tensors that are no parameter of the family: "keep" or "refuse", which is the default
	Adapter          string       // directory of a PEFT adapter that is merged into the model, or ""
	AllowInexact     bool         // write a model that the target cannot express exactly, and say what it costs
	MatchRuntime     string       // ToHF: configure the model so that this runtime agrees with the original; "" for none
	OrbaxFormat      string       // ToOrbax: how the arrays are stored; "" for the default
	MaxShardSize     int64        // ToHF: bytes of tensors in a file; 0 for DefaultMaxShardSize
	Tokenizer        string       // ToHF: path of a SentencePiece model, or ""
	InstructionTuned bool         // ToHF: chat template, and <end_of_turn> ends generation
	DryRun           bool         // plan only: nothing is written and no weights are read
	Overwrite        bool         // replace a destination that exists, at the end
	Verify           bool         // prove the written weights before the destination appears

	// Progress, if not nil, is told of bytes written (and proven, with Verify) of all that will be.
	// Calls do not overlap.
	Progress func(done, total int64)
}

// check refuses options that say nothing about the target.
func (o *Options) check() error {
	for _, only := range []struct {
		to    Target
		given bool
		what  string
	}{
		{ToHF, o.Tokenizer != "", "tokenizer files"},
		{ToHF, o.InstructionTuned, "a chat template"},
		{ToHF, o.MaxShardSize != 0, "shards"},
		{ToHF, o.AllowInexact, "an inexact form"},
		{ToHF, o.MatchRuntime != "", "a configuration that a runtime reads"},
		{ToOrbax, o.OrbaxFormat != "", "an Orbax format"},
	} {
		if only.given && o.To != only.to {
			return &SettingsError{Problem: fmt.Sprintf("there is no place for %s in what --to %s writes", only.what, o.To)}
		}
	}
	if formats := orbax.FormatNames(); o.OrbaxFormat != "" && !slices.Contains(formats, o.OrbaxFormat) {
		return &SettingsError{Problem: fmt.Sprintf("no Orbax format %q", o.OrbaxFormat), Hint: "the formats are " + strings.Join(formats, ", ")}
	}
	return nil
}

// plan returns the part that decides on the tensors.
func (o *Options) plan() PlanOptions {
	return PlanOptions{Settings: o.Settings, To: o.To, DType: o.DType, MatchRuntime: o.MatchRuntime, AllowInexact: o.AllowInexact}
}
