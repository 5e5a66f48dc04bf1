package structure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants checks that the code in testdata/MUTANTS.md exists, so that no row outlives what it explains.
func TestMutants(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "testdata", "MUTANTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		parts := strings.Split(line, "`")
		if !strings.HasPrefix(line, "| `") || len(parts) < 5 {
			continue
		}
		rows++
		file, code := parts[1], strings.ReplaceAll(parts[3], `\|`, "|") // a table has | escaped
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(source), code) {
			t.Errorf("%s has no %q any more", file, code)
		}
	}
	if rows == 0 {
		t.Error("no rows found")
	}
}
