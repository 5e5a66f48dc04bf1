package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/convert"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Errors of files name the path that the user knows.
func TestMessage(t *testing.T) {
	const stage = "/data/.out.griffin-0123456789abcdef"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "stat", Path: "a", Err: fs.ErrNotExist}, "a: file does not exist"},
		{&fs.PathError{Op: "mkdir", Path: stage, Err: fs.ErrPermission}, "/data/out: permission denied"},
		{&fs.PathError{Op: "write", Path: stage + "/model.safetensors", Err: fs.ErrPermission}, "/data/out/model.safetensors: permission denied"},
		{&fs.PathError{Op: "write", Path: stage + "/out", Err: fs.ErrPermission}, "/data/out: permission denied"},
		{&fs.PathError{Op: "write", Path: stage + "/7/d/0", Err: fs.ErrPermission}, "/data/out/7/d/0: permission denied"},
		{&fs.PathError{Op: "write", Path: "/data/.out.griffin-0123", Err: fs.ErrPermission}, "/data/.out.griffin-0123: permission denied"},
		{&os.LinkError{Op: "rename", Old: stage, New: "/data/out", Err: fs.ErrPermission}, "/data/out: permission denied"},
		{&fs.PathError{Op: "create", Err: fs.ErrNotExist}, `"": file does not exist`},
		{fmt.Errorf("--card: %w", errors.Join(&fs.PathError{Op: "open", Path: "x", Err: fs.ErrExist}, errors.New("more"))), "--card: x: already exists\nmore"},
		{&publish.SpaceError{Dir: "/data", Need: 5_370_000_000, Free: 12_000}, "/data: the output needs 5.37 GB, but only 12.00 kB are free"},
	} {
		if got := message(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Errors name the argument, not the absolute path that it stands for.
func TestAsGiven(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"convert", "a/b", "--card=c/card.json", filepath.Join(dir, "d")}
	for path, want := range map[string]string{
		filepath.Join(dir, "a/b"):                 "a/b",
		filepath.Join(dir, "a/b/model/x"):         "a/b/model/x",
		filepath.Join(dir, "c/card.json"):         "c/card.json",
		filepath.Join(dir, "d/config.json"):       filepath.Join(dir, "d/config.json"),
		filepath.Join(dir, "a/b.conversion.json"): "a/b.conversion.json",
		filepath.Join(dir, "a/bc"):                filepath.Join(dir, "a/bc"),
		filepath.Join(dir, "other"):               filepath.Join(dir, "other"),
		filepath.Join(dir, "a"):                   "a",
		"a/b":                                     "a/b", "": "",
	} {
		if got := asGiven(path, args); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// TestPanicIsInternal checks that a panic is a fault of griffin, whatever else fails because of it.
func TestPanicIsInternal(t *testing.T) {
	err := errors.Join(&fs.PathError{Op: "remove", Path: "x", Err: fs.ErrPermission}, task.Call(func() error { panic("broken invariant") }))
	var out bytes.Buffer
	if code := reportError(&out, err, false); code != exitInternal {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"internal error: broken invariant", "errors_test.go", "please report this"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

// A flag that a target does not take is named, with the targets that take it.
func TestTargetFlags(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("embedder.* -> e.*\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		flag  string
		value string
		to    string // the targets that take it
	}{
		{"--rename", rules, "safetensors"},
		{"--only", "*", "safetensors"},
		{"--tokenizer", rules, "hf"},
		{"--instruction-tuned", "true", "hf"},
		{"--match-runtime", "transformers5", "hf"},
		{"--max-shard-size", "5GB", "hf safetensors"},
		{"--orbax-format", "zarr", "orbax"},
		{"--orbax-format", "ocdbt", "orbax"},
		{"--preset", "2b", "hf torch orbax"},
		{"--attention-window", "8", "hf torch orbax"},
		{"--logits-soft-cap", "30", "hf torch orbax"},
		{"--embedding-scale", "true", "hf torch orbax"},
		{"--model", "ema", "hf torch orbax"},
		{"--extra", "keep", "hf torch orbax"},
		{"--adapter", data + "/finetune/adapter", "hf torch orbax"},
	} {
		for _, target := range convert.TargetNames() {
			if slices.Contains(strings.Fields(f.to), target) {
				continue
			}
			var out bytes.Buffer
			args := []string{"griffin", "convert", data + "/tiny-griffin/original/torch.pt", filepath.Join(t.TempDir(), "out"), "--to", target, f.flag + "=" + f.value}
			if status := runCommand(t.Context(), args, &out, &out); status != exitUsage {
				t.Errorf("--to %s %s: exit status %d", target, f.flag, status)
			}
			hint := "hint: leave out " + f.flag + ", or give another target: --to " + strings.ReplaceAll(f.to, " ", ", --to ") + "\n"
			if text := out.String(); !strings.HasPrefix(text, "griffin: "+f.flag) || !strings.HasSuffix(text, hint) {
				t.Errorf("--to %s %s:\n%s", target, f.flag, text)
			}
		}
	}
}

// TestWhatHasToBeChosen checks that every path of every command that holds several steps, checkpoints or models is refused with the same exit status, and with a hint that
// names flags only if these are for that path. An adapter is none of the choices of a checkpoint.
func TestWhatHasToBeChosen(t *testing.T) {
	const data = "../../testdata/finetune/"
	dir := t.TempDir()
	directories, files, unlike := filepath.Join(dir, "run"), filepath.Join(dir, "files"), filepath.Join(dir, "unlike")
	weights, err := os.ReadFile(data + "base/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile("../../testdata/tiny-griffin/original/torch.pt")
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{files + "/step_20.safetensors": weights, files + "/step_100.safetensors": weights, unlike + "/a.pt": other, unlike + "/b.pt": other} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []string{"20", "100"} {
		if err := os.CopyFS(filepath.Join(directories, step), os.DirFS(data+"base")); err != nil {
			t.Fatal(err)
		}
	}
	commands := []string{"convert PATH " + dir + "/out", "golden PATH --tokens 1,2 --out " + dir + "/golden", "generate PATH --tokens 1,2", "perplexity PATH --tokens 1,2", "perplexity PATH BASE --tokens 1,2", "perplexity BASE PATH --tokens 1,2",
		"verify PATH BASE", "verify BASE PATH", "verify BASE PATH --weights-only", "inspect PATH", "diff PATH BASE", "diff BASE PATH"}
	for _, tt := range []struct {
		path     string
		status   int
		flag     string // that chooses
		commands []string
	}{
		{files, exitUsage, "--step", commands},
		{directories, exitUsage, "--step", commands[1:]}, // the newest step
		{data + "several.pt", exitUsage, "--model NAME selects", commands[:9]},
		{unlike, exitUsage, "-", commands},
		{data, exitUsage, "-", commands},
		{data + "adapter", exitBadInput, "-", commands[:9]},
	} {
		for _, command := range tt.commands {
			var errs bytes.Buffer
			args := strings.Fields("griffin " + strings.NewReplacer("PATH", tt.path, "BASE", data+"base").Replace(command))
			if got := runCommand(t.Context(), args, new(bytes.Buffer), &errs); got != tt.status {
				t.Errorf("%v: exit status %d, want %d\n%s", args, got, tt.status, &errs)
			}
			second := strings.Contains(command, "BASE PATH") && !strings.HasPrefix(command, "diff")
			if got := strings.Contains(errs.String(), tt.flag); tt.flag != "-" && got == second || !strings.Contains(errs.String(), "hint: ") {
				t.Errorf("%v: %s", args, &errs)
			}
		}
	}
}

// --quiet leaves out what is noted about requests.
func TestQuietRequests(t *testing.T) {
	header := []byte(`{"a":{"dtype":"F32","shape":[5242880],"data_offsets":[0,20971520]}}`)
	file := slices.Concat([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header, make([]byte, 20<<20))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/a.safetensors" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(file)))
		w.Write(file) // whole, whatever part is asked for
	}))
	defer server.Close()
	for _, quiet := range []bool{false, true} {
		args := []string{"griffin", "inspect", fmt.Sprintf("--quiet=%t", quiet), server.URL + "/a.safetensors"}
		var stdout, stderr bytes.Buffer
		if status := runCommand(t.Context(), args, &stdout, &stderr); status != exitOK || strings.HasPrefix(stderr.String(), "note: ") == quiet {
			t.Errorf("%q: exit status %d, %q", args, status, stderr.String())
		}
	}
}
