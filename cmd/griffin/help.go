package main

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// helpWidth is the number of columns of the help.
const helpWidth = 80

// flagGroups order the flags of a command in its help. Other flags are the last group.
var flagGroups = []struct {
	title string
	flags []string
}{
	{"Input", []string{"step", "step-b", "against-step", "all-steps", "task", "weights", "skip-unreadable", "model", "only", "map", "tokens", "random", "text", "prompt", "prompt-file", "tokenizer", "chat", "state-in", "golden"}},
	{"Model", []string{"preset", "attention-window", "logits-soft-cap", "embedding-scale", "adapter", "partial-adapter", "extra", "semantics", "arithmetic", "fast", "runtime", "explain-runtime", "match-runtime"}},
	{"Output", []string{"to", "dtype", "max-shard-size", "instruction-tuned", "rename", "orbax-format", "out", "dump", "tree", "all", "stats", "digest", "report", "card", "state-out", "logits-only", "decode-from", "capture-script", "json", "progress", "quiet"}},
	{"Generation", []string{"max-tokens", "ignore-eos", "temperature", "top-k", "top-p", "seed"}},
	{"Comparison", []string{"weights-only", "tolerance", "raw"}},
	{"Safety", []string{"verify", "dry-run", "overwrite", "allow-inexact"}},
}

func init() { cli.HelpPrinter = printHelp }

// printHelp prints the help of the application or of a command. It has the type of cli.HelpPrinter; the template is not used.
func printHelp(w io.Writer, _ string, data any) {
	out := &lines{w: w}
	switch data := data.(type) {
	case *cli.App:
		out.printf("%s\n\nUsage: griffin COMMAND [flags] PATH...\n\n%s\n", fill("griffin "+data.Version+": "+data.Usage, 0), helpText(data.Description))
		out.printf("Commands:\n")
		for _, c := range data.VisibleCommands() {
			printItem(out, c.Name, c.Usage, 14)
		}
		out.printf("\nFlags:\n")
		printItem(out, "-h, --help", "show help", 17)
		printItem(out, "-v, --version", "print the version", 17)
	case *cli.Command:
		out.printf("%s\n\n", fill("griffin "+data.Name+": "+data.Usage, 0))
		for i, usage := range strings.Split(data.UsageText, "\n") {
			out.printf("%s%s\n", []string{"Usage: ", "       "}[min(i, 1)], strings.TrimSpace(usage))
		}
		out.printf("\n%s", helpText(data.Description))
		printFlags(out, data.VisibleFlags())
	}
}

// printFlags prints flags in groups.
func printFlags(out *lines, flags []cli.Flag) {
	printGroup := func(title string, of func(name string) bool) {
		for _, f := range flags {
			if !of(f.Names()[0]) {
				continue
			}
			if title != "" {
				out.printf("\n%s:\n", title)
				title = ""
			}
			name, usage := flagText(f)
			printItem(out, name, usage, 24)
		}
	}
	grouped := map[string]bool{}
	for _, g := range flagGroups {
		printGroup(g.title, func(name string) bool { return slices.Contains(g.flags, name) })
		for _, name := range g.flags {
			grouped[name] = true
		}
	}
	printGroup("Other", func(name string) bool { return !grouped[name] })
}

// flagText returns the name of a flag with its value, and what it means.
func flagText(f cli.Flag) (name, usage string) {
	name, usage, _ = strings.Cut(f.String(), "\t")
	name, _, _ = strings.Cut(name, " [ ") // of a flag that may be repeated
	if text, value, ok := strings.Cut(usage, ` (default: "`); ok {
		usage = text + " (default: " + strings.Replace(value, `"`, "", 1)
	}
	return strings.TrimSpace(name), strings.TrimSuffix(usage, " (default: false)")
}

// printItem prints a name and, from a column on, what it means.
func printItem(out *lines, name, text string, column int) {
	indent := strings.Repeat(" ", column)
	if head := "  " + name; len(head)+2 <= column {
		out.printf("%-*s%s\n", column, head, strings.TrimPrefix(fill(text, column), indent))
	} else {
		out.printf("%s\n%s\n", head, fill(text, column))
	}
}

// helpText returns a description in lines of helpWidth columns. Indented paragraphs are lists, or examples, whose comments go to
// lines of their own where a line is too long.
func helpText(description string) string {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(description, "\n\n") {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		if !strings.HasPrefix(paragraph, " ") {
			b.WriteString(fill(paragraph, 0) + "\n")
			continue
		}
		for line := range strings.SplitSeq(paragraph, "\n") {
			b.WriteString(helpLine(line) + "\n")
		}
	}
	return b.String()
}

// helpLine returns an indented line in lines of helpWidth columns.
func helpLine(line string) string {
	if len(line) <= helpWidth {
		return line
	}
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	if strings.HasPrefix(text, "griffin ") {
		command, comment, ok := strings.Cut(text, " # ")
		command = strings.ReplaceAll(strings.TrimPrefix(fillWords(shellWords(command), 6), "    "), "\n", " \\\n")
		if ok {
			return strings.Repeat(" ", indent) + "# " + comment + "\n" + command
		}
		return command
	}
	if gap := strings.Index(text, "  "); gap > 0 {
		column := indent + gap + len(text[gap:]) - len(strings.TrimLeft(text[gap:], " "))
		return line[:column] + strings.TrimLeft(fill(line[column:], column), " ")
	}
	return fill(text, indent)
}

// shellWords returns the words of a command between which a line may be broken: not within quotes, and not before the value of a flag.
func shellWords(command string) []string {
	var words []string
	quoted := false
	for _, field := range strings.Fields(command) {
		if last := len(words) - 1; last >= 0 && (quoted || strings.HasPrefix(words[last], "--") && !strings.Contains(words[last], " ") && field[0] != '-') {
			words[last] += " " + field
		} else {
			words = append(words, field)
		}
		quoted = quoted != (strings.Count(field, "'")%2 == 1)
	}
	return words
}

// fill breaks a text between words into indented lines of at most helpWidth columns, less two for a backslash.
func fill(text string, indent int) string { return fillWords(strings.Fields(text), indent) }

func fillWords(words []string, indent int) string {
	var b strings.Builder
	column := 0
	for _, word := range words {
		if column > 0 && column+1+len(word) > helpWidth-2 {
			b.WriteString("\n")
			column = 0
		}
		if column == 0 {
			b.WriteString(strings.Repeat(" ", indent))
			column = indent
		} else {
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
