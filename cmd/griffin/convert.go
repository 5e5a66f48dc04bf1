package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "convert a checkpoint to the Hugging Face layout, or to an original one",
		UsageText: "griffin convert [flags] SRC DST",
		Description: "SRC is a checkpoint in any of the layouts: an Orbax or Flax directory, a PyTorch file, safetensors, a\n" +
			"Hugging Face directory; its format is told by its content. DST becomes, with --to:\n\n" +
			"  hf      a directory that transformers loads (the default)\n" +
			"  torch   a .pt file, as the original's torch code saves and loads it\n" +
			"  orbax   an Orbax directory, as the original's JAX code restores it\n\n" +
			"It is written beside its place and renamed when it is complete: until then it is not there.\n\n" +
			"Examples:\n\n" +
			"  griffin convert 2b-it.pt recurrentgemma-2b-it --tokenizer tokenizer.model --instruction-tuned\n" +
			"  griffin convert --verify 2b/ recurrentgemma-2b                  # an Orbax directory\n" +
			"  griffin convert --dry-run runs/train out --step 40000           # what would be written\n" +
			"  griffin convert mine.pt out --attention-window 1024 --logits-soft-cap 30 --embedding-scale=true\n" +
			"  griffin convert 2b.pt out --match-runtime transformers5         # logits of the original at every position\n" +
			"  griffin convert --to torch recurrentgemma-2b 2b.pt              # the way back\n" +
			"  griffin convert --to orbax 2b.pt 2b --orbax-format zarr\n" +
			"  griffin convert recurrentgemma-2b smaller --dtype bfloat16 --max-shard-size 2GB\n" +
			"  griffin convert --adapter my-lora recurrentgemma-2b merged      # a PEFT adapter",
		Flags: append([]cli.Flag{&cli.StringFlag{Name: "to", Value: convert.ToHF.String(), Usage: "write `TARGET`: " + strings.Join(convert.TargetNames(), ", ")}},
			append(settingsFlags(),
				&cli.StringFlag{Name: "dtype", Value: "keep", Usage: "write the weights as `TYPE`: keep, float32, bfloat16 or float16 (to nearest even)"},
				&cli.StringFlag{Name: "match-runtime", Usage: "configure the model so that `RUNTIME` computes the original's logits at every position: " + convert.Transformers5.String() + " (attention_window_size is the window + 1)"},
				&cli.BoolFlag{Name: "allow-inexact", Usage: "write a model that transformers cannot compute exactly, and say what that costs"},
				&cli.StringFlag{Name: "model", Usage: "of several models in SRC, convert the one under `NAME`, such as ema_params (. for the top level)"},
				&cli.StringFlag{Name: "extra", Value: "refuse", Usage: "tensors that are no parameter of the family: `keep` or refuse"},
				&cli.StringFlag{Name: "adapter", Usage: "merge the PEFT adapter in `DIR` (LoRA, DoRA) into the model, rounding once"},
				&cli.StringFlag{Name: "max-shard-size", DefaultText: "50GB", Usage: "hf: split the weights into files of at most `SIZE`, such as 5GB or 512MiB"},
				&cli.StringFlag{Name: "tokenizer", Usage: "hf: SentencePiece model `FILE` to write the tokenizer files from"},
				&cli.BoolFlag{Name: "instruction-tuned", Usage: "hf: add the chat template and end generation at <end_of_turn>"},
				&cli.StringFlag{Name: "orbax-format", DefaultText: orbax.OCDBT.String(), Usage: "orbax: store the arrays as `FORMAT`: " + strings.Join(orbaxFormatNames(), ", ")},
				stepFlag(),
				&cli.BoolFlag{Name: "dry-run", Usage: "print the plan and the sizes, write nothing"},
				&cli.BoolFlag{Name: "verify", Usage: "prove the written weights against SRC before DST appears"},
				&cli.BoolFlag{Name: "overwrite", Usage: "replace DST at the end if it exists"},
				jsonFlag(),
			)...),
		OnUsageError: onUsageError,
		BashComplete: completeFlags,
		Action:       runConvert,
	}
}

// settingsFlags are what shapes cannot tell of an original checkpoint. Every command that reads
// one has them.
func settingsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Usage: "the model is `NAME`: " + strings.Join(model.Griffin.PresetNames(), ", ") + " (default: recognised by its shapes)"},
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
	if options.Adapter, err = openAdapter(c); err != nil {
		return err
	}
	if options.Adapter != nil {
		defer options.Adapter.Close()
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
	to, err := convert.ParseTarget(c.String("to"))
	if err != nil {
		return convert.Options{}, err
	}
	match, err := convert.ParseRuntime(c.String("match-runtime"))
	if err != nil {
		return convert.Options{}, err
	}
	extra := convert.RefuseExtra
	switch policy := c.String("extra"); policy {
	case "keep":
		extra = convert.KeepExtra
	case "refuse", "":
	default:
		return convert.Options{}, usagef("--extra %q is neither keep nor refuse", policy)
	}
	format, err := orbaxFormat(c, to)
	if err != nil {
		return convert.Options{}, err
	}
	shard := int64(0)
	if c.IsSet("max-shard-size") {
		if shard, err = parseSize(c.String("max-shard-size")); err != nil {
			return convert.Options{}, usagef("--max-shard-size: %v", err)
		}
	}
	return convert.Options{
		To:               to,
		Settings:         settings(c),
		DType:            dtype,
		MatchRuntime:     match,
		AllowInexact:     c.Bool("allow-inexact"),
		Model:            c.String("model"),
		Extra:            extra,
		MaxShardSize:     shard,
		Tokenizer:        c.String("tokenizer"),
		InstructionTuned: c.Bool("instruction-tuned"),
		OrbaxFormat:      format,
		DryRun:           c.Bool("dry-run"),
		Overwrite:        c.Bool("overwrite"),
		Verify:           c.Bool("verify"),
	}, nil
}

// orbaxFormat returns the format that --orbax-format names.
func orbaxFormat(c *cli.Context, to convert.Target) (orbax.Format, error) {
	if !c.IsSet("orbax-format") {
		return orbax.OCDBT, nil
	}
	if to != convert.ToOrbax {
		return 0, usagef("--orbax-format is for --to orbax")
	}
	for _, f := range orbax.Formats() {
		if f.String() == c.String("orbax-format") {
			return f, nil
		}
	}
	return 0, usagef("no Orbax format %q", c.String("orbax-format")).advise("--orbax-format takes %s", strings.Join(orbaxFormatNames(), ", "))
}

func orbaxFormatNames() []string {
	var names []string
	for _, f := range orbax.Formats() {
		names = append(names, f.String())
	}
	return names
}

// openAdapter opens the adapter that --adapter names, nil for none.
func openAdapter(c *cli.Context) (*peft.Adapter, error) {
	path := c.String("adapter")
	if path == "" {
		return nil, nil
	}
	source, dir, err := storage.Locate(path)
	if err != nil {
		return nil, err
	}
	return peft.Read(source, dir)
}
