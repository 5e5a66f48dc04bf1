package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"griffin": func() { os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script: each file reads as a session at a terminal, and its name says
// what it guards. $DATA is the repository's testdata, $TEXTMODEL a small model with a tokenizer.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	textModel := filepath.Join(t.TempDir(), "textmodel")
	writeTextModel(t, data, textModel)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("DATA", data)
			env.Setenv("TEXTMODEL", textModel)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": wantStatus,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// wantStatus runs griffin and checks its exit status: status N argument… What it printed is then
// matched by stdout and stderr, as after exec.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N argument…")
	}
	code := exitOK
	var exit *exec.ExitError
	if err := ts.Exec("griffin", args[1:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; want != strconv.Itoa(code) {
		ts.Fatalf("exit status %d, want %s", code, want)
	}
}
