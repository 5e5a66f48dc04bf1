package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/cmd/internal/nearest"
	"github.com/griffin-ckpt/griffin/cmd/internal/terminal"
	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/convert/model"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
	"github.com/griffin-ckpt/griffin/formats/tensor/text"
	"github.com/griffin-ckpt/griffin/reference"
	"github.com/griffin-ckpt/griffin/verify/golden"
	"github.com/griffin-ckpt/griffin/verify/runtime"
)

// choices are the values of the flags that take one of a few names. A flag has the same values in all commands.
var choices = map[string][]string{
	"arithmetic":     reference.PrecisionNames[:],
	"capture-script": golden.ScriptNames(),
	"digest":         digest.Names(),
	"dtype":          {"keep", "float32", "bfloat16", "float16"},
	"extra":          {"refuse", "keep"},
	"orbax-format":   orbaxFormatNames(),
	"preset":         model.Griffin.PresetNames(),
	"progress":       {string(terminal.Auto), string(terminal.Plain)},
	"runtime":        runtime.Names(),
	"semantics":      reference.SemanticsNames[:],
	"to":             convert.TargetNames(),
	"weights":        {"master", "compute"},
}

// synonyms are other names of choices, in lower case.
var synonyms = map[string]string{
	"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16", "fp32": "float32", "f32": "float32", "fp64": "float64", "f64": "float64",
	"pytorch": "torch", "pt": "torch", "huggingface": "hf", "sha-256": "sha256", "transformers": "transformers5", "mlx": "mlx-lm",
}

// writtenBy are the values of --to by the libraries whose files they are, and by the extensions of such files.
var writtenBy = map[string]string{"jax": convert.ToOrbax.String(), "flax": convert.ToOrbax.String(), "msgpack": convert.ToOrbax.String(), "transformers": convert.ToHF.String(),
	"bin": convert.ToTorch.String(), "pth": convert.ToTorch.String()}

// chosen returns the choice of a flag that a value names.
func chosen(flag, value string) (string, error) {
	names, limited := choices[flag]
	if !limited || slices.Contains(names, value) {
		return value, nil
	}
	if name := meant(value, names); name != "" {
		return name, nil
	}
	err := usagef("--%s: %q is not one of %s", flag, value, strings.Join(names, ", "))
	var others []string
	for other, name := range synonyms {
		if slices.Contains(names, name) {
			others = append(others, other)
		}
	}
	slices.Sort(others)
	near := cmp.Or(nearest.Name(value, names), synonyms[nearest.Name(value, others)])
	if flag == "to" {
		near = cmp.Or(writtenBy[strings.ToLower(value)], near)
	}
	if near != "" {
		return "", err.advise("did you mean %s?", near)
	}
	return "", err
}

// meant returns the one of the names of a flag's values that a value is, in upper or lower case, or is a synonym of; "" if it is none.
func meant(value string, names []string) string {
	value = strings.ToLower(value)
	all := []string{value, synonyms[value]}
	if value == "hf" || value == "huggingface" {
		all = append(all, "transformers", "transformers5")
	}
	for _, name := range all {
		if slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

// arguments returns a command line as urfave/cli reads it: the command, its flags, "--" and its paths. Unlike
// urfave/cli it accepts flags after paths. Arguments after "--" are paths. An unknown command, an unknown flag and a value that its
// flag does not take are a *usageError.
func arguments(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	program, name, rest := args[0], withoutValue(args[1]), args[2:]
	help, version := []string{"help", "--help", "-help", "-h"}, []string{"version", "--version", "-version", "-v"}
	switch about := slices.Contains(help, name); {
	case about && (len(rest) == 0 || slices.Contains(slices.Concat(help, version), rest[0])), len(rest) > 0 && slices.Contains(version, name) && slices.Contains(help[1:], rest[0]):
		return []string{program, "--help"}, nil
	case about && strings.HasPrefix(rest[0], "-"):
		return nil, usagef("unknown flag %s", rest[0]).advise("griffin --help lists the commands, griffin COMMAND --help the flags of one")
	case about:
		name, rest = rest[0], []string{"--help"}
	case slices.Contains(version, name) && len(rest) > 0:
		return nil, usagef("%s takes neither flags nor paths, got %s", name, rest[0])
	case slices.Contains(version, name):
		return []string{program, "--version"}, nil
	}
	command := app.Command(name)
	if command == nil {
		return nil, unknownCommand(app, name)
	}
	if slices.ContainsFunc(beforePaths(rest), func(arg string) bool { return slices.Contains(help[1:], withoutValue(arg)) }) { // a help that is asked for late is of use, whatever the rest is
		return []string{program, name, "--help"}, nil
	}
	p := argumentParser{command: command, others: app.Commands, rest: rest}
	if err := p.parse(); err != nil {
		return nil, err
	}
	app.Metadata = map[string]any{wordAfterFlag: p.word}
	if i := slices.Index(p.paths, ""); i >= 0 {
		return nil, usagef("path %d of griffin %s is empty", i+1, name).advise("%s", unsetVariable)
	}
	if i := slices.Index(p.paths, "-"); i >= 0 {
		return nil, usagef("path %d of griffin %s is -: checkpoints are not read from standard input or written to standard output", i+1, name).
			advise("./- is a file or directory of that name")
	}
	return slices.Concat([]string{program, name}, p.flags, []string{"--"}, p.paths), nil
}

// unsetVariable is the hint for what is empty.
const unsetVariable = "a variable of the shell may not be set"

// withoutValue returns a flag without what follows =, and other arguments as they are: --help=true asks for help.
func withoutValue(arg string) string {
	if flag, _, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
		return flag
	}
	return arg
}

// beforePaths returns the arguments before "--".
func beforePaths(args []string) []string {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i]
	}
	return args
}

// unknownCommand returns the error for a command that does not exist.
func unknownCommand(app *cli.App, name string) error {
	if strings.HasPrefix(name, "-") {
		if near := nearest.Name(strings.TrimLeft(name, "-"), []string{"help", "version"}); near != "" {
			return usagef("unknown flag %s", name).advise("did you mean --%s?", near)
		}
		return usagef("unknown flag %s", name).advise("the command comes first: griffin COMMAND --help lists its flags, griffin --help the commands")
	}
	if name == "" {
		return usagef("the command is empty").advise("%s", unsetVariable)
	}
	names := []string{"help", "version"}
	for _, c := range app.Commands {
		names = append(names, c.Name)
	}
	err := usagef("unknown command %q", name)
	if begun := nearest.Begun(name, names); begun != nil {
		return err.advise("did you mean griffin %s?", strings.Join(begun, " or griffin "))
	}
	others := slices.Sorted(maps.Keys(otherwise))
	if near := cmp.Or(otherwise[strings.ToLower(name)], nearest.Name(name, names), otherwise[nearest.Name(name, others)]); near != "" {
		return err.advise("did you mean griffin %s?", near)
	}
	return err.advise("griffin --help lists the commands")
}

// otherwise are the commands by what other tools call them.
var otherwise = map[string]string{
	"compare": "diff", "cmp": "diff", "info": "inspect", "show": "inspect", "list": "inspect", "ls": "inspect", "check": "verify", "validate": "verify",
	"export": "convert", "record": "golden", "sample": "generate", "run": "generate", "eval": "perplexity", "ppl": "perplexity",
}

// flagSynonyms are flags by what the papers, configurations and other tools call them.
var flagSynonyms = map[string]string{
	"window": "attention-window", "window-size": "attention-window", "sliding-window": "attention-window", "attention-window-size": "attention-window",
	"cap": "logits-soft-cap", "softcap": "logits-soft-cap", "final-logit-softcapping": "logits-soft-cap",
	"scale": "embedding-scale", "scale-embeddings": "embedding-scale",
	"force": "overwrite", "f": "overwrite",
	"o": "out", "output": "out", "output-file": "out", "output-dir": "out",
	"outtype": "dtype", "precision": "dtype", "torch-dtype": "dtype", "format": "to", "target": "to",
	"lora": "adapter", "shard-size": "max-shard-size", "max-new-tokens": "max-tokens",
	"atol": "tolerance", "rtol": "tolerance", "html": "report",
}

// argumentParser separates the flags of a command from its paths.
type argumentParser struct {
	command *cli.Command
	others  []*cli.Command
	rest    []string // not yet read
	flags   []string // read, each value in the same argument or the next
	paths   []string
	word    string // what is said of a path that may be meant as the value of the flag before it
}

func (p *argumentParser) parse() error {
	for len(p.rest) > 0 {
		arg := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case arg == "--":
			p.paths = append(p.paths, p.rest...)
			return nil
		case p.otherDash(arg) != nil:
			return p.otherDash(arg)
		case len(arg) < 2 || arg[0] != '-':
			p.paths = append(p.paths, arg)
		default:
			if err := p.flag(arg); err != nil {
				return err
			}
		}
	}
	return nil
}

// otherDash returns an error for a flag that begins with another dash than hyphens, as copied from a page that made one of two.
func (p *argumentParser) otherDash(arg string) error {
	written, _, _ := strings.Cut(arg, "=")
	name := strings.TrimLeft(written, "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
	if name == strings.TrimLeft(written, "-") || p.find(name) == nil {
		return nil
	}
	return usagef("%s begins with a dash that is no hyphen", written).advise("write --%s with two hyphens", name)
}

// flag reads the flag that arg is, and its value.
func (p *argumentParser) flag(arg string) error {
	written, value, hasValue := strings.Cut(arg, "=")
	name := strings.TrimPrefix(strings.TrimPrefix(written, "-"), "-")
	flag := p.find(name)
	if flag == nil {
		if !hasValue && len(p.rest) > 0 {
			value = p.rest[0]
		}
		return p.unknownFlag(written, value)
	}
	if doc, ok := flag.(cli.DocGenerationFlag); ok && doc.TakesValue() {
		if !hasValue {
			if len(p.rest) == 0 || p.isFlag(p.rest[0]) {
				return usagef("%s needs a value", written).advise("%s", flagUsage(flag))
			}
			value, p.rest = p.rest[0], p.rest[1:]
		}
	} else if !hasValue {
		if _, ok := flag.(*cli.BoolFlag); ok && len(p.rest) > 0 && meansBool(p.rest[0]) {
			return usagef("%s %s: the value of this flag follows an equals sign", written, p.rest[0]).
				advise("write %s=%s; a path of that name is ./%s", written, truth[strings.ToLower(p.rest[0])], p.rest[0])
		}
		if _, ok := flag.(optionalValue); ok && len(p.rest) > 0 {
			if value, err := chosen(name, p.rest[0]); err == nil {
				return usagef("%s %s: the value of this flag follows an equals sign", written, p.rest[0]).
					advise("write %s=%s; a path of that name is ./%s", written, value, p.rest[0])
			}
		}
		p.noteWord(written, flag)
		p.flags = append(p.flags, arg)
		return nil
	}
	if value == "" && name != "prompt" {
		return usagef("--%s is empty", flag.Names()[0]).advise("%s", unsetVariable)
	}
	accepted, err := checkValue(flag, value)
	if err != nil {
		var wrong *usageError
		if _, statErr := os.Lstat(value); statErr == nil && !hasValue && p.lacksPath() && errors.As(err, &wrong) {
			return wrong.advise("%s is a path: the value of %s seems to be missing", text.Printable(value), written)
		}
		return err
	}
	p.flags = append(p.flags, written+"="+accepted)
	return nil
}

// lacksPath reports whether the command takes more paths than are given before and after the flag that is being read.
func (p *argumentParser) lacksPath() bool {
	rest := argumentParser{command: p.command, others: p.others, rest: p.rest, paths: slices.Clone(p.paths)}
	_ = rest.parse() // the first error of a command line is reported
	return len(rest.paths) < mostPaths[p.command.Name]
}

// noteWord notes that the word after a flag that is either true or false is taken for a path, if nothing of that name is there.
func (p *argumentParser) noteWord(written string, flag cli.Flag) {
	if _, ok := flag.(*cli.BoolFlag); !ok || len(p.rest) == 0 || strings.HasPrefix(p.rest[0], "-") {
		return
	}
	if _, err := os.Lstat(p.rest[0]); err != nil {
		p.word = fmt.Sprintf("%s is taken for one; %s takes =true or =false", p.rest[0], written)
	}
}

// wrongPaths returns the error for a number of paths that a command does not take.
func wrongPaths(c *cli.Context, takes string) *usageError {
	err := usagef("%s, got %s", takes, text.Count(int64(c.NArg()), "path"))
	var paths []string
	for _, path := range c.Args().Slice() {
		paths = append(paths, text.Printable(storage.WithoutQuery(path)))
	}
	if word, _ := c.App.Metadata[wordAfterFlag].(string); word != "" {
		err.problem += ": " + word
	} else if len(paths) > 0 {
		err.problem += ": " + tensor.JoinNames(paths)
	}
	return err
}

// wordAfterFlag is where the metadata of the program has argumentParser.word.
const wordAfterFlag = "word"

// truth has the values of a flag that is either true or false by the words that mean them.
var truth = map[string]string{
	"true": "true", "yes": "true", "on": "true", "1": "true", "false": "false", "no": "false", "off": "false", "0": "false",
}

// meansBool reports whether an argument after a flag that is either true or false is meant as its value: true or false, or a word for one of
// them that is not the path of anything, as that of step 1 of a training run may be.
func meansBool(arg string) bool {
	value, ok := truth[strings.ToLower(arg)]
	if ok && value != strings.ToLower(arg) {
		_, err := os.Lstat(arg)
		return err != nil
	}
	return ok
}

// find returns the flag of a name, or nil.
func (p *argumentParser) find(name string) cli.Flag {
	i := slices.IndexFunc(p.command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return p.command.Flags[i]
}

// isFlag reports whether an argument is a flag of the command, rather than a value that begins with a hyphen.
func (p *argumentParser) isFlag(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	name, ok := strings.CutPrefix(name, "--")
	return ok && p.find(name) != nil
}

// unknownFlag returns the error for a flag that the command does not have. value is its value, or the argument after it.
func (p *argumentParser) unknownFlag(written, value string) error {
	names := []string{"help"}
	for _, f := range p.command.Flags {
		names = append(names, f.Names()...)
	}
	err := usagef("unknown flag %s", written)
	name := strings.TrimLeft(written, "-")
	near := cmp.Or(nearest.Name(name, names), strings.Join(nearest.Begun(name, names), " or --"))
	if synonym := flagSynonyms[strings.ReplaceAll(strings.ToLower(name), "_", "-")]; synonym != "" {
		name, near = synonym, ""
		if slices.Contains(names, synonym) {
			near = synonym
		}
	}
	switch {
	case strings.EqualFold(value, "json") && slices.Contains(names, "json") && near != "json": // --format json
		return err.advise("did you mean --json?")
	case near != "":
		return err.advise("did you mean --%s?", near)
	case name == "out" && p.command.Name == "convert":
		return err.advise("the destination is the second path: griffin convert SRC DST")
	}
	var have []string
	for _, c := range p.others {
		if (&argumentParser{command: c}).find(name) != nil {
			have = append(have, c.Name)
		}
	}
	if len(have) > 0 {
		return err.advise("--%s is a flag of %s; griffin %s --help lists those of %[3]s", name, strings.Join(have, ", "), p.command.Name)
	}
	return err.advise("griffin %s --help lists the flags", p.command.Name)
}

// flagUsage returns what the help says about a flag and its value.
func flagUsage(flag cli.Flag) string {
	name, usage := flagText(flag)
	return name + ": " + usage
}

// checkValue returns the value of a flag, with a synonym replaced by the name that it stands for, or a *usageError if the
// flag does not take it.
func checkValue(flag cli.Flag, value string) (string, error) {
	name := flag.Names()[0]
	var err error
	takes := "a whole number"
	switch flag.(type) {
	case *cli.Int64Flag:
		_, err = strconv.ParseInt(value, 0, 64)
	case *cli.IntFlag:
		_, err = strconv.ParseInt(value, 0, strconv.IntSize)
	case *cli.Uint64Flag:
		_, err = strconv.ParseUint(value, 0, 64)
		takes = "a whole number that is not negative"
	case *cli.Float64Flag:
		_, err = strconv.ParseFloat(value, 64)
		takes = "a number"
	case *cli.BoolFlag:
		_, err = strconv.ParseBool(value)
		takes = "=true or =false"
	default:
		return chosen(name, value)
	}
	if err != nil {
		err := usagef("--%s takes %s, not %q", name, takes, value)
		switch _, isBool := flag.(*cli.BoolFlag); {
		case !isBool:
			err.advise("%s", flagUsage(flag))
		case truth[strings.ToLower(value)] != "":
			err.advise("write --%s=%s", name, truth[strings.ToLower(value)])
		}
		return "", err
	}
	return value, nil
}

// refuseBeside returns an error for flags that a command would not act on beside another flag, for the reason why.
func refuseBeside(c *cli.Context, flag, why string, others ...string) error {
	for _, other := range others {
		if c.IsSet(flag) && c.IsSet(other) {
			return usagef("--%s and --%s cannot be combined: %s", flag, other, why).advise("leave out --%s", other)
		}
	}
	return nil
}
