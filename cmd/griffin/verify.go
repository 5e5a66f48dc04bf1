package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "prove that a converted checkpoint is the same model, or that a model computes what was recorded",
		UsageText: "griffin verify [flags] SRC CONVERTED\n   griffin verify [flags] CKPT --golden FILE\n   griffin verify [flags] SRC CONVERTED --golden FILE",
		Description: "Holds CONVERTED against SRC, what it was made of. Either is a Hugging Face directory or an original:\n" +
			"names, shapes and types of all tensors, every field of config.json, what conversion.json says, and\n" +
			"every element of the weights, bit for bit (or against correct rounding, where the dtype changed).\n" +
			"With --golden, what the model computes is held against a fixture of logits and hidden states.\n\n" +
			"Exit status: 0 the same, 1 not the same; others as everywhere.\n\n" +
			"Examples:\n\n" +
			"  griffin verify 2b-it.pt recurrentgemma-2b-it\n" +
			"  griffin verify --weights-only runs/train recurrentgemma-mine --step 40000\n" +
			"  griffin verify recurrentgemma-2b-it back.pt                     # and the other way round\n" +
			"  griffin verify 2b-it.pt --golden jax.safetensors\n" +
			"  griffin verify 2b-it.pt recurrentgemma-2b-it --golden jax.safetensors --report report.html --card card.json\n" +
			"  griffin verify --explain-runtime recurrentgemma-2b-it\n" +
			"  griffin verify mine.pt out --attention-window 1024 --logits-soft-cap 30 --embedding-scale=true",
		Flags: append(settingsFlags(), append(verdictFlags(),
			&cli.StringFlag{Name: "golden", Usage: "fixture `FILE` of what an implementation computed (griffin golden writes such)"},
			&cli.BoolFlag{Name: "weights-only", Usage: "leave the logits out"},
			&cli.StringFlag{Name: "runtime", Value: runtime.Transformers5.Name, Usage: "say where a Hugging Face directory diverges from the original when `RUNTIME` runs it: " + strings.Join(runtime.Names(), ", ")},
			&cli.BoolFlag{Name: "explain-runtime", Usage: "only print what each runtime does with the model, by length of the prompt, cache and packed rows"},
			&cli.StringFlag{Name: "semantics", DefaultText: "those of the fixture's implementation", Usage: "hold models against the fixture as `IMPLEMENTATION` computes: " + strings.Join(reference.SemanticsNames[:], ", ")},
			stepFlag(),
			modelFlag(),
			&cli.StringFlag{Name: "adapter", Usage: "CONVERTED is SRC with the PEFT adapter in `DIR` merged into it"},
			jsonFlag(),
		)...),
		OnUsageError: onUsageError,
		BashComplete: completeFlags,
		Action:       runVerify,
	}
}

func modelFlag() cli.Flag {
	return &cli.StringFlag{Name: "model", Usage: "take the model under `NAME`, of several in the checkpoint"}
}

func runVerify(c *cli.Context) error {
	if c.Bool("explain-runtime") {
		return explainRuntime(c)
	}
	o, err := verifyOptions(c)
	if err != nil {
		return err
	}
	if err := checkVerdictFiles(c, o); err != nil {
		return err
	}
	var bar progress
	doing := ""
	o.Progress = func(what string, done, total int64) {
		if what != doing {
			bar.done()
			doing, bar = what, newProgress(c.App.ErrWriter, what, total)
		}
		bar.set(done)
	}
	verdict, err := verify.Verify(c.Context, o)
	bar.done()
	if err != nil {
		return err
	}
	if err := writeVerdictFiles(c, o, verdict); err != nil {
		return err
	}
	if err := printVerdict(c, verdict); err != nil {
		return err
	}
	if !verdict.Same {
		return errNotSame
	}
	return nil
}

func verifyOptions(c *cli.Context) (verify.Options, error) {
	o := verify.Options{Settings: settings(c), Golden: c.String("golden"), WeightsOnly: c.Bool("weights-only"), Model: c.String("model"), Adapter: c.String("adapter")}
	advice := "griffin verify --help shows examples"
	switch {
	case c.NArg() == 1 && o.Golden == "" && c.IsSet("runtime"):
		return o, usagef("--runtime is of a source and what was converted from it, got 1 path").
			advise("griffin verify --explain-runtime --runtime %s %s says what it does with one checkpoint", c.String("runtime"), c.Args().First())
	case c.NArg() == 1 && c.IsSet("runtime"):
		return o, usagef("--runtime is of a source and what was converted from it; a fixture is of an implementation").
			advise("--semantics %s holds the checkpoint against the fixture as that computes", c.String("runtime"))
	case c.NArg() == 1 && o.Golden == "":
		return o, usagef("verify takes a source and what was converted from it, got 1 path").advise("to hold one checkpoint against a fixture, add --golden FILE")
	case c.NArg() != 1 && c.NArg() != 2:
		return o, usagef("verify takes a source and what was converted from it, got %s", plural(int64(c.NArg()), "path")).advise("%s", advice)
	case c.NArg() == 1 && o.WeightsOnly:
		return o, usagef("--weights-only leaves nothing to hold one checkpoint against").advise("%s", advice)
	}
	o.Source, o.Converted = c.Args().Get(0), c.Args().Get(1)
	var err error
	if c.IsSet("runtime") {
		if o.Runtime, err = runtime.Parse(c.String("runtime")); err != nil {
			return o, usagef("--runtime: %v", err)
		}
	}
	if o.Semantics, err = semanticsOption(c); err != nil {
		return o, err
	}
	if o.Semantics != nil && o.Golden == "" {
		return o, usagef("--semantics is of a fixture").advise("add --golden FILE")
	}
	if c.IsSet("step") {
		n := c.Int64("step")
		o.Step = &n
	}
	return o, nil
}

func printVerdict(c *cli.Context, v *verify.Verdict) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, v)
	}
	if err := verify.WriteText(c.App.Writer, v); err != nil || v.Runtime == nil || !c.IsSet("runtime") {
		return err
	}
	facts := slices.DeleteFunc(slices.Clone(v.Runtime.Facts), func(f runtime.Fact) bool { return f.Runtime != v.Runtime.Runtime })
	fmt.Fprintln(c.App.Writer)
	return printFacts(c.App.Writer, facts)
}
