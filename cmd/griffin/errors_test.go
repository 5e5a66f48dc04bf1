package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
