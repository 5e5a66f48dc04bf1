package main

import (
	"path/filepath"
	"regexp"
	"testing"
)

// Outcomes are coloured on a terminal, unless NO_COLOR is set or the terminal has no colours.
func TestColours(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ env, want string }{
		{"TERM=xterm", "\r\n\x1b\\[32mthe same model\x1b\\[0m"},
		{"TERM=dumb", "\r\nthe same model"},
		{"NO_COLOR=1 TERM=xterm", "\r\nthe same model"},
		{"CLICOLOR=0 TERM=xterm", "\r\nthe same model"},
	} {
		t.Run(tt.env, func(t *testing.T) {
			term := openTerminal(t, data, "sh", "-c", tt.env+" griffin verify tiny-griffin/hf tiny-griffin/original/torch.pt; sleep 60")
			term.wait(t, regexp.MustCompile(tt.want))
		})
	}
}
