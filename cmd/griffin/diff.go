package main

import (
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert/names"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/report"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two checkpoints and explain how they differ",
		UsageText: "griffin diff [flags] A B\n   griffin diff [flags] RUN --against-step N",
		Description: "A and B are checkpoints of any formats and of any model. Their tensors and configurations are compared.\n" +
			"Models of the Griffin family in different layouts are compared through the rules of the layouts, so that\n" +
			"an original and its conversion are equal. Prefixes of names, such as params. or module., are ignored.\n" +
			"diff names what was done to a tensor (swapped, transposed, scaled, …) only if every element confirms it.\n" +
			"How far other tensors moved is their relative L2, and of a layer the mean of its tensors that differ.\n" +
			"Quantised copies (bitsandbytes, fp8, MLX) are dequantised, and judged by the least error that their scheme allows.\n\n" +
			"A line of --map FILE is PATTERN -> NAME. In PATTERN, * matches any characters; in NAME, the n-th * is\n" +
			"replaced by what the n-th * of PATTERN matched: transformer.h.*.attn.* -> model.layers.*.self_attn.*\n\n" +
			"Exit status: 0 equal, 1 different; others as for all commands. A page that fails\n" +
			"while it is written, as on a full disk, does not change it.\n\n" +
			"Examples:\n\n" +
			"  griffin diff 2b/ recurrentgemma-2b                     # an original against a conversion\n" +
			"  griffin diff recurrentgemma-2b my-fine-tune\n" +
			"  griffin diff runs/train runs/train --step 1000 --step-b 2000\n" +
			"  griffin diff runs/train --against-step 1000            # every other step with this one\n" +
			"  griffin diff a.safetensors b.pt --only 'model.layers.*.mlp_block.*' --tolerance rel=1e-3,abs=1e-6",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "only", Usage: "compare only tensors whose name matches `PATTERN` (* matches any characters), and not the configurations; may be repeated"},
			&cli.StringFlag{Name: "map", Usage: "first rename the tensors of A by the rules in `FILE`"},
			&cli.StringFlag{Name: "tolerance", DefaultText: "the same bits", Usage: "values are equal within any of the bounds `abs=X,rel=Y,ulp=N`"},
			&cli.StringFlag{Name: "report", Usage: "write an HTML page with plots to `FILE`"},
			&cli.BoolFlag{Name: "raw", Usage: "compare names and layouts as they are stored, without the rules of the layouts"},
			stepFlag(),
			&cli.Int64Flag{Name: "against-step", Value: -1, DefaultText: "none", Usage: "compare step `N` of the training run RUN with every other step of it"},
			allStepsFlag("compare every step; --against-step implies it"),
			taskFlag(),
			&cli.Int64Flag{Name: "step-b", Value: -1, DefaultText: "that of --step", Usage: "open step `N` of B"},
			weightsFlag(),
			skipFlag(),
			jsonFlag(),
		},
		OnUsageError: onUsageError,
		Action:       runDiff,
	}
}

func runDiff(c *cli.Context) error {
	debug.SetMemoryLimit(listLimit)
	if c.IsSet("against-step") || c.Bool("all-steps") {
		return diffSteps(c)
	}
	if err := checkStepsFlags(c); err != nil {
		return err
	}
	if c.NArg() != 2 {
		return wrongPaths(c, "diff takes two checkpoints").advise("griffin diff --help shows examples")
	}
	o, err := diffOptions(c)
	if err != nil {
		return err
	}
	if err := checkOutputFlag(c, "report"); err != nil {
		return err
	}
	result, noDigest, err := diffPaths(c, o)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, schemaDifference, result)
	} else {
		err = printDiff(c.App.Writer, result)
	}
	if err != nil {
		return err
	}
	if path := c.String("report"); path != "" {
		if noDigest == nil {
			noDigest = report.WriteDiff(path, result, origin())
		}
		reportUnwritten(c, "report", noDigest, result.Equal)
	}
	if !result.Equal {
		return errDifferent
	}
	return nil
}

// diffPaths opens and compares two checkpoints, and closes them. For a page it also sets their digests, which are computed
// before the result takes memory; noDigest says why it could not.
func diffPaths(c *cli.Context, o diff.Options) (r *diff.Result, noDigest, err error) {
	a, b, err := openBoth(c)
	if err != nil {
		return nil, nil, err
	}
	defer a.Close()
	defer b.Close()
	b.ShareNames(a)
	var digests [2]diff.Side
	if c.IsSet("report") {
		digests, noDigest = bothDigests(c, a, b)
	}
	if r, err = diffBetween(c, a, b, o); err == nil {
		r.A.Digest, r.A.ConfigFile = digests[0].Digest, digests[0].ConfigFile
		r.B.Digest, r.B.ConfigFile = digests[1].Digest, digests[1].ConfigFile
	}
	return r, noDigest, err
}

// bothDigests returns the digests of both checkpoints and of their config.json, which the page of a comparison shows.
func bothDigests(c *cli.Context, a, b *tensor.Checkpoint) (digests [2]diff.Side, err error) {
	for i, x := range []*tensor.Checkpoint{a, b} {
		if digests[i].Digest, err = weightsDigest(c, x, "", nil); err != nil {
			return digests, err
		}
		digests[i].ConfigFile = configDigest(x)
	}
	return digests, nil
}

// diffBetween compares checkpoints that are open.
func diffBetween(c *cli.Context, a, b *tensor.Checkpoint, o diff.Options) (*diff.Result, error) {
	var bar stages
	defer bar.done()
	o.Progress = func(stage string, done, total int64) { bar.set(c.App.ErrWriter, stage, done, total) }
	return diff.Diff(c.Context, a, b, o)
}

// diffOptions returns the options that the flags give.
func diffOptions(c *cli.Context) (diff.Options, error) {
	o := diff.Options{Raw: c.Bool("raw"), Only: c.StringSlice("only")}
	var err error
	if c.IsSet("map") {
		if o.Map, err = readRenames(c, "map"); err != nil {
			return o, err
		}
	}
	if c.IsSet("tolerance") {
		if o.Tolerance, err = diff.ParseTolerance(c.String("tolerance")); err != nil {
			return o, err
		}
	}
	return o, nil
}

// readRenames reads the rules of --map or --rename.
func readRenames(c *cli.Context, flag string) (*names.Rules, error) {
	if err := checkInputs(c); err != nil {
		return nil, err
	}
	f, name, _, err := openText(c.String(flag))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return names.ParseRules(name, f)
}

// openBoth opens the two checkpoints as the flags select. --step and --weights are for both, or for the only
// one that gives a choice.
func openBoth(c *cli.Context) (a, b *tensor.Checkpoint, err error) {
	ofA, err := openOptions(c)
	if err != nil {
		return nil, nil, err
	}
	ofB := ofA
	if c.IsSet("step-b") {
		if ofB.Step, err = stepOption(c, "step-b"); err != nil {
			return nil, nil, err
		}
	}
	if err := checkInputs(c); err != nil {
		return nil, nil, err
	}
	a, errA := formats.Open(c.Args().Get(0), ofA)
	b, errB := formats.Open(c.Args().Get(1), ofB)
	shared := (ofA.Step != nil || ofA.Weights != formats.AnyWeights) && !c.IsSet("step-b")
	if shared && errA == nil && errB != nil {
		b, errB = openWithoutChoice(c.Args().Get(1), ofB, errB)
	} else if shared && errB == nil && errA != nil {
		a, errA = openWithoutChoice(c.Args().Get(0), ofA, errA)
	}
	if c.IsSet("step-b") {
		errB = ofFlag("step-b", errB)
	}
	for _, e := range []error{errA, errB} {
		if e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		for _, ckpt := range []*tensor.Checkpoint{a, b} {
			if ckpt != nil {
				ckpt.Close()
			}
		}
	}
	return a, b, err
}

// openWithoutChoice opens a checkpoint if it has no steps and one kind of weights, after opening it as o
// selects failed with why.
func openWithoutChoice(path string, o formats.Options, why error) (*tensor.Checkpoint, error) {
	ckpt, err := formats.Open(path, formats.Options{SkipUnreadable: o.SkipUnreadable})
	if err != nil {
		return nil, why
	}
	for _, d := range ckpt.Details {
		if d.Key == tensor.StepKey || d.Key == "weights" {
			ckpt.Close()
			return nil, why
		}
	}
	return ckpt, nil
}
