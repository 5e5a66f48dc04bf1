package main

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// TestPanicIsInternal checks that a panic is a fault of griffin, whatever else fails because of it.
func TestPanicIsInternal(t *testing.T) {
	err := errors.Join(&fs.PathError{Op: "remove", Path: "x", Err: fs.ErrPermission}, task.Call(func() error { panic("broken invariant") }))
	var out bytes.Buffer
	if code := reportError(&out, err); code != exitInternal {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{"internal error: broken invariant", "errors_test.go", "please report this"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}
