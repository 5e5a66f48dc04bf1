package formats

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/griffin-ckpt/griffin/"

// imports says what each package may import of griffin. The longest match counts. A name that ends
// in a slash stands for all packages below it.
var imports = []struct {
	importer string
	may      []string
}{
	{"cmd/", []string{"convert", "formats", "formats/", "internal/", "reference", "reference/", "verify", "verify/"}},
	{"verify", []string{"convert", "formats", "formats/", "internal/", "reference", "reference/", "verify/"}},
	{"verify/", []string{"convert", "formats", "formats/", "internal/", "reference", "reference/", "verify/"}},
	{"convert", []string{"formats", "formats/", "internal/", "reference", "reference/", "convert/"}},
	{"convert/", []string{"formats", "formats/", "internal/", "convert/"}},
	{"reference", []string{"formats/tensor", "internal/", "reference/"}},
	{"reference/", []string{"formats/tensor", "internal/", "reference/"}},
	{"formats", []string{"formats/", "internal/"}},
	{"formats/", []string{"formats/tensor", "formats/storage", "formats/internal/", "internal/"}},
	{"formats/orbax", []string{"formats/tensor", "formats/storage", "formats/internal/", "formats/orbax/", "formats/flax", "internal/"}},
	{"formats/peft", []string{"formats/tensor", "formats/safetensors", "formats/torch", "formats/internal/"}},
	{"formats/orbax/", []string{"formats/tensor", "formats/storage", "formats/internal/", "formats/orbax/internal/", "internal/"}},
	{"formats/internal/", []string{"formats/tensor", "formats/internal/"}},
	{"formats/tensor", nil},
	{"internal/", []string{"internal/"}},
}

func matches(name, pattern string) bool {
	return name == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(name, pattern)
}

// allowed returns what a package may import, and whether there is a rule for it.
func allowed(name string) (may []string, ok bool) {
	best := -1
	for _, rule := range imports {
		if matches(name, rule.importer) && len(rule.importer) > best {
			best, may = len(rule.importer), rule.may
		}
	}
	return may, best >= 0
}

// Imports point one way: from the command to verification, from there to conversion and the
// reference model, from those to the formats, and from all to the leaf that is package tensor.
func TestImportsPointOneWay(t *testing.T) {
	root := ".."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	checked := 0
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".") && name != "..") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		importer := path.Clean(filepath.ToSlash(rel))
		for _, spec := range parsed.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			target, own := strings.CutPrefix(target, module)
			if !own {
				continue
			}
			checked++
			may, ruled := allowed(importer)
			if !ruled {
				t.Errorf("%s: no rule says what package %s may import", file, importer)
				continue
			}
			fine := false
			for _, pattern := range may {
				fine = fine || matches(target, pattern)
			}
			if !fine {
				t.Errorf("%s: package %s may not import %s", file, importer, target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 20 {
		t.Errorf("only %d imports were looked at", checked)
	}
}
