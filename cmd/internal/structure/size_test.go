package structure

import (
	"go/ast"
	"slices"
	"testing"
)

const (
	maxFiles   = 25 // in a package, without tests
	maxMethods = 20 // of a type, without those in tests
)

// largePackages may have more than maxFiles files: each has one subject with many cases, such as the
// codecs and metadata versions of zarr, or the system calls of each operating system.
var largePackages = []string{"formats/orbax/zarr", "formats/storage/publish", "formats/torch", "reference", "verify/diff/explain"}

// largeTypes may have more than maxMethods methods. Each entry gives the reason.
var largeTypes = map[string]string{
	"formats/strictjson.Decoder":            "one method for each kind of JSON value and for each production of the grammar",
	"formats/torch/internal/pickle.machine": "one method for each pickle opcode or group of opcodes",
	"reference.engine":                      "one method for each layer of the model and for each step of a layer",
}

func TestPackageSizes(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.files) > maxFiles && !slices.Contains(largePackages, p.path) {
			t.Errorf("package %s has %d files, more than %d", p.path, len(p.files), maxFiles)
		}
	}
}

func TestTypeSizes(t *testing.T) {
	for _, p := range packages(t) {
		methods := map[string]map[string]bool{} // by type; a method that each system has its own version of counts once
		for _, file := range p.files {
			for _, decl := range file.ast.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Recv == nil {
					continue
				}
				receiver := p.path + "." + typeName(f.Recv.List[0].Type)
				if methods[receiver] == nil {
					methods[receiver] = map[string]bool{}
				}
				methods[receiver][f.Name.Name] = true
			}
		}
		for name, set := range methods {
			if len(set) > maxMethods && largeTypes[name] == "" {
				t.Errorf("type %s has %d methods, more than %d, and no reason in the table largeTypes", name, len(set), maxMethods)
			}
		}
	}
}

// typeName returns the name of a receiver's type without pointer and type parameters.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
