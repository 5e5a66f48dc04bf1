// Command griffin converts, inspects, verifies and compares checkpoints of the Griffin family of
// language models (RecurrentGemma, Griffin, Hawk).
//
// Each command is one file that declares its flags, calls one function of a library package
// (convert.Convert, verify.Verify, diff.Diff, golden.Record), and prints the result as text or, with
// --json, as JSON. Results go to standard output; progress and errors go to standard error. Progress
// is shown on a terminal only.
//
// Libraries return typed errors that never name a flag. File errors.go maps them to exit statuses,
// and says what to do about them on the command line.
//
// README.md has the reference of all commands. "go test -update" writes it from the declarations.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

func main() {
	debug.SetMemoryLimit(heapLimit)
	releasePages()
	os.Exit(runInterruptible(os.Args, os.Stdout, os.Stderr))
}

// grace is how long a command has to end by itself after a signal. Most end within milliseconds; but a system call may
// take longer, and so may parsing or decoding what somebody made to take long.
const grace = 50 * time.Millisecond

// runInterruptible executes one command line and returns its exit status. SIGINT and SIGTERM end the command, and the
// process if the command has not ended by itself after grace: nothing is left of what it was writing.
func runInterruptible(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var ended atomic.Bool // by the command or by the signal
	context.AfterFunc(ctx, func() {
		time.Sleep(grace)
		if ended.CompareAndSwap(false, true) {
			storage.Abandon()
			os.Exit(reportError(stderr, context.Canceled))
		}
	})
	err := execute(ctx, args, stdout, stderr)
	if !ended.CompareAndSwap(false, true) {
		select {} // until the process ends
	}
	return reportError(stderr, err)
}

// heapLimit is the size of the Go heap, in bytes, above which the garbage collector works harder. It is
// far below the 256 MiB that a conversion may use, because buffers and mapped pages of files are
// not part of the heap.
const heapLimit = 128 << 20

// runCommand executes one command line and returns its exit status.
func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return reportError(stderr, execute(ctx, args, stdout, stderr))
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return task.Call(func() error {
		registerAddresses(ctx, stderr)
		app := newApp(stdout, stderr)
		return app.RunContext(ctx, flagsFirst(app, args))
	})
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:    "griffin",
		Usage:   "convert, verify and compare checkpoints of the Griffin family (RecurrentGemma, Griffin, Hawk)",
		Version: convert.ToolVersion(),
		Description: "griffin reads Orbax and Flax directories, PyTorch files and safetensors, without Python. It detects the\n" +
			"format of a checkpoint from its content. Flags may stand before or after the paths.\n\n" +
			"Exit status: 0 success, 1 different or failed verification, 2 wrong usage, 3 bad or unsupported input,\n" +
			"4 input/output error, 5 internal error of griffin, 130 interrupted.",
		Commands: []*cli.Command{convertCommand(), inspectCommand(), goldenCommand(), verifyCommand(), diffCommand(), generateCommand(), perplexityCommand(), cleanCommand(), completionCommand()},

		HideHelpCommand:      true,
		EnableBashCompletion: true,
		Suggest:              true,
		Writer:               stdout,
		ErrWriter:            stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // runCommand reports errors
		OnUsageError:         onUsageError,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("no command %q", c.Args().First()).advise("griffin --help lists the commands")
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, command := range app.Commands {
		command.HideHelpCommand = true // "h" and "help" are names of files
	}
	return app
}

// onUsageError replaces the whole help text, which urfave/cli prints for a wrong flag, by a hint.
func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "griffin"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != name {
		name += " " + c.Command.Name
	}
	return usagef("%v", err).advise("%s --help lists the flags", name)
}

// flagsFirst moves the flags of a command in front of its paths, because urfave/cli does not look for
// flags after the first path. Arguments after "--" are paths.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) < 2 || args[len(args)-1] == "--generate-bash-completion" {
		return args
	}
	command := app.Command(args[1])
	if command == nil {
		return args
	}
	takesValue := map[string]bool{}
	for _, flag := range command.Flags {
		doc, ok := flag.(cli.DocGenerationFlag)
		for _, name := range flag.Names() {
			takesValue[name] = ok && doc.TakesValue()
		}
	}
	var flags, paths []string
	rest := args[2:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "--" {
			paths = append(paths, rest...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			paths = append(paths, arg)
			continue
		}
		flags = append(flags, arg)
		if takesValue[strings.TrimLeft(arg, "-")] && len(rest) > 0 {
			flags = append(flags, rest[0])
			rest = rest[1:]
		}
	}
	out := append([]string{args[0], args[1]}, flags...)
	return append(append(out, "--"), paths...)
}
