package structure

import (
	"go/ast"
	"strconv"
	"testing"
)

// unguarded are files that start goroutines without package task. Each entry gives the reason.
var unguarded = map[string]string{
	"formats/tensor/task/task.go": "implements the package",
	"reference/workers.go":        "returns panics to its caller itself, with less work for each of its many calls",
}

// TestGoroutines checks that goroutines are started by package task, so that their panics become errors.
func TestGoroutines(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range p.files {
			if unguarded[file.name] != "" {
				continue
			}
			guarded := false
			for _, spec := range file.ast.Imports {
				name, _ := strconv.Unquote(spec.Path.Value)
				guarded = guarded || name == module+"/formats/tensor/task"
				if name == "golang.org/x/sync/errgroup" {
					t.Errorf("%s imports %s instead of formats/tensor/task", file.name, name)
				}
			}
			waits := map[string]bool{} // names of type sync.WaitGroup
			ast.Inspect(file.ast, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: a go statement outside formats/tensor/task", file.name)
				case *ast.ValueSpec:
					if isWaitGroup(n.Type) {
						for _, name := range n.Names {
							waits[name.Name] = true
						}
					}
				case *ast.CallExpr:
					f, ok := n.Fun.(*ast.SelectorExpr)
					if !ok || f.Sel.Name != "Go" {
						return true
					}
					if x, ok := f.X.(*ast.Ident); !guarded || ok && waits[x.Name] {
						t.Errorf("%s: a method Go that is not of a task.Group", file.name)
					}
				}
				return true
			})
		}
	}
}

func isWaitGroup(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "WaitGroup"
}
