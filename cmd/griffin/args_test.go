package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestFlagsFirst(t *testing.T) {
	app := &cli.App{Commands: []*cli.Command{{Name: "convert", Flags: []cli.Flag{
		&cli.BoolFlag{Name: "json"}, &cli.StringFlag{Name: "dtype", Aliases: []string{"d"}},
	}}}}
	for _, tt := range []struct{ args, want string }{
		{"griffin", "griffin"},
		{"griffin --version", "griffin --version"},
		{"griffin convert a b", "griffin convert -- a b"},
		{"griffin convert a b --json", "griffin convert --json -- a b"},
		{"griffin convert a --dtype float32 b", "griffin convert --dtype float32 -- a b"},
		{"griffin convert a --dtype=float32 b", "griffin convert --dtype=float32 -- a b"},
		{"griffin convert -d float32 a --json b", "griffin convert -d float32 --json -- a b"},
		{"griffin convert a --json=false b", "griffin convert --json=false -- a b"},
		{"griffin convert --json -- --odd b", "griffin convert --json -- --odd b"},
		{"griffin convert a -", "griffin convert -- a -"},
		{"griffin convert a --nonsense b", "griffin convert --nonsense -- a b"},
		{"griffin convert a --dtype", "griffin convert --dtype -- a"},
	} {
		if got := flagsFirst(app, strings.Fields(tt.args)); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.args, got, tt.want)
		}
	}
}
