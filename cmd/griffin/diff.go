package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/verify/diff"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two checkpoints, and say what was done to the tensors that differ",
		UsageText: "griffin diff [flags] A B",
		Description: "Compares two checkpoints of any formats and of any model: tensors and configurations. Griffin-family\n" +
			"models in different layouts are compared through the rules between them, so that an original and its\n" +
			"conversion are equal; other wrappers of names, such as params. or module., are seen through as well.\n" +
			"What was done to a tensor (swapped, transposed, scaled, …) is said only after it was checked on every\n" +
			"element.\n\n" +
			"A line of --map FILE is PATTERN -> NAME, where * stands for any characters and each * of NAME for what\n" +
			"the one at its place in PATTERN did: transformer.h.*.attn.* -> model.layers.*.self_attn.*\n\n" +
			"Exit status: 0 equal, 1 different; others as everywhere.\n\n" +
			"Examples:\n\n" +
			"  griffin diff 2b/ recurrentgemma-2b                     # an original against a conversion\n" +
			"  griffin diff recurrentgemma-2b my-fine-tune\n" +
			"  griffin diff runs/train runs/train --step 1000 --step-b 2000\n" +
			"  griffin diff a.safetensors b.pt --only 'model.layers.*.mlp.*' --tolerance rel=1e-3,abs=1e-6",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "only", Usage: "compare only tensors whose name fits `PATTERN` (* stands for any characters); may be repeated, and leaves configurations out"},
			&cli.StringFlag{Name: "map", Usage: "rename A's tensors by the rules in `FILE` first"},
			&cli.StringFlag{Name: "tolerance", Usage: "what counts as equal: `abs=X,rel=Y,ulp=N`, of which one has to hold (default: the same bits)"},
			&cli.StringFlag{Name: "report", Usage: "write the result as one HTML page with plots to `FILE`"},
			&cli.BoolFlag{Name: "raw", Usage: "compare names and layouts as they are"},
			&cli.Int64Flag{Name: "step", Value: -1, DefaultText: "newest", Usage: "which step `N` of a training run's directory"},
			&cli.Int64Flag{Name: "step-b", Value: -1, DefaultText: "that of --step", Usage: "which step `N` of B"},
			jsonFlag(),
		},
		OnUsageError: onUsageError,
		BashComplete: completeFlags,
		Action:       runDiff,
	}
}

func runDiff(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("diff takes two checkpoints, got %s", plural(int64(c.NArg()), "path")).advise("griffin diff --help shows examples")
	}
	o, err := diffOptions(c)
	if err != nil {
		return err
	}
	if err := checkReport(c, c.Args().Slice()...); err != nil {
		return err
	}
	a, b, err := openBoth(c)
	if err != nil {
		return err
	}
	defer a.Close()
	defer b.Close()
	var bar progress
	doing := ""
	o.Progress = func(what string, done, total int64) {
		if what != doing {
			bar.done()
			doing, bar = what, newProgress(c.App.ErrWriter, what, total)
		}
		bar.set(done)
	}
	result, err := diff.Diff(c.Context, a, b, o)
	bar.done()
	if err != nil {
		return err
	}
	if path := c.String("report"); path != "" {
		if err := diff.WriteReport(path, result, append([]string{"griffin"}, os.Args[1:]...)); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, result)
	} else {
		err = printDiff(c.App.Writer, result)
	}
	if err == nil && !result.Equal {
		err = errNotSame
	}
	return err
}

func diffOptions(c *cli.Context) (diff.Options, error) {
	o := diff.Options{Raw: c.Bool("raw"), Only: c.StringSlice("only")}
	var err error
	if c.IsSet("map") {
		if o.Map, err = diff.ReadRenames(c.String("map")); err != nil {
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

// openBoth opens the two checkpoints at the steps that the flags ask for. --step is for both, or for the
// one that has steps.
func openBoth(c *cli.Context) (a, b *tensor.Checkpoint, err error) {
	steps := [2]*int64{}
	for i, name := range []string{"step", "step-b"} {
		if !c.IsSet(name) {
			continue
		}
		n := c.Int64(name)
		if n < 0 {
			return nil, nil, usagef("--%s %d: a step is not negative", name, n)
		}
		steps[i] = &n
	}
	shared := steps[0] != nil && steps[1] == nil
	if shared {
		steps[1] = steps[0]
	}
	a, errA := formats.Open(c.Args().Get(0), formats.Options{Step: steps[0]})
	b, errB := formats.Open(c.Args().Get(1), formats.Options{Step: steps[1]})
	if shared && errA == nil && errB != nil {
		b, errB = openWithoutSteps(c.Args().Get(1), errB)
	} else if shared && errB == nil && errA != nil {
		a, errA = openWithoutSteps(c.Args().Get(0), errA)
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

// openWithoutSteps opens a checkpoint that has no steps, for which one was asked in vain.
func openWithoutSteps(path string, why error) (*tensor.Checkpoint, error) {
	ckpt, err := formats.Open(path, formats.Options{})
	if err != nil {
		return nil, why
	}
	for _, d := range ckpt.Details {
		if d.Key == "step" {
			ckpt.Close()
			return nil, why
		}
	}
	return ckpt, nil
}
