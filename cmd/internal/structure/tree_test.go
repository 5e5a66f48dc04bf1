// Package structure holds tests of the source tree as a whole: which package imports which, how
// large packages and types may grow, and what documentation each package has. It has no code of its
// own.
package structure

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/griffin-ckpt/griffin"

// pkg is one package of this module as its source files show it, whatever their build constraints.
type pkg struct {
	path     string   // relative to the module, with slashes: "formats/torch"
	files    []source // without tests
	internal []source // tests in the package itself
	external []source // tests in package x_test
}

// source is a parsed file.
type source struct {
	name string // relative to the module
	ast  *ast.File
}

// root is the module's directory, seen from this package.
var root = filepath.Join("..", "..", "..")

// packages parses every Go file of the module and returns its packages, sorted by path. Directories
// named testdata and modules nested in this one are left out.
func packages(t *testing.T) []*pkg {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	byPath := map[string]*pkg{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name != root && skipped(name) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			return add(byPath, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []*pkg
	for _, p := range byPath {
		all = append(all, p)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].path < all[j].path })
	if len(all) < 25 {
		t.Fatalf("found only %d packages", len(all))
	}
	return all
}

// skipped reports whether a directory holds no packages of this module.
func skipped(dir string) bool {
	base := filepath.Base(dir)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// add parses a file and adds it to its package.
func add(byPath map[string]*pkg, name string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	dir := "."
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		dir = rel[:i]
	}
	p := byPath[dir]
	if p == nil {
		p = &pkg{path: dir}
		byPath[dir] = p
	}
	file := source{rel, parsed}
	switch {
	case !strings.HasSuffix(name, "_test.go"):
		p.files = append(p.files, file)
	case strings.HasSuffix(parsed.Name.Name, "_test"):
		p.external = append(p.external, file)
	default:
		p.internal = append(p.internal, file)
	}
	return nil
}

// matches reports whether a path is covered by a pattern: the same path, or with the ending "/..."
// a path and all below it.
func matches(path, pattern string) bool {
	prefix, tree := strings.CutSuffix(pattern, "/...")
	return path == prefix || tree && strings.HasPrefix(path, prefix+"/")
}
