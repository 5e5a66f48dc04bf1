// Package completion completes command lines in bash, zsh and fish. Complete finds the words that may come next from a
// description of the commands; Answer prints them for the script of a shell, which is in Scripts and knows no commands.
package completion

import (
	"slices"
	"strings"
)

// Name is the hidden command with which the scripts ask for words.
const Name = "__complete"

// Command describes a command.
type Command struct {
	Name   string
	Usage  string
	Flags  []Flag
	Values []string // of its only argument; nil if its arguments are files
}

// Flag describes a flag.
type Flag struct {
	Names  []string // without hyphens, the longest first
	Usage  string
	Takes  Takes
	Repeat bool // it may be given several times
	Files  bool // its value is a file or a directory

	// Values returns values that may begin with current, given the rest of the command line. It is nil if nothing is known of them.
	Values func(line *Line, current string) []string
}

// Takes says how a flag takes its value.
type Takes int

const (
	NoValue       Takes = iota
	OptionalValue       // only after an equals sign
	Value               // after an equals sign, or as the next word
)

// Line is what stands before the word that is completed.
type Line struct {
	Given map[string]string // values of flags by their first name, "" for those without
	Paths []string          // arguments
}

// Word is a word that may be next.
type Word struct{ Text, Usage string }

// Reply says what the word that is completed may become.
type Reply struct {
	Words   []Word
	Files   bool // or any file
	NoSpace bool // the words are beginnings
}

// mostWords is the number of words above which only their beginnings, up to the next dot, are offered.
const mostWords = 40

// Complete returns what may replace current, the last word of a command line up to the cursor. words are those between the
// program's name and current.
func Complete(commands []Command, words []string, current string) Reply {
	if len(words) == 0 || len(words) == 1 && words[0] == "help" {
		all := []Word{{"help", "show help"}, {"version", "print the version"}}
		for i := range commands {
			all = append(all, Word{commands[i].Name, commands[i].Usage})
		}
		if len(words) == 0 && strings.HasPrefix(current, "-") {
			all = []Word{{"--help", "show help"}, {"--version", "print the version"}}
		}
		return Reply{Words: beginning(all, current)}
	}
	i := slices.IndexFunc(commands, func(c Command) bool { return c.Name == words[0] })
	if i < 0 {
		return Reply{}
	}
	command := &commands[i]
	p := parse(command, words[1:])
	switch name, value, ok := strings.Cut(current, "="); {
	case p.open != nil:
		return p.open.complete(&p.Line, "", current)
	case p.ended || !strings.HasPrefix(current, "-"):
		if command.Values == nil {
			return Reply{Files: true}
		}
		if len(p.Paths) > 0 {
			return Reply{}
		}
		return Reply{Words: beginning(plain(command.Values), current)}
	case ok:
		if f := command.flag(name); f != nil && f.Takes != NoValue {
			return f.complete(&p.Line, name+"=", value)
		}
		return Reply{}
	}
	return Reply{Words: beginning(command.flagsAfter(&p.Line), current)}
}

// flag returns the flag that a word with hyphens names, or nil.
func (c *Command) flag(word string) *Flag {
	name := strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-")
	i := slices.IndexFunc(c.Flags, func(f Flag) bool { return slices.Contains(f.Names, name) })
	if i < 0 {
		return nil
	}
	return &c.Flags[i]
}

// flagsAfter returns the flags that may follow a line.
func (c *Command) flagsAfter(line *Line) []Word {
	var words []Word
	for _, f := range c.Flags {
		if _, given := line.Given[f.Names[0]]; !given || f.Repeat {
			words = append(words, Word{"--" + f.Names[0], f.Usage})
		}
	}
	return append(words, Word{"--help", "show help"})
}

// complete returns the values of a flag. prefix is what stands before the value in the same word.
func (f *Flag) complete(line *Line, prefix, value string) Reply {
	if f.Values == nil {
		return Reply{Files: f.Files}
	}
	r := stepwise(f.Values(line, value), value)
	for i := range r.Words {
		r.Words[i].Text = prefix + r.Words[i].Text
	}
	r.Files = f.Files
	return r
}

// stepwise returns the values that begin with current, or if they are many, how far they agree up to a dot.
func stepwise(values []string, current string) Reply {
	words := beginning(plain(values), current)
	if len(words) <= mostWords {
		return Reply{Words: words, NoSpace: len(words) > 0 && strings.HasSuffix(words[0].Text, "=")}
	}
	var steps []Word
	count := map[string]int{} // words by step
	for _, w := range words {
		step := w.Text
		if dot := strings.IndexByte(step[len(current):], '.'); dot >= 0 {
			step = step[:len(current)+dot+1]
		}
		if count[step]++; count[step] == 1 {
			steps = append(steps, w)
		}
	}
	r := Reply{}
	for step, n := range count {
		if n == 1 {
			continue
		}
		if len(count) == 1 { // the only way to go on
			return stepwise(values, step)
		}
		i := slices.IndexFunc(steps, func(w Word) bool { return strings.HasPrefix(w.Text, step) })
		steps[i].Text, r.NoSpace = step, true
	}
	r.Words = steps
	return r
}

func plain(values []string) []Word {
	var words []Word
	for _, v := range values {
		words = append(words, Word{Text: v})
	}
	return words
}

// beginning returns the words that begin with current.
func beginning(words []Word, current string) []Word {
	return slices.DeleteFunc(words, func(w Word) bool { return !strings.HasPrefix(w.Text, current) })
}

// List returns what a list of names, separated by commas, may become: the part before the last comma of the value so
// far, and each name that it lacks.
func List(names []string, value string) []string {
	before := value[:strings.LastIndexByte(value, ',')+1]
	given := strings.Split(before, ",")
	var lists []string
	for _, name := range names {
		if !slices.Contains(given, name) {
			lists = append(lists, before+name)
		}
	}
	return lists
}

// parsed is a command line up to the word that is completed.
type parsed struct {
	Line
	open  *Flag // its value is the next word
	ended bool  // by --: the next words are paths
}

// parse reads the words after the name of a command.
func parse(c *Command, words []string) *parsed {
	p := &parsed{Line: Line{Given: map[string]string{}}}
	for _, word := range words {
		switch {
		case p.open != nil:
			p.Given[p.open.Names[0]], p.open = word, nil
		case p.ended || len(word) < 2 || word[0] != '-':
			p.Paths = append(p.Paths, word)
		case word == "--":
			p.ended = true
		default:
			name, value, hasValue := strings.Cut(word, "=")
			f := c.flag(name)
			if f == nil {
				continue
			}
			p.Given[f.Names[0]] = value
			if f.Takes == Value && !hasValue {
				p.open = f
			}
		}
	}
	return p
}
