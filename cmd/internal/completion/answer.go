package completion

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Answer completes the command line that a script of Scripts passes, and prints the answer for it: a line that says
// which kind of words may follow ("files", "words", or "beginnings", after which no space follows), and the words, one a line.
//
// The arguments of zsh and fish are the words after the program's name, without quotes, the last one up to the cursor. Those of
// bash are the command line up to the cursor, and the part of its last word that bash replaces: it takes = and : for the ends of words.
func Answer(w io.Writer, shell string, args []string, commands []Command) error {
	var words []string
	replaced := -1 // bytes of the last word that the shell replaces, -1 for all
	quoted := false
	if shell == "bash" && len(args) == 2 {
		line := split(args[0])
		words = line[min(1, len(line)-1):]
		bare := strings.TrimLeft(args[1], `"'`)
		quoted = bare != args[1]
		replaced = len(strings.Trim(bare, `=:"'`))
	} else {
		words = args
	}
	if len(words) == 0 {
		return nil
	}
	for i, word := range words {
		words[i] = expandHome(word)
	}
	current := words[len(words)-1]
	reply := Complete(commands, words[:len(words)-1], current)
	kind := "words"
	switch {
	case len(reply.Words) == 0 && reply.Files:
		kind = "files"
	case reply.NoSpace:
		kind = "beginnings"
	}
	var b strings.Builder
	b.WriteString(kind + "\n")
	for _, word := range reply.Words {
		text, usage := oneLine(word.Text), oneLine(word.Usage)
		switch {
		case shell == "bash":
			if kept := len(current) - replaced; replaced >= 0 && kept > 0 && kept <= len(text) {
				text = text[kept:]
			}
			if !quoted {
				text = escape(text)
			}
			fmt.Fprintf(&b, "%s\n", text)
		case usage == "":
			fmt.Fprintf(&b, "%s\n", text)
		default:
			fmt.Fprintf(&b, "%s\t%s\n", text, usage)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// expandHome replaces ~/ at the beginning of a word by the home directory, as a shell does before it runs a command.
func expandHome(word string) string {
	if rest, ok := strings.CutPrefix(word, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return home + "/" + rest
		}
	}
	return word
}

// oneLine replaces what would end a field or a line of an answer.
func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\t", " ").Replace(s) }

// escape puts a backslash before characters that mean something to bash.
func escape(word string) string {
	var b strings.Builder
	for _, r := range word {
		if strings.ContainsRune(" \t\"'\\$&;|<>()[]{}*?!`#", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// split returns the words of a command line of bash without quotes, and without assignments before the command. The last word is
// that at the end of the line, "" after a space. There is at least one word.
func split(line string) []string {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	words = append(words, word.String())
	for len(words) > 1 && isAssignment(words[0]) {
		words = words[1:]
	}
	return words
}

// isAssignment reports whether a word sets a variable for a command: NAME=VALUE.
func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

// Scripts are those that complete griffin, by shell.
var Scripts = map[string]string{
	"bash": `_griffin() {
	local program="$1" kind='' word
	[[ "$program" == '~/'* ]] && program="$HOME/${program:2}"
	COMPREPLY=()
	while IFS= read -r word; do
		if [[ -z "$kind" ]]; then kind="$word"; else COMPREPLY+=("$word"); fi
	done < <("$program" ` + Name + ` bash -- "${COMP_LINE:0:$COMP_POINT}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
	type compopt &>/dev/null || return 0
	compopt -o nosort 2>/dev/null
	[[ "$kind" != files ]] && compopt +o default
	[[ "$kind" == beginnings ]] && compopt -o nospace
	return 0
}
complete -o default -F _griffin griffin
`,
	"zsh": `#compdef griffin
_griffin() {
	local program="${(Q)words[1]}" kind='' line
	local -a found shown suffix
	[[ "$program" == '~/'* ]] && program="$HOME/${program:2}"
	for line in "${(@f)$("$program" ` + Name + ` zsh -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
		if [[ -z "$kind" ]]; then
			kind="$line"
		else
			found+=("${line%%$'\t'*}")
			shown+=("${line/$'\t'/  -- }")
		fi
	done
	if [[ "$kind" == files ]]; then
		[[ "$PREFIX" == -*=* ]] && compset -P '*='
		_files
		return
	fi
	[[ "$kind" == beginnings ]] && suffix=(-S '')
	(( $#found )) || return 1
	compadd -V griffin -l -d shown "${suffix[@]}" -a -- found
}
if [[ "$funcstack[1]" == _griffin ]]; then _griffin "$@"; else compdef _griffin griffin; fi
`,
	"fish": `function __griffin_complete
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
	set -e words[1]
	set -l answer ($program ` + Name + ` fish -- $words (string unescape -- "$current"; or echo "$current") 2>/dev/null)
	if test "$answer[1]" = files
		set -l prefix (string match -r -- '^-[^=]*=' $current)
		set -l path (string replace -r -- '^-[^=]*=' '' $current)
		for found in (__fish_complete_path "$path")
			echo "$prefix$found"
		end
	else
		set -e answer[1]
		printf '%s\n' $answer
	end
end
complete -c griffin -f -k -a '(__griffin_complete)'
`,
}
