package diff

import (
	"context"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// Options choose what is compared, and how strictly.
type Options struct {
	Raw       bool       // names and layouts as they are: nothing is seen through
	Only      []string   // patterns of names, of which one has to fit (see Glob); none for all tensors
	Map       *Renames   // new names for A's tensors, before anything else; nil for none
	Tolerance *Tolerance // what still counts as equal; nil for the same bits

	// Progress, if not nil, is told what is being done and the bytes that are done so far, of total. Calls
	// do not overlap.
	Progress func(what string, done, total int64)
}

// Diff compares two checkpoints. They stay open. Its memory does not grow with the tensors.
//
// Differences are no error but the result. Input that turns out broken is a *tensor.FormatError, a pattern
// or rule that fits nothing a *convert.SettingsError.
func Diff(ctx context.Context, a, b *tensor.Checkpoint, o Options) (*Result, error) {
	return newDiffer(o).run(ctx, a, b)
}

func newDiffer(o Options) *differ {
	return &differ{options: o, rangeBytes: 64 << 20, rangeElements: 16 << 20, result: &Result{Griffin: convert.ToolVersion(), Config: []ConfigDifference{}, Tensors: []TensorDiff{}}}
}

func (d *differ) run(ctx context.Context, a, b *tensor.Checkpoint) (*Result, error) {
	if err := d.match(a, b); err != nil {
		return nil, err
	}
	if err := d.compareConfigs(); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{d.compareElements, d.pairRenamed, d.checkSums, d.explainAll} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	d.finish()
	return d.result, nil
}

// differ is one comparison.
type differ struct {
	options Options
	a, b    *side
	pairs   *pairs
	result  *Result
	meter   meter

	rangeBytes    int64 // that a worker compares of a large tensor that lies in files on both sides
	rangeElements int64 // that a worker measures of one that can be read from anywhere on
}

func (d *differ) note(sentence string) { d.result.Notes = append(d.result.Notes, sentence) }
