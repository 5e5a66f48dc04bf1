package structure

import (
	"go/ast"
	"go/doc"
	"slices"
	"strings"
	"testing"
)

// TestPackageComments checks that every package has one package comment, in one of its files.
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		files := p.files
		if len(files) == 0 { // tests only
			files = p.internal
		}
		var commented []string
		for _, file := range files {
			if file.ast.Doc != nil {
				commented = append(commented, file.name)
			}
		}
		if len(commented) != 1 {
			t.Errorf("package %s has %d package comments, want 1: %v", p.path, len(commented), commented)
		}
	}
}

// TestExamples checks that every package that other modules can import has a runnable Example in
// its external test package.
func TestExamples(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.files) == 0 || p.files[0].ast.Name.Name == "main" || isInternal(p.path) {
			continue
		}
		var files []*ast.File
		for _, file := range p.external {
			files = append(files, file.ast)
		}
		runnable := slices.ContainsFunc(doc.Examples(files...), func(e *doc.Example) bool { return e.Output != "" })
		if !runnable {
			t.Errorf("package %s has no Example with output in package %s_test", p.path, p.files[0].ast.Name.Name)
		}
	}
}

// isInternal reports whether only this module can import the package.
func isInternal(path string) bool {
	return slices.Contains(strings.Split(path, "/"), "internal")
}
