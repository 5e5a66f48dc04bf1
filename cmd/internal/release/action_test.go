package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAction runs the step of action.yml that verifies, with a program in place of griffin.
func TestAction(t *testing.T) {
	needs(t, "bash", "od", "tee", "sed")
	for _, test := range []struct {
		name, griffin string
		status        int
		flags         string
		arguments     string // after --report FILE
		page          bool
		summary       string
	}{
		{"same", `echo "the same model"; touch "$3"`, 0, "", "-- a b c", true, "### griffin verify: exit status 0\n\n    the same model\n"},
		{"different", "echo '::error::x'; echo '```'; touch \"$3\"; exit 1", 1, "--golden g.safetensors\n  --attention-window 8\n",
			"--golden g.safetensors --attention-window 8 -- a b c", true, "### griffin verify: exit status 1\n\n    ::error::x\n    ```\n"},
		{"error", `echo "griffin: no such file" >&2; exit 4`, 4, "--rel *", "--rel * -- a b c", false, "### griffin verify: exit status 4\n\n    griffin: no such file\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			griffin := filepath.Join(dir, "griffin")
			write(t, griffin, "#!/usr/bin/env bash\necho \"$@\" >"+filepath.Join(dir, "arguments")+"\n"+test.griffin+"\n")
			if err := os.Chmod(griffin, 0o755); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "out")
			script, err := filepath.Abs(filepath.Join(root, ".ci", "verify"))
			if err != nil {
				t.Fatal(err)
			}
			c := exec.Command("bash", script, griffin, out)
			c.Dir = dir
			c.Env = append(os.Environ(), "GRIFFIN_SOURCE=a b", "GRIFFIN_CONVERTED=c", "GRIFFIN_FLAGS="+test.flags,
				"GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary"), "GITHUB_OUTPUT="+filepath.Join(dir, "output"))
			log, _ := c.CombinedOutput()
			if got := c.ProcessState.ExitCode(); got != test.status {
				t.Errorf("exit status %d, want %d\n%s", got, test.status, log)
			}
			// What the runner would take for a command stands between stop-commands and its token.
			text := strings.Split(string(log), "\n")
			token, ok := strings.CutPrefix(text[0], "::stop-commands::")
			if !ok || len(token) != 32 || text[len(text)-2] != "::"+token+"::" {
				t.Errorf("commands in the log are not stopped:\n%s", log)
			}
			report := filepath.Join(out, "report.html")
			if got, want := strings.TrimSpace(read(t, filepath.Join(dir, "arguments"))), "verify --report "+report+" "+test.arguments; got != want {
				t.Errorf("arguments %q, want %q", got, want)
			}
			if got := read(t, filepath.Join(dir, "summary")); got != test.summary {
				t.Errorf("summary %q, want %q", got, test.summary)
			}
			if !test.page {
				report = ""
			}
			if got, want := read(t, filepath.Join(dir, "output")), "status="+string(rune('0'+test.status))+"\nreport="+report+"\n"; got != want {
				t.Errorf("outputs %q, want %q", got, want)
			}
		})
	}
}
