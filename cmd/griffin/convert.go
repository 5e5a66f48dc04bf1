package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/convert/proof"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/verify/diff"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "convert a checkpoint to the Hugging Face layout, to an original layout, or to safetensors",
		UsageText: "griffin convert [flags] SRC DST",
		Description: "SRC is a checkpoint in any supported layout. Its format is detected from its content. --to selects what\n" +
			"DST becomes:\n\n" +
			"  hf      a directory that transformers loads (the default)\n" +
			"  torch   a .pt file that the original PyTorch code loads\n" +
			"  orbax   an Orbax directory that the original JAX code restores\n" +
			"  safetensors\n" +
			"          the tensors of any model as they are: a file if DST ends in\n" +
			"          .safetensors, otherwise a directory, with the configurations and\n" +
			"          the tokenizer that lie beside SRC\n\n" +
			"All tensors are checked before a byte is written. The output is written to a temporary path and renamed\n" +
			"when complete, so DST never holds a partial result." + withBuckets(" DST may be a gs://, s3:// or file:// address.") + "\n\n" +
			"Examples:\n\n" +
			"  griffin convert 2b-it.pt recurrentgemma-2b-it --tokenizer tokenizer.model --instruction-tuned\n" +
			"  griffin convert --verify 2b/ recurrentgemma-2b                  # an Orbax directory\n" +
			"  griffin convert --dry-run runs/train out --step 40000           # show what would be written\n" +
			"  griffin convert mine.pt out --attention-window 1024 --logits-soft-cap 30 --embedding-scale=true\n" +
			"  griffin convert 2b.pt out --match-runtime transformers5,mlx-lm  # the original's logits at every position\n" +
			"  griffin convert --to torch recurrentgemma-2b 2b.pt              # back to the original\n" +
			"  griffin convert --to orbax 2b.pt 2b --orbax-format zarr\n" +
			"  griffin convert recurrentgemma-2b smaller --dtype bfloat16 --max-shard-size 2GB\n" +
			"  griffin convert --adapter my-lora recurrentgemma-2b merged      # merge a PEFT adapter\n" +
			withBuckets("  griffin convert 2b.pt gs://my-bucket/recurrentgemma-2b          # to a bucket, in parts\n") +
			"  griffin convert --all-steps runs/train out --task auto          # in a Slurm array: this task's share of the steps\n" +
			"  griffin convert --to safetensors any-model.pt any-model.safetensors\n" +
			"  griffin convert --to safetensors train/step-4000 out --only 'model.*' --rename names.txt",
		Flags: append([]cli.Flag{&cli.StringFlag{Name: "to", Value: convert.ToHF.String(), Usage: "write `TARGET`: " + strings.Join(convert.TargetNames(), ", ")}},
			append(settingsFlags(),
				&cli.StringFlag{Name: "dtype", Value: "keep", Usage: "write the weights as `TYPE`: keep, float32, bfloat16, float16 (rounded to nearest even)"},
				&cli.StringFlag{Name: "match-runtime", Usage: "write a configuration with which each `RUNTIME` of a list computes the original's logits at every position: transformers5, mlx-lm (attention_window_size is the window + 1); others where the model allows it"},
				&cli.BoolFlag{Name: "allow-inexact", Usage: "write a model that transformers cannot compute exactly, or with elements that are infinite in the --dtype, and report the error"},
				modelFlag(),
				&cli.StringFlag{Name: "extra", DefaultText: "leave out heads of other tasks, refuse others", Usage: "`POLICY`: what to do with tensors that are not parameters of the model: refuse or keep"},
				&cli.StringFlag{Name: "adapter", Usage: "merge the PEFT adapter in `DIR` (LoRA or DoRA) into the model, rounding each element once"},
				partialFlag(),
				&cli.StringFlag{Name: "max-shard-size", DefaultText: "50GB", Usage: "hf, safetensors: split the weights into files with at most `SIZE` of tensors each, as transformers counts, such as 5GB or 512MiB"},
				&cli.StringFlag{Name: "tokenizer", Usage: "hf: write the tokenizer files from the SentencePiece model `FILE`"},
				&cli.BoolFlag{Name: "instruction-tuned", Usage: "hf: add the chat template, and end generation at <end_of_turn>"},
				&cli.StringSliceFlag{Name: "only", Usage: "safetensors: take only tensors whose name matches `PATTERN` (* matches any characters); may be repeated"},
				&cli.StringFlag{Name: "rename", Usage: "safetensors: rename the tensors by the rules in `FILE`, which are those of griffin diff --map"},
				&cli.StringFlag{Name: "orbax-format", DefaultText: orbax.OCDBT.String(), Usage: "orbax: store the arrays as `FORMAT`: " + strings.Join(orbaxFormatNames(), ", ")},
				stepFlag(),
				allStepsFlag("convert every step of the training run SRC, each to DST/STEP, unless it is there and complete"),
				taskFlag(),
				weightsFlag(),
				skipFlag(),
				digestFlag("write the digests in conversion.json"),
				&cli.BoolFlag{Name: "dry-run", Usage: "print the plan and the sizes; read no elements, write nothing"},
				&cli.BoolFlag{Name: "verify", Usage: "compare every written element with SRC before DST appears"},
				&cli.BoolFlag{Name: "overwrite", Usage: "replace DST (only on success): a file if a file is written, or a directory that holds a checkpoint and nothing else"},
				jsonFlag(),
			)...),
		OnUsageError: onUsageError,
		Action:       runConvert,
	}
}

func runConvert(c *cli.Context) error {
	if err := checkStepsFlags(c); err != nil {
		return err
	}
	if c.NArg() != 2 {
		return wrongPaths(c, "convert takes a source and a destination").
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
	if c.Bool("all-steps") {
		return convertSteps(c, options)
	}
	src, err := openSource(c, c.Args().Get(0))
	if err != nil {
		return err
	}
	defer src.Close()
	var bar stages
	options.Progress = func(done, total int64) { bar.set(c.App.ErrWriter, "converting", done, total) }
	result, err := convert.Convert(c.Context, src, c.Args().Get(1), options)
	bar.done()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, schemaConversion, result)
	}
	return printConversion(c.App.Writer, result)
}

// dtypes has a type for each value of --dtype. Invalid keeps the dtype of each tensor.
var dtypes = map[string]tensor.DType{
	"keep": tensor.Invalid, "float32": tensor.F32, "bfloat16": tensor.BF16, "float16": tensor.F16,
}

// extraPolicies are the values of --extra.
var extraPolicies = map[string]convert.ExtraPolicy{"refuse": convert.RefuseExtra, "keep": convert.KeepExtra}

// convertOptions returns the options that the flags give, without the adapter.
func convertOptions(c *cli.Context) (convert.Options, error) {
	o := convert.Options{
		Settings:         settings(c),
		AllowInexact:     c.Bool("allow-inexact"),
		Model:            c.String("model"),
		Tokenizer:        c.String("tokenizer"),
		InstructionTuned: c.Bool("instruction-tuned"),
		PartialAdapter:   c.Bool("partial-adapter"),
		DryRun:           c.Bool("dry-run"),
		Overwrite:        c.Bool("overwrite"),
		Verify:           c.Bool("verify"),
		Only:             c.StringSlice("only"),
		DType:            dtypes[c.String("dtype")],
		Extra:            extraPolicies[c.String("extra")],
	}
	var err error
	if o.Digest, err = digestOption(c); err != nil {
		return o, err
	}
	if o.To, err = convert.ParseTarget(c.String("to")); err != nil {
		return o, err
	}
	if o.MatchRuntime, err = convert.ParseRuntimes(c.String("match-runtime")); err != nil {
		return o, err
	}
	o.Review = reviewRuntimes(o.MatchRuntime)
	if o.OrbaxFormat, err = orbaxFormat(c, o.To); err != nil {
		return o, err
	}
	if c.IsSet("max-shard-size") {
		if o.MaxShardSize, err = parseSize(c.String("max-shard-size")); err != nil {
			return o, usagef("--max-shard-size: %v", err)
		}
	}
	if c.IsSet("rename") {
		if o.Rename, err = readRenames(c, "rename"); err != nil {
			return o, err
		}
	}
	return o, nil
}

// reviewRuntimes returns what says where runtimes diverge from the original with a directory that is to be written.
func reviewRuntimes(match convert.Runtimes) func(p *convert.Plan, config []byte) ([]string, error) {
	return func(p *convert.Plan, config []byte) ([]string, error) {
		d, err := runtime.Planned(p, config)
		if err != nil {
			return nil, err
		}
		notes, err := runtime.Review(d, match)
		if match == convert.NoRuntime && d.WindowAlone() {
			for i := range notes {
				notes[i] += "; --match-runtime transformers5 mends it"
			}
		}
		return notes, err
	}
}

// orbaxFormat returns the format that --orbax-format names.
func orbaxFormat(c *cli.Context, to convert.Target) (orbax.Format, error) {
	if !c.IsSet("orbax-format") {
		return orbax.OCDBT, nil
	}
	if to != convert.ToOrbax {
		return 0, usagef("--orbax-format is for --to orbax").advise("leave out --orbax-format, or give another target: --to orbax")
	}
	return orbax.Formats()[slices.Index(orbaxFormatNames(), c.String("orbax-format"))], nil // arguments has checked it
}

func orbaxFormatNames() []string {
	var names []string
	for _, f := range orbax.Formats() {
		names = append(names, f.String())
	}
	return names
}

// printConversion prints what a conversion did, or with --dry-run what it would do.
func printConversion(w io.Writer, r *convert.Result) error {
	out := &lines{w: w}
	if r.DryRun {
		printPlan(out, r)
	}
	facts := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fact := func(key, format string, args ...any) {
		fmt.Fprintf(facts, "  %s\t%s\n", key, text.Printable(fmt.Sprintf(format, args...)))
	}
	if r.DryRun {
		out.printf("%s would be converted to %s\n", text.Printable(r.Source), text.Printable(r.Destination))
	} else {
		out.printf("%s -> %s\n", text.Printable(r.Source), text.Printable(r.Destination))
	}
	source := ofStep(r.Step, inLayout(r.Format, r.Layout))
	if r.Weights != "" {
		source += ", weights " + r.Weights
	}
	fact("source", "%s", source)
	dtypes := cmp.Or(strings.Join(r.DTypes, " and "), r.DType)
	weights := fmt.Sprintf("%s, %s, %s, %s", text.Count(int64(r.Tensors.Len()), "tensor"), text.Count(r.Parameters, "element"), dtypes, size(r.Bytes))
	if r.Shards > 0 {
		weights += " in " + text.Count(int64(r.Shards), "file")
	}
	fact("weights", "%s", weights)
	written := "written"
	if r.DryRun {
		written = "to write"
	}
	fact(written, "%s", inLayout(r.OutputFormat, r.OutputLayout))
	if r.Settings != nil {
		fact("settings", "%s", settingsLine(r))
	}
	if len(r.Left) > 0 {
		fact("left", "%s of the source that %s: %s", text.Count(int64(len(r.Left)), "tensor"), reasonLeft(r), tensor.JoinNames(leftNames(r)))
	}
	if r.Proof != nil {
		fact("proven", "%s", proofLine(r.Proof))
	}
	for _, note := range r.Notes {
		fact("note", "%s", withWindowFlag(note))
	}
	if note := misnamed(r); note != "" {
		fact("note", "%s", note)
	}
	if !r.DryRun {
		fact("time", "%s, %s/s", terminal.Duration(time.Duration(r.Seconds*float64(time.Second))), size(int64(float64(r.Bytes)/max(r.Seconds, 1e-3))))
	}
	facts.Flush()
	return out.err
}

// leftNames names the tensors that are left out. If there are many, tensors that several layers have become one name. So does a whole layer, or
// a part of one such as its MLP, if none of its tensors is converted: "model.layers.{1-25}.*".
func leftNames(r *convert.Result) []string {
	const few = 8
	names := r.Left
	if n := len(r.Left); n > few && n+r.Tensors.Len() <= mostRows {
		converted := map[string]bool{}
		for i := range r.Tensors.Len() {
			for _, name := range r.Tensors.At(i).From {
				for _, whole := range wholesOf(name) {
					converted[whole] = true
				}
			}
		}
		listed := map[string]bool{}
		var entries []tensorEntry
		for _, name := range r.Left {
			for _, whole := range wholesOf(name) {
				if !converted[whole] {
					name = whole
					break
				}
			}
			if !listed[name] {
				listed[name] = true
				entries = append(entries, tensorEntry{Name: name})
			}
		}
		names = nil
		for _, e := range folded(entries, false, kindsOf(r)) {
			names = append(names, e.Name)
		}
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = tensor.QuoteName(name)
	}
	return quoted
}

// kindsOf returns the kinds of the blocks, as they are folded by.
func kindsOf(r *convert.Result) []string {
	var kinds []string
	for _, kind := range r.BlockTypes {
		kinds = append(kinds, string(kind))
	}
	return kinds
}

// wholesOf returns what a tensor is one of: its layer, and parts of it, the larger ones first: "model.layers.1.*",
// "model.layers.1.temporal_block.*" and "model.layers.1.temporal_block.rg_lru.*".
func wholesOf(name string) []string {
	list, layer, rest := diff.SplitLayer(name)
	if layer < 0 {
		return nil
	}
	whole := fmt.Sprintf("%s.%d.", list, layer)
	wholes := []string{whole + "*"}
	for i, c := range rest {
		if c == '.' {
			wholes = append(wholes, whole+rest[:i+1]+"*")
		}
	}
	return wholes
}

// misnamed says what the destination is, if its name looks like something else; "" if it does not.
func misnamed(r *convert.Result) string {
	written, fact := targetOf(r.Destination)
	advice := "--to " + fact
	if extension := strings.ToLower(filepath.Ext(r.Destination)); slices.Contains(unwritten, extension) {
		advice = "griffin does not write files of the kind " + extension
	} else if written == "" || written == r.To {
		return ""
	}
	if r.To == convert.ToTorch.String() {
		return "the destination is a PyTorch file in spite of its name; " + advice
	}
	return "the destination is a directory in spite of its name; " + advice
}

// unwritten are the extensions of files of tensors, and of archives, that no target writes.
var unwritten = []string{".gguf", ".ggml", ".onnx", ".tflite", ".h5", ".keras", ".msgpack", ".npz", ".npy", ".pkl", ".zip", ".tar"}

// targetOf returns the value of --to with which a file of that name is written, and what that does; "" for other names.
func targetOf(path string) (target, fact string) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".pt", ".pth", ".bin":
		return convert.ToTorch.String(), "torch writes a PyTorch file"
	case ".safetensors":
		return convert.ToSafetensors.String(), "safetensors writes the tensors to a safetensors file"
	}
	return "", ""
}

// ofStep puts the step of a training run, if there is one, before what else is said of a checkpoint.
func ofStep(step, rest string) string {
	if step == "" {
		return rest
	}
	return "step " + step + ", " + rest
}

// inLayout names a format and the layout of a model, if it is known.
func inLayout(format, layout string) string {
	if layout == model.UnknownLayout.String() {
		return format
	}
	return format + ", " + layout + " layout"
}

// reasonLeft says why tensors of the source were left out.
func reasonLeft(r *convert.Result) string {
	if r.To == convert.ToSafetensors.String() {
		return agree(len(r.Left), "matches", "match") + " no pattern of --only"
	}
	return agree(len(r.Left), "does", "do") + " not belong to the model"
}

// settingsLine returns the settings of the model and where they come from. Those of the same origin stand together.
func settingsLine(r *convert.Result) string {
	s, o := r.Settings, r.Origins
	values := []string{fmt.Sprintf("attention window %d", s.AttentionWindow), "logits soft cap " + hfconfig.Decimal(float64(s.LogitsSoftCap)),
		fmt.Sprintf("embedding scale %t", s.EmbeddingScale)}
	var origins, parts []string
	for i, origin := range []string{o.AttentionWindow, o.LogitsSoftCap, o.EmbeddingScale} {
		if k := slices.Index(origins, origin); k >= 0 {
			parts[k] += ", " + values[i]
		} else {
			origins, parts = append(origins, origin), append(parts, values[i])
		}
	}
	for k := range parts {
		parts[k] += " (" + origins[k] + ")"
	}
	return strings.Join(parts, ", ")
}

// printPlan prints the tensors, in natural order of their names, and the files that would be written. Tensors of several layers that are made
// in the same way are one row, in which * is the layer in names of the source.
func printPlan(w io.Writer, r *convert.Result) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range folded(planned(r), false, kindsOf(r)) {
		made := t.made
		if t.layers > 1 {
			made = fmt.Sprintf("%s\tx %d", t.origin, t.layers)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", text.Printable(t.Name), t.DType, tensor.ShapeString(t.Shape), made)
	}
	fmt.Fprintln(table)
	if strings.HasPrefix(r.OutputFormat, "orbax-"+orbax.OCDBT.String()) {
		fmt.Fprintf(table, "d/*\tthe weights; names and number depend on them\n")
	}
	for _, f := range r.Files {
		shown := "its size depends on the weights"
		switch {
		case f.Bytes != nil:
			shown = size(*f.Bytes)
		case strings.HasSuffix(f.Name, manifest.Name):
			shown = "a record of the conversion"
		}
		fmt.Fprintf(table, "%s\t%s\n", text.Printable(f.Name), shown)
	}
	fmt.Fprintln(table)
	table.Flush()
}

// planned returns the tensors of a plan.
func planned(r *convert.Result) []tensorEntry {
	all := make([]tensorEntry, r.Tensors.Len())
	for i := range all {
		t := r.Tensors.At(i)
		from := slices.Clone(t.From)
		if _, layer, _ := diff.SplitLayer(t.Name); layer >= 0 {
			for k, name := range from {
				if list, n, rest := diff.SplitLayer(name); n == layer {
					from[k] = list + ".*." + rest
				}
			}
		}
		made := func(from []string) string { return t.Rule + "\t" + text.Printable(strings.Join(from, ", ")) }
		all[i] = tensorEntry{Name: t.Name, DType: t.DType, Shape: t.Shape, made: made(t.From), origin: made(from)}
	}
	return all
}

// proofLine returns what --verify compared.
func proofLine(p *proof.Proof) string {
	return fmt.Sprintf("%s, %s, %s", text.Count(int64(p.Tensors), "tensor"), text.Count(p.Elements, "element"), size(p.Bytes))
}
