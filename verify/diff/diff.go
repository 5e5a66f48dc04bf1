// Package diff compares two checkpoints of any formats and of any model: which tensors are equal, how far
// the others are apart, and what was done to them. Diff is its entry point.
//
// Models of the Griffin family are compared through the rules of their layouts, so that an original and its
// conversion are equal. Package explain finds what was done to a tensor; every explanation was checked on
// all elements.
package diff

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Options choose what is compared, and how strictly. The zero value compares everything, bit for bit.
type Options struct {
	Raw       bool         // compares names and layouts as they are
	Only      []string     // patterns of names (see names.Glob), one of which has to match; all tensors if empty
	Map       *names.Rules // renames A's tensors first; nil to rename none
	Tolerance *Tolerance   // what counts as equal; nil for the same bits

	// Progress, if not nil, is called with the current stage and the bytes that are done of its total, never
	// concurrently.
	Progress func(stage string, done, total int64)
}

// OptionError says that an option cannot be carried out.
type OptionError struct {
	Option  Option
	Problem string
	Given   string   // the pattern that matches no tensor; "" of other options
	Names   []string // of all tensors, in the layout of comparison; nil of other options
}

// Option names an option of Diff.
type Option string

// The options of which there can be an OptionError.
const (
	OptionOnly      Option = "only"
	OptionTolerance Option = "tolerance"
)

func (e *OptionError) Error() string { return e.Problem }

// Diff compares two checkpoints, which stay open. Its memory does not grow with the tensors.
//
// Quantised copies are dequantised, except with Raw, and each of their matrices is judged by how far it had to be from the
// original (see package quantized).
//
// Differences are part of the result and not an error. Diff returns a *tensor.FormatError if a checkpoint
// is corrupt or changes meanwhile, an *OptionError if a pattern matches no tensor, and a *names.Error if
// Options.Map cannot be applied.
func Diff(ctx context.Context, a, b *tensor.Checkpoint, o Options) (*Result, error) {
	return newDiffer(o).run(ctx, a, b)
}

// differ is one comparison.
type differ struct {
	options  Options
	copies   copies
	a, b     *side
	stored   [2]int       // tensors of the checkpoints, as their files have them
	pairs    []*pair      // A's tensors in order, and then those that only B has
	left     []*pair      // that match none of the patterns
	moved    *MovedLayers // nil if layers of one number belong together
	mixed    bool         // only some names have another prefix in B
	result   *Result
	progress progress

	rangeBytes    int64 // compared at a time of a tensor that lies in files on both sides
	rangeElements int64 // measured at a time of a tensor that lies uncompressed on both sides
}

func newDiffer(o Options) *differ {
	return &differ{options: o, rangeBytes: 64 << 20, rangeElements: 16 << 20, progress: progress{report: o.Progress},
		result: &Result{Griffin: convert.ToolVersion(), Config: []ConfigDifference{}, Tensors: []TensorDiff{}}}
}

func (d *differ) run(ctx context.Context, a, b *tensor.Checkpoint) (*Result, error) {
	for i, c := range []*tensor.Checkpoint{a, b} {
		d.stored[i] = len(c.Tensors())
		for _, note := range c.Notes {
			d.note("%c: %s", 'A'+i, note)
		}
		if c.Format == peft.Format && a.Format != b.Format {
			d.note("%c is an adapter of PEFT, and not a model: to compare what it makes of its base, merge it into the base with griffin convert first", 'A'+i)
		}
	}
	leftA, leftB := a.LeftOut, b.LeftOut
	if !d.options.Raw {
		var err error
		if a, b, err = d.copies.dequantize(a, b, d.note); err != nil {
			return nil, err
		}
	}
	if err := d.match(ctx, a, b); err != nil {
		return nil, err
	}
	d.result.Summary.LeftOut = countLeftOut(selected(d.options.Only, d.a, leftA), selected(d.options.Only, d.b, leftB))
	if err := (configs{d}).compare(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{d.compareElements, judgeQuantized(d), d.pairRenamed, d.verifyChecksums} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if err := explainDivided(ctx, d); err != nil {
		return nil, err
	}
	if err := d.explainAll(ctx); err != nil {
		return nil, err
	}
	if err := noteNotFinite(ctx, d); err != nil {
		return nil, err
	}
	if err := storage.Unchanged(a.Source, b.Source); err != nil {
		return nil, err
	}
	d.finish()
	return d.result, nil
}

// selected returns those of the names of a side's tensors that a pattern matches, with or without the prefix that they lose; all without patterns.
func selected(only []string, s *side, all []string) []string {
	if len(only) == 0 {
		return all
	}
	var kept []string
	for _, name := range all {
		if slices.ContainsFunc(only, func(pattern string) bool {
			return names.Glob(pattern, name) || names.Glob(pattern, strings.TrimPrefix(name, s.prefix))
		}) {
			kept = append(kept, name)
		}
	}
	return kept
}

// countLeftOut counts the tensors that A leaves out, and those that only B does.
func countLeftOut(a, b []string) int {
	n, inA := len(a), map[string]bool{}
	for _, name := range a {
		inA[name] = true
	}
	for _, name := range b {
		if !inA[name] {
			n++
		}
	}
	return n
}

func (d *differ) note(format string, args ...any) {
	d.result.Notes = append(d.result.Notes, fmt.Sprintf(format, args...))
}
