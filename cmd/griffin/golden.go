package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func goldenCommand() *cli.Command {
	return &cli.Command{
		Name:      "golden",
		Usage:     "record what a model computes, as a fixture for griffin verify",
		UsageText: "griffin golden [flags] CKPT --out FILE\n   griffin golden --capture-script jax|torch|transformers",
		Description: "Runs griffin's reference forward pass on tokens and writes logits and hidden states as safetensors. CKPT\n" +
			"is a checkpoint of any format and layout. A FILE that exists is replaced only if griffin recorded it, or if it is empty.\n\n" +
			"--capture-script prints a Python script that records the same with an original implementation or with\n" +
			"transformers. Run it on the machine that has the weights and the implementation.\n\n" +
			"Examples:\n\n" +
			"  griffin golden 2b.pt --random 128 --out golden.safetensors\n" +
			"  griffin golden recurrentgemma-2b --tokens golden.safetensors --out again.safetensors\n" +
			"  griffin golden 2b.pt --tokens prompt.safetensors --logits-only --arithmetic bfloat16 --out g.safetensors\n" +
			"  griffin golden --capture-script jax > capture_jax.py",
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "out", Usage: "write the fixture to `FILE`"},
			tokensFlag(", and optionally positions and packed.positions"),
			&cli.IntFlag{Name: "random", DefaultText: "none", Usage: "run `N` random tokens"},
			&cli.Uint64Flag{Name: "seed", Usage: "with --random: choose the tokens by seed `S`"},
			&cli.BoolFlag{Name: "logits-only", Usage: "do not write the hidden states"},
			&cli.IntFlag{Name: "decode-from", DefaultText: "none", Usage: "also record the logits of decoding token by token, from token `N` of each row on"},
			arithmeticFlag(),
			semanticsFlag(),
			digestFlag("record the digest of the weights"),
			stepFlag(),
			weightsFlag(),
			skipFlag(),
			modelFlag(),
			&cli.StringFlag{Name: "capture-script", Usage: "print the Python script that records a fixture with `IMPLEMENTATION`: " + strings.Join(golden.ScriptNames(), ", ")},
			jsonFlag(),
		),
		OnUsageError: onUsageError,
		Action:       runGolden,
	}
}

func arithmeticFlag() cli.Flag {
	return &cli.StringFlag{Name: "arithmetic", Value: reference.Float32.String(), Usage: "compute in `TYPE`: " + strings.Join(reference.PrecisionNames[:], ", ")}
}

func semanticsFlag() cli.Flag {
	return &cli.StringFlag{Name: "semantics", DefaultText: "transformers5 for a Hugging Face directory, otherwise original",
		Usage: "compute what `IMPLEMENTATION` computes, where implementations differ: " + strings.Join(reference.SemanticsNames[:], ", ")}
}

func runGolden(c *cli.Context) error {
	if c.IsSet("capture-script") {
		return captureScript(c)
	}
	if c.NArg() != 1 {
		return wrongPaths(c, "golden takes one checkpoint").advise("--out names the fixture; griffin golden --help shows examples")
	}
	if c.String("out") == "" {
		return usagef("golden needs an output file").advise("add --out FILE.safetensors")
	}
	options, err := recordOptions(c)
	if err != nil {
		return err
	}
	arithmetic, err := reference.ParsePrecision(c.String("arithmetic"))
	if err != nil {
		return usagef("--arithmetic: %v", err)
	}
	semantics, err := semanticsOption(c)
	if err != nil {
		return err
	}
	algorithm, err := digestOption(c)
	if err != nil {
		return err
	}
	if err := checkOutputFlag(c, "out"); err != nil {
		return err
	}
	m, err := openModel(c, c.Args().First())
	if err != nil {
		return err
	}
	defer m.Checkpoint.Close()
	tokens, err := tokensFor(c, m)
	if err != nil {
		return err
	}
	if options.DecodeFrom > tokens.Length {
		return usagef("--decode-from %d is beyond the end of rows of %d tokens", options.DecodeFrom, tokens.Length)
	}
	if semantics == nil {
		s := m.Semantics()
		semantics = &s
	}
	noteLogits(c, m, *semantics)
	// Activations and logits of many tokens are in memory at once.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(forwardHeapLimit))
	run := runOptions{*semantics, reference.Arithmetic{Precision: arithmetic}, c.String("out"), algorithm}
	recording, err := record(c.Context, m, tokens, run, options, c.App.ErrWriter)
	if err != nil {
		return err
	}
	recording.Quantized = quantizedText(m)
	out := &recorded{*recording, m.SettingsUnder(*semantics)}
	if c.Bool("json") {
		return printJSON(c.App.Writer, schemaRecording, out)
	}
	return printRecording(c.App.Writer, out)
}

// recorded is what golden prints as JSON.
type recorded struct {
	golden.Recording
	Settings runtime.Settings `json:"settings"` // with which the model was run, in the terms of the semantics
}

// forwardHeapLimit is the size of the Go heap, in bytes, above which the garbage collector works harder
// while a forward pass runs.
const forwardHeapLimit = 640 << 20

// recordOptions returns the options that the flags give.
func recordOptions(c *cli.Context) (o golden.RecordOptions, err error) {
	if c.IsSet("decode-from") && c.Int("decode-from") < 1 {
		return o, usagef("--decode-from %d: at least one token comes before decoding", c.Int("decode-from"))
	}
	o.LogitsOnly, o.DecodeFrom = c.Bool("logits-only"), c.Int("decode-from")
	return o, nil
}

// tokensFor returns the tokens that --tokens or --random gives.
func tokensFor(c *cli.Context, m *runtime.Model) (*golden.Tokens, error) {
	switch {
	case c.IsSet("tokens") && c.IsSet("random"):
		return nil, usagef("--tokens and --random cannot be combined").advise("leave out one of them")
	case !c.IsSet("tokens") && !c.IsSet("random"):
		return nil, usagef("golden needs either --tokens or --random").advise("add --tokens (a list, or a file) or --random N")
	case c.IsSet("seed") && !c.IsSet("random"):
		return nil, usagef("--seed needs --random").advise("add --random N")
	case c.IsSet("tokens"):
		return readTokens(c.String("tokens"), m)
	}
	tokens, err := golden.RandomTokens(c.Int("random"), m.Config.VocabSize, c.Uint64("seed"))
	if err != nil {
		return nil, usagef("--random: %v", err)
	}
	return tokens, nil
}

// semanticsOption returns the semantics that --semantics names, or nil if it is not set.
func semanticsOption(c *cli.Context) (*reference.Semantics, error) {
	if !c.IsSet("semantics") {
		return nil, nil
	}
	s, err := reference.ParseSemantics(c.String("semantics"))
	if err != nil {
		return nil, usagef("--semantics: %v", err)
	}
	return &s, nil
}

// runOptions say how the model is run and where the fixture is written.
type runOptions struct {
	semantics  reference.Semantics
	arithmetic reference.Arithmetic
	out        string
	digest     digest.Algorithms
}

// record runs the model and digests its weights, which it checks on the way, with progress counted in bytes of weights.
func record(ctx context.Context, m *runtime.Model, t *golden.Tokens, run runOptions, o golden.RecordOptions, stderr io.Writer) (*golden.Recording, error) {
	if err := m.CheckHead(ctx); err != nil {
		return nil, err
	}
	o.DigestLength, o.Source, o.Step = m.DigestLength(run.digest), m.Checkpoint.Source, m.Checkpoint.Step()
	if o.DecodeFrom > 0 {
		return recordDecoding(ctx, m, t, run, o, stderr)
	}
	runs := int64(1)
	if t.Packed != nil {
		runs++
	}
	bar := terminal.NewProgress(stderr, "running", runs*weightBytes(m))
	defer bar.Done()
	m.OnRead = bar.Add
	model, weights := m.Digested(run.semantics, run.arithmetic, run.digest)
	o.Digest = func(ctx context.Context) (string, error) {
		known, err := weights.Sums(ctx)
		if err != nil {
			return "", err
		}
		return m.Digest(ctx, run.digest, known, nil)
	}
	return golden.Record(ctx, run.out, model, t, o)
}

// recordDecoding is record for decoding, for which the weights are mapped: they are checked and digested before.
func recordDecoding(ctx context.Context, m *runtime.Model, t *golden.Tokens, run runOptions, o golden.RecordOptions, stderr io.Writer) (*golden.Recording, error) {
	digest, err := digestWeights(ctx, m, run.digest, stderr)
	if err != nil {
		return nil, err
	}
	o.Digest = func(context.Context) (string, error) { return digest, nil }
	total := weightBytes(m)
	runs := int64(2 + t.Length - o.DecodeFrom)
	if t.Packed != nil {
		runs++
	}
	bar := terminal.NewProgress(stderr, "running", total*min(runs, math.MaxInt64/max(total, 1)))
	defer bar.Done()
	m.OnRead = bar.Add
	mapped, closer := m.Mapped(run.semantics, run.arithmetic)
	defer closer.Close()
	return golden.Record(ctx, run.out, mapped, t, o)
}

func printRecording(w io.Writer, r *recorded) error {
	more := ""
	if r.Packed {
		more += ", packed rows"
	}
	if r.DecodeStart > 0 {
		more += fmt.Sprintf(", decoding from token %d on", r.DecodeStart)
	}
	if r.Quantized != "" {
		fmt.Fprintf(w, "a quantised copy, run dequantised: %s\n", r.Quantized)
	}
	_, err := fmt.Fprintf(w, "%s: %s of %s%s in %s, %s semantics (%s, %s)\n  %s\nmodel %s\n", r.Path,
		text.Count(int64(r.Batch), "row"), text.Count(int64(r.Length), "token"), more, r.Arithmetic, r.Semantics, text.Count(int64(r.Tensors), "tensor"), size(r.Bytes), &r.Settings, ofStep(r.Step, r.ModelDigest))
	return err
}

func captureScript(c *cli.Context) error {
	others := slices.DeleteFunc(c.LocalFlagNames(), func(name string) bool { return slices.Contains([]string{"capture-script", "progress", "q"}, name) })
	if err := refuseBeside(c, "capture-script", "it only prints a script, which can be redirected to a file", others...); err != nil {
		return err
	}
	if c.NArg() != 0 {
		return usagef("--capture-script takes no checkpoint: give it to the script").advise("griffin golden --capture-script jax > capture.py")
	}
	script, err := golden.Script(c.String("capture-script"))
	if err != nil {
		return usagef("--capture-script: %v", err)
	}
	_, err = io.WriteString(c.App.Writer, script)
	return err
}
