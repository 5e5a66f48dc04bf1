package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/addresses"
)

var update = flag.Bool("update", false, "write the command reference in README.md")

const (
	referenceBegin = "<!-- reference: written by go test ./cmd/griffin -run TestReference -update -->\n"
	referenceEnd   = "<!-- end of the reference -->\n"
)

// TestReference compares the command reference in README.md with the commands, or with -update writes
// it.
func TestReference(t *testing.T) {
	if !addresses.HasBuckets() {
		t.Skip("the reference is that of a build with buckets")
	}
	page := readFile(t, "README.md")
	before, rest, ok := strings.Cut(page, referenceBegin)
	_, after, ok2 := strings.Cut(rest, referenceEnd)
	if !ok || !ok2 {
		t.Fatal("README.md lacks the marks of the reference")
	}
	want := before + referenceBegin + commandReference() + referenceEnd + after
	if page == want {
		return
	}
	if !*update {
		t.Fatal("the command reference in README.md is stale: run go test ./cmd/griffin -run TestReference -update")
	}
	if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commandReference returns the command reference as Markdown.
func commandReference() string {
	var b strings.Builder
	for _, command := range newApp(io.Discard, io.Discard).Commands {
		fmt.Fprintf(&b, "\n### griffin %s\n\n%s.\n\n", command.Name, sentence(command.Usage))
		usage := strings.Split(command.UsageText, "\n")
		b.WriteString("```text\n")
		for _, line := range usage {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		b.WriteString("```\n\n" + describe(command.Description))
		if len(command.Flags) == 0 {
			continue
		}
		b.WriteString("| flag | meaning |\n|---|---|\n")
		for _, f := range command.Flags {
			name, usage := flagText(f)
			fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`).Replace(usage))
		}
	}
	return b.String() + "\n"
}

// sentence returns a text with a capital letter at its beginning.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// describe returns the description of a command as Markdown: indented lines are blocks of code, in
// which lines that begin with griffin are shell commands.
func describe(text string) string {
	var b strings.Builder
	for _, paragraph := range strings.Split(text, "\n\n") {
		if !strings.HasPrefix(paragraph, "  ") {
			b.WriteString(strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(paragraph) + "\n\n")
			continue
		}
		language := "text"
		if strings.HasPrefix(paragraph, "  griffin ") {
			language = "sh"
		}
		b.WriteString("```" + language + "\n")
		for _, line := range strings.Split(paragraph, "\n") {
			b.WriteString(strings.TrimPrefix(line, "  ") + "\n")
		}
		b.WriteString("```\n\n")
	}
	return b.String()
}

// pages are the pages whose examples are tested.
var pages = []string{"../../README.md", "README.md"}

// TestPageCommands checks that the commands and flags in the examples of the pages exist.
func TestPageCommands(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	for _, page := range pages {
		for _, block := range blocks(readFile(t, page), "sh", "console") {
			for _, line := range strings.Split(block, "\n") {
				line, _, _ = strings.Cut(strings.TrimPrefix(line, "$ "), " #")
				for _, part := range regexp.MustCompile(`\$\(|\)|&&|[|;<>]`).Split(line, -1) {
					words := strings.Fields(part)
					if len(words) > 1 && words[0] == "griffin" {
						checkCommand(t, page, app, words)
					}
				}
			}
		}
	}
}

// checkCommand checks that a command and its flags exist.
func checkCommand(t *testing.T, page string, app *cli.App, words []string) {
	command := app.Command(words[1])
	if command == nil {
		t.Errorf("%s: no command in %q", page, words)
		return
	}
	for _, word := range words[2:] {
		name, ok := strings.CutPrefix(word, "--")
		name, _, _ = strings.Cut(name, "=")
		if ok && name != "help" && !slices.ContainsFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }) {
			t.Errorf("%s: %s has no flag --%s", page, command.Name, name)
		}
	}
}

// TestPageScreens runs the commands in the console blocks of the pages, in a directory that has the
// samples, and compares what they print. "…" on a line of its own stands for any lines.
func TestPageScreens(t *testing.T) {
	if goruntime.GOOS == "windows" {
		t.Skip("the examples are for a Unix shell")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		dir := t.TempDir()
		for _, samples := range []string{"testdata", "formats"} {
			if err := os.Symlink(filepath.Join(root, samples), filepath.Join(dir, samples)); err != nil {
				t.Fatal(err)
			}
		}
		for _, block := range blocks(readFile(t, page), "console") {
			for _, screen := range strings.Split("\n"+block, "\n$ ")[1:] {
				command, want := screen, ""
				for i := 0; i < len(screen); i++ { // a command goes on after a backslash
					if screen[i] == '\n' && screen[i-1] != '\\' {
						command, want = screen[:i], screen[i+1:]
						break
					}
				}
				cmd := exec.Command("sh", "-c", command)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				if _, ok := err.(*exec.ExitError); err != nil && !ok {
					t.Fatal(err)
				}
				if got := string(bytes.TrimSpace(out)); !screenPattern(want).MatchString(got) {
					t.Errorf("%s: %s\nprints:\n%s\nnot:\n%s", page, command, got, want)
				}
			}
		}
	}
}

// screenPattern returns a pattern for a screen.
func screenPattern(screen string) *regexp.Regexp {
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(screen), "\n") {
		switch {
		case strings.TrimSpace(line) == "…":
			line = `(.*\n)*.*`
		case strings.HasPrefix(line, "  time "):
			line = `  time +[0-9.]+ s, .*/s`
		default:
			line = regexp.QuoteMeta(strings.TrimRight(line, " "))
		}
		lines = append(lines, line)
	}
	return regexp.MustCompile(`^` + strings.Join(lines, ` *\n`) + `$`)
}

// blocks returns the blocks of code of a page in some languages.
func blocks(page string, languages ...string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		if slices.Contains(languages, m[1]) {
			all = append(all, strings.TrimRight(m[2], "\n"))
		}
	}
	return all
}

// TestPageLength checks that the page of the repository stays short. Details belong on the other page.
func TestPageLength(t *testing.T) {
	const most = 120
	if n := strings.Count(readFile(t, pages[0]), "\n"); n > most {
		t.Errorf("%s has %d lines, more than %d", pages[0], n, most)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFilesAreCheckedByPython runs the script of README.md that checks the files of a conversion.
func TestFilesAreCheckedByPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import hashlib; hashlib.file_digest").Run() != nil {
		t.Skip("needs python3 of version 3.11 or later")
	}
	_, script, _ := strings.Cut(readFile(t, "README.md"), "```python\nimport hashlib")
	script, _, ok := strings.Cut("import hashlib"+script, "```\n")
	if !ok {
		t.Fatal("README.md lacks the script")
	}
	for _, algorithm := range []string{"sha256", "blake3"} {
		t.Run(algorithm, func(t *testing.T) {
			if algorithm == "blake3" && exec.Command(python, "-c", "import blake3").Run() != nil {
				t.Skip("needs the package blake3 of Python")
			}
			checkByPython(t, python, script, []string{"--digest", algorithm}, filepath.Join(t.TempDir(), "out"), "conversion.json", "model.safetensors")
			checkByPython(t, python, script, []string{"--digest", algorithm, "--to", "torch"}, filepath.Join(t.TempDir(), "out.pt"), "../out.pt.conversion.json", "")
		})
	}
}

// checkByPython converts to dst and runs the script on the record of the conversion: as it is, after its weights were changed, and without them.
func checkByPython(t *testing.T, python, script string, flags []string, dst, record, weights string) {
	t.Helper()
	args := append([]string{"griffin", "convert", "../../testdata/odd-griffin/hf", dst}, flags...)
	if status := runCommand(t.Context(), args, io.Discard, io.Discard); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	check := func() (string, error) {
		out, err := exec.Command(python, "-c", script, filepath.Join(dst, record)).CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	weights = filepath.Join(dst, weights)
	content := []byte(readFile(t, weights))
	content[len(content)-1] ^= 1
	if err := os.WriteFile(weights, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil || !strings.Contains(out, filepath.Base(weights)+" was changed") {
		t.Errorf("a changed file: %v: %s", err, out)
	}
	if err := os.Remove(weights); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil || !strings.Contains(out, filepath.Base(weights)+" is missing") {
		t.Errorf("a missing file: %v: %s", err, out)
	}
}
