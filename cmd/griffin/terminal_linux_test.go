package main

import (
	"path/filepath"
	"regexp"
	"strings"
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

// Tokens are counted as such.
func TestProgressOfTokens(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	term := openTerminal(t, data, "sh", "-c", "griffin perplexity tiny-griffin/hf --tokens "+strings.Repeat("2,", 60_000)+"3; sleep 60")
	term.wait(t, regexp.MustCompile(`scoring .*\d tokens of 60,001 tokens, [0-9,]+ tokens/s, `))
}
