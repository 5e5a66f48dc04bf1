package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/verify/report"
)

// pathFlags has for each flag of a command that takes a path a command line for it; PATH is the path, HF, FT and TEXTMODEL are checkpoints.
var pathFlags = []struct {
	command, flag, rest string
	writes              bool
}{
	{"convert", "adapter", "FT OUT --adapter PATH", false},
	{"convert", "tokenizer", "HF OUT --tokenizer PATH", false},
	{"convert", "rename", "HF OUT --to safetensors --rename PATH", false},
	{"inspect", "report", "HF --stats --report PATH", true},
	{"inspect", "out", "HF --dump model.final_norm.weight --out PATH", true},
	{"golden", "out", "HF --tokens 1,2,3 --out PATH", true},
	{"golden", "tokens", "HF --out OUT --tokens PATH", false},
	{"verify", "golden", "HF --golden PATH", false},
	{"verify", "adapter", "FT FT --adapter PATH", false},
	{"verify", "report", "HF HF --report PATH", true},
	{"verify", "card", "HF HF --card PATH", true},
	{"diff", "map", "HF HF --map PATH", false},
	{"diff", "report", "HF HF --report PATH", true},
	{"generate", "prompt-file", "TEXTMODEL --prompt-file PATH", false},
	{"generate", "tokens", "HF --max-tokens 1 --tokens PATH", false},
	{"generate", "tokenizer", "HF --prompt x --tokenizer PATH", false},
	{"generate", "state-in", "HF --max-tokens 1 --tokens 3 --state-in PATH", false},
	{"generate", "state-out", "HF --max-tokens 1 --tokens 3 --state-out PATH", true},
	{"perplexity", "text", "TEXTMODEL --text PATH", false},
	{"perplexity", "tokens", "HF --tokens PATH", false},
	{"perplexity", "tokenizer", "HF --text TEXT --tokenizer PATH", false},
	{"perplexity", "report", "HF --tokens 1,2,3 --report PATH", true},
}

// runPathFlags runs every command line of pathFlags with the paths that of returns for it, in a directory of its own.
func runPathFlags(t *testing.T, of func(flag string, writes bool) []string, check func(t *testing.T, flag, path, stdout, stderr string, status int)) {
	dir := t.TempDir()
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("a text\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	textModel := filepath.Join(dir, "textmodel")
	writeTextModel(t, data, textModel)
	t.Chdir(dir)
	for _, f := range pathFlags {
		for _, path := range of(f.flag, f.writes) {
			args := []string{"griffin", f.command}
			for _, arg := range strings.Fields(f.rest) {
				for name, value := range map[string]string{"HF": data + "/tiny-griffin/hf", "FT": data + "/finetune/base", "OUT": filepath.Join(dir, "out"), "TEXT": text, "TEXTMODEL": textModel, "PATH": path} {
					if arg == name {
						arg = value
					}
				}
				args = append(args, arg)
			}
			t.Run(f.command+" --"+f.flag+" "+filepath.Base(path), func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				status := runCommand(t.Context(), args, &stdout, &stderr)
				check(t, f.flag, path, stdout.String(), stderr.String(), status)
			})
		}
	}
}

// The table has every flag whose usage names a file or a directory, and --tokens, which takes one.
func TestPathFlags(t *testing.T) {
	var have, want []string
	for _, f := range pathFlags {
		have = append(have, f.command+" --"+f.flag)
	}
	path := regexp.MustCompile(`FILE|DIR\b`)
	for _, command := range newApp(nil, nil).Commands {
		for _, flag := range command.Flags {
			name := flag.Names()[0]
			usage, _, _ := strings.Cut(flagUsage(flag), ":")
			if !path.MatchString(usage) && name != "tokens" {
				continue
			}
			want = append(want, command.Name+" --"+name)
			if !slices.Contains(slices.Concat(inputFiles, outputFiles, []string{"adapter"}), name) {
				t.Errorf("--%s of griffin %s is not in a list of flags that take a path", name, command.Name)
			}
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the table has\n%q, and the commands\n%q", have, want)
	}
}

// An error about the path of a flag names the flag, whatever the path is: a file that is not there, one of another kind, a directory, a full
// device.
func TestErrorsNameTheFlag(t *testing.T) {
	dir := t.TempDir()
	wrong, adapter := filepath.Join(dir, "wrong"), filepath.Join(dir, "adapter")
	for name, content := range map[string]string{wrong: "of another kind\n", filepath.Join(adapter, "adapter_config.json"): "{"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	other, err := filepath.Abs("../../testdata/tiny-griffin/hf/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	runPathFlags(t, func(flag string, writes bool) []string {
		paths := []string{filepath.Join(dir, "none", "x.safetensors"), dir}
		if !writes && os.Geteuid() != 0 { // root may read everything
			paths = append(paths, secret)
		}
		switch {
		case writes && runtime.GOOS == "linux":
			return append(paths, "/dev/full")
		case writes:
			return paths
		case flag == "adapter":
			return append(paths, wrong, adapter)
		case flag == "golden" || flag == "tokens" || flag == "state-in":
			return append(paths, wrong, other)
		case flag == "text" || flag == "prompt-file": // any file is a text
			return paths
		}
		return append(paths, wrong)
	}, func(t *testing.T, flag, path, _, stderr string, status int) {
		message := stderr[max(strings.LastIndex(stderr, "griffin: "), 0):]
		if !strings.HasPrefix(message, "griffin: --"+flag+": ") || strings.Count(message, "--"+flag+": ") != 1 || status == exitOK && path != "/dev/full" {
			t.Errorf("status %d: %s", status, stderr)
		}
	})
}

// What is wrong with the name of a file to write is said before anything is read, with what to do.
func TestNamesOfOutputs(t *testing.T) {
	const foreign = " has the extension of another format: .EXT is written"
	names := map[string]struct {
		says, hint string // FLAG is the flag, EXT the extension of what it writes
		accepted   string // the flag that may write to the path
	}{
		"s3://user@bucket/x?key=secret": {"s3://bucket/x is an address, and a file of this machine is written", "name a file, such as FLAG.EXT", ""},
		"file:///tmp/x":                 {"file:///tmp/x is an address, and a file of this machine is written", "name a file, such as FLAG.EXT", ""},
		"org/name/x":                    {"org/name: no such file or directory", "create the directory first", ""},
		"pagse/x":                       {"pagse: no such file or directory", "did you mean pages?", ""},
		"x.pdf":                         {"x.pdf" + foreign, "name it x.EXT", ""},
		"x.HTM":                         {"x.HTM" + foreign, "name it x.EXT", "report"},
		"pages/x.json":                  {"pages/x.json" + foreign, "name it pages/x.EXT", "card"},
	}
	runPathFlags(t, func(flag string, writes bool) (paths []string) {
		if err := os.MkdirAll("pages", 0o777); err != nil {
			t.Fatal(err)
		}
		for path, name := range names {
			if writes && flag != name.accepted {
				paths = append(paths, path)
			}
		}
		return paths
	}, func(t *testing.T, flag, path, stdout, stderr string, status int) {
		command, _, _ := strings.Cut(filepath.Base(t.Name()), "_")
		text := strings.NewReplacer("FLAG", flag, "EXT", kindOfOutput(command, flag).extension)
		want := text.Replace("griffin: --FLAG: " + names[path].says + "\nhint: " + names[path].hint + "\n")
		if stderr != want || stdout != "" || status == exitOK {
			t.Errorf("status %d: %s%s, want %s", status, stdout, stderr, want)
		}
	})
}

// A name with any extension that is not of another format is written.
func TestExtensionsOfOutputs(t *testing.T) {
	runPathFlags(t, func(flag string, writes bool) []string {
		if !writes {
			return nil
		}
		dir := t.TempDir()
		paths := []string{filepath.Join(dir, "x.tmp"), filepath.Join(dir, "v1.5")}
		if flag == "report" {
			paths = append(paths, filepath.Join(dir, "page.HTM"))
		}
		return paths
	}, func(t *testing.T, _, path, _, stderr string, status int) {
		if _, err := os.Stat(path); status != exitOK || err != nil {
			t.Errorf("status %d, %v: %s", status, err, stderr)
		}
	})
}

// No command replaces what a flag has it read: each flag that names a file to write is tried with the file of each flag that names one to read,
// and so is the destination of convert with that of --rename. Package convert has tests of the others that it reads.
func TestNoInputIsReplaced(t *testing.T) {
	dir := t.TempDir()
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	const content = "* -> other.*\n"
	try := func(command, reads, rest, output, says string) {
		input := output
		if reads == "adapter" {
			input = filepath.Dir(output)
		}
		if err := os.WriteFile(output, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"griffin", command}, strings.Fields(rest)...)
		for i, arg := range args {
			for name, value := range map[string]string{"HF": data + "/tiny-griffin/hf", "FT": data + "/finetune/base", "TEXTMODEL": data + "/tiny-griffin/hf", "OUT": output, "PATH": input,
				"TEXT": data + "/case.json", "RECORDED": strings.TrimSuffix(output, ".conversion.json")} {
				if before, ok := strings.CutSuffix(arg, name); ok && (before == "" || before == "file://") {
					args[i] = before + value
				}
			}
		}
		var stdout, stderr bytes.Buffer
		status := runCommand(t.Context(), args, &stdout, &stderr)
		if after, err := os.ReadFile(output); err != nil || string(after) != content {
			t.Errorf("%q: the input is replaced: %v", args, err)
		}
		if status != exitUsage || !strings.HasPrefix(stderr.String(), "griffin: "+says) {
			t.Errorf("%q: status %d: %s", args, status, &stderr)
		}
	}
	file := filepath.Join(dir, "adapter_config.json")
	for _, r := range pathFlags {
		for _, w := range pathFlags {
			if r.command == w.command && !r.writes && w.writes {
				rest := r.rest
				if !strings.Contains(rest, "--"+w.flag+" ") {
					rest += " --" + w.flag + " OUT"
				}
				for _, path := range []string{"PATH", "file://PATH"} {
					try(r.command, r.flag, strings.Replace(rest, "PATH", path, 1), file, "--"+w.flag+": ")
				}
			}
		}
	}
	const rename = "--to safetensors --overwrite --rename PATH"
	for rest, output := range map[string]string{"HF OUT " + rename: "x.safetensors", "HF RECORDED " + rename: "x.safetensors.conversion.json"} {
		try("convert", "rename", rest, filepath.Join(dir, output), "the source ")
	}
}

// A flag replaces an empty file and what it wrote itself, and nothing else.
func TestOnlyOwnFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	content := map[string]string{
		"notes.md": "notes\n",
		"report":   "<!DOCTYPE html>\n" + `<meta name="generator" content="griffin">`,
		"card":     `{"schema": "` + report.CardSchema + `"}`,
		"out":      "\x93NUMPY",
	}
	for _, file := range []string{"hf/model.safetensors", "original/torch.pt", "golden/jax.safetensors", "golden/hf5.safetensors"} {
		data, err := os.ReadFile("../../testdata/tiny-griffin/" + file)
		if err != nil {
			t.Fatal(err)
		}
		content[filepath.Base(file)] = string(data)
	}
	for name, data := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	runPathFlags(t, func(flag string, writes bool) []string {
		if !writes {
			return nil
		}
		own := filepath.Join(t.TempDir(), "own")
		if err := os.WriteFile(own, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		paths := []string{own, own}
		for name := range content {
			if name != flag { // which writes such a file
				paths = append(paths, filepath.Join(dir, name))
			}
		}
		return paths
	}, func(t *testing.T, flag, path, _, stderr string, status int) {
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, foreign := content[filepath.Base(path)]
		switch {
		case !foreign && (status != exitOK || len(after) == 0):
			t.Errorf("status %d, %d bytes: %s", status, len(after), stderr)
		case foreign && (status != exitUsage || string(after) != before || !strings.HasPrefix(stderr, "griffin: --"+flag+": "+path+" exists, and is ")):
			t.Errorf("status %d, replaced: %t: %s", status, string(after) != before, stderr)
		}
	})
}

// A file that may not be written is refused before anything is compared or computed, and stays as it was.
func TestOutputsThatMayNotBeWritten(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere: TestCheckOutputAsksForPermission of package publish is the same test with a system that says no")
	}
	locked := filepath.Join(t.TempDir(), "locked")
	old := filepath.Join(locked, "old")
	if err := os.Mkdir(locked, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(locked, 0o777)
	runPathFlags(t, func(_ string, writes bool) []string {
		if !writes {
			return nil
		}
		return []string{filepath.Join(locked, "new"), old}
	}, func(t *testing.T, flag, path, stdout, stderr string, status int) {
		if want := "griffin: --" + flag + ": " + path + ": permission denied\n"; status != exitIO || stdout != "" || stderr != want {
			t.Errorf("status %d: %s%s, want %s", status, stdout, stderr, want)
		}
	})
	if entries, err := os.ReadDir(locked); err != nil || len(entries) != 1 {
		t.Errorf("%v is left, %v", entries, err)
	}
}
