package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// completions are scripts by shell. They ask griffin which commands or flags may come next, and
// complete files otherwise.
var completions = map[string]string{
	"bash": `_griffin() {
	local current="${COMP_WORDS[COMP_CWORD]}" words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ "$current" == -* ]] && words+=("$current")
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$current"))
}
complete -o bashdefault -o default -F _griffin griffin
`,
	"zsh": `#compdef griffin
_griffin() {
	local -a found
	local current="${words[CURRENT]}"
	if [[ "$current" == -* ]]; then
		found=("${(@f)$(${words[1,CURRENT-1]} "$current" --generate-bash-completion 2>/dev/null)}")
	else
		found=("${(@f)$(${words[1,CURRENT-1]} --generate-bash-completion 2>/dev/null)}")
	fi
	[[ -n "${found[1]}" ]] && compadd -- "${found[@]}"
	_files
}
compdef _griffin griffin
`,
	"fish": `function __griffin_complete
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	string match -q -- '-*' $current; and set -a words $current
	$words --generate-bash-completion 2>/dev/null
end
complete -c griffin -a '(__griffin_complete)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script for a shell",
		UsageText: "griffin completion bash|zsh|fish",
		Description: "The script completes commands and flags; paths are completed as usual.\n\nExamples:\n\n" +
			"  source <(griffin completion bash)                                   # in ~/.bashrc\n" +
			"  source <(griffin completion zsh)                                    # in ~/.zshrc\n" +
			"  griffin completion fish > ~/.config/fish/completions/griffin.fish",
		OnUsageError: onUsageError,
		BashComplete: func(c *cli.Context) {
			for _, shell := range []string{"bash", "zsh", "fish"} {
				fmt.Fprintln(c.App.Writer, shell)
			}
		},
		Action: func(c *cli.Context) error {
			script, ok := completions[c.Args().First()]
			if !ok || c.NArg() != 1 {
				return usagef("completion takes one shell, which is bash, zsh or fish")
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
