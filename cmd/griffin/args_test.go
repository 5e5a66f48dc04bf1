package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestArguments(t *testing.T) {
	app := &cli.App{Commands: []*cli.Command{{Name: "convert", Flags: []cli.Flag{
		&cli.BoolFlag{Name: "json"}, &cli.StringFlag{Name: "dtype", Aliases: []string{"d"}}, &cli.StringFlag{Name: "out"},
		&cli.Int64Flag{Name: "step"}, &cli.Float64Flag{Name: "cap"}, &cli.Uint64Flag{Name: "seed"},
	}}, {Name: "verify", Flags: []cli.Flag{&cli.StringFlag{Name: "report"}}}, {Name: "diff", Flags: []cli.Flag{&cli.StringFlag{Name: "report"}}}}}
	for _, tt := range []struct{ args, want string }{
		{"griffin", "griffin"},
		{"griffin --version", "griffin --version"},
		{"griffin version", "griffin --version"},
		{"griffin help", "griffin --help"},
		{"griffin help help", "griffin --help"},
		{"griffin help --help", "griffin --help"},
		{"griffin version --help", "griffin --help"},
		{"griffin --help version", "griffin --help"},
		{"griffin --help convert", "griffin convert --help"},
		{"griffin help version", "griffin --help"},
		{"griffin help convert", "griffin convert --help"},
		{"griffin convert help", "griffin convert -- help"}, // a path
		{"griffin convert h", "griffin convert -- h"},
		{"griffin convert a -h", "griffin convert --help"},
		{"griffin convert a --help=1", "griffin convert --help"},
		{"griffin --help=true", "griffin --help"},
		{"griffin --version=true", "griffin --version"},
		{"griffin convert -- --help=1", "griffin convert -- --help=1"},
		{"griffin convert a b", "griffin convert -- a b"},
		{"griffin convert a b --json", "griffin convert --json -- a b"},
		{"griffin convert a --dtype float32 b", "griffin convert --dtype=float32 -- a b"},
		{"griffin convert a --dtype=float32 b", "griffin convert --dtype=float32 -- a b"},
		{"griffin convert a -dtype bf16 b", "griffin convert -dtype=bfloat16 -- a b"},
		{"griffin convert --dtype=FP16 a b", "griffin convert --dtype=float16 -- a b"},
		{"griffin convert -d float32 a --json b", "griffin convert -d=float32 --json -- a b"},
		{"griffin convert a --json=false b", "griffin convert --json=false -- a b"},
		{"griffin convert --json -- --odd b", "griffin convert --json -- --odd b"},
		{"griffin convert a ./-", "griffin convert -- a ./-"},
		{"griffin convert --step -1 --out -x", "griffin convert --step=-1 --out=-x --"},
		{"griffin convert —a –b", "griffin convert -- —a –b"},
		{"griffin convert --out x=y a", "griffin convert --out=x=y -- a"},
	} {
		if got, err := arguments(app, strings.Fields(tt.args)); err != nil || !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: got %q, %v, want %q", tt.args, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ args, problem, hint string }{
		{"griffin convrt a b", `unknown command "convrt"`, "did you mean griffin convert?"},
		{"griffin help convrt", `unknown command "convrt"`, "did you mean griffin convert?"},
		{"griffin upload", `unknown command "upload"`, "griffin --help lists the commands"},
		{"griffin --json convert a", "unknown flag --json", "the command comes first"},
		{"griffin --help --foo", "unknown flag --foo", "griffin --help lists the commands"},
		{"griffin convert a --jsn b", "unknown flag --jsn", "did you mean --json?"},
		{"griffin convert a --nonsense=1 b", "unknown flag --nonsense", "griffin convert --help lists the flags"},
		{"griffin convert a --report x", "unknown flag --report", "--report is a flag of verify, diff; griffin convert --help lists those of convert"},
		{"griffin convert a --dtype", "--dtype needs a value", "--dtype"},
		{"griffin convert a --dtype --json", "--dtype needs a value", "--dtype"},
		{"griffin convert a --json True b", "--json True: the value of this flag follows an equals sign", "write --json=true; a path of that name is ./True"},
		{"griffin convert a --json true b", "--json true: the value of this flag follows an equals sign", "write --json=true; a path of that name is ./true"},
		{"griffin convert a --json=yes", `--json takes =true or =false, not "yes"`, "write --json=true"},
		{"griffin convert a --json=maybe", `--json takes =true or =false, not "maybe"`, ""},
		{"griffin convert a --json yes b", "--json yes: the value of this flag follows an equals sign", "write --json=true; a path of that name is ./yes"},
		{"griffin convert a --json 1 b", "--json 1: the value of this flag follows an equals sign", "write --json=true; a path of that name is ./1"},
		{"griffin convert a --json OFF b", "--json OFF: the value of this flag follows an equals sign", "write --json=false; a path of that name is ./OFF"},
		{"griffin convert a --dtype bfloat17", `--dtype: "bfloat17" is not one of keep, float32, bfloat16, float16`, "did you mean bfloat16?"},
		{"griffin convert a --dtype=int8", `--dtype: "int8" is not one of keep, float32, bfloat16, float16`, ""},
		{"griffin convert a --step=", "--step is empty", "a variable of the shell may not be set"},
		{"griffin convert --out= a", "--out is empty", "a variable of the shell may not be set"},
		{"griffin convert a -d=", "--dtype is empty", "a variable of the shell may not be set"},
		{"griffin convert a —dtype bf16 b", "—dtype begins with a dash that is no hyphen", "write --dtype with two hyphens"},
		{"griffin convert a –dtype=bf16 b", "–dtype begins with a dash that is no hyphen", "write --dtype with two hyphens"},
		{"griffin convert a -–json b", "-–json begins with a dash that is no hyphen", "write --json with two hyphens"},
		{"griffin convert a --step 1.5", `--step takes a whole number, not "1.5"`, "--step value: "},
		{"griffin convert a --seed -1", `--seed takes a whole number that is not negative, not "-1"`, "--seed value: "},
		{"griffin convert a --cap x", `--cap takes a number, not "x"`, "--cap value: "},
	} {
		_, err := arguments(app, strings.Fields(tt.args))
		var usage *usageError
		if !errors.As(err, &usage) || usage.problem != tt.problem || !strings.HasPrefix(usage.hint, tt.hint) || tt.hint == "" && usage.hint != "" {
			t.Errorf("%s: got %v, %+v", tt.args, err, usage)
		}
	}
}

// Every flag of the table exists, and is named where a command has it.
func TestFlagSynonyms(t *testing.T) {
	app := newApp(nil, nil)
	for synonym, flag := range flagSynonyms {
		found := false
		for _, command := range app.Commands {
			p := &argumentParser{command: command}
			if p.find(flag) == nil || p.find(synonym) != nil {
				continue
			}
			found = true
			var usage *usageError
			if _, err := arguments(app, []string{"griffin", command.Name, "--" + synonym + "=1"}); !errors.As(err, &usage) || usage.hint != "did you mean --"+flag+"?" {
				t.Errorf("griffin %s --%s: %+v", command.Name, synonym, usage)
			}
		}
		if !found {
			t.Errorf("--%s stands for --%s, which no command has", synonym, flag)
		}
	}
	for _, tt := range []struct{ args, hint string }{
		{"convert --attention_window_size 8", "did you mean --attention-window?"},
		{"convert --output x", "the destination is the second path: griffin convert SRC DST"},
		{"convert --out x", "the destination is the second path: griffin convert SRC DST"},
		{"comapre a b", "did you mean griffin diff?"},
		{"co a", "did you mean griffin completion or griffin convert?"},
		{"VER a", "did you mean griffin verify or griffin version?"},
		{"conv a", "did you mean griffin convert?"},
		{"generate --state x a", "did you mean --state-in or --state-out?"},
		{"generate --top 5 a", "did you mean --top-k or --top-p?"},
		{"inspect --al a", "did you mean --all?"},
		{"inspect --st=5 a", "did you mean --stats or --step?"},
		{"inspect --ll a", "did you mean --all?"},
		{"inspect --format json x", "did you mean --json?"},
		{"inspect --output=json x", "did you mean --json?"},
		{"convert --format json x y", "did you mean --json?"},
		{"golden --format hf", "--to is a flag of convert; griffin golden --help lists those of golden"},
		{"verify --force", "--overwrite is a flag of convert; griffin verify --help lists those of verify"},
	} {
		var usage *usageError
		if _, err := arguments(app, append([]string{"griffin"}, strings.Fields(tt.args)...)); !errors.As(err, &usage) || usage.hint != tt.hint {
			t.Errorf("%s: %+v", tt.args, usage)
		}
	}
}

// Every value that a flag's usage lists is accepted, and every flag of the table exists.
func TestChoices(t *testing.T) {
	seen := map[string]bool{}
	for _, command := range newApp(nil, nil).Commands {
		for _, flag := range command.Flags {
			name := flag.Names()[0]
			seen[name] = true
			for _, value := range choices[name] {
				if got, err := chosen(name, value); got != value || err != nil {
					t.Errorf("--%s %s: %q, %v", name, value, got, err)
				}
				if !strings.Contains(strings.ToLower(strings.ReplaceAll(flag.String(), "-", "")), strings.ReplaceAll(value, "-", "")) { // SHA-256 in a sentence
					t.Errorf("the usage of griffin %s --%s lacks %s", command.Name, name, value)
				}
			}
		}
	}
	for name := range choices {
		if !seen[name] {
			t.Errorf("no flag --%s", name)
		}
	}
}

// A name of Hugging Face or its library stands for transformers wherever an implementation is chosen.
func TestMeant(t *testing.T) {
	for _, tt := range []struct{ flag, value, want string }{
		{"to", "huggingface", "hf"}, {"to", "HF", "hf"}, {"semantics", "hf", "transformers5"}, {"semantics", "transformers", "transformers5"},
		{"capture-script", "hf", "transformers"}, {"capture-script", "huggingface", "transformers"}, {"runtime", "hf", "transformers5"},
		{"dtype", "hf", ""}, {"to", "bin", ""},
	} {
		if got, err := chosen(tt.flag, tt.value); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("--%s %s: %q, %v", tt.flag, tt.value, got, err)
		}
	}
}

// A value is taken for a path whose flag lacks a value only where a path is missing.
func TestMissingValue(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("recurrentgemma-2b", 0o777); err != nil {
		t.Fatal(err)
	}
	const lacks = "recurrentgemma-2b is a path: the value of --preset seems to be missing"
	for _, tt := range []struct{ args, hint string }{
		{"convert 2b.pt out --preset recurrentgemma-2b", "did you mean 2b?"},
		{"convert 2b.pt --preset recurrentgemma-2b out", "did you mean 2b?"},
		{"convert --preset recurrentgemma-2b out", lacks},
		{"convert --preset recurrentgemma-2b --dtype bf16 out", lacks},
		{"generate 2b.pt --preset recurrentgemma-2b", "did you mean 2b?"},
		{"golden --out g --preset recurrentgemma-2b", lacks},
	} {
		var usage *usageError
		if _, err := arguments(newApp(nil, nil), append([]string{"griffin"}, strings.Fields(tt.args)...)); !errors.As(err, &usage) || usage.hint != tt.hint {
			t.Errorf("%s: %+v", tt.args, usage)
		}
	}
}

// After a flag that is either true or false, a word that is a path is one: step 1 of a training run.
func TestBoolOrPath(t *testing.T) {
	t.Chdir(t.TempDir())
	app := newApp(nil, nil)
	args := []string{"griffin", "inspect", "--stats", "1"}
	if got, err := arguments(app, args); err == nil {
		t.Errorf("without a path: %q", got)
	}
	if err := os.Mkdir("1", 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := arguments(app, args); err != nil || !slices.Equal(got, []string{"griffin", "inspect", "--stats", "--", "1"}) {
		t.Errorf("with one: %q, %v", got, err)
	}
}
