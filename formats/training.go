package formats

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"

	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/dcp"
	"github.com/griffin-ckpt/griffin/formats/torch/ranks"
	"github.com/griffin-ckpt/griffin/formats/torch/zero"
)

// Weights is which weights to read of a checkpoint that keeps two kinds, as those of DeepSpeed do.
type Weights uint8

const (
	AnyWeights     Weights = iota // the master weights, if there are two kinds
	MasterWeights                 // that the optimizer keeps, in float32
	ComputeWeights                // that the model computes with
)

// sharded opens the files that the ranks of a training wrote into a directory. It returns nil if the
// directory holds none.
func sharded(source fs.FS, dir string, options Options) *candidate {
	switch {
	case dcp.Detect(source, dir):
		return &candidate{name: "a distributed checkpoint of PyTorch", open: func() (*Checkpoint, error) {
			return dcp.Open(source, dir, options.torch())
		}}
	case zero.Detect(source, dir):
		return &candidate{name: "a DeepSpeed checkpoint", steps: true, weights: true, open: func() (*Checkpoint, error) {
			step := int64(zero.Newest)
			if options.Step != nil {
				step = *options.Step
			}
			o := zero.Options{Options: options.torch()}
			if options.Weights == ComputeWeights {
				o.Weights = zero.Compute
			}
			return zero.Open(source, dir, step, o)
		}}
	case ranks.Detect(source, dir):
		return &candidate{name: "a PyTorch checkpoint of several ranks", open: func() (*Checkpoint, error) {
			return ranks.OpenDirectory(source, dir, options.torch())
		}}
	}
	return nil
}

var (
	// modelDir are the names of directories in which training programs put the files of the ranks: accelerate,
	// verl, Lightning.
	modelDir = regexp.MustCompile(`^(pytorch_model_fsdp(_\d+)?|actor|model|checkpoint|dcp|dist_ckpt)$`)

	// stepDir are those of the steps of a training: torchtitan, verl.
	stepDir = regexp.MustCompile(`^(?:step|global_step|iter|checkpoint)[-_]?(\d{1,18})$`)
)

// maxNesting is how many directories within each other are looked into.
const maxNesting = 3

// nested returns the checkpoint of a training whose files are in a directory below dir, nil if there is
// none. Of several steps it is the newest, or the one that is asked for.
func nested(source fs.FS, dir string, options Options, depth int) *candidate {
	entries, err := fs.ReadDir(source, dir)
	if err != nil || depth == maxNesting {
		return nil
	}
	type step struct {
		name   string
		number int64
	}
	var steps []step
	for _, e := range entries {
		if modelDir.MatchString(e.Name()) {
			below := path.Join(dir, e.Name())
			if c := shardedBelow(source, below, options, depth); c != nil {
				return documented(source, dir, c)
			}
		}
		if m := stepDir.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			steps = append(steps, step{e.Name(), n})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(min(max(b.number-a.number, -1), 1)) })
	var passed []string
	for _, s := range steps {
		if options.Step != nil && s.number != *options.Step {
			continue
		}
		below := options
		below.Step = nil
		c := shardedBelow(source, path.Join(dir, s.name), below, depth)
		if c == nil {
			passed = append(passed, s.name)
			continue
		}
		note := ""
		if len(passed) > 0 {
			note = fmt.Sprintf("steps that are not complete are passed over: %s", tensor.JoinNames(passed))
		}
		return documented(source, dir, stepOf(c, s.number, note))
	}
	return nil
}

// shardedBelow is sharded, or nested if there are no files of ranks in the directory itself.
func shardedBelow(source fs.FS, dir string, options Options, depth int) *candidate {
	if c := sharded(source, dir, options); c != nil {
		return documented(source, dir, c)
	}
	return nested(source, dir, options, depth+1)
}

// stepOf is a candidate of one step of several.
func stepOf(c *candidate, number int64, note string) *candidate {
	return &candidate{name: c.name, steps: true, weights: c.weights, open: func() (*Checkpoint, error) {
		ckpt, err := c.open()
		if err != nil {
			return nil, err
		}
		if ckpt.Step() == "" { // DeepSpeed has it below that of a Trainer
			ckpt.Describe(tensor.StepKey, strconv.FormatInt(number, 10))
		}
		if note != "" {
			ckpt.Notes = append(ckpt.Notes, note)
		}
		return ckpt, nil
	}}
}

// documented is a candidate whose configuration and tokenizer are in dir, or in a directory below it, if
// they are not beside its files.
func documented(source fs.FS, dir string, c *candidate) *candidate {
	return &candidate{name: c.name, steps: c.steps, weights: c.weights, open: func() (*Checkpoint, error) {
		ckpt, err := c.open()
		if err != nil {
			return nil, err
		}
		if storage.IsFile(source, ckpt.Beside(hfconfig.Name)) {
			return ckpt, nil
		}
		for _, place := range []string{dir, path.Join(dir, "huggingface")} { // the latter of verl
			if storage.IsFile(source, path.Join(place, hfconfig.Name)) {
				ckpt.Documents = place
				break
			}
		}
		return ckpt, nil
	}}
}
