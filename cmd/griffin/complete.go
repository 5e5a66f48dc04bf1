package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/completion"
	"github.com/griffin-ckpt/griffin/cmd/internal/nearest"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/run"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script for a shell",
		UsageText: "griffin completion bash|zsh|fish",
		Description: "The script completes commands, flags, their values, and the names of the tensors of a checkpoint that is given\n" +
			"already (--dump, --only). Paths are completed as usual.\n\nExamples:\n\n" +
			"  source <(griffin completion bash)  # in ~/.bashrc\n" +
			"  source <(griffin completion zsh)   # in ~/.zshrc, after compinit\n" +
			"  griffin completion fish > ~/.config/fish/completions/griffin.fish",
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			script, ok := completion.Scripts[c.Args().First()]
			if !ok || c.NArg() != 1 {
				err := usagef("completion takes one shell, which is bash, zsh or fish")
				if near := nearest.Name(c.Args().First(), slices.Sorted(maps.Keys(completion.Scripts))); near != "" && c.NArg() == 1 {
					return err.advise("did you mean griffin completion %s?", near)
				}
				return err.advise("griffin completion --help shows where the script goes")
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// complete answers a completion script: args are the shell, "--", and what the shell passes.
func complete(app *cli.App, args []string, stdout io.Writer) error {
	if len(args) < 2 {
		return nil
	}
	return completion.Answer(stdout, args[0], args[2:], completionCommands(app))
}

// completionCommands describes the commands as their declarations do.
func completionCommands(app *cli.App) []completion.Command {
	var all []completion.Command
	for _, c := range app.VisibleCommands() {
		one := completion.Command{Name: c.Name, Usage: c.Usage}
		if c.Name == "completion" {
			one.Values = []string{"bash", "zsh", "fish"}
		}
		for _, f := range c.VisibleFlags() {
			if name := f.Names()[0]; name != "help" {
				one.Flags = append(one.Flags, completionFlag(f))
			}
		}
		all = append(all, one)
	}
	return all
}

// completionFlag describes a flag. A value that the usage calls FILE or DIR, such as "write to `FILE`", is a path, and one of inputFiles may be.
func completionFlag(f cli.Flag) completion.Flag {
	name := f.Names()[0]
	one := completion.Flag{Names: f.Names()}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return one
	}
	value, usage := unquoteUsage(doc.GetUsage())
	one.Usage = usage
	one.Files = value == "FILE" || value == "DIR" || slices.Contains(inputFiles, name)
	_, one.Repeat = f.(*cli.StringSliceFlag)
	switch f.(type) {
	case *cli.BoolFlag:
		one.Takes = completion.OptionalValue
		one.Values = fixedValues("true", "false")
		return one
	case optionalValue:
		one.Takes = completion.OptionalValue
	default:
		one.Takes = completion.Value
	}
	if names, ok := choices[name]; ok {
		one.Values = fixedValues(names...)
	} else {
		one.Values = flagValues[name]
	}
	return one
}

// unquoteUsage returns the name of the value in the usage of a flag, which stands between backquotes, and the usage without them.
func unquoteUsage(usage string) (value, text string) {
	before, rest, _ := strings.Cut(usage, "`")
	value, after, ok := strings.Cut(rest, "`")
	if !ok {
		return "", usage
	}
	return value, before + value + after
}

func fixedValues(values ...string) func(*completion.Line, string) []string {
	return func(*completion.Line, string) []string { return values }
}

// flagValues finds values of flags that depend on the rest of the line. The values in choices are those of other flags.
var flagValues = map[string]func(line *completion.Line, current string) []string{
	"dump": tensorNames,
	"only": tensorNames,
	"match-runtime": func(_ *completion.Line, current string) []string {
		return completion.List((^convert.NoRuntime).Names(), current)
	},
	"tolerance": func(_ *completion.Line, current string) []string {
		return completion.List([]string{"abs=", "rel=", "ulp="}, current)
	},
	"task":         fixedValues("auto"),
	"step":         stepsOf(0),
	"against-step": stepsOf(0),
	"step-b":       stepsOf(1),
}

// tensorNames returns the names of the tensors of all checkpoints that are given, in natural order. No addresses are registered
// then: nothing is read over a network.
func tensorNames(line *completion.Line, _ string) []string {
	var o formats.Options
	if n, err := strconv.ParseInt(line.Given["step"], 10, 64); err == nil {
		o.Step = &n
	}
	var names []string
	for _, path := range line.Paths {
		ckpt, err := formats.Open(path, o)
		if err != nil {
			continue // the destination of a conversion, for instance
		}
		for _, t := range ckpt.Tensors() {
			names = append(names, t.Name)
		}
		ckpt.Close()
	}
	slices.SortFunc(names, tensor.CompareNames)
	return slices.Compact(names)
}

// stepsOf finds the steps of the training run that is the i-th path, or else the first.
func stepsOf(i int) func(*completion.Line, string) []string {
	return func(line *completion.Line, _ string) []string {
		if len(line.Paths) == 0 {
			return nil
		}
		r, err := run.Open(line.Paths[min(i, len(line.Paths)-1)])
		if err != nil {
			return nil
		}
		var numbers []string
		for _, s := range r.Steps {
			if s.Number >= 0 {
				numbers = append(numbers, fmt.Sprint(s.Number))
			}
		}
		return numbers
	}
}
