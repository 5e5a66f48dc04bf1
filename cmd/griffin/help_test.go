package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// A line of an example is broken neither within quotes nor between a flag and its value.
func TestHelpLine(t *testing.T) {
	line := helpLine("  griffin generate 2b.pt --state-in book.safetensors --chat --prompt ' The moral of the story is'")
	if want := "  griffin generate 2b.pt --state-in book.safetensors --chat \\\n      --prompt ' The moral of the story is'"; line != want {
		t.Errorf("got\n%s\nwant\n%s", line, want)
	}
}

// The help of every command fits into 80 columns, shows each flag once, and no default of a flag without value.
func TestHelp(t *testing.T) {
	app := newApp(nil, nil)
	for _, command := range append(app.Commands, nil) {
		args := []string{"griffin", "--help"}
		if command != nil {
			args = []string{"griffin", "help", command.Name}
		}
		var out, stderr bytes.Buffer
		if status := runCommand(t.Context(), args, &out, &stderr); status != exitOK {
			t.Fatalf("%v: status %d: %s", args, status, &stderr)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
				t.Errorf("%v: %d columns: %s", args, n, line)
			}
		}
		if strings.Contains(out.String(), "default: false") {
			t.Errorf("%v: a default of false", args)
		}
		if command == nil {
			continue
		}
		for _, f := range command.Flags {
			if name := "\n  --" + f.Names()[0]; strings.Count(out.String(), name+" ")+strings.Count(out.String(), name+",")+strings.Count(out.String(), name+"\n") != 1 {
				t.Errorf("%v: --%s is not shown once", args, f.Names()[0])
			}
		}
	}
}
