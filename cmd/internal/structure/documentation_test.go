package structure

import (
	"cmp"
	"go/ast"
	"go/doc"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

// TestNoFlags checks that libraries do not mention flags of the command, which adds the hints.
func TestNoFlags(t *testing.T) {
	flag := regexp.MustCompile(`(^|[\s"'(\x60])--[a-z]`)
	for _, p := range packages(t) {
		if strings.HasPrefix(p.path, "cmd/") || strings.HasPrefix(p.path, "verify/report") { // style sheets have such names
			continue
		}
		for _, file := range p.files {
			ast.Inspect(file.ast, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING && flag.MatchString(literal.Value) {
					t.Errorf("%s: a library mentions a flag: %s", file.name, literal.Value)
				}
				return true
			})
		}
	}
}

// TestPagePaths checks that the files that the pages link to, and the paths that ARCHITECTURE.md and
// CONTRIBUTING.md name, exist.
func TestPagePaths(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	path := regexp.MustCompile("`([a-z][a-z0-9_]*(/[a-zA-Z0-9_.]+)+)/?`")
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && name != root && skipped(name) {
			return cmp.Or(err, fs.SkipDir)
		}
		if !strings.HasSuffix(name, ".md") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
			}
		}
		if base := filepath.Base(name); base != "ARCHITECTURE.md" && base != "CONTRIBUTING.md" {
			return nil
		}
		for _, m := range path.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isInternal reports whether only this module can import the package.
func isInternal(path string) bool {
	return slices.Contains(strings.Split(path, "/"), "internal")
}

// TestSetup checks that README.md has the two commands that do all the set-up, and that the checks of a change call them.
func TestSetup(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^make (build )?(demo|test)\b`)
	for _, name := range []string{"README.md", ".ci/run"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, m := range commands.FindAllStringSubmatch(string(content), -1) {
			found = append(found, m[2])
		}
		if !slices.Equal(found, []string{"demo", "test"}) {
			t.Errorf("%s calls make %v", name, found)
		}
	}
}

// TestScriptsAreDescribed checks that testdata/README.md describes every script of testdata/interop, and that it marks those that "make interop" runs.
func TestScriptsAreDescribed(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	page := read("testdata/README.md")
	entries, err := os.ReadDir(filepath.Join(root, "testdata/interop"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (e.IsDir() && !skipped(e.Name()) && e.Name() != "__pycache__" || ext == ".py" || ext == ".sh") && !strings.Contains(page, e.Name()) {
			t.Errorf("testdata/README.md does not name %s", e.Name())
		}
	}
	var marked []string
	for _, m := range regexp.MustCompile("(?m)^\\| `interop/(\\w+)\\.py` \\*").FindAllStringSubmatch(page, -1) {
		marked = append(marked, m[1])
	}
	_, list, _ := strings.Cut(read("Makefile"), "\nCHECKS := ")
	list, _, _ = strings.Cut(strings.ReplaceAll(list, "\\\n", ""), "\n")
	checks := strings.Fields(list)
	slices.Sort(marked)
	slices.Sort(checks)
	if !slices.Equal(marked, checks) {
		t.Errorf("testdata/README.md marks %v, and make interop runs %v", marked, checks)
	}
}

// TestTargetsAreListed checks that "make help", which CONTRIBUTING.md says lists all targets, does.
func TestTargetsAreListed(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindSubmatch(makefile)
	if targets == nil {
		t.Fatal("Makefile has no .PHONY")
	}
	for _, target := range strings.Fields(string(targets[1])) {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:.*## `).Match(makefile) {
			t.Errorf("make help does not list %s", target)
		}
	}
}
