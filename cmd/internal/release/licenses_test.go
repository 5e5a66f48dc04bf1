package main

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestLicenses checks that the file for griffin has the terms of Go, of a module, and of a package with terms of its own in a module.
func TestLicenses(t *testing.T) {
	needs(t, "go")
	if testing.Short() {
		t.Skip("builds griffin")
	}
	t.Chdir(root)
	program, file := filepath.Join(t.TempDir(), "griffin"), filepath.Join(t.TempDir(), "licenses")
	execute(t, "", "go", "build", "-tags", "nobuckets", "-o", program, "./cmd/griffin")
	if err := run([]string{"-licenses", file, runtime.GOOS + "/" + runtime.GOARCH + "=" + program}); err != nil {
		t.Fatal(err)
	}
	got := read(t, file)
	for _, want := range []string{
		"std@go1.", ": LICENSE\n", "The Go Authors",
		"github.com/urfave/cli/v2@v", "github.com/klauspost/compress@v", "zstd/internal/xxhash/LICENSE.txt\n", "Caleb Spare",
		"gonum.org/v1/gonum@v",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the licenses lack %q", want)
		}
	}
	for _, other := range []string{"gocloud.dev@", "github.com/griffin-ckpt/griffin@"} {
		if strings.Contains(got, other) {
			t.Errorf("the licenses have %q, which is not linked in", other)
		}
	}
}
