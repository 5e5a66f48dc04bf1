package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// printJSON prints a result as indented JSON, names as they are (no HTML escapes).
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// size prints bytes in decimal units, as disks and download pages count them.
func size(n int64) string {
	for _, u := range []struct {
		unit string
		of   int64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%.2f %s", float64(n)/float64(u.of), u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// count prints a number with its digits in groups of three: 2,682,862,080.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural prints a count and its noun: 1 tensor, 465 tensors.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// printable makes text from a file safe for a terminal: what cannot be shown is escaped.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// completeFlags offers the flags of a command to the shell; paths are the shell's own business.
func completeFlags(c *cli.Context) {
	for _, flag := range c.Command.VisibleFlags() {
		for _, name := range flag.Names() {
			if len(name) > 1 {
				fmt.Fprintln(c.App.Writer, "--"+name)
			}
		}
	}
}
