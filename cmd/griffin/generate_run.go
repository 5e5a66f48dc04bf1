package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/reference/generate"
	"github.com/griffin-ckpt/griffin/reference/tokenizer"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// generator carries out one generate command.
type generator struct {
	c         *cli.Context
	model     *runtime.Model
	reference *reference.Model
	options   generate.Options
	tokenizer *tokenizer.Tokenizer // nil if the prompt is tokens
	digest    string               // of the weights, if a state is read or written
	session   *generate.Session
	bar       *terminal.Progress // also drawn again whenever weights are read; nil for none
	out       generation
}

func (g *generator) run() error {
	ctx := g.c.Context
	if !g.c.Bool("json") { // standard output has the text alone
		if err := printQuantized(notes(g.c), g.c.Args().First(), g.out.Quantized); err != nil {
			return err
		}
	}
	if err := g.start(ctx); err != nil {
		return err
	}
	if err := g.readPrompt(ctx); err != nil {
		return err
	}
	result, err := g.generate(ctx)
	if err != nil {
		return err
	}
	if err := storage.Unchanged(g.model.Checkpoint.Source); err != nil {
		return err
	}
	if path := g.c.String("state-out"); path != "" {
		if err := g.session.Save(ctx, path, g.digest); err != nil {
			return err
		}
	}
	return g.report(result)
}

// start opens the tokenizer and the session.
func (g *generator) start(ctx context.Context) (err error) {
	if !g.c.IsSet("tokens") || g.c.IsSet("tokenizer") {
		g.tokenizer, _, err = openTokenizer(g.c, g.model)
		isText := g.c.IsSet("prompt") || g.c.IsSet("prompt-file")
		if err != nil && (isText || !is[*noTokenizerError](err)) { // a state alone is continued without one, as tokens are
			return err
		}
	}
	if !g.c.Bool("ignore-eos") {
		if g.options.Stop, err = endTokens(g.model, g.tokenizer); err != nil {
			return err
		}
	}
	if path := g.c.String("state-in"); path != "" {
		g.session, err = generate.Load(g.reference, path, func(recorded string) (string, error) {
			err := g.digestWeights(ctx, runtime.DigestAlgorithm(recorded))
			return g.digest, err
		})
		return g.ofSetting(path, err)
	}
	if g.c.IsSet("state-out") {
		if err := g.digestWeights(ctx, 0); err != nil {
			return err
		}
	}
	g.session = generate.New(g.reference)
	return nil
}

// digestWeights sets the digest of the weights, by digest.Default if a is 0.
func (g *generator) digestWeights(ctx context.Context, a digest.Algorithms) (err error) {
	g.digest, err = digestWeights(ctx, g.model, cmp.Or(a, digest.Default), g.c.App.ErrWriter)
	return err
}

// digestWeights returns the digest of the weights, with progress counted in bytes.
func digestWeights(ctx context.Context, m *runtime.Model, a digest.Algorithms, stderr io.Writer) (string, error) {
	bar := terminal.NewProgress(stderr, "checking", weightBytes(m))
	defer bar.Done()
	return m.Digest(ctx, a, nil, bar.Add)
}

func weightBytes(m *runtime.Model) int64 {
	total := int64(0)
	for _, named := range m.Found.ParameterTensors(&m.Config) {
		total += named.Tensor.Bytes()
	}
	return total
}

// readPrompt reads the prompt, which may be long, piece by piece.
func (g *generator) readPrompt(ctx context.Context) error {
	if value := g.c.String("tokens"); g.c.IsSet("tokens") {
		tokens, err := readTokens(value, g.model)
		if err != nil {
			return err
		}
		if tokens.Batch != 1 {
			return usagef("--tokens: %s has %d rows, and generate continues one", value, tokens.Batch)
		}
		g.bar = newTokenCount(g.c, "reading", len(tokens.IDs))
		defer g.endProgress()
		return g.read(ctx, tokens.IDs, func(n int) { g.bar.Set(int64(n)) })
	}
	if !g.c.IsSet("prompt") && !g.c.IsSet("prompt-file") {
		return nil
	}
	text, name, length, err := g.openPrompt()
	if err != nil {
		return err
	}
	defer text.Close()
	g.bar = terminal.NewProgress(g.c.App.ErrWriter, "reading", length)
	defer g.endProgress()
	if _, begun := g.session.Last(); !begun {
		begin := g.tokenizer.Begin()
		g.out.Added = append(g.out.Added, g.tokenizer.Piece(begin))
		if err := g.read(ctx, []int32{begin}, nil); err != nil {
			return err
		}
	}
	var r io.Reader = &utf8Reader{r: text, name: name}
	if g.c.Bool("chat") {
		if r, err = g.turn(r); err != nil {
			return err
		}
	}
	decoder, done := g.tokenizer.Decoder(), int64(0)
	return g.tokenizer.EncodeReader(r, func(tokens []int32) error {
		bytes := textBytes(decoder, tokens)
		defer func() { done += bytes }()
		return g.read(ctx, tokens, func(n int) { g.bar.Set(done + bytes*int64(n)/int64(len(tokens))) })
	})
}

// read reads tokens of the prompt.
func (g *generator) read(ctx context.Context, tokens []int32, progress func(n int)) error {
	g.out.Prompt += len(tokens)
	return g.session.Read(ctx, tokens, progress)
}

// endProgress removes the line of progress.
func (g *generator) endProgress() {
	g.bar.Done()
	g.bar = nil
}

// openPrompt returns the text of the prompt, what errors call it, and its length in bytes.
func (g *generator) openPrompt() (io.ReadCloser, string, int64, error) {
	switch path := g.c.String("prompt-file"); path {
	case "":
		prompt := g.c.String("prompt")
		return io.NopCloser(strings.NewReader(prompt)), "--prompt", int64(len(prompt)), nil
	case "-":
		return io.NopCloser(g.c.App.Reader), "standard input", -1, nil
	default:
		return openText(path)
	}
}

// Pieces of the turn format of instruction-tuned models.
const (
	startOfTurn = "<start_of_turn>"
	endOfTurn   = "<end_of_turn>"
)

// turn returns a prompt as a user's turn, followed by the beginning of the model's, which ends the continuation with its turn.
func (g *generator) turn(prompt io.Reader) (io.Reader, error) {
	end, ok := g.tokenizer.Token(endOfTurn)
	if _, start := g.tokenizer.Token(startOfTurn); !ok || !start {
		return nil, usagef("the tokenizer has no %s and %s, which --chat needs", startOfTurn, endOfTurn)
	}
	if !slices.Contains(g.options.Stop, end) && !g.c.Bool("ignore-eos") {
		g.options.Stop = append(g.options.Stop, end)
	}
	text, err := io.ReadAll(prompt)
	if err != nil {
		return nil, err
	}
	before, after := startOfTurn+"user\n", endOfTurn+"\n"+startOfTurn+"model\n"
	if last, _ := g.session.Last(); last == end { // of the model's turn before
		before = "\n" + before
	}
	g.out.Added = append(g.out.Added, before, after)
	return strings.NewReader(before + strings.TrimSpace(string(text)) + after), nil
}

// generate prints the continuation while it is generated, unless it is printed as JSON, and ends its line, also before an error.
func (g *generator) generate(ctx context.Context) (_ *generate.Result, err error) {
	w := g.c.App.Writer
	var text strings.Builder
	var decoder *tokenizer.Decoder
	if g.tokenizer != nil {
		decoder = g.tokenizer.Decoder()
	}
	count := 0
	defer func() {
		if count > 0 && !g.c.Bool("json") {
			_, newline := fmt.Fprintln(w)
			err = cmp.Or(err, newline)
		}
	}()
	show := func(part string) error {
		if g.c.Bool("json") {
			text.WriteString(part)
			return nil
		}
		if terminal.Is(w) {
			part = harmless(part)
		}
		_, err := io.WriteString(w, part)
		return err
	}
	if g.c.Bool("json") { // otherwise the text shows how far it is
		g.bar = newTokenCount(g.c, "generating", g.options.Max)
		defer g.endProgress()
	}
	result, err := g.session.Generate(ctx, g.options, func(token int32) error {
		count++
		g.bar.Set(int64(count))
		switch {
		case g.tokenizer == nil && count > 1:
			return show(fmt.Sprintf(",%d", token))
		case g.tokenizer == nil:
			return show(fmt.Sprint(token))
		case slices.Contains(g.options.Stop, token):
			return nil
		}
		return show(decoder.Next(token))
	})
	if err != nil {
		return nil, err
	}
	if g.tokenizer != nil {
		if err := show(decoder.Flush()); err != nil {
			return nil, err
		}
		all := text.String()
		g.out.Text = &all
	}
	return result, nil
}

// harmless replaces characters that control a terminal.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// report prints the result, or after a text what it took.
func (g *generator) report(r *generate.Result) error {
	o := &g.out
	o.Tokens, o.TokensPerSecond, o.StateTokens = append([]int32{}, r.Tokens...), r.Rate(), g.session.Tokens()
	o.Semantics, o.Arithmetic = g.reference.Semantics.String(), g.reference.Arithmetic.Precision.String()
	o.Settings = g.model.SettingsUnder(g.reference.Semantics)
	o.End = "length"
	if r.Stopped {
		o.End = "stop"
	}
	if g.options.Sampling.Temperature > 0 {
		o.Seed = &g.options.Sampling.Seed
	}
	if g.c.Bool("json") {
		return printJSON(g.c.App.Writer, schemaGeneration, o)
	}
	line := fmt.Sprintf("%s read, %s generated", text.Count(int64(o.Prompt), "token"), text.Count(int64(len(r.Tokens)), "token"))
	if o.TokensPerSecond > 0 {
		rate := fmt.Sprintf("%.3g", o.TokensPerSecond)
		if o.TokensPerSecond >= 100 {
			rate = text.Grouped(int64(o.TokensPerSecond + 0.5))
		}
		line += fmt.Sprintf(", %s tokens per second", rate)
	}
	line += fmt.Sprintf(" (%s, %s)", ofStep(o.Step, o.Semantics+" semantics"), o.Arithmetic)
	_, err := fmt.Fprintln(notes(g.c), line)
	return err
}
