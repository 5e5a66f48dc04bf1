// Command pace reads the input of griffin diff and does nothing else. Its time is the lower limit for
// griffin's. "pace decode CKPT" decodes all tensors of a checkpoint, "pace read FILE..." reads files, both
// on all processors.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: pace decode CKPT | pace read FILE...")
		os.Exit(2)
	}
	var err error
	if os.Args[1] == "decode" {
		err = decode(os.Args[2])
	} else {
		err = read(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pace:", err)
		os.Exit(1)
	}
}

// step is the size of one read, in bytes.
const step = 128 << 10

// decode decodes all tensors of a checkpoint, the largest first.
func decode(path string) error {
	c, err := formats.Open(path, formats.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	all := slices.Clone(c.Tensors())
	slices.SortStableFunc(all, func(a, b *tensor.Tensor) int { return int(min(max(b.Bytes()-a.Bytes(), -1), 1)) })
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, t := range all {
		group.Go(func() error {
			r, err := t.Data.Stream(0)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, step))
			return err
		})
	}
	return group.Wait()
}

// read reads the files in pieces, several of them at a time.
func read(paths []string) error {
	const piece = 64 << 20
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		for at := int64(0); at < info.Size(); at += piece {
			group.Go(func() error {
				r := io.NewSectionReader(f, at, piece)
				_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, step))
				return err
			})
		}
	}
	return group.Wait()
}
