// Command griffin converts, inspects, verifies and compares checkpoints of the Griffin family of
// language models (RecurrentGemma, Griffin, Hawk).
//
// Each command is one file that declares its flags, calls one function of a library package
// (convert.Convert, verify.Verify, diff.Diff, golden.Record), and prints the result as text or, with
// --json, as JSON. Results go to standard output; progress and errors go to standard error. Progress
// is shown on a terminal, or with --progress plain in a log.
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
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/addresses"
	"github.com/griffin-ckpt/griffin/cmd/internal/completion"
	"github.com/griffin-ckpt/griffin/cmd/internal/resident"
	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

func main() {
	debug.SetMemoryLimit(heapLimit)
	resident.Release()
	os.Exit(runInterruptible(os.Args, os.Stdout, os.Stderr))
}

// grace is how long a command has to end by itself after a signal. Most end within milliseconds; but a system call may
// take longer, and so may parsing or decoding what somebody made to take long.
const grace = 50 * time.Millisecond

// runInterruptible executes one command line and returns its exit status. SIGINT, SIGTERM and SIGHUP end the command, and the
// process if the command has not ended by itself after grace: nothing is left of what it was writing.
func runInterruptible(args []string, stdout, stderr io.Writer) int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	var ended atomic.Bool // by the command or by the signal
	context.AfterFunc(ctx, func() {
		time.Sleep(grace)
		if ended.CompareAndSwap(false, true) {
			publish.Abandon()
			terminal.Clear(stderr)
			os.Exit(reportError(stderr, context.Canceled, wantsJSON(args)))
		}
	})
	err := execute(ctx, args, stdout, stderr)
	if !ended.CompareAndSwap(false, true) {
		select {} // until the process ends
	}
	return reportError(stderr, err, wantsJSON(args))
}

// heapLimit is the size of the Go heap, in bytes, above which the garbage collector works harder. It is
// far below the 256 MiB that a conversion may use, because buffers and mapped pages of files are
// not part of the heap.
const heapLimit = 152 << 20

// listLimit is the limit for commands that keep results about each of very many tensors, and few buffers.
const listLimit = 176 << 20

// runCommand executes one command line and returns its exit status.
func runCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return reportError(stderr, execute(ctx, args, stdout, stderr), wantsJSON(args))
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return task.Call(func() error {
		app := newApp(stdout, stderr)
		if len(args) > 1 && args[1] == completion.Name {
			return complete(app, args[2:], stdout)
		}
		args, err := arguments(app, args)
		if err != nil {
			return err
		}
		app.Writer, app.ErrWriter = outputs(args, stdout, stderr)
		if o, ok := app.ErrWriter.(*terminal.Output); ok && o.Mode == terminal.None {
			stderr = io.Discard // --quiet
		}
		addresses.Register(ctx, stderr)
		return app.RunContext(ctx, args)
	})
}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:    "griffin",
		Usage:   "convert, verify and compare checkpoints of the Griffin family (RecurrentGemma, Griffin, Hawk)",
		Version: convert.ToolVersion(),
		Description: "griffin reads Orbax, Flax, PyTorch and safetensors checkpoints, without Python. It detects the\n" +
			"format of a checkpoint from its content. Flags may stand before or after the paths.\n" +
			"griffin help COMMAND shows the flags of a command. A flag that names a file to write replaces an existing file\n" +
			"only if it is empty or what that flag writes; convert has --overwrite.\n\n" +
			"Exit status: 0 success, 1 different or failed verification, 2 wrong usage, 3 bad or unsupported input,\n" +
			"4 input/output error, 5 internal error of griffin, 130 interrupted.",
		Commands: []*cli.Command{convertCommand(), inspectCommand(), goldenCommand(), verifyCommand(), diffCommand(), generateCommand(), perplexityCommand(), cleanCommand(), completionCommand()},

		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // runCommand reports errors
		OnUsageError:    onUsageError,
		Action:          func(c *cli.Context) error { return cli.ShowAppHelp(c) },
	}
	for _, command := range app.Commands {
		if !slices.Contains([]string{"clean", "completion"}, command.Name) {
			command.Flags = append(command.Flags, progressFlag())
		}
		if command.Name != "completion" {
			command.Flags = append(command.Flags, quietFlag(command.Name))
		}
		command.HideHelpCommand = true // "h" and "help" are names of files
		if run := command.Action; run != nil {
			command.Action = func(c *cli.Context) error { return located(c, run(c)) }
		}
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
