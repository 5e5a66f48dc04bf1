package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
)

func cleanCommand() *cli.Command {
	return &cli.Command{
		Name:      "clean",
		Usage:     "remove what conversions that were killed have left at a destination",
		UsageText: "griffin clean [flags] DST",
		Description: "DST is the destination of a conversion, or the directory of the results of --all-steps" + withBuckets("; it may be an address") + ".\n" +
			"Only what griffin itself has recorded is removed: temporary directories beside DST" + withBuckets(", unfinished uploads,\nand objects of an upload that did not end") + ".\n" +
			"What is complete stays. The next conversion to the same destination does the same." +
			withBuckets(" At an address, no other\nconversion to DST may be running.") + "\n\n" +
			"Examples:\n\n" +
			"  griffin clean out" +
			withBuckets("\n  griffin clean gs://my-bucket/runs/converted"),
		Flags:        []cli.Flag{jsonFlag()},
		OnUsageError: onUsageError,
		Action:       runClean,
	}
}

func runClean(c *cli.Context) error {
	if c.NArg() != 1 {
		return wrongPaths(c, "clean takes one destination").advise("griffin clean --help shows examples")
	}
	removed, err := clean(c, c.Args().First())
	out := &lines{w: c.App.Writer}
	switch {
	case c.Bool("json") && (err == nil || len(removed) > 0):
		_ = printJSON(out, schemaCleaning, cleaning{append([]string{}, removed...)})
	case len(removed) > 0:
		for _, path := range removed {
			out.printf("removed %s\n", text.Printable(path))
		}
	case err == nil && isAbsent(c.Args().First()):
		out.printf("%s does not exist, and nothing is left beside it of conversions that were killed\n", text.Printable(c.Args().First()))
	case err == nil:
		out.printf("nothing is left of conversions that were killed\n")
	}
	return errors.Join(err, out.err)
}

// isAbsent reports whether a destination in the file system is not there; its path may be mistyped.
func isAbsent(dst string) bool {
	path, err := storage.LocalDestination(dst)
	if _, isAddress := storage.Scheme(path); err != nil || isAddress {
		return false
	}
	_, err = os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// clean removes what killed conversions to a destination have left, and to destinations in it.
func clean(c *cli.Context, dst string) (removed []string, err error) {
	if dst, err = storage.LocalDestination(dst); err != nil {
		return nil, err
	}
	sink, ok, err := publish.OpenSink(c.Context, dst, false)
	if err != nil {
		return nil, err
	}
	if !ok {
		return publish.Clean(dst)
	}
	if removed, err = sink.Clean(); err != nil {
		return removed, err
	}
	below, err := sink.CleanBelow()
	return append(removed, below...), err
}
