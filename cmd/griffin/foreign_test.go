package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that was not downloaded is named as what is in its place, with what to do, whatever it should be and whichever command reads it.
func TestFilesThatWereNotDownloaded(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	whole, shards := data+"/tiny-griffin/hf", filepath.Join(t.TempDir(), "shards")
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		status := runCommand(t.Context(), append([]string{"griffin"}, args...), &out, &out)
		return out.String(), status
	}
	if out, status := run("convert", whole, shards, "--max-shard-size", "50KB"); status != exitOK {
		t.Fatal(out)
	}
	first, err := filepath.Glob(filepath.Join(shards, "model-00001*"))
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	out := filepath.Join(t.TempDir(), "out")
	ofModel := []string{"inspect PATH", "convert PATH OUT", "verify PATH WHOLE", "verify WHOLE PATH", "diff PATH WHOLE", "golden PATH --random 3 --out OUT",
		"generate PATH --tokens 3", "perplexity PATH --tokens 3,4", "verify --explain-runtime PATH"}
	ofAdapter := []string{"inspect PATH", "convert BASE OUT --adapter PATH", "verify BASE BASE --adapter PATH"}
	for _, tt := range []struct {
		dir, name string
		commands  []string
	}{
		{shards, "config.json", ofModel},
		{shards, "model.safetensors.index.json", ofModel},
		{shards, filepath.Base(first[0]), ofModel},
		{data + "/finetune/adapter", "adapter_config.json", ofAdapter},
		{data + "/finetune/adapter", "adapter_model.safetensors", ofAdapter},
		{t.TempDir(), "tokenizer.model", []string{"convert WHOLE OUT --tokenizer FILE", "generate WHOLE --prompt x --tokenizer FILE"}},
		{t.TempDir(), "fixture.safetensors", []string{"verify WHOLE --golden FILE", "golden WHOLE --tokens FILE --out OUT", "generate WHOLE --tokens 3 --state-in FILE"}},
	} {
		for content, want := range map[string]string{
			"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "is a Git LFS pointer instead of the file itself\nhint: fetch the file with: git lfs pull\n",
			"\n<!DOCTYPE html>\n<html></html>\n":                                  "is a web page instead of the file itself\nhint: the download may need a login or an accepted licence\n",
		} {
			dir := filepath.Join(t.TempDir(), "dir")
			if err := os.CopyFS(dir, os.DirFS(tt.dir)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, tt.name)
			if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
				t.Fatal(err)
			}
			for _, command := range tt.commands {
				args := strings.Fields(strings.NewReplacer("PATH", dir, "FILE", file, "WHOLE", whole, "OUT", out, "BASE", data+"/finetune/base").Replace(command))
				got, status := run(args...)
				if command == "inspect PATH" && tt.name == "config.json" { // the rest of the directory is shown
					if line := "config.json cannot be used: it " + strings.Replace(want, "\nhint: ", "; ", 1); !strings.Contains(got, line) || status != exitOK {
						t.Errorf("%s: status %d: %s", command, status, got)
					}
				} else if status != exitBadInput || !strings.HasPrefix(got, "griffin: ") || !strings.HasSuffix(got, file+": "+want) {
					t.Errorf("%s of %s: status %d: %s", command, tt.name, status, got)
				}
			}
		}
	}
}
