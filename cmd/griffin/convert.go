package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "convert an original checkpoint to the Hugging Face layout",
		UsageText: "griffin convert [flags] SRC DST",
		Description: "SRC is an Orbax or Flax directory, a PyTorch file (zip or legacy container) or safetensors in the\n" +
			"original layout; its format is told by its content. DST becomes a directory that transformers\n" +
			"loads. It is written beside its place and renamed when it is complete: until then it is not there.\n\n" +
			"Examples:\n\n" +
			"  griffin convert 2b-it.pt recurrentgemma-2b-it --tokenizer tokenizer.model --instruction-tuned\n" +
			"  griffin convert --verify 2b/ recurrentgemma-2b                  # an Orbax directory\n" +
			"  griffin convert --dry-run runs/train out --step 40000           # what would be written\n" +
			"  griffin convert mine.pt out --attention-window 1024 --logits-soft-cap 30 --embedding-scale=true",
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "dtype", Value: "keep", Usage: "write the weights as `TYPE`: keep, float32, bfloat16 or float16 (to nearest even)"},
			&cli.StringFlag{Name: "max-shard-size", Value: "50GB", Usage: "split the weights into files of at most `SIZE`, such as 5GB or 512MiB"},
			&cli.StringFlag{Name: "tokenizer", Usage: "SentencePiece model `FILE` to write the tokenizer files from"},
			&cli.BoolFlag{Name: "instruction-tuned", Usage: "add the chat template and end generation at <end_of_turn>"},
			stepFlag(),
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan and the sizes, write nothing"},
			&cli.BoolFlag{Name: "verify", Usage: "prove the written weights against SRC before DST appears"},
			&cli.BoolFlag{Name: "overwrite", Usage: "replace DST at the end if it exists"},
			jsonFlag(),
		),
		OnUsageError: onUsageError,
		BashComplete: completeFlags,
		Action:       runConvert,
	}
}

// settingsFlags are what shapes cannot tell of an original checkpoint. Every command that reads
// one has them.
func settingsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Usage: "the model is `NAME`: " + strings.Join(convert.PresetNames(), ", ") + " (default: recognised by its shapes)"},
		&cli.Int64Flag{Name: "attention-window", Usage: "local attention sees the last `N` positions and the present one", DefaultText: "from the preset"},
		&cli.Float64Flag{Name: "logits-soft-cap", Usage: "logits are tanh(x/`X`)*X; 0 for none", DefaultText: "from the preset"},
		&cli.BoolFlag{Name: "embedding-scale", Usage: "=true or =false: embeddings are scaled by sqrt(width)", DefaultText: "from the preset"},
	}
}

// settings reads what settingsFlags declare; flags that were not given stay nil.
func settings(c *cli.Context) convert.Settings {
	s := convert.Settings{Preset: c.String("preset")}
	if c.IsSet("attention-window") {
		n := c.Int64("attention-window")
		s.AttentionWindow = &n
	}
	if c.IsSet("logits-soft-cap") {
		x := c.Float64("logits-soft-cap")
		s.LogitsSoftCap = &x
	}
	if c.IsSet("embedding-scale") {
		b := c.Bool("embedding-scale")
		s.EmbeddingScale = &b
	}
	return s
}

func runConvert(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("convert takes a source and a destination, got %s", plural(int64(c.NArg()), "path")).
			advise("griffin convert --help shows examples")
	}
	options, err := convertOptions(c)
	if err != nil {
		return err
	}
	src, err := openSource(c, c.Args().Get(0))
	if err != nil {
		return err
	}
	defer src.Close()
	var bar progress
	options.Progress = func(done, total int64) {
		if bar.bar == nil {
			bar = newProgress(c.App.ErrWriter, "converting", total)
		}
		bar.set(done)
	}
	result, err := convert.Convert(c.Context, src, c.Args().Get(1), options)
	bar.done()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, result)
	}
	return printConversion(c.App.Writer, result)
}

// dtypeFlag maps the values of --dtype; Invalid keeps each tensor's own.
var dtypeFlag = map[string]tensor.DType{
	"keep": tensor.Invalid, "float32": tensor.F32, "bfloat16": tensor.BF16, "float16": tensor.F16,
}

func convertOptions(c *cli.Context) (convert.Options, error) {
	dtype, ok := dtypeFlag[c.String("dtype")]
	if !ok {
		return convert.Options{}, usagef("--dtype %q is none of keep, float32, bfloat16, float16", c.String("dtype"))
	}
	shard, err := parseSize(c.String("max-shard-size"))
	if err != nil {
		return convert.Options{}, usagef("--max-shard-size: %v", err)
	}
	return convert.Options{
		Settings:         settings(c),
		DType:            dtype,
		MaxShardSize:     shard,
		Tokenizer:        c.String("tokenizer"),
		InstructionTuned: c.Bool("instruction-tuned"),
		DryRun:           c.Bool("dry-run"),
		Overwrite:        c.Bool("overwrite"),
		Verify:           c.Bool("verify"),
	}, nil
}
