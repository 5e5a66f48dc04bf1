// Command griffin converts, inspects and verifies checkpoints of the Griffin family of language
// models.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert"
)

func main() {
	// A soft limit far under the promised 256 MiB of resident memory: what else is resident is
	// mapped pages of the files.
	debug.SetMemoryLimit(heapLimit)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// heapLimit is the bytes of Go heap above which the collector works harder.
const heapLimit = 128 << 20

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "griffin: a fault of griffin's own: %v\n%s\nhint: please report this, with the command that led to it\n", p, debug.Stack())
			code = exitInternal
		}
	}()
	app := newApp(stdout, stderr)
	err := app.RunContext(ctx, flagsFirst(app, args))
	return reportError(stderr, err)
}

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:    "griffin",
		Usage:   "convert and inspect checkpoints of the Griffin family (RecurrentGemma, Griffin, Hawk)",
		Version: convert.ToolVersion(),
		Description: "Reads Orbax and Flax directories, PyTorch files and safetensors, without Python and in little\n" +
			"memory. Every command takes its flags before or after the paths.\n\n" +
			"Exit status: 0 success, 1 differs or fails verification, 2 usage, 3 bad or unsupported input,\n" +
			"4 input/output, 5 a fault of griffin's own, 130 interrupted.",
		Commands: []*cli.Command{convertCommand(), inspectCommand(), goldenCommand(), verifyCommand(), diffCommand(), completionCommand()},

		HideHelpCommand:      true,
		EnableBashCompletion: true,
		Suggest:              true,
		Writer:               stdout,
		ErrWriter:            stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // run reports
		OnUsageError:         onUsageError,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("no command %q", c.Args().First()).advise("griffin --help lists the commands")
			}
			return cli.ShowAppHelp(c)
		},
	}
}

// onUsageError keeps urfave/cli from printing the whole help where a flag is wrong.
func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "griffin"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != name {
		name += " " + c.Command.Name
	}
	return usagef("%v", err).advise("%s --help shows the flags", name)
}
