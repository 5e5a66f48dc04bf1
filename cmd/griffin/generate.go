package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

func generateCommand() *cli.Command {
	return &cli.Command{
		Name:      "generate",
		Usage:     "continue a text with a model",
		UsageText: "griffin generate [flags] CKPT --prompt TEXT\n   griffin generate [flags] CKPT --tokens 2,651,37",
		Description: "Reads a prompt and prints how the model continues it, token by token. CKPT is a checkpoint of any format and\n" +
			"layout; the tokenizer is the tokenizer.model beside its weights, or the file that --tokenizer names. The token\n" +
			"that begins a text (<bos>) is put before a prompt, but not before --tokens.\n\n" +
			"Without --temperature, the most likely token is taken. A continuation ends after --max-tokens tokens, or at the\n" +
			"token that ends a text: that of the tokenizer, of generation_config.json, or else token 1.\n\n" +
			"--state-out saves the state of the model after the text, whose size is fixed. --state-in continues from it, with the\n" +
			"same arithmetic. --fast reads a long prompt in 0.6 of the time; its error is in reference/FAST.md.\n\n" +
			"Examples:\n\n" +
			"  griffin generate recurrentgemma-2b --prompt 'The capital of France is'\n" +
			"  griffin generate 2b-it.pt --chat --prompt 'Why is the sky blue?' --temperature 0.8 --top-p 0.95\n" +
			"  griffin generate 2b.pt --tokens 2,651,37 --max-tokens 16 --json\n" +
			"  griffin generate 2b.pt --prompt-file book.txt --max-tokens 0 --state-out book.safetensors\n" +
			"  griffin generate 2b.pt --state-in book.safetensors --prompt ' The moral of the story is'",
		Flags: append(settingsFlags(),
			&cli.StringFlag{Name: "prompt", Usage: "continue `TEXT`"},
			&cli.StringFlag{Name: "prompt-file", Usage: "continue the text in `FILE`, or standard input for -"},
			tokensFlag(""),
			&cli.BoolFlag{Name: "chat", Usage: "format the prompt as the turn of a user, for instruction-tuned models"},
			tokenizerFlag(),
			&cli.IntFlag{Name: "max-tokens", Value: 256, Usage: "generate at most `N` tokens"},
			&cli.BoolFlag{Name: "ignore-eos", Usage: "continue after a token that ends a text"},
			&cli.Float64Flag{Name: "temperature", DefaultText: "take the most likely token", Usage: "draw tokens at random by their probabilities, with logits divided by `T`"},
			&cli.IntFlag{Name: "top-k", DefaultText: "all", Usage: "draw from the `K` most likely tokens"},
			&cli.Float64Flag{Name: "top-p", DefaultText: "all", Usage: "draw from the most likely tokens that together have probability `P`"},
			&cli.Uint64Flag{Name: "seed", Usage: "with --temperature: choose the tokens by seed `S`"},
			&cli.StringFlag{Name: "state-in", Usage: "continue the text whose state is in `FILE`"},
			&cli.StringFlag{Name: "state-out", Usage: "write the state after the continuation to `FILE`"},
			arithmeticFlag(),
			fastFlag(),
			semanticsFlag(),
			stepFlag(),
			weightsFlag(),
			skipFlag(),
			modelFlag(),
			jsonFlag(),
		),
		OnUsageError: onUsageError,
		Action:       runGenerate,
	}
}

// generation is what generate prints as JSON.
type generation struct {
	Prompt          int              `json:"prompt_tokens"` // tokens that were read before the continuation, without those of --state-in
	Added           []string         `json:"added"`         // pieces that were put before and after the prompt
	Tokens          []int32          `json:"tokens"`        // the continuation alone
	Text            *string          `json:"text"`          // without the token that ended it; null without a tokenizer
	End             string           `json:"end"`           // "stop" or "length"
	TokensPerSecond float64          `json:"tokens_per_second"`
	Seed            *uint64          `json:"seed,omitempty"` // if tokens were drawn
	Semantics       string           `json:"semantics"`
	Arithmetic      string           `json:"arithmetic"`
	Settings        runtime.Settings `json:"settings"`            // with which it was run, in the terms of the semantics
	Step            string           `json:"step,omitempty"`      // of a training run, if one was selected or found in the directory
	Quantized       string           `json:"quantized,omitempty"` // what a quantised copy is, which is run dequantised
	StateTokens     int              `json:"state_tokens"`        // tokens of the whole text, with those of --state-in
}

func runGenerate(c *cli.Context) error {
	if c.NArg() != 1 {
		return wrongPaths(c, "generate takes one checkpoint").advise("--prompt gives the text to continue; griffin generate --help shows examples")
	}
	options, err := generateOptions(c)
	if err != nil {
		return err
	}
	precision, err := precisionOption(c)
	if err != nil {
		return err
	}
	if err := checkOutputFlag(c, "state-out"); err != nil {
		return err
	}
	m, err := openModel(c, c.Args().First())
	if err != nil {
		return err
	}
	defer m.Checkpoint.Close()
	if err := m.CheckHead(c.Context); err != nil {
		return err
	}
	g := &generator{c: c, model: m, options: options, out: generation{Added: []string{}, Step: m.Checkpoint.Step(), Quantized: quantizedText(m)}}
	m.OnRead = func(int64) { g.bar.Add(0) }
	if g.reference, err = referenceModel(c, m, precision); err != nil {
		return err
	}
	mapped, closer := m.Mapped(g.reference.Semantics, g.reference.Arithmetic)
	defer closer.Close()
	g.reference = mapped
	// Activations and logits of many tokens are held at once.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(forwardHeapLimit))
	return g.run()
}

// generateOptions reads the flags that say how to continue.
func generateOptions(c *cli.Context) (o generate.Options, err error) {
	given := 0
	for _, name := range []string{"prompt", "prompt-file", "tokens"} {
		if c.IsSet(name) {
			given++
		}
	}
	switch {
	case given > 1:
		return o, usagef("--prompt, --prompt-file and --tokens cannot be combined").advise("leave out all but one of them")
	case given == 0 && !c.IsSet("state-in"):
		return o, usagef("generate needs a text to continue").advise("add --prompt TEXT")
	case c.Bool("chat") && (given == 0 || c.IsSet("tokens")):
		return o, usagef("--chat needs --prompt or --prompt-file").advise("add --prompt TEXT")
	case c.Int("max-tokens") < 0:
		return o, usagef("--max-tokens %d: want 0 or more", c.Int("max-tokens"))
	}
	for _, name := range []string{"top-k", "top-p", "seed"} {
		if c.IsSet(name) && !c.IsSet("temperature") {
			return o, usagef("--%s needs --temperature", name).advise("add --temperature 1")
		}
	}
	if c.IsSet("temperature") && c.Float64("temperature") == 0 && (c.IsSet("top-k") || c.IsSet("top-p")) {
		return o, usagef("--temperature 0 takes the most likely token").advise("remove --top-k and --top-p, or use a higher temperature")
	}
	o.Max = c.Int("max-tokens")
	o.Sampling = generate.Sampling{Temperature: c.Float64("temperature"), TopK: c.Int("top-k"), TopP: c.Float64("top-p"), Seed: c.Uint64("seed")}
	for _, one := range []struct {
		flag string
		generate.Sampling
	}{
		{"temperature", generate.Sampling{Temperature: o.Sampling.Temperature}},
		{"top-k", generate.Sampling{TopK: o.Sampling.TopK}},
		{"top-p", generate.Sampling{TopP: o.Sampling.TopP}},
	} {
		if err := one.Validate(); err != nil {
			return o, usagef("--%s: %v", one.flag, err)
		}
	}
	for flag, value := range map[string]float64{"top-k": float64(o.Sampling.TopK), "top-p": o.Sampling.TopP} {
		if c.IsSet(flag) && value == 0 {
			return o, usagef("--%s 0 leaves no token to draw", flag)
		}
	}
	return o, nil
}

func fastFlag() cli.Flag {
	return &cli.BoolFlag{Name: "fast", Usage: "multiply in bfloat16 where the processor has instructions for it (AVX512_BF16), otherwise in float32; the result says fast, or float32"}
}

// precisionOption returns what --arithmetic or --fast asks for: float32 if --fast would not be faster here.
func precisionOption(c *cli.Context) (reference.Precision, error) {
	if c.Bool("fast") {
		switch {
		case c.IsSet("arithmetic"):
			return 0, usagef("--fast and --arithmetic cannot be combined").advise("leave out one of them")
		case reference.FastIsFaster():
			return reference.Fast, nil
		case !c.Bool("json"):
			note(c, "--fast: this processor does not multiply bfloat16 (AVX512_BF16); computing in float32")
		}
		return reference.Float32, nil
	}
	precision, err := reference.ParsePrecision(c.String("arithmetic"))
	if err != nil {
		return 0, usagef("--arithmetic: %v", err)
	}
	return precision, nil
}

// ofSetting makes the error about a state that was written with another setting, semantics or arithmetic than those of this command one of the
// flag that has to change. It stays as it is if no flag can change: config.json has the settings, or the processor is not the one for --fast.
func (g *generator) ofSetting(path string, err error) error {
	var e *generate.SettingError
	if !errors.As(err, &e) {
		return err
	}
	of := func(flag string) *usageError {
		return usagef("--%s: the state %s has %s %s, and this command %s", flag, path, inWords(e.Setting), e.State, e.Have)
	}
	fast := reference.Fast.String()
	switch flag := strings.ReplaceAll(e.Setting, "_", "-"); {
	case e.State == fast && !reference.FastIsFaster():
		return fmt.Errorf("%w, because this processor does not multiply bfloat16 (AVX512_BF16)", err)
	case e.State == fast && g.c.IsSet("arithmetic"):
		return of(flag).advise("--fast continues the state, without --arithmetic")
	case e.State == fast:
		return of(fast).advise("--fast continues the state")
	case e.Have == fast:
		return of(fast).advise("--arithmetic %s continues the state, without --fast", e.State)
	case slices.Contains([]string{"semantics", "arithmetic"}, e.Setting),
		g.model.Found.Layout != model.HuggingFace && slices.Contains(model.SettingNames[:], e.Setting):
		return of(flag).advise("--%s=%s continues the state", flag, e.State)
	}
	return err
}

// referenceModel returns the model as --semantics asks for it, and notes what noteLogits does.
func referenceModel(c *cli.Context, m *runtime.Model, precision reference.Precision) (*reference.Model, error) {
	semantics, err := semanticsOption(c)
	if err != nil {
		return nil, err
	}
	if semantics == nil {
		s := m.Semantics()
		semantics = &s
	}
	noteLogits(c, m, *semantics)
	return m.Reference(*semantics, reference.Arithmetic{Precision: precision}), nil
}
